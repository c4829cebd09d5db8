"""The page's folder with a small model, served, and a browser at it; tests skip where one of them cannot be had."""

import threading

import pytest

from bench.chromium import READY, Chromium, program
from zoo.keyboard.demo import assemble
from zoo.keyboard.demo_server import server_of

from ..invented import WORDS, write_keyboard


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory):
    """A folder as `zoo demo` makes it, of a small random model."""
    root = tmp_path_factory.mktemp("demo")
    assemble(root / "page", [write_keyboard(root / "tiny", [*WORDS, *MORE]), write_keyboard(root / "other")])
    return root / "page"


# Remembers of every frame what is typed and of what the bar is, and bars painted of another text than the field's.
SEEN = """
    window.seen = {painted: null, wrong: [], frames: []};
    document.addEventListener('painted', ({detail}) => {
        const {value, selectionStart} = document.querySelector('#text');
        if (detail !== value.slice(0, selectionStart)) seen.wrong.push(detail);
        seen.painted = detail;
    });
    const look = () => {
        const text = document.querySelector('#text')?.value, bar = document.querySelector('#bar');
        if (text !== undefined) seen.frames.push([text, seen.painted, bar.textContent.trim()]);
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
"""
# Enough words that the vocabulary has case and completions differ.
MORE = "this that those thank thanks three through hello how are you what when where will would could people".split()


@pytest.fixture(scope="session")
def browser():
    """One browser for all tests."""
    if program() is None:
        pytest.skip("there is no chromium here; install the package chromium")
    with Chromium() as found:
        found.call("Page.addScriptToEvaluateOnNewDocument", source=SEEN)
        yield found


@pytest.fixture
def served(page_folder):
    """The page's server; `served.url` is where."""
    server = server_of(page_folder, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser, served):
    """The page with its model loaded; nothing is remembered of earlier tests."""
    browser.problems.clear()
    browser.requests.clear()
    browser.open(served.url)
    browser.wait(READY)
    yield browser
    assert browser.problems == []
