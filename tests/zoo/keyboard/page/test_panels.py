"""The page in a headless browser: a person chooses a model and colours, blocks and forgets words, times the device."""

import gzip
import json
import threading
from gzip import compress as packed

import pytest

from bench.chromium import READY
from zoo.keyboard.demo_server import Handler

from .visitor import BAR, STATUS, TEXT, bar, typed

MODEL = "models/tiny/model.rnnlm.gz"


def test_a_suggestion_that_is_never_to_come_again(page):
    word = typed(page, "th")[1]
    page.touch("#bar button:nth-child(2)", hold=0.8)
    page.wait("!document.querySelector('#toast').hidden")
    assert page.evaluate("document.querySelector('#toast').textContent").startswith(f"“{word}” will never be suggested")
    assert page.evaluate(TEXT) == "th"  # and it was not taken
    page.wait(f"!{BAR}.includes({json.dumps(word)})")
    page.touch("#toast button")
    page.wait(f"{BAR}.includes({json.dumps(word)})")


def test_offensive_words(page):
    assert not any("shit" in text for text in typed(page, "shi")[1:])
    assert typed(page, "t")[1] == "“shit”"  # typing one is always allowed
    page.evaluate("document.querySelector('#block').click()")
    page.press("Backspace")
    page.wait(f"{BAR}.includes('shit')")
    page.evaluate("document.querySelector('#block').click()")


def test_words_are_learnt_kept_and_forgotten(page):
    forget_all(page)
    typed(page, "Zorkmid is it. Zorkmid is it. ")
    assert "Zorkmid" in typed(page, "Zork")
    page.touch("#private")
    typed(page, "mid Quuxly Quuxly ")
    assert typed(page, "Quux")[1] == "“Quux”"
    page.touch("#private")
    page.wait("localStorage['rnnlm-keyboard.personal']?.includes('zorkmid')")
    page.evaluate("window.isOld = true")
    page.call("Page.reload")
    page.wait(f"!window.isOld && {READY}")
    assert "Zorkmid" in typed(page, "Zork")
    page.evaluate("document.querySelector('#word').value = 'zorkmid'")
    page.evaluate("document.querySelector('#forget-word').requestSubmit()")
    page.wait(f"!{BAR}.includes('Zorkmid')")
    page.wait("!localStorage['rnnlm-keyboard.personal'].includes('zorkmid')")


def test_what_is_forgotten_in_one_tab_is_not_brought_back_by_another(page):
    store, forget = "localStorage['rnnlm-keyboard.personal']", """= '{"format":1,"words":[]}'"""
    forget_all(page)
    typed(page, "Zorkmid is it. ")
    page.wait(f"{store}?.includes('zorkmid')")
    page.evaluate(store + forget)  # by another tab, which this one is told of
    page.evaluate("dispatchEvent(new StorageEvent('storage', {key: 'rnnlm-keyboard.personal'}))")
    typed(page, "Grobnik Grobnik ")
    page.wait(f"{store}.includes('grobnik')")
    assert not page.evaluate(f"{store}.includes('zorkmid')")
    page.evaluate(store + forget)  # and of which it is not, because it sleeps
    typed(page, "Quuxly Grob")
    page.wait(f"!{BAR}.includes('Grobnik')")
    assert not page.evaluate(f"{store}.includes('grobnik')")


def forget_all(page) -> None:
    """A tap that asks and one that does it."""
    for _ in range(2):
        page.evaluate("document.querySelector('#forget-all').click()")
    page.wait("document.querySelector('#forget-all').textContent === 'Forget all'")


def test_everything_is_forgotten_at_a_second_tap_only(page):
    typed(page, "Zorkmid is it. Zorkmid is it. ")
    page.touch("#open-settings")
    page.touch("#forget-all")
    page.wait("document.querySelector('#forget-all').textContent.startsWith('Tap again')")
    page.touch("#settings button")  # closes it, and with it the question
    page.wait("document.querySelector('#forget-all').textContent === 'Forget all'")
    page.wait("document.activeElement.id === 'text'")
    assert "Zorkmid" in typed(page, "Zork")
    page.touch("#open-settings")
    page.touch("#forget-all")
    page.touch("#forget-all")
    page.wait("document.querySelector('#settings #toast:not([hidden])')?.textContent.startsWith('Forgotten')")
    page.touch("#settings button")
    page.wait(f"!{BAR}.includes('Zorkmid')")


def test_what_is_said_in_a_panel_can_be_read_there_and_covers_no_button(page):
    page.touch("#open-settings")
    page.touch("#forget-day")
    page.wait("document.querySelector('#settings #toast:not([hidden])')?.textContent.startsWith('Nothing to forget')")
    page.touch("#settings button")  # closes it
    page.wait("!document.querySelector('#settings').open && document.activeElement.id === 'text'")


def test_nothing_is_wider_than_a_small_phone(page):
    size = {"height": 568, "deviceScaleFactor": 1, "mobile": True}
    page.call("Emulation.setDeviceMetricsOverride", width=320, **size)
    try:
        assert page.evaluate("document.documentElement.scrollWidth") == 320
    finally:
        page.call("Emulation.setDeviceMetricsOverride", width=390, **{**size, "height": 844})


def test_another_model(page):
    page.evaluate("document.querySelector('#open-models').click()")
    assert page.evaluate("document.querySelectorAll('#choice input').length") == 2
    page.evaluate("document.querySelector('#choice input[value=other]').click()")
    page.wait(f"{READY} && {STATUS}.startsWith('other')")
    page.evaluate("document.querySelector('#choice input[value=tiny]').click()")
    page.wait(f"{READY} && {STATUS}.startsWith('tiny')")
    assert any(bar(page))


def test_times_of_this_device(page):
    page.evaluate("document.querySelector('#open-models').click()")
    page.evaluate("document.querySelector('#time').click()")
    page.wait("!document.querySelector('#save-times').disabled")
    rows = page.evaluate("document.querySelector('#times table').innerText")
    assert "median" in rows and "tiny" in rows


def test_dark(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    bright = page.evaluate(colour)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = page.evaluate(colour)
    assert dark != bright
    choose = "(theme => {{ theme.value = '{}'; theme.dispatchEvent(new Event('change')); }})(document.all.theme)"
    page.evaluate(choose.format("light"))
    assert page.evaluate(colour) == bright
    page.evaluate(choose.format(""))
    page.call("Emulation.setEmulatedMedia", features=[])


def test_a_screen_reader_is_told(page):
    typed(page, "th")
    page.wait("document.querySelector('#voice').textContent.startsWith('Suggestions: ')")
    assert page.evaluate("document.querySelector('#voice').getAttribute('aria-live')") == "polite"
    nameless = """[...document.querySelectorAll('button, input, select, textarea')].filter((one) => !(
        one.ariaLabel || one.textContent.trim() || one.labels?.length)).map((one) => one.outerHTML)"""
    assert page.evaluate(nameless) == []


DAMAGED = {
    "absent": (MODEL, lambda content: None, "answers 404"),
    "no-gzip": (MODEL, lambda content: b"<html>not here</html>", "is damaged or cut off"),
    "cut-off": (MODEL, lambda content: content[:-100], "is damaged or cut off"),
    "cut-off-inside": (MODEL, lambda content: packed(gzip.decompress(content)[:-64]), "the file is cut off"),
    "another-file": (MODEL, lambda content: packed(b"PK" + gzip.decompress(content)), "this is no file of zoo export"),
    "damaged": (MODEL, lambda content: packed(changed(gzip.decompress(content), 60)), "the file is damaged"),
    "no-simd": ("rnnlm.wasm", lambda content: changed(content, 40), "WebAssembly with SIMD is missing"),
    "no-step": ("rnnlm.wasm", lambda content: None, "answers 404"),
}


def changed(content: bytes, place: int) -> bytes:
    """With another byte there."""
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize(("file", "damage", "told"), DAMAGED.values(), ids=DAMAGED)
def test_without_a_model_the_short_list_goes_on(browser, served, page_folder, file, damage, told):
    path = page_folder / file
    content = path.read_bytes()
    damaged = damage(content)
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    try:
        browser.call("Storage.clearDataForOrigin", origin=served.url.rstrip("/"), storageTypes="all")
        browser.open(served.url)
        browser.wait(f"{STATUS}.includes({json.dumps(told)})")
        assert "zoo demo" in browser.evaluate(STATUS) or "update it" in browser.evaluate(STATUS)  # what to do
        assert len(typed(browser, "th")) == 3
    finally:
        path.write_bytes(content)
        browser.problems.clear()


def test_the_bar_goes_on_while_another_model_is_loaded(page, monkeypatch):
    answer, may_go = Handler.do_GET, threading.Event()

    def wait(handler):
        if "models/other" in handler.path:
            may_go.wait(60)
        answer(handler)

    monkeypatch.setattr(Handler, "do_GET", wait)
    page.evaluate("caches.keys().then((names) => Promise.all(names.map((name) => caches.delete(name))))")
    page.evaluate("document.querySelector('#open-models').click()")
    page.evaluate("document.querySelector('#choice input[value=other]').click()")
    page.evaluate("document.querySelector('#models').close()")
    page.evaluate("document.querySelector('#text').focus()")
    assert typed(page, "I th")[0] == "“th”"
    assert not page.evaluate(READY)
    may_go.set()
    page.wait(f"{READY} && {STATUS}.startsWith('other')")
    page.evaluate("document.querySelector('#open-models').click()")
    page.evaluate("document.querySelector('#choice input[value=tiny]').click()")
    page.wait(f"{READY} && {STATUS}.startsWith('tiny')")
