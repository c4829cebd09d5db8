"""The C step against the numpy one, and what else rnnlm.h has."""

import shutil
import subprocess
import threading

import numpy as np
import pytest

from conversion.exporters.c_file import file_of
from conversion.exporters.c_library import SOURCES, CModel, CText, library_of
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import VARIANTS, VOCABULARY, model_of, name_of
from zoo.errors import CheckpointError, ZooError
from zoo.keyboard.engines import log_softmax
from zoo.runtime import NumpyModel

IDS = [1, 5, 30, 0, 7, 7, 12]
STRICT = ("-Wall", "-Wextra", "-pedantic", "-Wshadow", "-Werror")


def opened(library, folder) -> CModel:
    (folder / "model.rnnlm").write_bytes(file_of(folder))
    return CModel(library, folder / "model.rnnlm")


def log_probs_of(model, ids, state):
    """Of the last of some words, normalized; the state moves on."""
    logits, scratch = np.empty(model.vocabulary, np.float32), model.scratch()
    for token in ids:
        model.step(token, state, logits, scratch)
    return log_softmax(logits)


def assert_close(found, expected):
    """But for rounding, of which large numbers have more."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * max(3, np.abs(expected).max()))


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_steps_equal_the_numpy_model(tmp_path, any_library, variant, half):
    folder = write_checkpoint(tmp_path / "tiny", model_of(**variant), half=half)
    model, reference, expected = opened(any_library, folder), NumpyModel(folder), None
    state = np.zeros(model.state_floats, np.float32)
    for token in IDS:
        found = log_probs_of(model, [token], state)
        log_probs, expected = reference.step(token, expected)
        assert_close(found, log_probs)
        assert_close(state, np.concatenate([part for pair in expected for part in pair]))


@pytest.mark.parametrize(
    "options",
    [
        {"head_bias": False, "layers": 1},
        {"tied": False, "output_projection_size": 40},
        {"hidden_size": 70, "form": "int4", "weights": {"recurrent": {"form": "int4", "group": 32}}},
        {"hidden_size": 64, "projection_size": 48, "weights": {"projection": {"form": "int4", "group": 16}}},
        {"embedding_size": 600, "output_projection_size": 600, "weights": {"embed": {"form": "int8", "scheme": "row"}}},
        {"embedding_size": 7, "weights": {"embed": {"form": "int4", "group": 64}}},
        {
            "tied": False,
            "embedding_size": 1100,
            "weights": {"embed": {"form": "int4", "group": 52}, "input": {"form": "int4", "group": 2}},
        },
    ],
    ids=lambda options: "-".join(options),
)
def test_other_sizes(tmp_path, any_library, options):
    folder = write_checkpoint(tmp_path / "tiny", model_of(**options))
    model, reference = opened(any_library, folder), NumpyModel(folder)
    before = reference.initial_state()
    for token in IDS:  # each from the same state, as wide sums of large numbers magnify what is rounded
        state = np.concatenate([part for pair in before for part in pair])
        log_probs, before = reference.step(token, before)
        assert_close(log_probs_of(model, [token], state), log_probs)


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_states_of_any_size(tmp_path, any_library, form):
    """x has 24 bits beside its greatest number, and nothing overflows."""
    folder = write_checkpoint(tmp_path / "tiny", model_of(cell="rnn", form=form, layers=1))
    model, reference = opened(any_library, folder), NumpyModel(folder)
    shape = reference.initial_state()[0][0].shape
    for size in (0, 1e-38, 1e-20, 1, 1e6):
        h = np.resize(np.array([1, -0.5, 1e-4, 0], np.float32), shape) * np.float32(size)
        state, logits = h.copy(), np.empty(model.vocabulary, np.float32)
        model.step(3, state, logits, model.scratch())
        log_probs, ((after, _),) = reference.step(3, ((h, h[:0]),))
        assert_close(state, after)
        assert_close(log_softmax(logits), log_probs)
    for size in (np.nan, np.inf, -np.inf):
        model.step(3, np.full(model.state_floats, size, np.float32), logits, model.scratch())


def test_halves_below_the_normal_ones(tmp_path, library):
    torch_model = model_of(layers=1)
    weight = torch_model.model.embed_tokens.weight
    weight.data *= 1e-5
    folder = write_checkpoint(tmp_path / "tiny", torch_model, half=True)
    assert (abs(weight.detach().half()) < 6.1e-5).all()
    found = log_probs_of(
        opened(library, folder), [3, 4], np.zeros(NumpyModel(folder).layout.hidden_size * 2, np.float32)
    )
    _, state = NumpyModel(folder).step(3)
    assert_close(found, NumpyModel(folder).step(4, state)[0])


def test_two_texts_at_a_time_and_words_that_nobody_asks_about(tmp_path, library):
    model = opened(library, write_checkpoint(tmp_path / "tiny", model_of(cell="gru", projected=True)))
    first, second = [3, 9, 4, 4], [8, 2, 0, 30]
    alone = [log_probs_of(model, ids, np.zeros(model.state_floats, np.float32)) for ids in (first, second)]
    states, logits = np.zeros((2, model.state_floats), np.float32), np.empty(VOCABULARY, np.float32)
    scratch = model.scratch()
    for pair in list(zip(first, second, strict=True))[:-1]:
        for token, state in zip(pair, states, strict=True):
            model.step(token, state, None, scratch)
            scratch[:] = np.nan  # nothing is kept there
    for ids, state, expected in zip((first, second), states, alone, strict=True):
        model.step(ids[-1], state, logits, scratch)
        np.testing.assert_array_equal(log_probs_of(model, ids, np.zeros_like(state)), expected)
        assert (np.argsort(-logits, kind="stable") == np.argsort(-expected, kind="stable")).all()


def test_threads_share_a_model(tmp_path, library):
    model, found = opened(library, write_checkpoint(tmp_path / "tiny")), {}

    def read(seed):
        ids = np.random.default_rng(seed).integers(0, VOCABULARY, 200).tolist()
        found[seed] = log_probs_of(model, ids, np.zeros(model.state_floats, np.float32))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone, found = dict(found), {}
    for seed in range(4):
        read(seed)
        np.testing.assert_array_equal(found[seed], alone[seed])


def test_the_best_words_in_order(library, tmp_path):
    model = opened(library, write_checkpoint(tmp_path / "tiny"))
    logits = np.array([0, 3, 1, 3, -1, 2], np.float32)
    ids, log_probs = model.best(logits, 4)
    assert ids == [1, 3, 5, 2]  # equals by id
    expected = logits - np.log(np.exp(logits).sum())
    np.testing.assert_allclose(log_probs, expected[ids], atol=1e-6)
    assert model.best(logits, 9)[0] == [1, 3, 5, 2, 0, 4] and model.best(logits, 0) == ([], [])
    many = np.full(100_000, -18, np.float32)  # each less than a float of 1 can have added to it
    many[0] = 0
    assert model.best(many, 1)[1][0] == pytest.approx(-np.log1p(99_999 * np.exp(-18)), abs=1e-6)
    chance = np.random.default_rng(0).integers(0, 50, 1000).astype(np.float32)
    assert model.best(chance, 20)[0] == np.argsort(-chance, kind="stable")[:20].tolist()


@pytest.mark.parametrize("size", [5, 128, 129, 1000])
def test_the_best_of_many(library, tmp_path, size):
    model, chance = opened(library, write_checkpoint(tmp_path / "tiny")), np.random.default_rng(size)
    for logits in (chance.normal(size=size), np.arange(size), -np.arange(size), chance.integers(0, 3, size)):
        for k in (1, 3, 130):
            ids, log_probs = model.best(logits.astype(np.float32), k)
            assert ids == np.argsort(-logits, kind="stable")[:k].tolist()
            np.testing.assert_allclose(log_probs, log_softmax(logits.astype(np.float32))[ids], atol=1e-4)


def test_a_text_is_steps_and_the_best(library, tmp_path):
    model = opened(library, write_checkpoint(tmp_path / "tiny"))
    text, state, scratch = CText(model, 4), np.zeros(model.state_floats, np.float32), model.scratch()
    logits = np.empty(model.vocabulary, np.float32)
    for token in IDS:
        model.step(token, state, logits, scratch)
        assert text.step(token) == model.best(logits, 4)
    assert len(CText(model, 10**6).step(0)[0]) == model.vocabulary
    with pytest.raises(CheckpointError, match="the token: the id is outside the vocabulary"):
        text.step(model.vocabulary)
    np.testing.assert_array_equal(text.state, state)


def test_words_and_ids(tmp_path, library):
    words = ["<unk>", "<eos>", "Ä", "z", "a", "Grüße", "😀", "ab", *(f"w{n}" for n in range(8, VOCABULARY))]
    model = opened(library, write_checkpoint(tmp_path / "tiny", words=words))
    assert [model.word(token) for token in range(VOCABULARY)] == words
    assert [model.id(word) for word in words] == list(range(VOCABULARY))
    assert [model.id(word) for word in ("", "A", "abc", "zz", "ÿ")] == [0] * 5
    assert model.word(-1) is model.word(VOCABULARY) is None
    words[0] = "known"
    assert opened(library, write_checkpoint(tmp_path / "without", words=words)).id("unknown") == -1


def test_tokens_outside_the_vocabulary_change_nothing(tmp_path, library):
    model = opened(library, write_checkpoint(tmp_path / "tiny"))
    state, logits = np.ones(model.state_floats, np.float32), np.ones(VOCABULARY, np.float32)
    for token in (-1, VOCABULARY):
        with pytest.raises(CheckpointError, match="outside the vocabulary; use rnnlm_id"):
            model.step(token, state, logits, model.scratch())
    assert (state == 1).all() and (logits == 1).all()


def test_the_sources_compile_without_a_warning(tmp_path, c_compiler):
    for name in {"gcc", "clang", c_compiler[0]}:
        if not shutil.which(name):
            continue
        for path in sorted(SOURCES.glob("*.c")):
            command = [name, "-std=c99", "-O2", *STRICT, "-c", str(path), "-o", str(tmp_path / "object")]
            done = subprocess.run(command, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, ""), command


def test_the_header_is_for_cpp_too(tmp_path, c_compiler):
    cpp = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if cpp is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "main.cpp").write_text(
        '#include "rnnlm.h"\nint main() { rnnlm model; return rnnlm_open(&model, "other..", 8) == RNNLM_OK; }\n'
    )
    for path in SOURCES.glob("rnnlm*.c"):
        command = [*c_compiler, "-c", str(path), "-o", str(tmp_path / f"{path.stem}.o")]
        subprocess.run(command, check=True)
    objects = sorted(map(str, tmp_path.glob("*.o")))
    command = [cpp, *STRICT, f"-I{SOURCES}", str(tmp_path / "main.cpp"), *objects, "-lm", "-o", str(tmp_path / "main")]
    subprocess.run(command, check=True)
    assert subprocess.run([str(tmp_path / "main")]).returncode == 0


def test_a_compiler_that_does_not_know_the_machine_compiles_for_any(tmp_path, c_compiler, monkeypatch):
    script = tmp_path / "cc"
    script.write_text(f"""#!/bin/sh
case "$*" in *native*) exit 1;; esac
exec {" ".join(c_compiler)} "$@"
""")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    assert library_of(SOURCES, flags=None).rnnlm_error(0) == b"no error"


def test_a_compiler_that_fails_is_quoted(c_compiler, monkeypatch):
    monkeypatch.setenv("CC", f"{c_compiler[0]} -no-such-option")
    with pytest.raises(ZooError, match=r"cannot compile rnnlm\.c, .*no-such-option.*; set CC"):
        library_of(SOURCES)
