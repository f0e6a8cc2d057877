"""A real browser for tests of pages, where there is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "google-chrome", "chromium-browser")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required", "--window-size=1200,900",
)  # fmt: skip


class Browser:
    """A browser and its driver, spoken to over HTTP."""

    def __init__(self, driver: str, browser: str, folder: Path) -> None:
        command = [driver, "--port=0"]
        # A session of its own, so that the browser, which the driver starts, can be ended even without the driver.
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self.session = ""
        try:
            assert self.process.stdout is not None
            ports = (re.search(r"successfully on port (\d+)", line) for line in self.process.stdout)
            port = next((found[1] for found in ports if found), None)
            assert port is not None, "chromedriver ended before it listened"
            self.address = f"http://127.0.0.1:{port}/session"
            options = {"binary": browser, "args": [*FLAGS, f"--user-data-dir={folder}"]}
            logs = {"browser": "ALL", "performance": "ALL"}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": logs}
            self.session = self.ask("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        place = f"{self.address}/{self.session}{path}" if self.session else self.address
        with self.open(urllib.request.Request(place, data, method=method), timeout=60) as answer:
            return json.load(answer)["value"]

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.ask("/execute/sync", {"script": script, "args": arguments})

    def control(self, command: str, **parameters: Any) -> Any:
        """What a command of the DevTools protocol returns."""
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """What has been logged since the last time: by the page (``browser``), or of its requests (``performance``)."""
        return list(self.ask("/se/log", {"type": kind}))

    def click(self, where: str, index: int = 0) -> None:
        """Click one of the elements that a selector finds."""
        script = """
            const it = document.querySelectorAll(arguments[0])[arguments[1]];
            if (it.disabled) return false;
            it.click();
            return true;
        """
        assert self.run(script, where, index), f"{where} is disabled"

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Wait for something that is true, and give it."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.05)
        return found

    def close(self) -> None:
        """End both, whatever state they are in."""
        if self.session:
            with suppress(OSError):
                self.ask("", method="DELETE")
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that is ended with its driver, whatever happens."""
    driver = shutil.which("chromedriver")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if driver is None or browser is None:
        pytest.skip("no Chromium with chromedriver on this machine; install both to test the page in a browser")
    opened = Browser(driver, browser, tmp_path_factory.mktemp("browser"))
    try:
        yield opened
    finally:
        opened.close()
