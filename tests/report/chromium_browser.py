"""A small driver of headless Chromium over its debugging pipe, for the tests of the page: no package needed."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
#: Marks of the tests that need it.
IN_BROWSER = [
    pytest.mark.big,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One tab of headless Chromium; used as a context manager.

    Everything that the page writes to its console, every uncaught exception and every request is kept.
    """

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False, timeout: float = 60.0) -> None:
        self.size = (width, height)
        self.dark = dark
        self.timeout = timeout
        self.console: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._buffer = b""

    def __enter__(self) -> "Browser":
        assert CHROMIUM is not None
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()

        def as_3_and_4() -> None:  # the debugging pipe is on these descriptors
            high = [os.dup2(read_commands, 103), os.dup2(write_answers, 104)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=as_3_and_4,
        )  # fmt: skip
        os.close(read_commands)
        os.close(write_answers)
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        width, height = self.size
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)
        raise TimeoutError(f"{method} took more than {self.timeout} s")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(item.get("value", "")) for item in parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def open(self, page: Path, settle: float = 0.5) -> None:
        """Load a file and wait until its scripts have run."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + self.timeout
        while self.run("document.readyState") != "complete" and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(settle)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page (promises are awaited)."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys, by their DOM names (``Tab``, ``ArrowRight``, ``Enter``)."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}
        for key in keys:
            text = {"Enter": "\r", " ": " "}.get(key, "")
            common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key]}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, file: Path, whole: bool = True, clip: Sequence[float] | None = None) -> None:
        """A PNG of the page (or of x, y, width, height of it)."""
        options: dict[str, Any] = {"captureBeyondViewport": whole}
        if clip is not None:
            options["clip"] = dict(zip(("x", "y", "width", "height"), clip, strict=True), scale=1)
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **options)["data"]))

    def pdf(self, file: Path) -> None:
        """The page as it would be printed."""
        answer = self.send("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        file.write_bytes(base64.b64decode(answer["data"]))
