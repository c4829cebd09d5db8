"""The picture: the same for the same results, no label on another, the frontier, and what is not measured."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from model_cards import pareto
from model_cards.facts import Facts
from zoo.layout import layout_of

SVG = "{http://www.w3.org/2000/svg}"
CONFIG = {"cell": "lstm", "vocab_size": 10, "embedding_size": 4, "hidden_size": 4, "num_hidden_layers": 1}


def facts(name: str, mb: float, perplexity: float, corpus: str = "ptb", **ms: float) -> Facts:
    timed = [
        {"device": device, "protocol": {"threads": 1}, "milliseconds": {"opencl": {"median": time}}}
        for device, time in ms.items()
    ]
    rest: Any = {"recipe": "", "sha256": {}, "agreement": [], "predicted": [], "onnx": {}, "steps": []}
    quality = {corpus: {"test": {"perplexity": perplexity}}}
    return Facts(name, layout_of(CONFIG), size={"bytes": mb * 1e6}, quality=quality, latency=timed, **rest)


@pytest.fixture
def crowd() -> list[Facts]:
    """Checkpoints that lie near each other, timed on one device or two."""
    found = [facts(f"network-{n}-ptb", 3 + n / 10, 90 + n % 3 / 10, phone=0.1 + n / 10) for n in range(9)]
    return [*found, facts("alone-ptb", 0.5, 95, board=0.05, phone=0.07), facts("untimed-ptb", 20, 85)]


def test_nothing_without_a_perplexity():
    assert pareto.picture([]) == "" and pareto.picture([facts("other", 1, 90, corpus="wikitext-2")]) == ""


def test_it_is_the_same_for_the_same_results(crowd):
    assert pareto.picture(crowd) == pareto.picture(list(crowd))


def test_every_checkpoint_has_a_point_and_a_label_that_covers_nothing(crowd):
    root = ElementTree.fromstring(pareto.picture(crowd))
    circles = [tuple(float(circle.get(key)) for key in ("cx", "cy", "r")) for circle in root.iter(f"{SVG}circle")]
    labels = [text for text in root.iter(f"{SVG}text") if (text.text or "").startswith(("network", "alone", "untimed"))]
    assert len(circles) == len(labels) == len(crowd)
    boxes = []
    for text in labels:
        left, middle = float(text.get("x")), float(text.get("y")) - 4
        boxes.append((left, middle - 7, left + pareto.LETTER * len(text.text), middle + 7))
    for number, (a, b, c, d) in enumerate(boxes):
        assert all(e > c or g < a or f > d or h < b for e, f, g, h in boxes[number + 1 :])
        assert all(x + r <= a + 0.1 or x - r >= c - 0.1 or y + r <= b + 0.1 or y - r >= d - 0.1 for x, y, r in circles)


def test_times_are_those_of_the_device_with_most_results(crowd):
    text = pareto.picture(crowd)
    assert "median time of the OpenCL step, phone, 1 thread" in text
    assert ">alone, 0.070 ms<" in text and ">untimed<" in text and text.count('fill="white" fill-opacity') == 1
    assert "not measured yet" in pareto.picture([facts("net", 1, 90)])


def test_frontier_has_no_point_that_another_beats():
    points = [
        pareto.Point(str(n), mb, ppl, None) for n, (mb, ppl) in enumerate([(1, 95), (2, 96), (2, 90), (3, 90), (4, 85)])
    ]
    assert [point.name for point in pareto.frontier(points)] == ["0", "2", "4"]


def test_a_name_cannot_break_the_picture():
    root = ElementTree.fromstring(pareto.picture([facts("<net> & co", 1, 90)]))
    assert "<net> & co" in [text.text for text in root.iter(f"{SVG}text")]
