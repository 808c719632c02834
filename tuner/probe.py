"""Whether each machine of a joined cluster can run trials: has this program, and sees the folder of the checkpoints."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from pathlib import Path

from tuner import __version__
from tuner.errors import ClusterError, first_line

PROBE_TIMEOUT_S = 60.0


def check_machines(storage: Path) -> None:
    """Have a task on each machine with CPUs read a file that this process wrote into `storage`, and write one.

    Raises ClusterError for a machine that does not answer within a minute, cannot write there, or writes somewhere
    else, and for one with another version of this program.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = f".probe-{uuid.uuid4().hex}"
    try:
        storage.mkdir(parents=True, exist_ok=True)
        (storage / f"{mark}-driver").touch()
    except OSError as error:
        raise ClusterError(f"storage {storage} cannot be written here ({first_line(error)}): give --storage") from None
    try:
        answers = {}
        look = ray.remote(num_cpus=0, max_retries=0)(look_at)
        for node in ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU", 0) >= 1:
                place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                name = f"{mark}-{node['NodeID']}"
                answers[f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", name] = look.options(
                    scheduling_strategy=place
                ).remote(str(storage), f"{mark}-driver", name)
        deadline_s = time.monotonic() + PROBE_TIMEOUT_S
        for (machine, name), answer in answers.items():
            try:
                trouble, version = ray.get(answer, timeout=max(0.1, deadline_s - time.monotonic()))
            except Exception as error:
                raise ClusterError(
                    f"machine {machine} ran no task of tuner ({first_line(error)}): it needs tuner {__version__} in "
                    "the Python that Ray runs there"
                ) from error
            if version != __version__:
                raise ClusterError(f"machine {machine} has tuner {version}, this one {__version__}: install the same")
            if trouble or not (storage / name).exists():
                raise ClusterError(
                    f"storage {storage} is not shared with machine {machine}"
                    f" ({trouble or 'what it writes there is not seen here'}): give --storage a folder that all "
                    "machines have mounted at that path (NFS, for example)"
                )
    finally:
        for file in storage.glob(f"{mark}-*"):
            with suppress(OSError):
                file.unlink()


def look_at(storage: str, theirs: str, mine: str) -> tuple[str, str]:
    """On a machine: (what is wrong there, empty if nothing is; the version of this program)."""
    try:
        if not (Path(storage) / theirs).exists():
            return "it does not see what is written here", __version__
        (Path(storage) / mine).touch()
    except OSError as error:
        return first_line(error), __version__
    return "", __version__
