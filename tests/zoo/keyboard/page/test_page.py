"""The page in a headless browser: a person types, takes, undoes, goes offline, types fast and odd."""

import json
import os
import time

import pytest

from bench.chromium import READY
from zoo.keyboard import Keyboard
from zoo.keyboard.terminal import Typing

from .visitor import BAR, STATUS, TEXT, bar, show, typed

ALT = 1  # of the protocol's modifiers
KEYS_PER_SECOND = 30


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


@pytest.mark.parametrize(
    "keys",
    [
        "Hello there, how are you? I'm good... ",
        'they said "it is good" (again); then nothing!',
        "well-known words, and/or not: it's 50% of $9.",
        "I th\t. They th\t, ok",
        "I th\t\x7fey\tth\t\t? ",
    ],
    ids=["words", "quotes", "signs", "taken", "taken-back"],
)
def test_the_text_is_that_of_python(page, page_folder, keys):
    """Tab takes the word in the middle; the space at the end is not compared: the page waits until it is typed."""
    typing = Typing(Keyboard(page_folder.parent / "tiny"))
    for key in keys:
        typing.press(key)
        if key == "\t":
            bar(page)
            page.press("2", "Digit2", ALT)
        else:
            page.press("Backspace" if key == "\x7f" else key)
    bar(page)
    assert page.evaluate(TEXT).rstrip() == typing.shown.rstrip()


def test_what_is_typed_otherwise_stays_as_it_is(page):
    text = "e.g. 3.5 - a : b :) http://c.d"
    typed(page, text)
    assert page.evaluate(TEXT) == text


def test_keys_of_another_script(page):
    """Those of a Cyrillic model; an unknown script has Latin ones."""
    page.evaluate(
        """import('./keys.js').then(({Keys}) => {
            window.other = document.createElement('div');
            window.typed = '';
            window.keys = new Keys(other);
            keys.addEventListener('type', ({detail}) => window.typed += detail);
            keys.script('Cyrl');
            keys.starts(true);
            for (const key of ['ж', 'shift', 'ё', 'signs', '5', 'space', 'э']) keys.press(key);
            const row = other.querySelector('.row').textContent;
            keys.press('signs');
            window.told = [row, other.querySelector('[data-key=letters]').textContent];
            keys.script('Thai');
            window.told.push(other.querySelector('.row').textContent);
        })"""
    )
    assert page.evaluate("window.typed") == "Жё5 э"
    assert page.evaluate("window.told") == ["йцукенгшщзхъ", "АБВ", "qwertyuiop"]


def test_keys_of_the_page(page):
    show(page, "th")
    assert page.evaluate(TEXT) == "Th"  # a sentence starts with a capital
    show(page, ["delete", "delete", "shift", "i", " ", "signs", "3"])
    bar(page)
    assert page.evaluate(TEXT) == "i 3"
    assert page.evaluate("document.activeElement.id") == "text"
    assert page.evaluate("document.querySelector('#text').inputMode") == "none"


def test_keys_by_keys_alone(page):
    page.evaluate("document.querySelector('[data-key=signs]').focus()")
    page.evaluate("document.activeElement.click()")  # what Enter and Space do
    assert page.evaluate("document.activeElement.dataset.key") == "letters"
    page.evaluate("document.activeElement.click()")
    assert page.evaluate("document.activeElement.dataset.key") == "signs"
    page.evaluate("document.querySelector('#text').focus()")
    label = "document.querySelector('[data-key=q]').getAttribute('aria-label')"
    assert page.evaluate(label) == "Q"  # a sentence starts
    typed(page, "a")
    assert page.evaluate(label) == "q"


def test_a_letter_amid_a_long_text_leaves_it_where_it_is(page):
    page.evaluate("document.querySelector('#text').setRangeText('line\\n'.repeat(40), 0, 0, 'end')")
    page.evaluate("document.querySelector('#text').setSelectionRange(0, 0)")
    page.evaluate("document.querySelector('#text').scrollTop = 0")
    show(page, "x")
    assert page.evaluate("document.querySelector('#text').scrollTop") == 0
    page.evaluate("document.querySelector('#text').setSelectionRange(999, 999)")
    show(page, "x")
    assert page.evaluate("document.querySelector('#text').scrollTop") > 0


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
    assert all(request["url"].startswith(served.url) for request in page.requests)
    assert "rnnlm" not in json.dumps([request["url"] for request in page.requests])
    refused = page.evaluate("fetch('https://example.org/', {method: 'POST'}).then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    page.problems.clear()  # the browser says so too


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


def test_a_mouse_leaves_the_caret_in_the_field(page):
    page.call("Emulation.setTouchEmulationEnabled", enabled=False)
    try:
        place = page.evaluate(
            "(({x, y}) => ({x: x + 9, y: y + 9}))(document.querySelector('[data-key=h]').getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        page.wait(f"{TEXT} === 'H'")
        assert page.evaluate("document.activeElement.id") == "text"
    finally:
        page.call("Emulation.setTouchEmulationEnabled", enabled=True)
