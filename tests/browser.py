"""A headless Chromium for tests of HTML reports: what a page looks like at a width, in light or dark.

It speaks the DevTools protocol over a pipe, so nothing but the browser itself has to be installed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
]  # fmt: skip
# The browser reads from descriptor 3 and writes to 4.
_MOVE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE = 120  # seconds for one answer, on a machine that does much else

_OVERFLOW = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
_CLIPPED = """[...document.querySelectorAll('figure.chart svg text, figure.chart .what')].filter(e => {
  const box = e.getBoundingClientRect(), at = e.closest('section').getBoundingClientRect();
  return box.width && (box.left < at.left || box.right > at.right) }).map(e => e.textContent)"""
# Contrast of text with what is behind it (WCAG 2): colours are resolved through a canvas, translucent ones laid over
# each other.
_CONTRAST = """(() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => e ? over(rgba(getComputedStyle(e).backgroundColor), behind(e.parentElement)) : [255, 255, 255];
  const bad = [], texts = 'h1, h2, h3, p, td, th, a, summary, small, b, .what, figcaption, svg text';
  for (const e of document.querySelectorAll(texts)) {
    if (!e.getBoundingClientRect().width || !e.textContent.trim()) continue;
    const style = getComputedStyle(e), svg = e.namespaceURI.endsWith('svg');
    const ground = behind(svg ? e.closest('div') : e);
    const ink = over(rgba(svg ? style.fill : style.color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) bad.push([e.tagName, e.textContent.slice(0, 30), (a + .05) / (b + .05)]);
  }
  return bad })()"""


class Browser:
    """A running Chromium with one page."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._number, self._rest = commands, answers, 0, b""
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], _PATIENCE)[0], "the browser does not answer"
            chunk = os.read(self._answers, 1 << 20)
            assert chunk, "the browser has ended"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, width: int, dark: bool = False) -> None:
        """Show a file at a width of so many CSS pixels."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            answer = self._read()
            self.events.append((answer["method"], answer["params"]))

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[Any]:
        """What stands in the console of the page: errors, warnings, violations."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [content for method, content in self.events if method in kinds]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, those inside itself left out."""
        asked = [content["request"]["url"] for method, content in self.events if method == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16_000), "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    binary = next((found for name in NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"no browser ({', '.join(NAMES)}): apt-get install chromium")
    inner_in, commands = os.pipe()
    answers, inner_out = os.pipe()
    far = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (inner_in, inner_out)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [sys.executable, "-c", _MOVE, *map(str, far), binary, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=far,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        for end in (inner_in, inner_out, *far):
            os.close(end)
        try:
            found = Browser(commands, answers)
            yield found
            found._session = None
            found.call("Browser.close")
            process.wait(_PATIENCE)
        finally:
            process.kill()
            process.wait()
            os.close(commands)
            os.close(answers)


def check_layout(page: Browser, width: int) -> None:
    """Nothing of the open page sticks out or is cut off, and all of its text has the contrast to be read."""
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(_OVERFLOW) == []
    assert page.evaluate(_CLIPPED) == []
    assert page.evaluate(_CONTRAST) == []
