"""Whether a cluster asks for a token, asked of a head node that is played by a gRPC server of the test."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tuner import ray_token
from tuner.errors import ClusterError
from tuner.ray_token import use_token


class Head(grpc.GenericRpcHandler):
    """Answers Ray's question to those who have `token`, to all if it is None; `code` is its refusal of the others."""

    def __init__(self, token: str | None, code: grpc.StatusCode) -> None:
        self.token, self.code = token, code

    def service(self, details):
        assert details.method == "/ray.rpc.NodeInfoGcsService/CheckAlive"
        sent = dict(details.invocation_metadata).get("authorization")
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.answer(sent, context))

    def answer(self, sent, context):
        if self.token is not None and sent != f"Bearer {self.token}":
            context.abort(self.code, "no")
        return b"\n\x00"


@pytest.fixture
def head():
    """Starts a head node: its address."""
    servers = []

    def start(token, code=grpc.StatusCode.UNAUTHENTICATED):
        server = grpc.server(ThreadPoolExecutor(1), handlers=[Head(token, code)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    """A user without a token and without settings of Ray."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS", "RAY_USE_TLS"):
        monkeypatch.setenv(name, "")  # so that what `use_token` sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def mode() -> str | None:
    return os.environ.get("RAY_AUTH_MODE")


@pytest.mark.parametrize("has_token", [False, True])
def test_an_open_cluster_beyond_loopback_is_refused_whatever_this_machine_has(head, monkeypatch, tmp_path, has_token):
    if has_token:
        (tmp_path / "token").write_text("secret")
    address = head(None)
    monkeypatch.setattr(ray_token, "is_loopback", lambda host: False)
    with pytest.raises(ClusterError, match=rf"^the cluster at {address} asks for no token: .*--insecure$"):
        use_token(address, insecure=False)
    use_token(address, insecure=True)
    assert mode() == "disabled"


@pytest.mark.parametrize("has_token", [False, True])
def test_an_open_cluster_of_this_machine_is_joined_without_token(head, tmp_path, has_token):
    if has_token:
        (tmp_path / "token").write_text("secret")
    use_token(head(None), insecure=False)
    assert mode() == "disabled"


@pytest.mark.parametrize("place", ["file", "environment"])
def test_the_right_token_is_sent_to_a_cluster_that_asks(head, monkeypatch, tmp_path, place):
    (tmp_path / "token").write_text("secret\n" if place == "file" else "other")
    if place == "environment":
        monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    use_token(head("secret"), insecure=False)
    assert mode() == "token"


def test_a_missing_token_is_one_line_that_says_what_to_copy(head, tmp_path):
    with pytest.raises(ClusterError, match=f"asks for a token and this machine has none: copy .* to {tmp_path}/token$"):
        use_token(head("secret"), insecure=True)


@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_wrong_token_is_one_line_that_says_where_it_came_from(head, monkeypatch, tmp_path, place):
    (tmp_path / "token").write_text("a-bad-one")
    if place == "environment":
        monkeypatch.setenv("RAY_AUTH_TOKEN", "a-bad-one")
    named = f"{tmp_path}/token" if place == "file" else "RAY_AUTH_TOKEN"
    with pytest.raises(ClusterError, match=f"refuses the token in {named}: ") as refusal:
        use_token(head("secret"), insecure=False)
    assert "a-bad-one" not in str(refusal.value)


@pytest.mark.parametrize(("token", "setting", "right"), [(None, "token", "disabled"), ("secret", "disabled", "token")])
def test_a_mode_that_does_not_fit_the_cluster_is_refused(head, monkeypatch, tmp_path, token, setting, right):
    (tmp_path / "token").write_text("secret")
    monkeypatch.setenv("RAY_AUTH_MODE", setting)
    with pytest.raises(ClusterError, match=f"RAY_AUTH_MODE is '{setting}', but .* set it to {right}$"):
        use_token(head(token), insecure=False)


def test_what_is_no_ray_is_said(head):
    with pytest.raises(ClusterError, match=r"no Ray head node answers at 127\.0\.0\.1:\d+ \(UNIMPLEMENTED\)"):
        use_token(head("secret", grpc.StatusCode.UNIMPLEMENTED), insecure=False)


def test_auto_is_the_cluster_of_this_machine_wherever_ray_notes_it(head, monkeypatch, tmp_path):
    use_token("auto", insecure=False)  # there is none: Ray will say so
    assert mode() is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(head(None))
    use_token("auto", insecure=False)
    assert mode() == "disabled"
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_ADDRESS", head("secret"))
    with pytest.raises(ClusterError, match="this machine has none"):
        use_token("auto", insecure=False)


def test_missing_certificates_are_named(head, monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.delenv("RAY_TLS_CA_CERT", raising=False)
    with pytest.raises(
        ClusterError, match="RAY_USE_TLS is set, but its certificates cannot be read: 'RAY_TLS_CA_CERT'"
    ):
        use_token(head(None), insecure=False)
