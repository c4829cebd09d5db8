"""What cannot be imported is refused before anything is written, with the line that helps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from conversion.importers import import_checkpoint
from conversion.importers.command import main
from zoo.errors import CheckpointError, VocabularyError, ZooError

from .originals import WORDS, AwdLstm, V, WordLanguageModel, difference, random, vocabulary_file

# Their code, as it lies beside their checkpoint: a module saved whole names it and does not load without it.
CODE = """
from torch import nn

class RNNModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Embedding({V}, 6)
        self.rnn = nn.{cell}(6, 6, 2{option})
        self.decoder = nn.Linear(6, {V})

class TransformerModel(nn.Module):
    pass
"""


def refused(tmp_path: Path, state: object, message: str, error: type[ZooError] = CheckpointError, **options) -> str:
    """Refuses in one line, and writes nothing."""
    torch.save(state, tmp_path / "theirs.pt")
    options = {"vocabulary": vocabulary_file(tmp_path)} | options
    with pytest.raises(error, match=message) as caught:
        import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", **options)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() or path.name.startswith(".")) == []
    return str(caught.value)


def saved_whole(folder: Path, expression: str, cell: str = "LSTM", option: str = "", new: bool = True) -> Path:
    """A file with a module of model.py in it, and the code beside it."""
    folder.mkdir()
    code = CODE.format(V=V, cell=cell, option=option)
    (folder / "model.py").write_text(code)
    module = types.ModuleType("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "model", module)
        exec(code, vars(module))
        whole = eval(expression, {"model": module})
        torch.save(whole, folder / "model.pt", _use_new_zipfile_serialization=new)
    return folder / "model.pt"


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # of the old format, for a class made here
@pytest.mark.parametrize(
    ("expression", "new"),
    [
        ("model.RNNModel()", True),
        ("[model.RNNModel(), None]", False),
        ('{"epoch": 1, "model": model.RNNModel()}', True),
    ],
)
def test_a_pickled_module_is_refused_with_the_line_that_mends_it(tmp_path: Path, expression: str, new: bool):
    file = saved_whole(tmp_path / "it's theirs", expression, new=new)
    with pytest.raises(CheckpointError, match=r"needs code to load \(model.RNNModel\)") as caught:
        import_checkpoint(file, tmp_path / "ours", vocabulary=vocabulary_file(tmp_path))
    assert "model" not in sys.modules
    command = re.search(r"type in the folder of the code that made it: (.*) ; then import (.*) with", str(caught.value))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command[1], shell=True, check=True, cwd=file.parent, env=environment)
    state = file.with_name("model.state.pt")
    assert str(state.absolute()) in command[2].replace("'\"'\"'", "'")
    folder = import_checkpoint(state, tmp_path / "ours", vocabulary=vocabulary_file(tmp_path))
    original = WordLanguageModel("LSTM", 6, 6, 2, tied=False)
    original.load_state_dict(torch.load(state, weights_only=True))
    assert difference(original, folder) < 2e-5


@pytest.mark.parametrize(
    ("expression", "cell", "option", "message"),
    [
        ("model.RNNModel()", "RNN", ', nonlinearity="relu"', "RNN with relu, which is no cell"),
        ("model.RNNModel()", "RNN", "", "model.state.pt'? --nonlinearity tanh with your other options"),
        ("model.TransformerModel()", "LSTM", "", "is a Transformer"),
    ],
)
def test_what_a_pickle_says_without_being_run(tmp_path: Path, expression: str, cell: str, option: str, message: str):
    file = saved_whole(tmp_path / "theirs", expression, cell, option)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(file, tmp_path / "ours", vocabulary=vocabulary_file(tmp_path))


def test_a_pickle_that_would_do_harm(tmp_path: Path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    state = WordLanguageModel("LSTM", 4, 4, 1, True).state_dict()
    message = refused(tmp_path, {"state_dict": state, "extra": Harm()}, r"needs code to load \((posix|nt)\.mkdir\)")
    assert "if you trust it" in message and '["state_dict"]' in message


def named(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A state dict of ones; __ in a name is a dot."""
    return {name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()}


LSTM = {"rnn.weight_ih_l0": torch.ones(16, 4), "rnn.weight_hh_l0": torch.ones(16, 4)}
TABLES = {"encoder.weight": torch.ones(V, 4), "decoder.weight": torch.zeros(V, 4)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (named(encoder__layers__0__self_attn__in_proj_weight=(12, 4)), "is a Transformer"),
        (named(rnns__0__linear__weight=(12, 4), encoder__weight=(V, 4)), "has QRNN layers"),
        (named(conv__weight=(4, 4, 3), fc__weight=(2, 4)), r"no recurrent layer .*; it has conv.weight"),
        ({"epoch": 3}, "holds no tensors by name; save the state dict"),
        ({**LSTM, **TABLES, "rnn.weight_ih_l0_reverse": torch.ones(16, 4)}, "bidirectional"),
        ({**TABLES, "rnn.weight_ih_l0": torch.ones(16, 4)}, "has no rnn.weight_hh_l0"),
        ({**LSTM, **TABLES, "rnn.weight_hh_l0": torch.ones(8, 4)}, "are no layer of torch.nn.LSTM"),
        ({**TABLES, **named(rnn__weight_ih_l0=(8, 4), rnn__weight_hh_l0=(8, 4))}, "are no layer of torch.nn.LSTM"),
        ({**LSTM, **TABLES, "rnn.weight_ih_l0": torch.ones(16, 4, dtype=torch.int8)}, "as int8; give the weights"),
        ({**LSTM, **TABLES, "fc.weight": torch.ones(4, 4)}, r"fc.weight \[4, 4\] beside encoder.weight, decoder"),
        ({**LSTM, "encoder.weight": torch.ones(V, 5)}, r"need \[V, 4\] as word vectors .* encoder.weight \[23, 5\]"),
        ({**LSTM, **named(one=(V, 4)), "two": torch.zeros(V, 4)}, r"several tables could be .*--embedding NAME --head"),
        ({"a": {**LSTM, **TABLES}, "b": {**LSTM, **TABLES}}, 'several models, under a, b; .*c\\["a"\\]'),
        ({**LSTM, **TABLES, "gru.weight_ih_l0": torch.ones(3, 4)}, r"recurrent layers under gru, rnn; .* --rnn PREFIX"),
        (
            {**TABLES, **named(n__0__weight_ih_l0=(16, 4), n__0__weight_hh_l0=(16, 4)),
             **named(n__1__weight_ih_l0=(12, 4), n__1__weight_hh_l0=(12, 4))},
            "mixes gru and lstm",
        ),
        (
            {**TABLES, **named(n__0__weight_ih_l0=(16, 4), n__0__weight_hh_l0=(16, 4)),
             **named(n__1__weight_ih_l0=(16, 5), n__1__weight_hh_l0=(16, 4))},
            "layer 1 reads 5 numbers and layer 0 gives 4",
        ),
        ({**TABLES, **named(rnn__weight_ih_l0=(4, 4), rnn__weight_hh_l0=(4, 4))}, "type: --nonlinearity tanh; relu"),
    ],
)  # fmt: skip
def test_networks_that_are_none_of_ours(tmp_path: Path, state: dict, message: str):
    refused(tmp_path, state, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "awd"}, "kind is 'awd'; allowed: auto, word_language_model, awd_lstm, torch"),
        ({"kind": "awd_lstm"}, "no recurrent layers under 'rnns'; it has them under rnn"),
        ({"embedding": "words"}, r"no table 'words'; it has encoder.weight \[23, 4\].* --embedding NAME"),
        ({"rnn": ["net"]}, "no recurrent layers under 'net'; it has them under rnn"),
        ({"nonlinearity": "tanh"}, "has LSTM layers; --nonlinearity is for RNN"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict, message: str):
    refused(tmp_path, LSTM | TABLES, message, **options)


def test_relu(tmp_path: Path):
    state = WordLanguageModel("RNN_RELU", 4, 4, 1, True).state_dict()
    refused(tmp_path, state, "RNN with relu, which is no cell", nonlinearity="relu")


def test_the_split_softmax_of_large_awd_vocabularies(tmp_path: Path):
    state = AwdLstm(2, 3, 2, tied=True).state_dict()
    state["encoder.weight"] = state["decoder.weight"] = torch.zeros(75_001, 2)
    state["decoder.bias"] = torch.zeros(75_001)
    refused(tmp_path, state, "75,001 words: above 75,000 AWD-LSTM learns a softmax in several parts, .*--kind torch")


def test_what_takes_no_part_may_be_ignored(tmp_path: Path):
    original = random(WordLanguageModel("LSTM", 6, 6, 2, tied=False))
    torch.save(
        {**original.state_dict(), "critic.0": torch.ones(2, 2), "critic.1": torch.ones(2)}, tmp_path / "theirs.pt"
    )
    words = vocabulary_file(tmp_path)
    folder = import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", vocabulary=words, ignore=["critic.*"])
    assert difference(original, folder) < 2e-5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", None, "there is no file"),
        ("text.pt", b"no weights at all", "is no file of torch.save, or a damaged one"),
        ("text.safetensors", b"no weights at all", "cannot be read"),
    ],
)
def test_files_that_hold_no_weights(tmp_path: Path, name: str, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(tmp_path / name, tmp_path / "ours", vocabulary=vocabulary_file(tmp_path))


def test_a_file_cut_off(tmp_path: Path):
    torch.save(nn.LSTM(40, 40).state_dict(), tmp_path / "theirs.pt")
    content = (tmp_path / "theirs.pt").read_bytes()
    (tmp_path / "theirs.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", vocabulary=vocabulary_file(tmp_path))


def test_foreign_vocabulary(tmp_path: Path):
    words = tmp_path / "list.txt"
    words.write_text("\n".join(WORDS[:-2]))
    message = refused(tmp_path, LSTM | TABLES, "^foreign vocabulary: ", VocabularyError, vocabulary=words)
    assert "has 21 words and encoder.weight of" in message and "has 23 rows" in message
    assert "data.Corpus" in message and "--vocabulary vocabulary.txt" in message


def test_no_words(tmp_path: Path):
    refused(tmp_path, LSTM | TABLES, "numbers for 23 words and not the words; give one of --vocabulary FILE",
            VocabularyError, vocabulary=None)  # fmt: skip
    refused(tmp_path, LSTM | TABLES, "give one of", VocabularyError, corpus=tmp_path)


def test_the_command_tells_an_error_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main([str(tmp_path / "none.pt"), "--out", str(tmp_path / "ours")]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: there is no file") and shown.err.count("\n") == 1 and not shown.out
