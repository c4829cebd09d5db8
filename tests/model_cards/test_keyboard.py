from model_cards.keyboard import section


def quality(top3: float) -> dict:
    completion = {letters: {"words": 9, "top1": 0.1, "top3": 0.25} for letters in "123"}
    keys = {"without": 90, "saved_1": 0.31, "saved_3": 0.42, "limit": 0.75}
    row = {
        "words": 1234,
        "top1": {"recall": 0.2},
        "top3": {"recall": top3},
        "completion": completion,
        "keystrokes": keys,
    }
    return {"overall": row, "sources": {"tatoeba": row}}


KEYBOARD = {"carried": quality(0.4), "fresh": quality(0.35), "command": "python -m bench.keyboard x --data DIR"}
TIMES = {"p50": 0.125, "p95": 2.0}
LATENCY = {"device": "a phone", "engines": {"numpy": {"key": TIMES, "word": TIMES, "step": TIMES}}}
AGREEMENT = {
    "messages": 1000, "keys": 5000, "command": "python -m bench.keyboard_agreement x",
    "engines": {"onnx": {"same_digest": 1.0, "same_suggestions": 0.995, "same_keys": 1.0}},
}  # fmt: skip
SLIPS = {
    "command": "python -m bench.slips x --data DIR",
    "test": {"words": 4000, "4": {"right": 0.981, "slipped": 0.912}, "whole": {"right": 1.0, "slipped": 0.97}},
}
OWN = {"top3": 0.31, "gain_top3": 0.021, "standard_error": 0.003}
PERSONAL = {
    "command": "python -m bench.personal x",
    "critics": {"curve": [{"messages": 100, "own": OWN, "others": OWN}]},
}


def test_nothing_is_said_of_what_was_not_measured():
    assert section({}) == ""
    text = section({"keyboard": KEYBOARD})
    assert "onnx" not in text and "Milliseconds" not in text and text.startswith("\n## As a keyboard\n")


def test_numbers_stand_in_their_tables():
    text = section(
        {
            "keyboard": KEYBOARD,
            "keyboard-latency-a-phone": LATENCY,
            "keyboard-agreement": AGREEMENT,
            "keyboard-slips": SLIPS,
            "personal": PERSONAL,
        }
    )
    row = "1,234 | 0.200 | {} | 0.250 | 0.250 | 0.250 | 31.0% | 42.0% | 75.0% |"
    assert f"| messages read one after the other | {row.format('0.400')}" in text
    assert f"| tatoeba, fresh | {row.format('0.350')}" in text
    assert "| a phone | numpy | 0.12 | 2.00 | 0.12 | 2.00 | 0.12 | 2.00 |" in text
    assert "| onnx | 100.0% | 99.5% | 100.0% |" in text and "1,000 messages (5,000 bars)" in text
    assert "| critics | 100 | 0.310 | +0.0210 ± 0.0030 | +0.0210 |" in text
    assert "| 4 letters | 0.981 | 0.912 |" in text and "| the whole word | 1.000 | 0.970 |" in text and "4,000" in text
