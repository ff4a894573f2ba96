"""Watches a drain on the admin page of a demo in Chromium, starts it there, and says what was seen, in JSON.

Usage: watch.py URL PROFILE_DIRECTORY TOKEN_FILE REASON

On its standard output "drain it" asks for what is in flight to end, "the next one" for another process on the same addresses, "kill it" for
its end by SIGKILL; the last line is the JSON.
"""

import json
import pathlib
import sys

from browser import FOCUS, NAMELESS, Browser

HEADING = "document.querySelector('h1').textContent"
SAID = "document.getElementById('said').textContent"
LEAD = "document.getElementById('lead').textContent"
WIDE = """(() => { const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth > clientWidth; })()"""
# A page that could make markup of text could run it.
SINK = """(() => { try { document.body.insertAdjacentHTML('beforeend', '<b>'); return 'written'; } catch (error) { return error.name; } })()"""


def fits(browser):
    """Whether it is wider than a phone, a desk, in either light."""
    wide = []
    for width, scheme in ((360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")):
        browser.screen(width, 800, scheme)
        # A drawing is as wide as the page was when it was drawn.
        browser.until("document.querySelector('svg').viewBox.baseVal.width <= innerWidth")
        if browser.ask(WIDE):
            wide.append([width, scheme])
    browser.screen(1280, 800)
    return wide


def stops(browser):
    found = []
    browser.ask("document.activeElement.blur()")
    while len(found) < 60:
        browser.key("Tab", 9)
        stop = browser.ask(FOCUS)
        if stop["tag"] == "body":
            break
        found.append(stop)
    return found


def is_error(told):
    """Whether it is an error, a warning, or anything that the page said; but not what SINK provoked."""
    if told["method"] == "Log.entryAdded":
        entry = told["params"]["entry"]
        return entry["level"] != "verbose" and "TrustedHTML" not in entry["text"]
    return told["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")


def press(browser, text):
    """Presses a button as somebody with a keyboard does: the focus goes there, then Enter."""
    browser.ask(f"[...document.querySelectorAll('button')].find((it) => it.textContent === {json.dumps(text)}).focus()")
    browser.key("Enter", 13, "\r")


def watch(browser, url, token, reason):
    for domain in ("Network", "Log", "Runtime"):
        browser.call(f"{domain}.enable")
    browser.open(url)
    browser.screen(1280, 800)
    browser.until(f"{HEADING} === 'Running'")
    seen = {"running": browser.until(SAID), "stops": stops(browser), "nameless": browser.ask(NAMELESS), "sink": browser.ask(SINK)}
    seen["wide"] = fits(browser)
    seen["buttons"] = browser.ask("[...document.querySelectorAll('button')].filter((it) => it.getClientRects().length).map((it) => it.textContent)")
    browser.ask("document.getElementById('token').focus()")
    browser.call("Input.insertText", text=token)
    browser.key("Enter", 13, "\r")
    browser.until("!document.getElementById('action-part').hidden")
    seen["with_token"] = browser.ask("[...document.querySelectorAll('button')].filter((it) => it.getClientRects().length).map((it) => it.textContent)")
    # Neither the field nor any store keeps it.
    seen["kept"] = browser.ask("[document.getElementById('token').value, localStorage.length, sessionStorage.length, document.cookie]")
    press(browser, "Reload …")
    press(browser, "Reload it")
    seen["reload"] = browser.until("document.getElementById('acted').textContent")
    press(browser, "Drain …")
    seen["asked"] = browser.ask("document.getElementById('sure').open && document.activeElement.textContent")
    browser.ask("document.getElementById('reason').focus()")
    browser.call("Input.insertText", text=reason)
    press(browser, "Drain it")
    browser.until(f"{HEADING} === 'Draining'")
    seen["said"] = browser.until(f"{SAID}.startsWith('Draining') && {SAID}")
    seen["lead"] = browser.until(f"{LEAD}.startsWith('The exit waits') && {LEAD}")
    seen["cause"] = browser.ask("document.getElementById('cause').textContent")
    seen["blockers"] = browser.ask("document.querySelector('#blockers tbody').innerText")
    clock = "document.getElementById('last-clock').textContent"
    seen["deadline"] = browser.ask(clock)
    browser.until(f"{clock} !== {json.dumps(seen['deadline'])}")
    seen["wide"] += fits(browser)
    seen["lanes"] = browser.ask("document.querySelector('svg > title').textContent")
    # So far nothing can have gone wrong; afterwards nobody answers, and the browser says so.
    seen["errors"] = [it for it in browser.told if is_error(it)]
    print("drain it", flush=True)
    browser.until(f"{HEADING} === 'Gone'")
    seen["gone"] = browser.ask(LEAD)
    seen["gone_said"] = browser.ask(SAID)
    print("the next one", flush=True)
    browser.until(f"{HEADING} === 'Running'")
    seen["next_said"] = browser.ask(SAID)
    print("kill it", flush=True)
    browser.until(f"{HEADING} === 'Gone'")
    seen["killed"] = browser.ask(LEAD)
    seen["markup"] = browser.ask("document.querySelectorAll('img, main script, b i').length")
    requests = [it["params"]["request"]["url"] for it in browser.told if it["method"] == "Network.requestWillBeSent"]
    seen["elsewhere"] = [url for url in requests if not url.startswith((sys.argv[1], "data:"))]
    return seen


def main():
    browser = Browser(sys.argv[2])
    try:
        token = pathlib.Path(sys.argv[3]).read_text().strip()
        print(json.dumps(watch(browser, sys.argv[1], token, sys.argv[4])))
    finally:
        browser.process.kill()
        browser.process.wait()


main()
