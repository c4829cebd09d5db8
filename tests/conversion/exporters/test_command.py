import pytest

from conversion.exporters import main
from tests.zoo.folders import write_checkpoint


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    return write_checkpoint(tmp_path / "tiny")


def test_command_prints_what_it_wrote(folder, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="needs the extra export: pip install 'rnnlm-zoo[export]'")
    text = tmp_path / "mine.txt"
    text.write_text("w5 w6 w7\n" * 30)
    assert main([str(folder), "--to", "onnx", "--variant", "fp32", "--corpus", str(text)]) == 0
    out = capsys.readouterr().out
    assert f"{folder / 'onnx' / 'model.onnx'}  0.0" in out and out.count("same best three words at 100.00 %") == 2
    assert "checked on 2,000 positions: " in out and str(text) in out


def test_command_tells_errors_in_one_line(folder, capsys):
    assert main([str(folder / "none"), "--to", "onnx"]) == 2
    assert main([str(folder), "--to", "litert", "--variant", "int8"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all(line.startswith("error: ") for line in errors)
    assert errors[1] == "error: variant int8 for litert; allowed: all, fp32"


def test_the_runtime_must_be_named(folder, capsys):
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "--to" in capsys.readouterr().err
