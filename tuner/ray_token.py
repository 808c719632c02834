"""Ray's token: whether a cluster asks for one, and whether ours is the right one. Asked before Ray itself is imported.

Ray 2.60 reads RAY_AUTH_MODE when it is imported, and a wrong one is found out late: without token mode a driver is
refused by a cluster that asks for the token, and with it the actors of a cluster that does not ask never start.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tuner.errors import ClusterError
from tuner.network import is_loopback

# The cheapest question that a head node answers: its version, and whether it lives. An empty message is a valid one.
_QUESTION = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_ANSWER_TIMEOUT_S = 10.0


def token_file() -> Path:
    """Where Ray keeps its token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def use_token(address: str, *, insecure: bool) -> None:
    """Set RAY_AUTH_MODE, unless it is set, to what the cluster at `address` (HOST:PORT or auto) asks for.

    Raises ClusterError unless `insecure` for a cluster that is open to whoever reaches it, if it is named by another
    address than this machine's loopback; if there is no token, a wrong one, or a RAY_AUTH_MODE that does not fit; and
    if what answers there is no Ray.
    """
    asked = _this_machines_cluster() if address == "auto" else address
    if asked is None:
        return  # Ray says it better than we could
    if _accepts(asked, None):
        beyond = address != "auto" and not is_loopback(address.rpartition(":")[0])
        if beyond and not insecure and not _uses_tls():
            raise ClusterError(
                f"the cluster at {address} asks for no token: whoever reaches that port can run programs on it; start "
                "it with RAY_AUTH_MODE=token (`ray get-auth-token --generate`), or allow it by --insecure"
            )
        _set_mode("disabled", f"the cluster at {asked} asks for no token")
        return
    token = read_token()
    if token is None:
        raise ClusterError(
            f"the cluster at {asked} asks for a token and this machine has none: copy the head node's "
            f"~/.ray/auth_token to {token_file()}"
        )
    if not _accepts(asked, token):
        raise ClusterError(
            f"the cluster at {asked} refuses the token in {token_place()}: it must be the head node's "
            "(`ray get-auth-token` there)"
        )
    _set_mode("token", f"the cluster at {asked} asks for a token")


def _set_mode(mode: str, why: str) -> None:
    found = os.environ.setdefault("RAY_AUTH_MODE", mode)
    if found.lower() != mode:
        raise ClusterError(f"RAY_AUTH_MODE is {found!r}, but {why}: unset it, or set it to {mode}")


def token_place() -> str:
    """Where the token of this machine is taken from, for messages."""
    return "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(token_file())


def read_token() -> str | None:
    """The token of this machine, None if it has none. Raises ClusterError if its file cannot be read."""
    text = os.environ.get("RAY_AUTH_TOKEN")
    if not text:
        try:
            text = token_file().read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"the Ray token in {token_file()} cannot be read ({error})") from None
    return text.strip() or None


def _this_machines_cluster() -> str | None:
    """What Ray takes `auto` to be; None if that cannot be told without Ray."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named if named.rpartition(":")[2].isdigit() and "/" not in named else None
    folder = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"
    try:
        return (folder / "ray_current_cluster").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _accepts(address: str, token: str | None) -> bool:
    """Whether the head node at `address` answers who has `token`. Raises ClusterError if no Ray answers."""
    import grpc  # part of ray[default]; takes a tenth of a second

    metadata = [("authorization", f"Bearer {token}")] if token else None
    with _channel(address) as channel:
        try:
            channel.unary_unary(_QUESTION)(b"", timeout=_ANSWER_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise ClusterError(
                f"no Ray head node answers at {address} ({error.code().name}): give the address that "
                "`ray start --head` prints, and start it if it has ended"
            ) from None
    return True


def _channel(address: str) -> Any:
    import grpc

    if not _uses_tls():
        return grpc.insecure_channel(address)
    try:
        files = {
            name: Path(os.environ[f"RAY_TLS_{name}"]).read_bytes() for name in ("CA_CERT", "SERVER_KEY", "SERVER_CERT")
        }
    except (KeyError, OSError) as error:
        raise ClusterError(f"RAY_USE_TLS is set, but its certificates cannot be read: {error}") from None
    return grpc.secure_channel(
        address, grpc.ssl_channel_credentials(files["CA_CERT"], files["SERVER_KEY"], files["SERVER_CERT"])
    )


def _uses_tls() -> bool:
    """Whether Ray's machines show each other certificates: then nobody without one gets in, token or not."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
