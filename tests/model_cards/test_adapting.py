"""The columns of dynamic evaluation and of a cache on a card."""

from __future__ import annotations

from model_cards.adapting import adapting_table


def split(value: float) -> dict[str, float]:
    return {"perplexity": value}


def test_nothing_where_nothing_was_measured():
    assert adapting_table("ptb", {"valid": split(80), "test": split(79)}) == ""


def test_columns_of_what_was_measured():
    found = {"valid": split(80), "test": split(79.123)}
    found["cache"] = {
        "valid": split(70),
        "test": split(69.456),
        "settings": {"size": 500, "theta": 0.203},
        "command": "C",
    }
    text = adapting_table("ptb", found)
    assert "| ptb, perplexity | static | neural cache |" in text and "| test | 79.12 | 69.46 |" in text
    assert "chosen on the validation text: size 500, theta 0.203. Measured by `C`." in text and "Krause" not in text
    found["dynamic"] = {"valid": split(60), "test": split(59), "settings": {"lr": 2e-4}, "command": "D"}
    assert "| valid | 80.00 | 60.00 | 70.00 |" in adapting_table("ptb", found)
