import json

import pytest

from bench import forms


def test_every_form_is_measured_beside_the_dense_one(tmp_path, monkeypatch, capsys):
    train = forms.reshape([4, 6], [5], [3, 4])
    monkeypatch.setattr(forms, "MATRICES", {"small": (24, 5, 2, train)})
    monkeypatch.setattr(forms, "cpu_name", lambda: "Some CPU")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{forms.BEGIN}\nold\n{forms.END}\nafter\n")
    assert forms.main(["--out", str(tmp_path), "--timed", "3", "--page", str(page)]) == 0
    result = json.loads((tmp_path / "some-cpu.json").read_text())
    rows = {row["form"]: row for row in result["matrices"]["small"]["forms"]}
    assert rows.keys() == forms.specs(24, 5, 2, train).keys()
    assert rows["dense"]["of_dense"] == 1 and rows["dense"]["bytes"] == 480
    assert rows["low rank 2"]["parameters"] == 2 * 29
    assert rows["Tensor Train"]["parameters"] == 4 * 3 + 3 * 6 * 4 + 4 * 5
    assert rows["int8, scale per row"]["bytes"] == 24 * 5 + 24 * 4
    assert all(row["median_us"] > 0 for row in rows.values())
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert forms.table(result) in text and "| low rank 2 |" in capsys.readouterr().out


def test_the_matrices_have_the_papers_sizes():
    for rows, columns, rank, train in forms.MATRICES.values():
        for spec in forms.specs(rows, columns, rank, train).values():
            forms.check_spec(spec, "spec")
            forms.check_size(spec, "spec", rows, columns)


def test_a_count_below_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        forms.main(["--timed", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_the_page_shows_the_committed_result():
    text = forms.PAGE.read_text()
    results = [json.loads(path.read_text()) for path in sorted((forms.RESULTS / "forms").glob("*.json"))]
    assert any(forms.table(result) in text for result in results)
