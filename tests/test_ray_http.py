"""The dashboard's token, asked of servers that answer as Ray's does and as it never would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tuner import doctor, ray_http
from tuner.errors import ClusterError, UsageError
from tuner.ray_http import is_http, open_dashboard

VERSION = json.dumps({"version": "4", "ray_version": "2.60.0"})


class Fake(HTTPServer):
    """Answers everything with `body`; with `token`, only who has that one. `redirect`: sends everybody there."""

    def __init__(self, *, token: str = "", body: str = VERSION, redirect: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token, self.body, self.redirect = token, body, redirect
        self.seen: list[str | None] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Fake)
        given = self.headers.get("Authorization")
        server.seen.append(given)
        status = 200
        if server.redirect:
            status = 302
        elif server.token and given != f"Bearer {server.token}":
            status = 403 if given else 401
        self.send_response(status)
        if status == 302:
            self.send_header("Location", server.redirect)
        self.end_headers()
        self.wfile.write(server.body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def new_fake(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    fakes = []

    def start(**options: str) -> Fake:
        fakes.append(Fake(**options))
        threading.Thread(target=fakes[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.shutdown()
        fake.server_close()


def test_the_token_goes_only_to_who_asks_for_it(new_fake, tmp_path) -> None:
    (tmp_path / "token").write_text("right\n")
    open_one, closed = new_fake(), new_fake(token="right")
    assert open_dashboard(f"{open_one.address}/").headers == {}
    assert set(open_one.seen) == {None}
    assert open_dashboard(closed.address).get_json("/api/version")["ray_version"] == "2.60.0"
    assert closed.seen[0] is None


def test_a_missing_and_a_wrong_token_are_one_line_each(new_fake, monkeypatch, tmp_path) -> None:
    closed = new_fake(token="right")
    with pytest.raises(ClusterError, match=f"asks for a token and this machine has none: .* to {tmp_path}/token$"):
        open_dashboard(closed.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(ClusterError, match="refuses the token in RAY_AUTH_TOKEN: it must be the head node's"):
        open_dashboard(closed.address, insecure=True)


def test_a_cluster_beyond_this_machine_that_asks_for_no_token_is_refused(new_fake, monkeypatch) -> None:
    monkeypatch.setattr(ray_http, "is_loopback", lambda host: False)
    fake = new_fake()
    with pytest.raises(ClusterError, match="asks for no token: whoever reaches that port can run programs on it"):
        open_dashboard(fake.address)
    assert open_dashboard(fake.address, insecure=True).address == fake.address
    closed = new_fake(token="right")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    assert open_dashboard(closed.address).address == closed.address


def test_the_token_does_not_follow_a_redirection(new_fake, monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    elsewhere = new_fake()
    dashboard = ray_http.Dashboard(new_fake(redirect=f"{elsewhere.address}/api/version").address, "right")
    assert dashboard.get_json("/api/version")["version"] == "4"
    assert elsewhere.seen == [None]


@pytest.mark.parametrize("body", ["<html>", "[1]", '{"version": "4"}', "null"])
def test_what_is_no_ray_is_said_in_one_line(new_fake, body) -> None:
    with pytest.raises(ClusterError, match=r"is not Ray's dashboard|does not answer as Ray does") as refusal:
        open_dashboard(new_fake(body=body).address)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "address", ["http://", "http://user:secret@head:8265", "http://head:port", "http://head?x=1", "https://[::1"]
)
def test_a_malformed_address_is_refused_without_what_may_be_a_password(address) -> None:
    with pytest.raises(UsageError, match="is not understood: give http://HOST:8265") as refusal:
        open_dashboard(address)
    assert "secret" not in str(refusal.value)


def test_an_http_address_is_told_from_one_to_join() -> None:
    assert [is_http(address) for address in ("http://a", "HTTPS://a", "auto", "head:6379", "ray://a", None)] == [
        *[True, True],
        *[False] * 4,
    ]


def test_the_doctor_looks_at_the_dashboard_that_takes_jobs(new_fake) -> None:
    fake = new_fake()
    assert doctor._ray(fake.address) == (f"2.60.0 takes jobs at {fake.address}", "")
