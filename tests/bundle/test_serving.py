"""`tuner serve` as a process, asked by HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tuner.bundle.predict import Classifier
from tuner.cli import app

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, body: bytes | None = None) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_served_model_says_what_predict_says_to_many_at_once_and_ends_by_a_signal(
    colour_bundle, odd_pictures, tmp_path
):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tuner", "serve", str(colour_bundle), "--port", str(port)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TUNER_", "RAY_"))}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**environment, "TUNER_HOME": str(tmp_path)}, stdout=output, stderr=output
        )
    try:
        deadline_s = time.monotonic() + 120
        while "Ctrl-C ends it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
        assert ask(f"{url}/healthz") == (200, {"status": "ok"})
        assert ask(f"{url}/metadata")[1]["classes"] == ["blue", "green", "red"]
        many = odd_pictures * 3
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda path: ask(f"{url}/predict", path.read_bytes()), many))
        for (status, found), expected in zip(
            answers, Classifier(colour_bundle / "model.onnx").predict(many), strict=True
        ):
            assert status == 200
            given = {one["class"]: one["probability"] for one in found["predictions"][0]["classes"]}
            np.testing.assert_allclose(
                [given[name] for name in ("blue", "green", "red")], expected.probabilities, atol=1e-6
            )
        assert ask(f"{url}/predict", b"no picture") == (422, {"error": "not a picture"})
        assert ask(f"{url}/nothing")[0] == 404
        taken = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert (taken.returncode, taken.stderr) == (
            2,
            f"error: cannot serve at 127.0.0.1:{port} (Address already in use): give another --port\n",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    assert code == 0
    lines = log.read_text().splitlines()
    assert lines[0] == f"serving {colour_bundle} at {url}: POST /predict, GET /healthz, GET /metadata; Ctrl-C ends it"
    # Ray's own processes may say that they were ended.
    assert [line for line in lines[1:] if not line.startswith(("\x1b[33m(raylet)", "(raylet)"))] == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/healthz", timeout=5)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "box.example"])
def test_a_model_is_not_served_to_others_unasked(colour_bundle: Path, host):
    result = CliRunner().invoke(app, ["serve", str(colour_bundle), "--host", host])
    assert f"--host {host} would let everybody who reaches this machine ask the model" in str(result.exception)


def test_what_is_no_bundle_is_not_served(tmp_path):
    result = CliRunner().invoke(app, ["serve", str(tmp_path)])
    assert "has no model.onnx" in str(result.exception)
