"""A headless Chromium, spoken to through chromedriver as the WebDriver standard says: JSON over HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> tuple[str, str] | None:
    """Paths of the browser and of its driver, None if one of them is not installed."""
    browser = next(filter(None, map(shutil.which, BINARIES)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Page:
    """One tab."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, path: Path) -> None:
        """Open a file, and return when it is loaded."""
        self._call("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, condition: str, timeout_s: float = 30.0) -> None:
        """Until a JavaScript expression is true."""
        deadline_s = time.monotonic() + timeout_s
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < deadline_s, f"{condition} did not become true; {self.log()}"
            time.sleep(0.1)

    def log(self) -> list[str]:
        """What the page has complained of so far."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        """Write the window as a PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def whole_screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        size = self._chrome("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._chrome("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def prefer(self, scheme: str) -> None:
        """As if the user preferred `light` or `dark` pages."""
        self._chrome("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def measure_cpu(self) -> None:
        """Have `cpu_seconds` count: of the first page that is opened then; a later one may get a new process."""
        self._chrome("Performance.enable", timeDomain="threadTicks")

    def cpu_seconds(self) -> float:
        """What the main thread of the page has computed so far."""
        metrics = {one["name"]: one["value"] for one in self._chrome("Performance.getMetrics")["metrics"]}
        return float(metrics["ThreadTime"])

    def _chrome(self, command: str, **params: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        return call(method, self._url + path, content)


def call(method: str, url: str, content: dict[str, Any] | None = None) -> Any:
    """The value of chromedriver's answer."""
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path_of(url)}: {error.read().decode()[:500]}") from None


def path_of(url: str) -> str:
    """What of a URL tells the command."""
    return url.rpartition("/")[2]


@contextmanager
def open_browser(profile: Path, *, width: int = 1280, height: int = 900, phone: bool = False) -> Iterator[Page]:
    """A browser whose window is so large, in CSS pixels; it ends with the block. phone: with touch and a phone's way
    of laying pages out."""
    found = find_browser()
    assert found is not None, "no browser"
    browser, driver = found
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = f"http://127.0.0.1:{port}"
    session = ""
    try:
        _wait_for(server, process)
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--enable-unsafe-swiftshader",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ]
        options: dict[str, Any] = {"binary": browser, "args": arguments}
        if phone:
            metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True, "mobile": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = call("POST", f"{server}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{server}/session/{answer['sessionId']}"
        yield Page(session)
    finally:
        if session:
            call("DELETE", session)
        process.terminate()
        process.wait(timeout=30)


def _wait_for(server: str, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        assert process.poll() is None, "chromedriver ended at once"
        try:
            if call("GET", f"{server}/status")["ready"]:
                return
        except urllib.error.URLError:
            pass
        assert time.monotonic() < deadline_s, "chromedriver did not start"
        time.sleep(0.1)
