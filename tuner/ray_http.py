"""Ray's dashboard over HTTP: whether it asks for the token, and what it answers. Needs no Ray on this machine."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tuner.errors import ClusterError, UsageError, first_line
from tuner.network import is_loopback
from tuner.ray_token import read_token, token_place

ANSWER_TIMEOUT_S = 10.0
_UNKNOWN_TOKEN = (401, 403)


def is_http(address: str | None) -> bool:
    """Whether `address` is that of a dashboard, to which a search is submitted, and not of a cluster to join."""
    return address is not None and re.match("https?://", address, flags=re.IGNORECASE) is not None


class Dashboard:
    """The dashboard at `address`, which takes jobs and gives logs; `token` goes along with every request.

    Each call raises ClusterError in one line if it is not answered within `ANSWER_TIMEOUT_S`, or with an error.
    """

    def __init__(self, address: str, token: str | None) -> None:
        self.address = address
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get_json(self, path: str, **query: str) -> dict[str, Any]:
        """The answer to `path`, which must be a JSON object."""
        try:
            answer = json.loads(self.get(path, **query))
            if not isinstance(answer, dict):
                raise ValueError(answer)
            return answer
        except (ValueError, RecursionError):
            raise ClusterError(f"{self.address}{path} does not answer as Ray does: is it Ray's dashboard?") from None

    def get(self, path: str, **query: str) -> bytes:
        """The answer to `path`."""
        return b"".join(self._read(path, query, ANSWER_TIMEOUT_S))

    def stream(self, path: str, **query: str) -> Iterator[bytes]:
        """What `path` sends, as it comes, until the other side ends it; that may take for ever."""
        return self._read(path, query, None)

    def _read(self, path: str, query: dict[str, str], timeout_s: float | None) -> Iterator[bytes]:
        try:
            with self._open(path, query, timeout_s) as answer:
                while block := answer.read1(1 << 16):
                    yield block
        except urllib.error.HTTPError as error:
            text = error.read(10_000).decode(errors="replace").strip()
            raise ClusterError(
                f"{self.address} refuses {path} ({error.code}: {text.splitlines()[-1][:200] if text else error.reason})"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ClusterError(f"Ray's dashboard at {self.address} does not answer: {_reason(error)}") from None

    def status_of(self, path: str) -> int:
        """The HTTP status with which `path` is answered."""
        try:
            with self._open(path, {}, ANSWER_TIMEOUT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, http.client.HTTPException) as error:
            raise ClusterError(
                f"no dashboard answers at {self.address} ({_reason(error)}): is Ray running there "
                "(`ray start --head`), and is that the address of its dashboard?"
            ) from None

    def _open(self, path: str, query: dict[str, str], timeout_s: float | None) -> Any:
        url = f"{self.address}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        request = urllib.request.Request(url)
        for name, value in self.headers.items():
            request.add_unredirected_header(name, value)  # the token is for this host and no other
        return urllib.request.urlopen(request, timeout=timeout_s)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # of URLError: what it was raised for
    return first_line(reason if isinstance(reason, Exception) else error)


def check_address(address: str) -> str:
    """`address` of a dashboard without a slash at its end. Raises UsageError, showing no password, if it is none."""
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and "@" not in parts.netloc and not parts.query and not parts.fragment
        _ = parts.port  # looked at when it is asked for
    except ValueError:
        usable = False
    if not usable:
        shown = re.sub(r"(?<=://)[^/]*@", "...@", address)
        raise UsageError(f"address {shown!r} is not understood: give http://HOST:8265 of a Ray head node's dashboard")
    return address.rstrip("/")


def open_dashboard(address: str, *, insecure: bool = False) -> Dashboard:
    """The dashboard at `address` (http:// or https://), with Ray's token if it asks for one.

    Raises UsageError for a malformed address, and ClusterError if nothing answers there; if the token is missing or
    wrong; and, unless `insecure`, if it is beyond this machine and lets in whoever reaches it.
    """
    address = check_address(address)
    closed = Dashboard(address, None).status_of("/api/version") in _UNKNOWN_TOKEN
    if not closed:
        if not is_loopback(urlsplit(address).hostname or "") and not insecure:
            raise ClusterError(
                f"the cluster at {address} asks for no token: whoever reaches that port can run programs on it; start "
                "it with RAY_AUTH_MODE=token (`ray get-auth-token --generate`), or allow it by --insecure"
            )
        dashboard = Dashboard(address, None)
    else:
        token = read_token()
        if token is None:
            raise ClusterError(
                f"the cluster at {address} asks for a token and this machine has none: copy the head node's "
                f"~/.ray/auth_token to {token_place()}"
            )
        dashboard = Dashboard(address, token)
        if dashboard.status_of("/api/version") in _UNKNOWN_TOKEN:
            raise ClusterError(
                f"the cluster at {address} refuses the token in {token_place()}: it must be the head node's "
                "(`ray get-auth-token` there)"
            )
    if "ray_version" not in dashboard.get_json("/api/version"):
        raise ClusterError(f"what answers at {address} is not Ray's dashboard: give http://HOST:8265 of the head node")
    return dashboard
