"""The tables of the page's guide, from results made by hand."""

from types import SimpleNamespace

from model_cards.keyboard_page import tables

TIMES = {"n": 9, "mean": 5.0, "p50": 4.25, "p95": 8.0, "worst": 9.0}
PAGE = {
    "device": "a desk",
    "cores": 2,
    "load": 1.04,
    "browser": "Chrome/1",
    "wasm": {"compiler": "zig 1"},
    "first_load": {
        "bytes": 2510,
        "files": {"app.js": 10, "rnnlm.wasm": 1500, "models/x/model.rnnlm.gz": 1000},
        "unpacked": {"models/x/model.rnnlm.gz": 1200},
    },
    "seconds": {"bar": 0.5, "model": 1.25, "model_again": 1.0},
    "keys": {"pressed": 1500, "per_second": 30, "to_bar": TIMES, "to_frame": TIMES},
    "step": {"clock_tick_ms": 0.1, "milliseconds": {"mean": 0.25, "median": 0.2, "p95": 1.5}},
}
SAME = {"same_keys": 1.0, "same_suggestions": 0.5, "same_digest": 0.25}
PARITY = {
    "messages": 1000,
    "keys": 31_000,
    "bytes": 1_500_000,
    "engines": {"numpy": SAME, "c": SAME, "page": {**SAME, "same_digest": 0.999_999}},
    "page_beside_c": SAME,
}


def facts(name: str, **keyboard) -> SimpleNamespace:
    return SimpleNamespace(name=name, keyboard={stem.replace("_", "-"): found for stem, found in keyboard.items()})


def test_nothing_is_said_of_what_was_not_measured():
    assert tables([facts("x")]) == {}
    assert list(tables([facts("x", keyboard_page_parity=PARITY)])) == ["parity"]


def test_numbers_stand_in_their_tables():
    found = tables([facts("x", keyboard_page=PAGE, keyboard_page_parity=PARITY), facts("y", keyboard_page=PAGE)])
    load, times = found["first load"], found["times of the page"]
    assert load.startswith(
        "| | x | y |\n|---|---:|---:|\n| the model, its words with it | 1,000 (1,200 unpacked) | 1,000"
    )
    assert "| what computes it: `rnnlm.wasm` | 1,500 | 1,500 |" in load
    assert "| the page: HTML, CSS, JavaScript, short list, rules | 10 | 10 |" in load and "| **2,510** |" in load
    assert "| key to the new words in the bar | median 4.2 ms, 95 % within 8.0 |" in times
    assert "| median 0.2 ms, mean 0.25, 95 % within 1.5; clock 0.1 |" in times
    assert "| Chrome/1; the step by zig 1 |" in times
    assert "| a desk, 2 cores, load 1.0 |" in times and "| 0.5 s, 1.2 s, 1.0 s |" in times
    assert "| x | the C step | | 100% | 50.00% | 25.00% | |" in found["parity"]
    assert "| x | the page | 1.50 | 100% | 50.00% | 99.99% | 100% |" in found["parity"]
    assert "x: 1,000 messages, 31,000 bars." in found["parity"]
