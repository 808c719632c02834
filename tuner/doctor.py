"""What may be wrong on this machine, found by trying: each check says what it saw, and what to do if that is bad."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tuner.errors import TunerError, first_line
from tuner.ray_http import is_http, open_dashboard
from tuner.settings import Settings

MIN_FREE_BYTES = 2 << 30  # a search writes little, but Redis and checkpoints must never meet a full disk
Seen = tuple[str, str]  # what was seen, and the remedy

LIBRARIES = ("ray", "optuna", "torch", "torchvision", "redis", "onnxruntime")


@dataclass(frozen=True)
class Finding:
    """One check. what: its name. seen: what was found. remedy: what to do about it; empty if all is well."""

    what: str
    seen: str
    remedy: str = ""


def examine(settings: Settings, *, redis_url: str | None, storage: Path, address: str | None) -> Iterator[Finding]:
    """Run all checks, one after the other; a check that fails in a way of its own is a finding too."""
    checks: dict[str, Callable[[], Seen]] = {
        "Python": _python,
        "libraries": _libraries,
        "home": lambda: _home(settings.home),
        "storage": lambda: _folder(storage),
        "cache": lambda: _folder(settings.cache),
        "Redis": lambda: _redis(redis_url, settings.home),
        "torch": _torch,
        "Ray token": _token,
        "Ray": lambda: _ray(address),
    }
    for what, check in checks.items():
        try:
            yield Finding(what, *check())
        except TunerError as error:
            yield Finding(what, "not usable", str(error))
        except Exception as error:
            yield Finding(what, "not usable", f"{type(error).__name__}: {first_line(error)}")


def _python() -> Seen:
    version = ".".join(map(str, sys.version_info[:3]))
    remedy = "" if sys.version_info >= (3, 11) else "use Python 3.11 or later"
    return version, remedy


def _libraries() -> Seen:
    versions, missing = [], []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    remedy = f"install what is missing ({', '.join(missing)}): `pip install .` in the checkout" if missing else ""
    return ", ".join(versions), remedy


def _home(home: Path) -> Seen:
    found = _folder(home)
    private = home / "redis"
    if not found[1] and private.is_dir() and stat.S_IMODE(private.stat().st_mode) & 0o077:
        return f"others may enter {private}", f"chmod 700 {private}"
    return found


def _folder(folder: Path) -> Seen:
    """Write, sync and read back a file there, and look at the room that is left."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
            probe.seek(0)
            assert probe.read() == b"probe", "a disk gives back what was written"
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}", f"make {folder} writable, or choose another"
    free = shutil.disk_usage(folder).free
    remedy = "" if free >= MIN_FREE_BYTES else f"free at least {MIN_FREE_BYTES >> 30} GiB on that disk"
    return f"{folder}, {free / 2**30:.1f} GiB free", remedy


def _redis(url: str | None, home: Path) -> Seen:
    from tuner.store import catalog, client, embedded

    connection = client.connect(url or embedded.ensure_running(home))
    version = connection.info("server")["redis_version"]
    studies = len(catalog.list_studies(connection))
    kind = "the private server" if url is None else "as given"
    return f"{version}, {kind}, {studies} studies, keeps what it is given", ""


def _torch() -> Seen:
    import torch

    from tuner.training.hardware import has_fast_bf16

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"{len(names)} GPU: {', '.join(names)}", ""
    fast = "with" if has_fast_bf16(torch.device("cpu")) else "without"
    return f"no GPU, {os.cpu_count()} CPU cores {fast} fast bfloat16", ""


def _token() -> Seen:
    from tuner.ray_token import token_file

    path = token_file()
    if not path.is_file():
        return "none yet; Ray makes one when it first starts", ""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return f"others may read {path}", f"chmod 600 {path}"
    return f"{path}, for this user alone", ""


def _ray(address: str | None) -> Seen:
    if address is not None and is_http(address):
        version = open_dashboard(address).get_json("/api/version")["ray_version"]
        return f"{version} takes jobs at {address}", ""
    from tuner.spec import Resources
    from tuner.submit import default_workers, ray_cluster

    with ray_cluster(address, Resources(gpus=None, workers=default_workers())) as (slots, url):
        device = f"{slots.gpus:g} GPU each" if slots.gpus else f"{slots.cpus} CPUs each"
        where = "starts here" if address is None else f"joined at {address}"
        return f"{where}, room for {slots.count} trials with {device}, dashboard {url or 'none'}", ""
