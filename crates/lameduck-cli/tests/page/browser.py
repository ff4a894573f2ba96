"""Chromium without a window, driven from here: pages opened, keys pressed, what they show asked for."""

import base64
import contextlib
import itertools
import json
import pathlib
import re
import subprocess
import sys
import time

from websockets.sync.client import connect

# Where the focus is, what a screen reader would call it, and whether it can be seen.
FOCUS = """(() => {
  const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
  const name = (it.getAttribute('aria-label') || it.textContent).trim().slice(0, 40);
  const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
    && box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight;
  return { tag: it.tagName.toLowerCase(), class: it.className, name, seen, open: it.parentElement?.open };
})()"""
# What says nothing to somebody who does not see it.
NAMELESS = """[...document.querySelectorAll('svg, button, a, summary, [tabindex]')].filter((it) => {
  if (it.closest('[aria-hidden=true]') || it.id === 'main') return false;
  const title = it.querySelector(':scope > title')?.textContent;
  const svg = it.tagName === 'svg';
  return !(it.getAttribute('aria-label') || it.getAttribute('aria-labelledby') || title || (!svg && it.textContent.trim()));
}).map((it) => it.outerHTML.slice(0, 120))"""


class Browser:
    def __init__(self, profile):
        flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-port=0"
        command = ["chromium", *flags.split(), f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on (ws://\S+)", line):
                break
        # Kept until the process ends.
        self.stack = contextlib.ExitStack()
        self.socket = self.stack.enter_context(connect(found[1], max_size=None, compression=None))
        self.ids = itertools.count(1)
        self.session = None
        # What was told unasked, in order.
        self.told = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method, **parameters):
        number = next(self.ids)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        return self.wait(lambda answer: answer.get("id") == number)["result"]

    def wait(self, is_it):
        while True:
            answer = json.loads(self.socket.recv(timeout=30))
            if "method" in answer:
                self.told.append(answer)
            if is_it(answer):
                return answer

    def ask(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def key(self, name, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, text=text)

    def open(self, page):
        self.call("Page.enable")
        url = page if page.startswith("http") else pathlib.Path(page).resolve().as_uri()
        self.call("Page.navigate", url=url)
        self.wait(lambda answer: answer.get("method") == "Page.loadEventFired")

    def until(self, expression):
        """Looks until it is true, and returns what it is."""
        end = time.monotonic() + 60
        while not (seen := self.ask(expression)):
            if time.monotonic() > end:
                sys.exit(f"never true: {expression}; the page says {self.ask('document.body.innerText')}")
            time.sleep(0.02)
        return seen

    def screen(self, width, height, scheme="light", media=""):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))
