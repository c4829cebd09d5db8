"""The harness of the latency benchmark: same answers, failures told, nothing left behind. No times are looked at."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pytest

from bench import children, contenders, energy, latency, rounds
from tests.bench.fakes import STEPS, VARIANTS
from tests.zoo.folders import write_checkpoint, write_classifier
from tests.zoo.models import fill
from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.catalog import CLASSIFICATION, Entry
from zoo.errors import CorpusError, ZooError

QUICK = dict(warm_up=4, timed=8, block=4, spaced=2, spaced_gap_ms=1.0, cold=1, checked=STEPS)
TOKENS = [2, 5, 3, 30, 2, 2, 7, 9, 11, 4, 1, 0]


def tiny(folder, **options):
    """A checkpoint without an output projection, which the hand-written step does not know."""
    config = RnnLmConfig(vocab_size=31, embedding_size=7, hidden_size=9, tie_word_embeddings=False, **options)
    return write_checkpoint(folder, fill(RnnLmForCausalLM(config)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture
def contest(tmp_path, folder, monkeypatch):
    """A contest of the fakes, which takes numpy for torch, as it starts at once."""
    monkeypatch.setattr(rounds, "REFERENCE", "numpy")
    for variant in VARIANTS:
        monkeypatch.setitem(contenders.CONTENDERS, f"fake-{variant}", ("tests.bench.fakes", variant))
    return rounds.Contest(folder, tmp_path / "work", rounds.Protocol(**QUICK), {}, {})


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(latency, "Protocol", lambda **more: rounds.Protocol(**{**QUICK, **more}))
    monkeypatch.setattr(rounds, "REFERENCE", "numpy")
    monkeypatch.setattr(latency, "cpu_name", lambda: "Some CPU (2 cores)")
    monkeypatch.delenv("ZOO_DATA", raising=False)


def test_failing_contenders_are_told_and_the_others_timed(contest, monkeypatch):
    monkeypatch.setattr(children, "TIMEOUT", 2.0)
    names = [f"fake-{variant}" for variant in ("hang", "right", "wrong", "raise", "die", "absent")]
    contest.run([*names, "numpy"], TOKENS)
    assert contest.found.keys() == {"fake-right", "numpy"}
    assert contest.skipped["fake-hang"] == "no answer to 'answer' in 2 s"
    assert contest.skipped["fake-wrong"].startswith("its three best words are those of numpy at 0.0 % of 8 positions")
    assert contest.skipped["fake-raise"] == "RuntimeError: no more memory"
    assert contest.skipped["fake-die"] == "ended with status 3 when asked to 'answer': its last words"
    assert contest.skipped["fake-absent"].endswith("type: pip install -e '.[fakes]'")
    assert all(child.process.poll() is not None for child in contest.children.values())
    for measured in contest.found.values():
        assert measured.top3_agreement == 1
        assert [len(steps) for steps in measured.rounds[0]] == [4, 4]
        assert len(measured.spaced_ms) == 1 and measured.cold_ms > 0 and measured.cold_empty_cache_ms is None


def test_a_contender_that_dies_while_it_is_timed_is_taken_out(contest):
    contest.run(["fake-die-later", "fake-right"], TOKENS)
    assert contest.found.keys() == {"fake-right"}
    assert contest.skipped["fake-die-later"].startswith("ended with status 3 when asked to 'time'")


def test_no_contender_left_is_an_error_with_the_reasons(contest):
    with pytest.raises(ZooError, match="no contender could be timed: fake-raise: RuntimeError: no more memory"):
        contest.run(["fake-raise"], TOKENS)


def test_files_are_made_once_and_whole(contest):
    contest.run(["fake-right"], TOKENS)
    (made,) = contest.work.glob("fake-right-*")
    before = (made / "model").stat().st_mtime_ns
    contest.run(["fake-right"], TOKENS)
    assert (made / "model").stat().st_mtime_ns == before
    assert not [path for path in contest.work.iterdir() if path.name.startswith(".")]


def test_stopped_children_end_with_an_interrupt(contest, monkeypatch):
    monkeypatch.setattr(contest, "_pass", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        contest.run(["fake-right", "numpy"], TOKENS)
    assert len(contest.children) == 2
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{child.process.pid}").exists() for child in contest.children.values()):
        assert time.monotonic() < deadline


def test_a_gpu_gives_its_name_its_own_time_and_its_floor(contest, folder, quick, tmp_path):
    names = ["fake-device", "numpy"]
    found = latency.measure(folder, names, rounds.Protocol(**QUICK, passes=2), tmp_path / "work")
    assert found["device"] == "Some GPU"
    assert found["bandwidth"][0] == {"bytes": 500_000, "gb_per_s": 1.0}
    device = found["contenders"]["fake-device"]
    assert device["device_ms"] == pytest.approx(1e-3)
    assert device["floor_ms"] == pytest.approx(device["touched_bytes"] / 1e6)
    assert "floor_ms" not in found["contenders"]["numpy"]  # on another device than the bandwidth
    assert found["protocol"]["passes"] == 2


def test_main_writes_a_result_per_device_with_conditions(tmp_path, folder, quick, capsys):
    options = ["--backend", "torch-step", "numpy", "torch-cuda", "--threads", "2"]
    assert latency.main([str(folder), *options, "--out", str(tmp_path), "--work", str(tmp_path / "work")]) == 0
    result = json.loads((tmp_path / "tiny" / "latency-some-cpu-2-cores-2-threads.json").read_text())
    assert list(result) == [
        *(
            "name",
            "sha256",
            "command",
            "device",
            "cpu",
            "versions",
            "text",
            "protocol",
            "memory",
            "reference",
            "bandwidth",
        ),
        *("milliseconds", "contenders", "base", "ratios", "skipped"),
    ]
    assert result["reference"] == "numpy"
    assert result["device"] == "Some CPU (2 cores)" and result["text"] == "random ids, seed 0"
    assert result["command"].startswith("python -m bench.latency tiny --backend torch-step numpy")
    assert result["protocol"] == {"batch": 1, "top": 3, "threads": 2, "passes": 1, **QUICK}
    assert result["milliseconds"].keys() == result["contenders"].keys() == result["ratios"].keys()
    assert result["milliseconds"].keys() == {"torch-step", "numpy"}
    assert all(value > 0 for row in result["milliseconds"].values() for value in row.values())
    assert result["ratios"][result["base"]] == 1
    for row in result["contenders"].values():
        assert row["top3_agreement"] == 1 and row["file_bytes"] > 0 and row["touched_bytes"] > 0
        assert row["spaced_ms"] > 0 and row["cold_ms"] > 0 and row["versions"] and row["format"]
    assert result["skipped"].keys() == {"torch-cuda"}
    printed = capsys.readouterr().out
    assert "tiny on Some CPU (2 cores), 2 thread(s); base: " in printed
    assert "torch-cuda was not timed: torch finds no CUDA GPU" in printed


def test_a_result_of_more_contenders_stays(tmp_path, folder, quick, capsys):
    options = [str(folder), "--out", str(tmp_path), "--work", str(tmp_path / "work"), "--backend"]
    assert latency.main([*options, "numpy", "torch-step"]) == 0
    path = tmp_path / "tiny" / "latency-some-cpu-2-cores.json"
    before = path.read_bytes()
    assert latency.main([*options, "numpy"]) == 2
    assert "has torch-step, which were not timed now, and stays" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert json.loads((tmp_path / "work" / "tiny" / path.name).read_text())["milliseconds"].keys() == {"numpy"}
    assert latency.main([*options, "numpy", "--replace"]) == 0
    assert json.loads(path.read_text())["milliseconds"].keys() == {"numpy"}


def test_the_text_is_that_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    folder, asked = tiny(tmp_path / "tiny"), []
    (folder / "metrics.json").write_text('{"corpus": "dialogue"}')
    text = tmp_path / "test.txt"
    text.write_text("w2 w3 w4\n" * 9)

    def load(name, data, **more):
        asked.append(name)
        return latency_corpus(text, data, **more)

    latency_corpus = latency.load_corpus
    monkeypatch.setattr(latency, "load_corpus", load)
    assert latency.text_of(folder, str(tmp_path), 8)[1] == "dialogue, test, its first tokens"
    assert latency.text_of(folder, None, 8, str(text))[1] == "test, test, its first tokens"
    assert asked == ["dialogue", str(text)]
    with pytest.raises(CorpusError, match="give a longer --corpus"):
        latency.text_of(folder, None, 99, str(text))
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(latency, "load_corpus", latency_corpus)
    with pytest.raises(CorpusError):  # no random ids where a text was meant
        latency.text_of(folder, None, 8)


def test_the_device_is_that_of_the_opencl_step():
    cpu, gpu = {"device": "PoCL", "device_type": "cpu"}, {"device": "Some GPU", "device_type": "gpu"}
    assert latency.device_name({"opencl": gpu, "numpy": {}}) == "Some GPU"
    assert latency.device_name({"torch-cuda": gpu, "numpy": {}}) == "Some GPU"
    assert latency.device_name({"opencl": cpu, "torch-cuda": gpu}) == latency.cpu_name()


def test_an_interrupt_leaves_no_result(tmp_path, folder, quick, monkeypatch, capsys):
    monkeypatch.setattr(rounds.Contest, "_pass", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    out, work = str(tmp_path / "out"), str(tmp_path / "work")
    assert latency.main([str(folder), "--backend", "numpy", "--out", out, "--work", work]) == 130
    assert "stopped; what was being measured was not written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["tiny", "--backend", "torhc"], "error: no contender 'torhc'; did you mean torch"),
        (["tiny", "--threads", "0"], "error: threads is 0 and passes 1; give at least 1 of each"),
        (["tiny", "--threads", "99999"], "error: threads is 99999 and this machine has "),
        (["tiny", "--backend", "numpy", "--device", "mali"], "error: --device is of the OpenCL step; leave it out"),
        (["tiny", "--out", "/proc/nowhere"], "error: cannot write to /proc/nowhere; give a folder of yours: --out"),
        (["tiny", "--python", "litert=nowhere"], "error: --python is 'litert=nowhere'; give a contender and an inter"),
        ([], "error: no checkpoint was given; name one, or give --all"),
    ],
)
def test_errors_are_one_line(options, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    assert latency.main(options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert line.startswith(message)


def test_summaries_are_medians_over_passes_and_ratios_pair_rounds():
    def measured(*passes):
        return rounds.Measured({}, 1.0, rounds=[[[value] * 3 for value in one] for one in passes])

    one, other = (
        measured([1.0, 2.0, 3.0], [3.0, 3.0, 3.0], [9.0, 9.0, 9.0]),
        measured([2.0, 8.0, 6.0], [1.0] * 3, [9.0] * 3),
    )
    assert latency.summary(one)["median"] == 3
    assert latency.ratio(one, one) == 1
    assert latency.ratio(one, other) == 1  # of 0.5, 3 and 1


def test_the_command_names_no_path_of_this_machine():
    given = argparse.Namespace(backend=["numpy"], threads=2, passes=3, device=None, data="/some/place", corpus=None)
    expected = "python -m bench.latency tiny --backend numpy --threads 2 --passes 3 --data DIR"
    assert latency.command_of("tiny", given) == expected


def test_an_interpreter_is_for_a_contender_or_all_of_a_library():
    given = {"litert": Path("a"), "litert-int8": Path("b")}
    assert contenders.interpreter_of("litert-fp32", given) == Path("a")
    assert contenders.interpreter_of("litert-int8", given) == Path("b")
    assert contenders.interpreter_of("numpy", given) is None


def test_joules_are_differences_of_counters_that_begin_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "COUNTERS", tmp_path)
    assert energy.read() is None
    for name, value in (("intel-rapl:0", 900_000), ("intel-rapl:0:0", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("1000000\n")
    before = energy.read()
    assert before == {"intel-rapl:0": 900_000}
    assert energy.joules(before, {"intel-rapl:0": 950_000}) == pytest.approx(0.05)
    assert energy.joules(before, {"intel-rapl:0": 100_000}) == pytest.approx(0.2)
    assert energy.joules(before, None) is None


def test_a_text_classifier_is_refused_and_not_among_all(tmp_path, quick, monkeypatch, capsys):
    assert latency.main([str(write_classifier(tmp_path / "tiny")), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "tiny is a text classifier, and latency is measured of language models only" in error
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()
    row = Entry("tiny", "", None, 1, 1, 1, {}, {}, CLASSIFICATION)
    monkeypatch.setattr(latency, "entries", lambda: {"tiny": row})
    assert latency.main(["--all"]) == 2
    assert "no checkpoint was given" in capsys.readouterr().err


def test_small_models_stay_on_one_thread(folder, monkeypatch):
    monkeypatch.delenv("POCL_DEVICES", raising=False)
    assert children._environment(2, folder)["POCL_DEVICES"] == "basic"
    monkeypatch.setattr(children, "SHARED_WORK", 10)
    assert children._environment(2, folder)["POCL_DEVICES"] == "pthread"
    assert children._environment(1, folder)["POCL_DEVICES"] == "basic"
