"""Opens a page in Chromium as somebody with a keyboard and somebody with a printer do, and says what they get, in JSON.

Usage: keys.py PAGE PROFILE_DIRECTORY [SCREENSHOT_PREFIX]
"""

import base64
import contextlib
import itertools
import json
import pathlib
import re
import subprocess
import sys

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
# What paper would cut off, and what of the controls is on it.
PAPER = """({
  cut: [...document.querySelectorAll('.scroll, table, svg, pre')]
    .filter((it) => it.getClientRects().length && it.getBoundingClientRect().right > innerWidth + 1)
    .map((it) => it.outerHTML.slice(0, 120)),
  controls: [...document.querySelectorAll('nav, button, .skip')].filter((it) => it.getClientRects().length).length,
  colours: [document.body, ...document.querySelectorAll('.badge, .swatch')]
    .map((it) => getComputedStyle(it)).map((it) => it.color + it.backgroundColor).join(),
})"""


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
        self.call("Page.navigate", url=pathlib.Path(page).resolve().as_uri())
        self.wait(lambda answer: answer.get("method") == "Page.loadEventFired")

    def screen(self, width, height, scheme="light", media=""):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))


def look(browser, page, pictures):
    browser.open(page)
    browser.screen(1280, 800)
    stops = []
    while len(stops) < 400:
        browser.key("Tab", 9)
        stop = browser.ask(FOCUS)
        if stop["tag"] == "body":
            break
        stops.append(stop)
    seen = {"stops": stops, "nameless": browser.ask(NAMELESS)}
    # The first summary, by keyboard alone.
    browser.ask("document.querySelector('summary')?.focus()")
    before = browser.ask(FOCUS).get("open")
    browser.key("Enter", 13, "\r")
    seen["unfolds"] = [before, browser.ask(FOCUS).get("open")]
    # 680 pixels are what A4 leaves between its margins. Whoever reads in the dark has white paper too.
    browser.screen(680, 900, "light", "print")
    seen["paper"] = browser.ask(PAPER)
    browser.screen(680, 900, "dark", "print")
    seen["in_the_dark"] = browser.ask(PAPER)
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=False)["data"])
    seen["pages"] = len(re.findall(rb"/Type\s*/Page\b", pdf))
    if pictures:
        pathlib.Path(pictures + "print.pdf").write_bytes(pdf)
        for name, width, scheme in (("desk", 1280, "light"), ("dark", 1280, "dark"), ("phone", 360, "light")):
            browser.screen(width, 900, scheme)
            browser.picture(f"{pictures}{name}.png")
    return seen


def main():
    browser = Browser(sys.argv[2])
    try:
        print(json.dumps(look(browser, sys.argv[1], (sys.argv[3:] or [""])[0])))
    finally:
        browser.process.kill()
        browser.process.wait()


main()
