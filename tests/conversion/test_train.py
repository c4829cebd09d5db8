"""Training on a tiny corpus: it learns, and a run that was stopped anywhere ends as an unbroken one, bit by bit."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from conversion.build import prepare
from conversion.constraint import Constraint
from conversion.distillation import soft_targets
from conversion.interruption import Interrupted, Requests
from conversion.learner import Learner
from conversion.objective import mean_loss
from conversion.recipe import read_recipe
from conversion.running import Running
from conversion.state import load_state
from conversion.streams import Stripes
from conversion.train import VALID_BATCH, Trainer, train
from zoo.errors import CheckpointError, RecipeError

from .tiny import run, same_tensors, write_recipe

TIMES = ("seconds", "tokens_per_second")  # of a run's record, the only things that may differ
# Everything that a run carries from one update to the next, in two stages.
EVERYTHING = (
    (
        "window = 9",
        "window = 9\nwindow_jitter = 2\nshort_window = 0.2\nreset_state = 0.1\nar = 1\ntar = 1\nevaluate_every = 5",
    ),
    ("decay = 0.9", "decay = 0.9\nschedule = 'plateau'\nplateau = 1\nwarmup = 5"),
    ("epochs = 2", "epochs = 1"),
)
SECOND_STAGE = """
[[stage]]
optimizer = "sgd"
lr = 20.0
epochs = 1
average = "asgd"
nonmonotone = 1
"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    file = write_recipe(tmp_path_factory.mktemp("recipe") / "everything.toml", corpus, *EVERYTHING)
    file.write_text(file.read_text() + SECOND_STAGE)
    return file


@pytest.fixture(scope="module")
def unbroken(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run(everything, tmp_path_factory.mktemp("unbroken"))


def same_run(one: dict, other: dict) -> bool:
    """Whether two states are equal but for the clock."""

    def timeless(state: dict) -> dict:
        history = [{key: value for key, value in entry.items() if key not in TIMES} for entry in state["history"]]
        return state | {"history": history, "position": state["position"] | {"seconds": 0}, "format": 1}

    return same_tensors(timeless(one), timeless(other))


def test_learns(corpus: Path, tmp_path: Path):
    file = write_recipe(
        tmp_path / "tiny.toml", corpus, ("epochs = 2", "epochs = 10"), ("window = 9", "window = 9\nclip = 1")
    )
    state = run(file, tmp_path / "run")
    history = state["history"]
    # 20 words, of which the successor is known nine times in ten.
    assert math.exp(state["best"]["loss"]) < 10 < 12 < history[0]["train_perplexity"]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log == [pytest.approx(entry, rel=1e-5) for entry in history]
    assert [entry["epoch"] for entry in history] == list(range(1, 11))


def test_saving_is_no_part_of_the_result(everything: Path, unbroken: dict, corpus: Path, tmp_path: Path):
    recipe = read_recipe(everything)
    rarely = write_recipe(tmp_path / "rarely.toml", corpus, *EVERYTHING, ("save_every = 0", "save_every = 1000"))
    rarely.write_text(rarely.read_text() + SECOND_STAGE)
    other = run(rarely, tmp_path / "rarely")
    assert read_recipe(rarely) != recipe
    assert same_tensors(other["weights"], unbroken["weights"])


@pytest.mark.parametrize("stops", [(1,), (7, 14), (10, 11), (30, 31, 32, 50)])
def test_crash_and_resume_is_bit_equal(stops, everything: Path, unbroken: dict, tmp_path: Path, monkeypatch):
    """An exception in the middle of an update; the state is that of the update before."""
    update, count = Trainer.update, itertools.count(1)

    def crashing(self):
        if next(count) in stops:
            update(self)  # done but never saved
            raise RuntimeError("crash")
        update(self)

    monkeypatch.setattr(Trainer, "update", crashing)
    for _ in stops:
        with pytest.raises(RuntimeError, match="crash"):
            run(everything, tmp_path / "broken")
    assert same_run(run(everything, tmp_path / "broken"), unbroken)
    assert same_run(load_state(tmp_path / "broken" / "state.pt"), unbroken)


def test_two_stages_and_averages_happened(unbroken: dict):
    assert [entry["stage"] for entry in unbroken["history"]].count(2) >= 2
    assert unbroken["average"] is not None, "NT-ASGD was triggered"
    assert unbroken["position"]["epochs_before"] == 1
    best = min(entry["valid_perplexity"] for entry in unbroken["history"])
    assert math.exp(unbroken["best"]["loss"]) == pytest.approx(best)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_stops(number, everything: Path, unbroken: dict, tmp_path: Path, monkeypatch):
    update, count = Trainer.update, itertools.count(1)

    def signalled(self):
        update(self)
        if next(count) == 20:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Trainer, "update", signalled)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stop:
        run(everything, tmp_path / "stopped")
    assert stop.value.number == number
    assert signal.getsignal(number) is before
    state = load_state(tmp_path / "stopped" / "state.pt")
    assert state["position"]["updates"] == 20
    assert same_run(run(everything, tmp_path / "stopped"), unbroken)


def test_kill_9_and_resume_is_bit_equal(everything: Path, unbroken: dict, tmp_path: Path):
    command = [sys.executable, "-m", "conversion.build", str(everything), "--threads", "1", "--device", "cpu"]
    command += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    path = tmp_path / "runs" / "tiny" / "state.pt"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not path.exists() or load_state(path)["position"]["updates"] < 3:
            assert process.poll() is None, "it was to be killed in the middle"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "out").exists()
    assert same_run(run(everything, path.parent), unbroken)


def test_finished_run_can_be_extended(recipe_file: Path, tmp_path: Path, corpus: Path):
    first = run(recipe_file, tmp_path / "run")
    assert same_run(run(recipe_file, tmp_path / "run"), first)
    longer = write_recipe(tmp_path / "longer.toml", corpus, ("epochs = 2", "epochs = 3"))
    assert same_tensors(run(longer, tmp_path / "run")["weights"], run(longer, tmp_path / "once")["weights"])


def test_stages_start_from_best_or_last(tmp_path: Path, corpus: Path, monkeypatch):
    """The second stage has a learning rate too small to move anything."""
    starts = {}
    for start in ("best", "last"):
        file = write_recipe(tmp_path / f"{start}.toml", corpus, ("epochs = 2", "epochs = 1"))
        stage = f"[[stage]]\noptimizer = 'sgd'\nlr = 1e-12\nepochs = 1\nstart = '{start}'\n"
        file.write_text(file.read_text() + stage)
        starts[start] = run(file, tmp_path / start)
    best, last = starts["best"], starts["last"]
    assert same_tensors(best["weights"], best["best"]["weights"])  # the average of the first stage
    assert not same_tensors(last["weights"], best["weights"])


def test_changed_recipe_is_refused(recipe_file: Path, tmp_path: Path, corpus: Path):
    run(recipe_file, tmp_path / "run")
    changed = write_recipe(tmp_path / "changed.toml", corpus, ("lr = 0.02", "lr = 0.03"))
    with pytest.raises(RecipeError, match=r"stage.0.lr \(0.02 -> 0.03\).*remove the folder"):
        run(changed, tmp_path / "run")


def test_a_step_that_follows_the_training_may_be_added(recipe_file: Path, tmp_path: Path, corpus: Path):
    state = run(recipe_file, tmp_path / "run")
    more = tmp_path / "more.toml"
    more.write_text(recipe_file.read_text() + "[[compress]]\nmethod = 'quantize'\nbits = 8\n")
    assert same_tensors(run(more, tmp_path / "run")["best"]["weights"], state["best"]["weights"])


def test_divergence_is_named_and_leaves_the_last_good_state(tmp_path: Path, corpus: Path):
    changes = (
        ("lr = 0.02", "lr = 1e30"),
        ("window = 9", "window = 9\nclip = 0"),
        ("save_every = 0", "save_every = 1000"),
    )
    with pytest.raises(RecipeError, match=r"tiny diverged: .* after .* tokens; lower lr or clip"):
        run(write_recipe(tmp_path / "wild.toml", corpus, *changes), tmp_path / "run")
    assert not (tmp_path / "run" / "state.pt").exists()


class Said:
    """Keeps the lines that a run says."""

    def __init__(self):
        self.lines = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_jump_of_the_validation_loss_is_said_once_and_ends_nothing(recipe_file: Path, tmp_path: Path):
    running = Running(
        read_recipe(recipe_file), torch.nn.Linear(1, 1), tmp_path / "run", torch.device("cpu"), Requests(), None
    )
    running.progress = Said()
    better = [running.judge(loss, 4.0) for loss in (5.0, 4.5, 4.7, 6.0, 6.1, 4.4, 4.8)]
    assert better == [True, True, False, False, False, True, False]
    first, second = running.progress.lines
    assert "jumped from 4.5 to 6 nats: if it does not come back, stop with Ctrl-C, lower lr or clip" in first
    assert "from 4.4 to 4.8" in second and second.endswith(f"remove the folder {tmp_path / 'run'}")


def test_damaged_state_is_named(recipe_file: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    for content in (b"", b"not a state", b"PK\x03\x04 cut off"):
        (tmp_path / "run" / "state.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match="to start anew, remove the folder"):
            run(recipe_file, tmp_path / "run")


class Coarse(Constraint):
    """Weights are multiples of 1/16 where they count, and from half of the run on those of the head's bias are zero."""

    @contextmanager
    def in_force(self, model):
        latent = [tensor.data for tensor in model.parameters()]
        for tensor in model.parameters():
            tensor.data = torch.round(tensor.data * 16) / 16
        try:
            yield
        finally:
            for tensor, data in zip(model.parameters(), latent, strict=True):
                tensor.data = data

    @torch.no_grad()
    def after_update(self, model, done):
        if self.complete(done):
            model.lm_head.bias.zero_()

    def complete(self, done):
        return done >= 0.5


@pytest.fixture(scope="module")
def taught(everything: Path, unbroken: dict, tmp_path_factory: pytest.TempPathFactory):
    """A function that runs everything there is, with a teacher and a constraint, or goes on in the folder given."""
    folder = tmp_path_factory.mktemp("teacher")
    corpus, teacher = prepare(read_recipe(everything), None, Path())
    teacher.load_state_dict(unbroken["best"]["weights"])
    teacher.save_pretrained(folder / "teacher")
    corpus.tokenizer.save_pretrained(folder / "teacher")
    recipe = read_recipe(everything)
    training = dataclasses.replace(recipe.training, teachers=("teacher",), teacher_top=6)
    recipe = dataclasses.replace(recipe, training=training)
    targets = soft_targets(recipe, corpus, folder, folder, "cpu")

    def go_on(run: Path, **changes) -> dict:
        _, model = prepare(recipe, None, Path())
        changed = dataclasses.replace(recipe, training=dataclasses.replace(training, **changes))
        return train(changed, model, corpus.splits, corpus.eos_id, run, "cpu", Coarse(), targets)

    return go_on


def test_crash_and_resume_with_teacher_and_constraint_is_bit_equal(taught, tmp_path: Path, monkeypatch):
    expected = taught(tmp_path / "unbroken")
    update, count, stops = Trainer.update, itertools.count(1), (7, 14, 50)

    def crashing(self):
        update(self)
        if next(count) in stops:
            raise RuntimeError("crash")

    monkeypatch.setattr(Trainer, "update", crashing)
    for _ in stops:
        with pytest.raises(RuntimeError, match="crash"):
            taught(tmp_path / "broken")
    assert same_run(taught(tmp_path / "broken"), expected)


def test_teacher_and_constraint_change_the_run(taught, tmp_path: Path, unbroken: dict):
    half, whole = taught(tmp_path / "half"), taught(tmp_path / "whole", teacher_weight=1.0)
    assert not same_tensors(half["weights"], whole["weights"])
    # Until the constraint is complete, halfway, nothing counts as the best.
    first = next(entry for entry in half["history"] if entry["best"])
    assert first["stage"] == 2 or first["epoch"] == 1
    assert any(entry["stage"] == 1 and not entry["best"] for entry in half["history"])
    for state in (half, whole):
        for kept in (state["weights"], state["best"]["weights"]):
            assert (kept["lm_head.bias"] == 0).all()
            weight = kept["lm_head.weight"] * 16
            assert (weight != weight.round()).float().mean() > 0.9, "the latent weights are kept"
    averages = [state["average"]["module.lm_head.bias"] for state in (half, whole) if state["average"]]
    assert averages and not torch.cat(averages).any()


def test_validation_is_with_the_constraint_in_force(taught, tmp_path: Path, everything: Path):
    state = taught(tmp_path / "run")
    corpus, model = prepare(read_recipe(everything), None, Path())
    model.load_state_dict(state["best"]["weights"])
    stripes = Stripes(corpus.splits["valid"], corpus.eos_id, VALID_BATCH)
    free = mean_loss(model, stripes)
    with Coarse().in_force(model):
        assert mean_loss(model, stripes) == pytest.approx(state["best"]["loss"], abs=1e-6)
    assert free != pytest.approx(state["best"]["loss"], abs=1e-6)


def test_teacher_alone_teaches_and_faster_than_the_text(tmp_path: Path, corpus: Path):
    """By its distribution of every word, without the words."""
    file = write_recipe(
        tmp_path / "tiny.toml", corpus, ("epochs = 2", "epochs = 8"), ("window = 9", "window = 9\nclip = 1")
    )
    recipe = read_recipe(file)
    history = run(recipe, tmp_path / "teacher")["history"]
    text, model = prepare(recipe, None, Path())
    model.load_state_dict(load_state(tmp_path / "teacher" / "state.pt")["best"]["weights"])
    model.save_pretrained(tmp_path / "out")
    text.tokenizer.save_pretrained(tmp_path / "out")
    training = dataclasses.replace(recipe.training, teachers=(str(tmp_path / "out"),), teacher_weight=1.0)
    stage = dataclasses.replace(recipe.stage[0], epochs=3)
    recipe = dataclasses.replace(recipe, training=training, stage=(stage,))
    targets = soft_targets(recipe, text, Path(), tmp_path, "cpu")
    _, model = prepare(recipe, None, Path())
    state = train(recipe, model, text.splits, text.eos_id, tmp_path / "run", "cpu", targets=targets)
    assert math.exp(state["best"]["loss"]) < 12 < 15 < history[2]["valid_perplexity"]


def test_teachers_without_their_targets_are_refused(recipe_file: Path, tmp_path: Path):
    recipe = read_recipe(recipe_file)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, teachers=("one",)))
    with pytest.raises(RecipeError, match="names teachers and soft targets are missing"):
        run(recipe, tmp_path / "run")


def test_share_done_goes_from_stage_to_stage_up_to_one(everything: Path, tmp_path: Path, monkeypatch):
    seen = []
    descend = Learner.descend
    monkeypatch.setattr(Learner, "descend", lambda self, *a: seen.append(a[2]) or descend(self, *a))
    run(everything, tmp_path / "run")
    assert seen == sorted(seen) and seen[0] > 0 and seen[-1] == 1.0 and 0.5 in seen
