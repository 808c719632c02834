from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tuner.errors import StoreError, StoreUnavailable
from tuner.store import client, embedded, server
from tuner.store.patience import Patience

START = "import pathlib, sys; from tuner.store import embedded; embedded.ensure_running(pathlib.Path(sys.argv[1]))"


@pytest.fixture
def home(redis_home: Path) -> Iterator[Path]:
    """A TUNER_HOME of its own without a server yet, in an awkward path. `redis_home` skips where there is no Redis."""
    folder = Path(tempfile.mkdtemp(prefix="tuner 'é\" "))
    yield folder
    embedded.stop(folder)
    shutil.rmtree(folder)


def pid(home: Path) -> int:
    return int((home / "redis" / "redis.pid").read_text())


def end(process_id: int) -> None:
    """kill -9, and wait until the process has ended: reap it where it is a child of this one."""
    process = psutil.Process(process_id)
    process.kill()
    process.wait(timeout=10)


def test_the_server_keeps_what_it_was_given_through_stop_and_start(home: Path) -> None:
    with client.connect(embedded.ensure_running(home)) as connected:
        connected.set("key", "value")
    assert embedded.is_running(home)
    assert embedded.stop(home)
    assert not embedded.is_running(home)
    with client.connect(embedded.ensure_running(home)) as connected:
        assert connected.get("key") == "value"


def test_the_server_keeps_what_it_was_given_through_kill_9(home: Path) -> None:
    with client.connect(embedded.ensure_running(home)) as connected:
        connected.set("key", "value")
    end(pid(home))
    assert not embedded.is_running(home)
    with client.connect(embedded.ensure_running(home)) as connected:
        assert connected.get("key") == "value"


def test_only_its_user_reaches_the_server(home: Path) -> None:
    embedded.ensure_running(home)
    folder = home / "redis"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "redis.sock").stat().st_mode) == 0o600
    assert psutil.Process(pid(home)).net_connections(kind="inet") == []


def test_a_folder_that_others_could_enter_is_closed(home: Path) -> None:
    (home / "redis").mkdir(mode=0o755)
    home.chmod(0o755)
    embedded.ensure_running(home)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (home, home / "redis")] == [0o755, 0o700]


def test_the_server_outlives_its_starter_in_a_session_of_its_own(home: Path) -> None:
    subprocess.run([sys.executable, "-c", START, str(home)], check=True, timeout=60)
    assert embedded.is_running(home)
    assert os.getsid(pid(home)) == pid(home)
    assert embedded.stop(home)


def test_two_processes_that_start_it_at_once_get_one_server(home: Path) -> None:
    starters = [subprocess.Popen([sys.executable, "-c", START, str(home)]) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        urls = list(pool.map(embedded.ensure_running, [home] * 4))
    assert [starter.wait(timeout=60) for starter in starters] == [0, 0]
    assert len(set(urls)) == 1
    started = [line for line in (home / "redis" / "redis.log").read_text().split("\n") if "Redis is starting" in line]
    assert len(started) == 1


def test_a_home_whose_path_is_too_long_has_its_socket_elsewhere_and_remembers_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_home = home / ("x" * 100)
    url = embedded.ensure_running(long_home)
    path = Path((long_home / "redis" / "socket-path").read_text())
    try:
        assert len(os.fsencode(path)) <= 100
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        monkeypatch.setenv("TMPDIR", str(home))  # another shell, another temporary folder: still the same server
        assert embedded.ensure_running(long_home) == url
        assert embedded.stop(long_home)
        assert embedded.ensure_running(long_home) == url
    finally:
        embedded.stop(long_home)
        path.parent.rmdir()


def test_a_remembered_socket_in_a_folder_that_others_may_write_is_not_trusted(home: Path) -> None:
    folder = home / "redis"
    folder.mkdir()
    (folder / "socket-path").write_text(str(home / "redis.sock"))
    home.chmod(0o777)
    assert server.socket_path(folder) == folder / "redis.sock"


def test_a_server_whose_socket_was_deleted_is_not_started_twice_and_can_be_stopped(home: Path) -> None:
    embedded.ensure_running(home)
    (home / "redis" / "redis.sock").unlink()
    with pytest.raises(StoreError, match=rf"\(process {pid(home)}\) does not answer; the last line of .* is: .*stop"):
        embedded.ensure_running(home, 0.1)
    assert embedded.stop(home)
    embedded.ensure_running(home)


def test_a_server_of_another_machine_on_a_shared_folder_is_named_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.ensure_running(home)
    lock = home / "redis" / "server.lock"
    record = lock.read_text()
    here = embedded.socket.gethostname()
    lock.write_text(record.replace(f'"{here}"', '"elsewhere"').replace('"pid": ', '"pid": 9'))
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "_answers", lambda path: False)  # as seen from the other machine
        with pytest.raises(StoreError, match="runs on elsewhere, where alone it can be reached"):
            embedded.ensure_running(home)
    lock.write_text(record)


def test_a_frozen_server_is_waited_for_until_the_deadline_and_no_longer(home: Path) -> None:
    with client.connect(embedded.ensure_running(home), timeout_s=0.5) as connected:
        patience = Patience("s", 2.0, revive=embedded.reviver(home, connected))
        os.kill(pid(home), signal.SIGSTOP)
        began_s = time.monotonic()
        try:
            with pytest.raises(
                StoreUnavailable, match=rf"\(process {pid(home)}\) does not answer; .* it stayed so for"
            ):
                patience.call("asking", connected.ping)
            took_s = time.monotonic() - began_s
        finally:
            os.kill(pid(home), signal.SIGCONT)
    assert 2.0 <= took_s < 4.5  # a command (0.5 s) and a look whether the server lives (1 s) later, at most


def test_a_server_that_cannot_load_its_data_is_reported_with_the_last_line_of_its_log(home: Path) -> None:
    embedded.ensure_running(home)
    embedded.stop(home)
    for path in (home / "redis").rglob("*.aof"):
        path.write_bytes(b"not a journal\r\n")
    with pytest.raises(StoreError, match=r"redis-server ended with status 1; the last line of .*redis.log is: .*aof"):
        embedded.ensure_running(home)
    assert not embedded.is_running(home)


def test_stopping_what_does_not_run_says_so_and_creates_nothing(tmp_path: Path) -> None:
    assert not embedded.stop(tmp_path / "home")
    assert not embedded.is_running(tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"^the private Redis in .* cannot be started: .*Not a directory"):
        embedded.ensure_running(tmp_path / "file" / "home")


def test_without_a_server_program_the_user_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StoreError, match=r"`apt-get install redis-server` .* `--redis URL`"):
        embedded.ensure_running(tmp_path)
    assert not embedded.is_running(tmp_path)


def test_a_server_on_the_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\necho Redis server v=6.2.14 sha=0\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server.find_binary() == str(binary)


def test_data_of_redis_7_is_not_hidden_by_an_older_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\necho Redis server v=6.2.14 sha=0\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "home" / "redis" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"is Redis 6, but the studies in .* were written by Redis 7 or later"):
        embedded.ensure_running(tmp_path / "home")


def test_a_stopped_server_that_hangs_is_not_waited_for_without_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.ensure_running(home)
    monkeypatch.setattr(embedded, "STOP_DEADLINE_S", -1.0)
    os.kill(pid(home), signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="does not end; the last line of"):
            embedded.stop(home)
    finally:
        os.kill(pid(home), signal.SIGCONT)
        monkeypatch.undo()
