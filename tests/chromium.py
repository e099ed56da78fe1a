"""A headless Chromium for tests of pages, driven over its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.sync.client import ClientConnection, connect

_PATIENCE = 60  # seconds; a loaded machine starts a browser slowly


# Text without digits, and how many elements there are: charts draw some that have no text.
_LOOK = "[(document.body?.innerText ?? '').replace(/[0-9]+/g, '#'), document.querySelectorAll('*').length]"


class Tab:
    """One tab: opens a page, evaluates JavaScript, notes every request and error."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=_PATIENCE))
            if said.get("id") == self._number:
                assert "error" not in said, f"{method}: {said['error']}"
                return dict(said.get("result", {}))
            self.events.append(said)

    def open(self, page: Path, width: int = 1280, height: int = 900) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.visit(page.resolve().as_uri())

    def visit(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + _PATIENCE
        while self.evaluate("document.readyState") != "complete":
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def settle(self, still: float = 2.0, patience: float = _PATIENCE) -> bool:
        """Wait until the page shows some text, asks for nothing, and has looked the same for `still` seconds.

        Digits may change: some pages count seconds. Returns whether that came within `patience` seconds.
        """
        deadline, before, since = time.monotonic() + patience, None, time.monotonic()
        while time.monotonic() < deadline:
            seen = (self.evaluate(_LOOK), self._pending())
            if seen != before:
                before, since = seen, time.monotonic()
            if time.monotonic() - since >= still and seen[0][0].strip() and not seen[1]:
                return True
            time.sleep(0.1)
        return False

    def _pending(self) -> frozenset[str]:
        """Name the requests that are under way; what came before a page was left has ended with it."""
        pending: set[str] = set()
        for event in self.events:
            method, params = event.get("method", ""), event.get("params", {})
            if method == "Page.frameNavigated":
                pending.clear()
            elif method == "Network.requestWillBeSent":
                pending.add(params["requestId"])
            elif method in {"Network.loadingFinished", "Network.loadingFailed"}:
                pending.discard(params["requestId"])
        return frozenset(pending)

    def evaluate(self, code: str) -> Any:
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def choose(self, element: str, value: str) -> None:
        """Give an input of the page a value, as a person does."""
        self.evaluate(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input')); }})"
            f"(document.getElementById({json.dumps(element)}))"
        )

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def requests(self) -> list[str]:
        """Return the addresses asked for so far."""
        sent = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def errors(self) -> list[str]:
        return [json.dumps(e["params"]) for e in self.events if e.get("method") == "Runtime.exceptionThrown"]


@contextmanager
def open_chromium(folder: Path) -> Iterator[Tab]:
    """Start a browser whose profile and downloads lie in `folder`; skip the test where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
    profile = folder / "profile"
    command = [program, *words, f"--user-data-dir={profile}", "--no-first-run", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        # No pings: their answers queue behind what the page says while a test does something else.
        address = _address(profile, process)
        with connect(address, max_size=None, open_timeout=_PATIENCE, proxy=None, ping_interval=None) as socket:
            tab = Tab(socket)
            (folder / "downloads").mkdir(exist_ok=True)
            tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "downloads"))
            yield tab
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE)


def _address(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait for the browser's port and return its tab's address."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "Chromium did not start"
        port = profile / "DevToolsActivePort"
        if port.is_file() and port.read_text().count("\n"):
            with urlopen(f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list") as answer:
                pages = [t for t in json.load(answer) if t["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError("Chromium gave no address")
