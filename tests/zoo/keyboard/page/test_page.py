"""The page in a headless browser: a person types, takes, undoes, goes offline, chooses, forgets."""

import json
import os
import time

import pytest

READY = "document.querySelector('#progress')?.hidden"
BAR = "[...document.querySelectorAll('#bar button')].map((button) => button.textContent)"
TEXT = "document.querySelector('#text').value"
STATUS = "(document.querySelector('#status')?.textContent ?? '')"
ALT = 1  # of the protocol's modifiers
KEYS_PER_SECOND = 30


@pytest.fixture
def page(browser, served):
    """The page with its model loaded; nothing is remembered of earlier tests."""
    browser.problems.clear()
    browser.requests.clear()
    browser.open(served.url)
    browser.wait(READY)
    yield browser
    assert browser.problems == []


def typed(page, text):
    """Types with the machine's keyboard; the bar once it is that of the text."""
    for letter in text:
        page.press(letter)
    return bar(page)


def bar(page):
    """The texts of the three slots, when they are of what stands in the field."""
    page.evaluate("new Promise(requestAnimationFrame)")
    page.wait("seen.painted === document.querySelector('#text').value")
    return page.evaluate(BAR)


def show(page, keys):
    """Types on the keys of the page."""
    for key in keys:
        page.touch(f'#keys [data-key="{"space" if key == " " else key}"]')


def test_a_sentence_with_a_suggestion_taken_and_taken_back(page):
    assert all(bar(page))  # next words before anything is typed
    assert typed(page, "I th")[0] == "“th”"
    best = page.evaluate(BAR)[1]
    page.touch("#bar button:nth-child(2)")
    bar(page)
    assert page.evaluate(TEXT) == f"I {best} "
    page.press("Backspace")
    assert bar(page)[0] == "“th”" and page.evaluate(TEXT) == "I th"
    page.press("2", "Digit2", ALT)
    typed(page, ".")  # the sign eats the space of the suggestion
    assert page.evaluate(TEXT) == f"I {best}. "
    typed(page, " ")  # which the keyboard has put there already
    assert page.evaluate(TEXT) == f"I {best}. "
    page.touch("#send")
    bar(page)
    assert page.evaluate("document.querySelector('#messages').textContent") == f"I {best}."


def test_keys_of_the_page(page):
    show(page, "th")
    assert page.evaluate(TEXT) == "Th"  # a sentence starts with a capital
    show(page, ["delete", "delete", "shift", "i", " ", "signs", "3"])
    bar(page)
    assert page.evaluate(TEXT) == "i 3"
    assert page.evaluate("document.activeElement.id") == "text"
    assert page.evaluate("document.querySelector('#text').inputMode") == "none"


def test_the_literal_is_always_there(page):
    assert typed(page, "xyzzyq")[1] == "“xyzzyq”"
    assert typed(page, " ") and page.evaluate(TEXT) == "xyzzyq "


def test_offline_after_the_first_load(browser, page, served):
    page.wait("navigator.serviceWorker.controller")
    expected = typed(page, "I ")
    served.shutdown()
    served.server_close()
    page.evaluate("window.isOld = true")
    browser.call("Page.reload")
    page.wait(f"!window.isOld && {READY}")
    assert typed(page, "I ") == expected
    assert page.evaluate(STATUS).startswith("tiny")


def test_thirty_keys_a_second(page):
    """No frame without a word, no bar painted of another text than the field's, and hardly ever two keys late."""
    sentence = "I think that they will thank you. What would those people say then? Hello there, how are you? "
    start = time.monotonic()
    page.evaluate("seen.frames = []")
    for number, letter in enumerate(sentence):
        time.sleep(max(0.0, start + number / KEYS_PER_SECOND - time.monotonic()))
        page.press(letter)
    assert bar(page)
    seen = page.evaluate("seen")
    assert seen["wrong"] == []
    assert all(shown for _, _, shown in seen["frames"])
    if os.getloadavg()[0] <= (os.cpu_count() or 1):  # on a busy machine the keys themselves are late
        late = sum(len(text) - len(painted) > 1 for text, painted, _ in seen["frames"])
        assert late <= 0.05 * len(seen["frames"])


def test_nothing_leaves_the_page(page, served):
    typed(page, "I think that shit happens. ")
    page.touch("#send")
    time.sleep(0.2)
    assert {request["method"] for request in page.requests} == {"GET"}
    assert all(request["url"].startswith((served.url, "blob:")) for request in page.requests)
    assert "rnnlm" not in json.dumps([request["url"] for request in page.requests])
    refused = page.evaluate("fetch('https://example.org/', {method: 'POST'}).then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    page.problems.clear()  # the browser says so too


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
    page.evaluate("document.querySelector('#forget-all').click()")
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


@pytest.mark.parametrize(
    "text", ["😀👩‍👩‍👧 ", "שלום עולם ", "مرحبا ", "word " * 2000, "x" * 10_000, "\n\n\n", "\u200f\ufeff\0"],
    ids=["emoji", "hebrew", "arabic", "paste", "long-word", "lines", "invisible"],
)  # fmt: skip
def test_odd_text(page, text):
    paste = f"""(() => {{
        const area = document.querySelector('#text');
        area.setRangeText({json.dumps(text)}, 0, 0, 'end');
        area.dispatchEvent(new InputEvent('input'));
    }})()"""
    page.evaluate(paste)
    assert any(bar(page))
    typed(page, "I th")
    assert page.evaluate(BAR)[0] in ("“th”", "“I")
    for _ in "I th":
        page.press("Backspace")
    assert page.evaluate(TEXT) == text.replace("\0", "\0")
    assert any(bar(page))


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
    page.evaluate("document.querySelector('#time-wasm').click()")
    page.wait("!document.querySelector('#save-times').disabled")
    rows = page.evaluate("document.querySelector('#times table').innerText")
    assert "median" in rows and "wasm" in rows


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


def test_without_a_model_the_short_list_goes_on(browser, served, page_folder):
    model = page_folder / "models" / "tiny" / "model.onnx.gz"
    content = model.read_bytes()
    model.unlink()
    try:
        browser.call("Storage.clearDataForOrigin", origin=served.url.rstrip("/"), storageTypes="all")
        browser.open(served.url)
        browser.wait(f"{STATUS}.includes('zoo demo')")  # what to do
        assert len(typed(browser, "th")) == 3
    finally:
        model.write_bytes(content)
        browser.problems.clear()
