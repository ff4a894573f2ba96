"""Forces a breaker on the admin page in Chromium, releases it, and says what was seen, in JSON.

Usage: breaker_page.py URL PROFILE_DIRECTORY TOKEN_FILE [PICTURE]
"""

import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "crates/lameduck-cli/tests/page"))

from browser import NAMELESS, Browser

ROW = "document.querySelector('#breaker-rows tbody tr')?.innerText"
SAID = "document.getElementById('acted').textContent"
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def press(browser, text):
    browser.ask(f"[...document.querySelectorAll('button')].find((it) => it.textContent === {json.dumps(text)}).focus()")
    browser.key("Enter", 13, "\r")


def force(browser, deed, sure, state):
    press(browser, deed)
    asked = browser.ask("document.getElementById('sure-what').textContent")
    press(browser, sure)
    browser.until(f"{ROW}.includes({json.dumps(state)})")
    return [asked, browser.ask(SAID)]


def watch(browser, url, token, picture):
    for domain in ("Log", "Runtime"):
        browser.call(f"{domain}.enable")
    browser.open(url)
    browser.screen(1280, 800)
    seen = {"row": browser.until(ROW), "buttons": browser.ask("document.querySelectorAll('#breaker-rows button').length")}
    browser.ask("document.getElementById('token').focus()")
    browser.call("Input.insertText", text=token)
    browser.key("Enter", 13, "\r")
    browser.until("document.querySelectorAll('#breaker-rows button').length > 0")
    seen["forced"] = force(browser, "Open …", "Force it open", "forced-open")
    if picture:
        browser.picture(picture)
    seen["released"] = force(browser, "Release …", "Release it", "closed")
    seen["nameless"] = browser.ask(NAMELESS)
    seen["wide"] = []
    for width in (360, 1280):
        browser.screen(width, 800)
        browser.until("document.querySelector('svg').viewBox.baseVal.width <= innerWidth")
        if browser.ask(WIDE):
            seen["wide"].append(width)
    errors = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    seen["errors"] = [told for told in browser.told if told["method"] in errors]
    return seen


url, profile, token, *picture = sys.argv[1:]
browser = Browser(profile)
try:
    print(json.dumps(watch(browser, url, pathlib.Path(token).read_text().strip(), *(picture or [None]))))
finally:
    browser.process.kill()
