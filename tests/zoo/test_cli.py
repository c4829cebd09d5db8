"""The `zoo` command: what it prints, and that every mistake ends in one line without a traceback."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import load_file, save_file

import zoo
from zoo import commands
from zoo.catalog import Entry
from zoo.cli import main
from zoo.tokenization import build_tokenizer

from .folders import WORDS, write_checkpoint
from .models import VOCABULARY, model_of

TEXT = "w2 w3 w4\nw5 w6 strange\n\nw7 w8\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def run(capsys):
    """Runs the command in this process -> (exit code, standard output, standard error)."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def entry(name, **quality):
    return Entry(name, "LSTM 2 x 9", None, 1234567, 1234567, 2500000, quality, {})


def assert_one_line(found, *parts):
    code, out, err = found
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1, err
    for part in parts:
        assert part in err
    assert "Traceback" not in out + err


def test_suggest(run, folder):
    code, out, err = run("suggest", "w2 w3", "W5", "--k", 3, "--model", folder)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 9)
    assert (lines[0], lines[4]) == ("w2 w3", "W5")
    assert all(line.split()[1] == "%" and line.split()[2] in WORDS for line in lines[1:4] + lines[5:8])
    size = sum((folder / name).stat().st_size for name in ("config.json", "model.safetensors"))
    assert lines[8].startswith(f"{folder}: {size / 1e6:.2f} MB, ") and lines[8].endswith(" ms per word")


def test_suggest_as_json(run, folder):
    code, out, _ = run("suggest", "w2 strange", "w2", "--k", 2, "--model", folder, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["text"] for row in rows] == ["w2 strange", "w2"]
    assert [row["unknown_words"] for row in rows] == [["strange"], []]
    assert all(row["ms_per_word"] > 0 and row["bytes"] > 0 and row["model"] == str(folder) for row in rows)
    probabilities = [word["probability"] for word in rows[0]["suggestions"]]
    assert len(probabilities) == 2 and 1 > probabilities[0] >= probabilities[1] > 0


def test_suggest_says_which_words_are_unknown(run, folder):
    _, out, _ = run("suggest", "w2 strange words", "--model", folder)
    assert out.splitlines()[1] == "  (not in the vocabulary, read as <unk>: strange, words)"


def test_suggest_reads_a_text_as_it_is_typed(run, folder):
    rows = [
        json.loads(run("suggest", text, "--model", folder, "--json")[1])
        for text in ("w2, W3.", "w2 w3 <eos>", "“w2” zork")
    ]
    assert [row["unknown_words"] for row in rows] == [[], [], ["zork"]]
    assert rows[0]["suggestions"] == rows[1]["suggestions"]


def test_suggest_special_words(run, folder):
    _, out, _ = run("suggest", "w2", "--model", folder, "--k", VOCABULARY, "--special", "--json")
    assert {word["word"] for word in json.loads(out)["suggestions"]} == set(WORDS)


def test_lines_of_standard_input_are_read_each_by_itself(run, folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("w2 w3\n\nw2 w3"))
    code, out, err = run("suggest", "--model", folder, "--k", 2)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 10)
    assert lines[:3] == lines[6:9] and lines[3] == ""


def test_a_person_gets_a_prompt_and_an_interrupt_ends_the_session(run, folder, monkeypatch):
    lines = iter(["w2 w3"])

    def typed(prompt=""):
        print(prompt, end="")
        for line in lines:
            return line
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", typed)
    code, out, err = run("suggest", "--model", folder, "--k", 1)
    assert code == 0 and out.startswith(">   ") and "ms per word" in out.splitlines()[-1] and "Ctrl-D" in err


@pytest.mark.parametrize(
    ("shipped", "expected"),
    [
        (["a", "lstm-200-ptb", "lr-cifg-1200-born-again-ptb"], "lr-cifg-1200-born-again-ptb"),
        (["a", "lstm-200-ptb"], "lstm-200-ptb"),
        (["b", "a"], "b"),
    ],
)
def test_the_model_that_suggests_when_none_is_named(monkeypatch, shipped, expected):
    monkeypatch.setattr(commands, "entries", lambda: {name: entry(name) for name in shipped})
    assert commands._default_model() == expected


def test_nothing_is_shipped(run, monkeypatch):
    monkeypatch.setattr(commands, "entries", dict)
    assert_one_line(run("suggest", "w2"), "--model")
    code, out, _ = run("list")
    assert code == 0 and "no checkpoint is shipped" in out


def test_list(run, monkeypatch):
    rows = {"a": entry("a", ptb={"test_perplexity": 92.345, "test_top1": 0.2}), "bb": entry("bb")}
    monkeypatch.setattr(commands, "entries", lambda: rows)
    code, out, _ = run("list")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3
    assert (
        lines[1].split("  ")[0] == "a"
        and "1,234,567" in lines[1]
        and "2.50" in lines[1]
        and "ptb test perplexity 92.34" in lines[1]
    )
    assert lines[1].split()[1] == "nowhere"
    row = json.loads(run("list", "--json")[1])["a"]
    assert row["quality"]["ptb"]["test_top1"] == 0.2 and row["where"] == "nowhere" and row["versions"] == {}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_info_counts_every_number_once(run, tmp_path, cell):
    model = model_of(cell=cell, projected=True, form="low_rank")
    folder = write_checkpoint(tmp_path / "tiny", model, half=True)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.bias"][:5] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "recipe.toml").write_text('corpus = "story"\n')
    (folder / "metrics.json").write_text('{"valid": {"perplexity": 92.34567}}')
    code, out, _ = run("info", folder, "--json")
    found = json.loads(out)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert code == 0
    assert found["total"] == {"parameters": parameters, "nonzeros": parameters - 5, "bytes": 2 * parameters}
    assert found["roles"]["bias.head"] == {"parameters": 31, "nonzeros": 26, "bytes": 62}
    layers = {f"{part}.{layer}" for part in ("input", "recurrent", "projection", "bias") for layer in (0, 1)}
    assert set(found["roles"]) == layers | {"embed", "output_projection", "bias.head"}
    code, out, _ = run("info", folder)
    assert code == 0
    assert f"2 x {cell.upper()} 9, projection 5, embedding 7, output projection 7, tied, vocabulary 31" in out
    assert "valid.perplexity: 92.3457" in out and 'corpus = "story"' in out
    assert " low_rank 3 " in out


def test_info_of_numbers_that_numpy_does_not_have(run, folder):
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: torch.from_numpy(tensor).bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()
    }
    tensors["lm_head.bias"] = torch.tensor([0.0, -0.0, *range(1, VOCABULARY - 1)], dtype=torch.bfloat16)
    save_file(tensors, folder / "model.safetensors")
    found = json.loads(run("info", folder, "--json")[1])
    assert found["roles"]["bias.head"] == {"parameters": 31, "nonzeros": 29, "bytes": 62}


def test_evaluate(run, folder, text_file):
    code, out, _ = run("evaluate", folder, "--corpus", text_file, "--threads", 1)
    assert code == 0 and "12 targets" in out and "perplexity" in out and "top-3" in out and "stripes" not in out
    one = json.loads(run("evaluate", folder, "--corpus", text_file, "--json")[1])
    assert one["targets"] == 12 and one["perplexity"] > 1 and one["split"] == "test"
    code, out, _ = run("evaluate", folder, "--corpus", text_file, "--batch-size", 3)
    assert code == 0 and "Scored in 3 stripes" in out


def test_version(run):
    assert run("--version")[:2] == (0, f"zoo {zoo.__version__}\n")


@pytest.mark.parametrize("verb", [["suggest", "w2", "--model"], ["info"], ["evaluate"]])
@pytest.mark.parametrize("name", ["lstm-2OO-ptb", "no/such/folder", ""])
def test_unknown_checkpoints(run, verb, name):
    assert_one_line(run(*verb, name), repr(name), "zoo list")


@pytest.mark.parametrize("k", [0, -3, VOCABULARY - 1, 10**9])
def test_a_number_of_words_that_cannot_be(run, folder, k):
    assert_one_line(run("suggest", "w2", "--model", folder, f"--k={k}"), str(k), "1 to 29")


def cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def garble(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:8] + b"\xff" * 40 + path.read_bytes()[48:])


def other_shape(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 9', '"hidden_size": 10'))


def wrong_type(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 9', '"hidden_size": "nine"'))


def no_json(folder):
    (folder / "config.json").write_text("{")


def other_vocabulary(folder):
    build_tokenizer([*WORDS, "more"]).save_pretrained(folder)


def no_tokenizer(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"pre_tokenizer": {"type": "Unheard"}}))


def no_weights(folder):
    (folder / "model.safetensors").unlink()


DAMAGES = [cut_off, garble, other_shape, wrong_type, no_json, other_vocabulary, no_tokenizer, no_weights]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("verb", ["suggest", "evaluate"])
def test_damaged_checkpoints(run, folder, text_file, verb, damage):
    damage(folder)
    more = ["--model", folder, "w2"] if verb == "suggest" else [folder, "--corpus", text_file]
    assert_one_line(run(verb, *more), str(folder))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\x00\x01\xff" * 50], ids=["empty", "lines", "binary"])
def test_texts_that_are_none(run, folder, text_file, content):
    text_file.write_bytes(content)
    assert_one_line(run("evaluate", folder, "--corpus", text_file), str(text_file))


@pytest.mark.parametrize(
    "arguments",
    [["--corpus", "nowhere"], ["--split", "valid"], ["--split", "other"], ["--batch-size", 0], ["--threads", 0]],
)
def test_evaluate_refuses(run, folder, text_file, arguments):
    assert_one_line(run("evaluate", folder, "--corpus", text_file, *arguments))


def test_named_corpus_without_its_files(run, folder):
    assert_one_line(run("evaluate", folder), "--data DIR", "ZOO_DATA")


def process(*arguments, **options):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", *map(str, arguments)], env=environment, **{**pipes, **options}
    )


def test_a_terminal_that_cannot_show_a_word(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", words=["<unk>", "<eos>", *(f"é{word}" for word in WORDS[2:])])
    out, err = process("suggest", "--model", folder).communicate("é ë\n".encode() + b"\xff\n")
    assert err == b"" and b"\\xe9w" in out


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and pipes")
def test_a_reader_that_goes_away(folder):
    reading, writing = os.pipe()
    os.close(reading)
    done = process("suggest", "w2", "--model", folder, stdout=writing)
    os.close(writing)
    assert done.communicate()[1] == b"" and done.returncode == 141


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and pipes")
def test_an_interrupt_while_lines_are_read_ends_cleanly(folder):
    running = process("suggest", "--model", folder)
    running.stdin.write(b"w2\n")
    running.stdin.flush()
    assert running.stdout.readline() == b"w2\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 0 and err == b"" and b"ms per word" in out


def test_an_interrupt_elsewhere(run, folder, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.suggestions.Suggester.suggest", interrupted)
    code, _, err = run("suggest", "w2", "--model", folder)
    assert code == 130 and "Traceback" not in err


def test_a_file_that_the_system_refuses(run, folder, monkeypatch):
    def refused(*arguments):
        raise PermissionError(13, "Permission denied", "model.safetensors")

    monkeypatch.setattr("zoo.runtime.verify", refused)
    assert_one_line(run("suggest", "w2", "--model", folder), "model.safetensors: Permission denied")


def test_json_is_ascii(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", words=["<unk>", "<eos>", *(f"é{word}" for word in WORDS[2:])])
    out, _ = process("suggest", "éw2", "--model", folder, "--json").communicate()
    found = json.loads(out.decode("ascii"))
    assert found["text"] == "éw2" and found["unknown_words"] == []
