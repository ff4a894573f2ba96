"""Opens a page in Chromium as somebody with a keyboard and somebody with a printer do, and says what they get, in JSON.

Usage: keys.py PAGE PROFILE_DIRECTORY [SCREENSHOT_PREFIX]
"""

import base64
import json
import pathlib
import re
import sys

from browser import FOCUS, NAMELESS, Browser

# What paper would cut off, and what of the controls is on it.
PAPER = """({
  cut: [...document.querySelectorAll('.scroll, table, svg, pre')]
    .filter((it) => it.getClientRects().length && it.getBoundingClientRect().right > innerWidth + 1)
    .map((it) => it.outerHTML.slice(0, 120)),
  controls: [...document.querySelectorAll('nav, button, .skip')].filter((it) => it.getClientRects().length).length,
  colours: [document.body, ...document.querySelectorAll('.badge, .swatch')]
    .map((it) => getComputedStyle(it)).map((it) => it.color + it.backgroundColor).join(),
})"""


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
