"""The roofline model on the paper's timings and on made-up ones, bytes touched, and the command. No times are taken."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bench import phones, predict
from bench.roofline import Timing, fit, student
from bench.touched import expanded_bytes, operations, row_share, shrunk_bytes, stored_bytes
from tests.zoo.folders import write_checkpoint, write_classifier
from tests.zoo.models import fill
from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.counts import count, total
from zoo.errors import ZooError
from zoo.layout import layout_of, read_layout

V, D, H = 31, 6, 9
CONFIG = {"vocab_size": V, "embedding_size": D, "hidden_size": H, "num_hidden_layers": 2, "cell": "lstm"}
NUMBERS = 4 * H * (D + H) + 4 * H * 2 * H + V * H + 2 * 4 * H + V  # layers, head, biases


def layout(**more):
    return layout_of({**CONFIG, "tie_word_embeddings": False, **more})


def checkpoint(folder, **more):
    """A checkpoint with an untied head, unless told otherwise."""
    return write_checkpoint(
        folder, fill(RnnLmForCausalLM(RnnLmConfig(**{**CONFIG, "tie_word_embeddings": False, **more})))
    )


def rows(slope=0.2, fixed=7.0, launch=0.0, count=12, noise=0.01):
    """Timings of a device that the model describes but for some noise, with as many launches as it has bytes or not."""
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        size, launches = 1e6 * (1 + number), 3 + number % 3
        time = fixed + slope * size / 1e6 + launch * launches + noise * random.standard_normal()
        found.append(
            Timing(f"row {number}", float(time), {"bytes": size, "launches": launches, "operations": size / 2})
        )
    return found


@pytest.fixture(scope="module")
def mali():
    (device,) = phones.devices(["mali-t880"])
    return device


def test_the_papers_timings_give_a_fixed_cost_and_a_bandwidth(mali):
    told = predict.summary(mali.fit)
    assert told["rows"] == 14 and len(mali.fit.timings) == 16 and len({t.name for t, _ in mali.judged}) == 4
    assert told["fixed_ms"] == pytest.approx(7.35, abs=0.05) and told["gb_per_s"] == pytest.approx(5.37, abs=0.03)
    assert told["r2"] > 0.997 and told["r2_leave_one_out"] > 0.99
    assert "cannot be told from bytes" in told["untold"]["operations"] and "launches" in told["untold"]


def test_rows_that_do_not_fit_are_named_with_the_reason(mali):
    assert mali.fit.left_out.keys() == {"RNN 650-650", "LR LSTM 1500-1500"}
    text = "\n".join(predict.fit_table(mali))
    assert "RNN 650-650: Two matrices of 650 x 650" in text and "does not fit: studentized residual +5.1" in text
    for name in ("LSTM 200-200 quantization (1 byte per number)", "TT LSTM 600-600"):
        dense, stored = (line for line in text.splitlines() if line.startswith(name) and "judged" in line)
        assert "  fits: judged as dense fp32" in dense and "  does not fit: judged as small as stored" in stored


def test_a_term_is_fitted_where_it_can_be_told_apart():
    found = fit(rows(launch=0.5), "a device")
    assert found.terms == ("bytes", "launches") and "operations" in found.untold
    np.testing.assert_allclose(found.coefficients, [7.0, 0.2e-6, 0.5], rtol=0.02)
    assert not found.left_out and found.r2 > found.r2_leave_one_out > 0.99
    middle, low, high = found.predict({"bytes": 5e6, "launches": 4})
    assert low < middle < high and middle == pytest.approx(10.0, abs=0.05)
    assert found.by_bytes().terms == ("bytes",)


def test_an_outlier_is_left_out_and_shrinks_no_longer_the_fit():
    timings = rows()
    timings[4] = Timing("odd", timings[4].milliseconds + 3, timings[4].terms)
    found = fit(timings, "a device")
    assert found.left_out.keys() == {"odd"} and found.coefficients[1] == pytest.approx(0.2e-6, rel=0.02)


@pytest.mark.parametrize(("freedom", "exact"), [(4, 2.776), (10, 2.228), (30, 2.042)])
def test_quantiles_are_those_of_the_tables(freedom, exact):
    assert student(0.975, freedom) == pytest.approx(exact, rel=0.005)


def test_fits_that_cannot_be_are_refused():
    with pytest.raises(ZooError, match=r"a phone has 3 timing\(s\); a fit needs at least 4"):
        fit(rows(count=3), "a phone")
    with pytest.raises(ZooError, match="do not grow with the bytes"):
        fit(rows(slope=-0.2), "a phone")


def test_bytes_touched_of_a_layout():
    assert operations(layout()) == 2 * (NUMBERS + D) and expanded_bytes(layout()) == shrunk_bytes(layout()) == 4 * (
        NUMBERS + D
    )
    tied = layout(embedding_size=H, tie_word_embeddings=True)
    assert operations(tied) == 2 * (4 * H * 2 * H * 2 + V * H + 2 * 4 * H + V)  # the head alone reads the matrix
    pruned = layout(weights={"head": {"form": "sparse", "nonzeros": 20}})
    assert expanded_bytes(pruned) == expanded_bytes(layout())
    assert shrunk_bytes(pruned) == expanded_bytes(layout()) - 4 * V * H + 20 * 8
    small = layout(weights={"head": {"form": "low_rank", "rank": 2, "values": {"form": "int8", "scheme": "row"}}})
    assert shrunk_bytes(small) == expanded_bytes(layout()) - 4 * V * H + 2 * (V + H)


def test_share_of_a_row():
    assert row_share({"form": "dense"}, 10, 4) == 0.1
    assert row_share({"form": "low_rank", "rank": 2}, 10, 4) == pytest.approx((2 + 2 * 4) / (2 * 14))
    train = {"form": "tensor_train", "row_modes": [2, 5], "column_modes": [2, 2], "ranks": [3]}
    assert row_share(train, 10, 4) == pytest.approx((2 * 3 + 3 * 2) / (2 * 2 * 3 + 3 * 5 * 2))


@pytest.mark.parametrize(
    "weights",
    [{}, {"embed": {"form": "int8", "scheme": "row"}}, {"embed": {"form": "low_rank", "rank": 3}}],
    ids=["dense", "int8", "low rank"],
)
def test_bytes_touched_of_a_folder_are_those_of_the_file_but_for_the_embedding(tmp_path, weights):
    folder = checkpoint(tmp_path / "tiny", weights=weights)
    parts = {part.name: part.bytes for part in count(folder)}
    left = stored_bytes(folder) - (total(count(folder))["bytes"] - parts["embed"])
    assert left == pytest.approx(parts["embed"] * row_share(read_layout(folder).form_of("embed"), V, D), abs=1)


def latency(folder, name, sha256, size, time, device="Some phone"):
    """A result file as bench.latency writes it, with what a fit needs."""
    contenders = {"opencl": {"touched_bytes": size, "launches": 5}, "numpy": {}}
    result = {"name": name, "sha256": sha256, "device": device, "protocol": {"threads": 1}, "contenders": contenders}
    result["milliseconds"] = {"opencl": {"median": time}, "numpy": {"median": 1}}
    path = folder / name / "latency-some-phone.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))
    return path


def test_result_files_are_fitted_by_device(tmp_path):
    folder = checkpoint(tmp_path / "tiny")
    sizes = [1e6, 2e6, 4e6, 8e6, 16e6]
    paths = [
        latency(tmp_path, f"net-{size:.0f}", f"{size}", size, 0.5 + size / 1e7 + 0.01 * (size == 2e6)) for size in sizes
    ]
    (device,) = phones.devices(["some-phone"], tmp_path)
    (same,) = phones.devices([str(path) for path in paths])
    assert device.name == same.name == "Some phone" and predict.summary(device.fit) == predict.summary(same.fit)
    assert predict.summary(device.fit)["gb_per_s"] == pytest.approx(10, rel=0.02)
    found = predict.predict(str(folder), device, "command")
    (entry,) = found["predictions"]
    assert entry["how"] == predict.MEASURED and entry["milliseconds"] == pytest.approx(0.5, abs=0.02)


def test_wrong_devices_and_files_are_refused(tmp_path):
    with pytest.raises(ZooError, match="no device 'nokia'; there are mali-t880, adreno-530"):
        phones.devices(["nokia"], tmp_path)
    path = latency(tmp_path, "net", "0", 1e6, 1.0)
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "kind": "prediction"}))
    with pytest.raises(ZooError, match="is itself a prediction"):
        phones.devices([str(path)])
    path.write_text(json.dumps({**result, "contenders": {}}))
    with pytest.raises(
        ZooError, match=r"has no contenders\.opencl\.touched_bytes; give results of python -m bench\.latency"
    ):
        phones.devices([str(path)])
    path.write_text("{")
    with pytest.raises(ZooError, match="cannot be read as JSON"):
        phones.devices([str(path)])


def test_published_figures_give_a_range(tmp_path):
    folder = checkpoint(tmp_path / "tiny")
    (device,) = phones.devices(["adreno-530"])
    (entry,) = predict.predict(str(folder), device, "command")["predictions"]
    assert "milliseconds" not in entry and 0.29 <= entry["low"] <= entry["high"] < 0.3
    assert entry["how"] == predict.ONE_WAIT and predict.fit_table(device)[0].startswith("Adreno 530: nothing was timed")


def test_main_labels_predictions_and_keeps_them_out_of_latency_files(tmp_path, capsys):
    folder = checkpoint(tmp_path / "tiny", tie_word_embeddings=False)
    assert predict.main([str(folder), "--fit"]) == 0
    text = capsys.readouterr().out
    assert "R^2 0.998" in text and text.splitlines()[-1].startswith("prediction  tiny  Mali-T880")
    assert not list(tmp_path.glob("**/predicted-*"))
    assert (
        predict.main([str(folder), "--json", "--device", "mali-t880", "adreno-530", "--out", str(tmp_path / "out")])
        == 0
    )
    printed = json.loads(capsys.readouterr().out)
    files = sorted((tmp_path / "out" / "tiny").iterdir())
    assert [path.name for path in files] == ["predicted-adreno-530.json", "predicted-mali-t880.json"]
    assert [json.loads(path.read_text()) for path in reversed(files)] == printed
    for found in printed:
        assert found["kind"] == "prediction" and found["sha256"] and "bench.predict" in found["command"]
        assert all(entry["kind"] == "prediction" for entry in found["predictions"])


def test_errors_are_one_line(capsys):
    assert predict.main([]) == 2 and predict.main(["lstm-2000-ptb"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: no checkpoint; name one") and second.startswith("error: ")


def test_a_prediction_needs_no_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'huggingface_hub', 'tokenizers')));"
        "from bench import predict; sys.exit(predict.main(['--fit']))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_a_text_classifier_is_refused(tmp_path, capsys):
    assert predict.main([str(write_classifier(tmp_path / "tiny"))]) == 2
    error = capsys.readouterr().err
    assert "tiny is a text classifier, and the time of a token is predicted for language models only" in error
    assert error.count("\n") == 1


def test_the_fit_with_its_rows_as_json(capsys: pytest.CaptureFixture[str]):
    assert predict.main(["--fit", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    rows = found["timings"]
    assert {row["name"] for row in rows if "residual" in row["remark"]} == {"RNN 650-650", "LR LSTM 1500-1500"}
    assert sum("judged" in row["remark"] for row in rows) == 8 and all(row["low"] < row["model"] for row in rows)
    assert len([row for row in rows if not row["remark"]]) == found["fit"]["rows"] == 14
