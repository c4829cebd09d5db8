"""Figures as SVG: the same file for the same numbers, small, with its texts untouched."""

import xml.etree.ElementTree as ElementTree

import pytest

from conversion.figures import compact, write_svg


def test_tags_are_rounded_and_texts_are_not():
    path = '<path d="M 0.123456 -7.0049 \nL 12.5 3.999999"/>'
    given = f'<svg>\n  <g>\n   {path}\n   <text x="1.10000001">0.12345</text>\n</g>\n</svg>'
    told = '<svg>\n<g>\n<path d="M 0.12 -7\nL 12.5 4"/>\n<text x="1.1">0.12345</text>\n</g>\n</svg>\n'
    assert compact(given) == told
    assert compact(compact(given)) == compact(given)


def test_a_figure_is_the_same_twice(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure
    files = [tmp_path / "new folder" / f"{number}.svg" for number in range(2)]
    for file in files:
        drawn = figure(figsize=(3, 2))
        drawn.subplots().plot([0.1, 0.2, 0.7], [1 / 3, 2 / 3, 5], marker="o", label="a word")
        write_svg(drawn, file)
    first, second = (file.read_text(encoding="utf-8") for file in files)
    assert first == second and "dc:date" not in first
    ElementTree.fromstring(first)
