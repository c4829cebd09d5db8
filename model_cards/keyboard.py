"""What a checkpoint is worth as a keyboard: recall, keystrokes, agreement of engines, a person's own words."""

from __future__ import annotations

from typing import Any

CONTEXTS = {"carried": "messages read one after the other", "fresh": "every message by itself"}


def section(measured: dict[str, dict[str, Any]]) -> str:
    """The section of a card, from results by the stems of their files; "" where no keyboard was measured."""
    found = measured.get("keyboard")
    if not found:
        return ""
    timed = [row for stem, row in measured.items() if stem.startswith("keyboard-latency-")]
    parts = [_quality(found), _slips(measured.get("keyboard-slips", {})), _latency(timed)]
    parts += [_agreement(measured.get("keyboard-agreement", {})), _personal(measured.get("personal", {}))]
    return "\n".join(["", "## As a keyboard", "", *(part for part in parts if part)])


def _quality(found: dict[str, Any]) -> str:
    """Recall and keystrokes, per context and source."""
    lines = [
        "| read | words | top-1 | top-3 | with 1 letter | with 2 | with 3 | keys saved, 1 slot | 3 slots | limit |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for context, told in CONTEXTS.items():
        for source, row in {"overall": found[context]["overall"], **found[context]["sources"]}.items():
            name = told if source == "overall" else f"{source}, {context}"
            completion, keys = row.get("completion", {}), row.get("keystrokes", {})  # of one context only
            begun = [f"{completion[letters]['top3']:.3f}" if completion else "–" for letters in ("1", "2", "3")]
            saved = [f"{keys[key]:.1%}" if keys else "–" for key in ("saved_1", "saved_3", "limit")]
            recall = f"{row['top1']['recall']:.3f} | {row['top3']['recall']:.3f}"
            lines.append(f"| {name} | {row['words']:,} | {recall} | {' | '.join([*begun, *saved])} |")
    return "\n".join(
        [
            *lines,
            "",
            "Next words, and words of which letters are typed (top-3), of all held-out words; one outside the",
            "vocabulary is missed, signs do not count. Keys: of a typist who always takes a word that is shown;",
            "the limit is what the vocabulary allows if the word were always first.",
            f"`{found['command']}`, defined in docs/keyboard.md.",
            "",
        ]
    )


def _latency(timed: list[dict[str, Any]]) -> str:
    """Milliseconds a key and a word, per device and engine."""
    if not timed:
        return ""
    lines = [
        "| device | engine | key p50 | key p95 | word p50 | word p95 | step p50 | step p95 |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for found in timed:
        for engine, row in found["engines"].items():
            numbers = [f"{row[what][rank]:.2f}" for what in ("key", "word", "step") for rank in ("p50", "p95")]
            lines.append(f"| {found['device']} | {engine} | {' | '.join(numbers)} |")
    return "\n".join([*lines, "", "Milliseconds; a key is a new bar, a word a step of the model and a new bar.", ""])


def _slips(found: dict[str, Any]) -> str:
    """Words of which letters are typed, all of them right or one wrong."""
    if not found:
        return ""
    lines = ["| typed | right | with a slip |", "|---|---:|---:|"]
    for typed, row in found["test"].items():
        if typed != "words":
            what = "the whole word" if typed == "whole" else f"{typed} letters"
            lines.append(f"| {what} | {row['right']:.3f} | {row['slipped']:.3f} |")
    told = (
        f"Top-3 of {found['test']['words']:,} words of four letters and more of the vocabulary, typed as meant and\n"
        f"with one letter wrong, missing, too many or swapped; `{found['command']}`."
    )
    return "\n".join([*lines, "", told, ""])


def _agreement(found: dict[str, Any]) -> str:
    """Which engines suggest the same."""
    if not found:
        return ""
    lines = ["| engine | same digest | same suggestions | same bars |", "|---|---:|---:|---:|"]
    for engine, row in found["engines"].items():
        shares = (row[key] for key in ("same_digest", "same_suggestions", "same_keys"))
        lines.append(f"| {engine} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    told = (
        f"Shares of {found['messages']:,} messages ({found['keys']:,} bars) that equal torch's; `{found['command']}`."
    )
    return "\n".join([*lines, "", told, ""])


def _personal(found: dict[str, Any]) -> str:
    """What a person's own words add, by the number of messages learnt."""
    if not found:
        return ""
    lines = ["| text | messages learnt | top-3 | gain | gain with another's words |", "|---|---:|---:|---:|---:|"]
    for text, rows in found.items():
        for row in rows["curve"] if isinstance(rows, dict) and "curve" in rows else ():
            own, others = row["own"], row["others"]
            gain = f"{own['gain_top3']:+.4f} ± {own['standard_error']:.4f}"
            lines.append(f"| {text} | {row['messages']} | {own['top3']:.3f} | {gain} | {others['gain_top3']:+.4f} |")
    told = f"A person's own words beside the weights (docs/keyboard.md says whose); `{found['command']}`."
    return "\n".join([*lines, "", told, ""])
