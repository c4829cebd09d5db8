import json

import pytest

from bench import shrinking

SMALL = ["--hidden", "12", "--embedding", "10", "--vocabulary", "30", "--passes", "1", "--timed", "2"]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(shrinking, "TEXT", 5)
    monkeypatch.setattr(shrinking, "WARM_UP", 1)
    monkeypatch.setattr(shrinking, "cpu_name", lambda: "Some CPU")


def test_every_case_is_measured_before_and_after(tmp_path, capsys):
    assert shrinking.main([*SMALL, "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "some-cpu.json").read_text())
    (language, rows), (reviews, others) = result["models"].items()
    assert "30 words" in language and "classifier" in reviews
    assert rows.keys() == others.keys() == shrinking.CASES.keys()
    assert rows["nothing"]["ratios"]["multiplications"] == rows["nothing"]["ratios"]["bytes"] == 1
    half = rows["half of the units and inputs"]
    assert half["hidden"] == [6, 6] and half["input"] == 5
    layers = [48 * 10 + 3 * 48 * 12 + 30 * 12, 24 * 5 + 3 * 24 * 6 + 30 * 6]
    assert half["multiplications"] == layers
    assert others["half of the units"]["multiplications"] == [48 * 10 + 3 * 48 * 12, 24 * 10 + 3 * 24 * 6]
    assert all(min(row["step_us"] + row["window_us"]) > 0 for row in rows.values())
    assert "recurrent.0" in rows["99 % of the numbers"]["sparse"]
    assert shrinking.table(result) in capsys.readouterr().out


def test_one_case_can_be_given(tmp_path, capsys):
    more = ["--units", "0.5", "--gates", "0.25", "--cell", "gru", "--layers", "1", "--out", str(tmp_path)]
    assert shrinking.main([*SMALL, *more]) == 0
    (row,) = json.loads((tmp_path / "some-cpu.json").read_text())["models"].popitem()[1].values()
    assert row["zero"] == {"units": 0.5, "inputs": 0.0, "gates": 0.25, "numbers": 0.0} and row["hidden"] == 6


@pytest.mark.parametrize(("option", "allowed"), [("--units", "from 0 to 1"), ("--passes", "at least 1")])
def test_impossible_numbers_are_refused(option: str, allowed: str, capsys):
    with pytest.raises(SystemExit):
        shrinking.main([*SMALL, option, "-1"])
    assert allowed in capsys.readouterr().err
