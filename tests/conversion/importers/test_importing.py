"""Imported models predict what the originals predict, and work in every command."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import zoo.cli
from conversion.importers import import_checkpoint
from conversion.importers.command import main
from zoo.errors import CheckpointError
from zoo.layout import read_layout
from zoo.loading import load

from .originals import WORDS, AwdLstm, V, WordLanguageModel, difference, random, vocabulary_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CLOSE = 2e-5


def imported(tmp_path: Path, state: object, **options) -> Path:
    """The folder made of a saved state dict."""
    torch.save(state, tmp_path / "theirs.pt")
    return import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", vocabulary=vocabulary_file(tmp_path), **options)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN_TANH"])
def test_word_language_model(tmp_path: Path, cell: str, tied: bool):
    original = random(WordLanguageModel(cell, 11 if tied else 7, 11, 3, tied))
    options = {"nonlinearity": "tanh"} if cell == "RNN_TANH" else {}
    folder = imported(tmp_path, original.state_dict(), **options)
    assert difference(original, folder) < CLOSE
    layout = read_layout(folder)
    assert layout.tie_word_embeddings == tied and layout.head_bias
    assert layout.cell == cell[:4].removesuffix("_").lower()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["imported"]["kind"] == "word_language_model"
    assert metrics["imported"]["parameters"] == sum(parameter.numel() for parameter in original.parameters())


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_awd_lstm(tmp_path: Path, tied: bool, dropped: bool):
    original = random(AwdLstm(5, 13, 3, tied, dropped))
    folder = imported(tmp_path, original.state_dict())
    assert difference(original, folder) < CLOSE
    layout = read_layout(folder)
    assert (layout.embedding_size, layout.hidden_size, layout.output_projection_size) == (5, 13, 5 if tied else None)
    origin = json.loads((folder / "metrics.json").read_text())["imported"]
    assert origin["kind"] == "awd_lstm"
    padded = "layers of width 13, 13, 5 padded with zeros to 13, then an output projection to 5"
    assert origin.get("padded") == (padded if tied else None)


def test_awd_lstm_with_a_dropped_copy_beside_the_true_matrix(tmp_path: Path):
    original = random(AwdLstm(5, 6, 2, tied=True, copy=True))
    assert "rnns.0.module.weight_hh_l0" in original.state_dict()
    assert difference(original, imported(tmp_path, original.state_dict())) < CLOSE


def test_more_layers_than_ten_keep_their_order(tmp_path: Path):
    original = random(AwdLstm(5, 6, 12, tied=True, dropped=False))
    assert difference(original, imported(tmp_path, original.state_dict())) < CLOSE


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_a_first_layer_narrower_than_the_others(tmp_path: Path, cell: str):
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(V, 4)
            self.rnns = nn.ModuleList([getattr(nn, cell)(4, 3), getattr(nn, cell)(3, 9), getattr(nn, cell)(9, 7)])
            self.output = nn.Linear(7, V)

        def forward(self, ids, states=None):
            x, after = self.embedding(ids), []
            for rnn, state in zip(self.rnns, states or [None] * 3, strict=True):
                x, state = rnn(x, state)
                after.append(state)
            return self.output(x).log_softmax(-1), after

    original = random(Growing())
    folder = imported(tmp_path, original.state_dict(), nonlinearity="tanh" if cell == "RNN" else None)
    assert difference(original, folder) < CLOSE


class Plain(nn.Module):
    """A torch layer between tables of any names."""

    def __init__(self, names=("words", "net", "out"), cell=nn.LSTM, head_bias=True, D=6, H=10, **options):
        super().__init__()
        self.names = names
        setattr(self, names[0], nn.Embedding(V, D))
        setattr(self, names[1], cell(D, H, 2, **options))
        setattr(self, names[2], nn.Linear(options.get("proj_size") or H, V, bias=head_bias))

    def forward(self, ids, state=None):
        words, net, out = (getattr(self, name) for name in self.names)
        y, state = net(words(ids), state)
        return out(y).log_softmax(-1), state


@pytest.mark.parametrize(
    "options",
    [
        {"proj_size": 4},
        {"proj_size": 6},
        {"bias": False},
        {"cell": nn.GRU, "bias": False},
        {"cell": nn.GRU, "head_bias": False},
        {"D": 10, "names": ("embed", "net", "out")},
    ],
    ids=str,
)
def test_plain_torch_layers(tmp_path: Path, options: dict):
    original = random(Plain(**options))
    same_width = options.get("proj_size") == 6
    given = {"embedding": "words", "head": "out.weight"} if same_width else {}
    assert difference(original, imported(tmp_path, original.state_dict(), **given)) < CLOSE


def test_projections_of_different_width(tmp_path: Path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(V, 5)
            self.a, self.b = nn.LSTM(5, 11, proj_size=7), nn.LSTM(7, 8, proj_size=3)
            self.output = nn.Linear(3, V)

        def forward(self, ids, states=None):
            x, a = self.a(self.embedding(ids), states and states[0])
            x, b = self.b(x, states and states[1])
            return self.output(x).log_softmax(-1), (a, b)

    original = random(Two())
    folder = imported(tmp_path, original.state_dict(), rnn=["a", "b"])
    assert difference(original, folder) < CLOSE
    assert "projections of width 7, 3 padded" in json.loads((folder / "metrics.json").read_text())["imported"]["padded"]


@pytest.mark.parametrize("wrap", ["DataParallel", "epoch", "list", "old format", "double", "safetensors"])
def test_files_of_many_kinds(tmp_path: Path, wrap: str):
    original = random(WordLanguageModel("LSTM", 9, 9, 2, tied=True))
    file, state = tmp_path / "theirs.pt", original.state_dict()
    if wrap == "safetensors":
        file = tmp_path / "theirs.safetensors"
        save_file({name: tensor for name, tensor in state.items() if name != "decoder.weight"}, file)
    elif wrap == "old format":
        torch.save(state, file, _use_new_zipfile_serialization=False)
    else:
        torch.save(
            {
                "DataParallel": {f"module.{name}": tensor for name, tensor in state.items()},
                "epoch": {"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}},
                "list": [state, {}],
                "double": {name: tensor.double() for name, tensor in state.items()},
            }[wrap],
            file,
        )
    folder = import_checkpoint(file, tmp_path / "ours", vocabulary=vocabulary_file(tmp_path))
    assert difference(original, folder) < CLOSE
    assert read_layout(folder).tie_word_embeddings


def test_padding_stays_zero_in_training(tmp_path: Path):
    model, _ = load(imported(tmp_path, random(AwdLstm(3, 5, 2, tied=True)).state_dict()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    ids = torch.randint(V, (4, 9), generator=torch.Generator().manual_seed(2))
    for _ in range(3):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    last = model.model.layers[1]
    own = torch.tensor([gate * 5 + unit for gate in range(4) for unit in range(3)])
    rest = torch.tensor([row for row in range(20) if row not in own.tolist()])
    assert last.recurrent.weight[own][:, :3].abs().min() > 0
    assert not last.recurrent.weight[rest].any() and not last.recurrent.weight[:, 3:].any()
    assert not last.input.weight[rest].any() and not last.bias[rest].any()
    assert not model.output_projection.weight[:, 3:].any()


def test_the_folder_works_in_every_command(tmp_path: Path, capsys: pytest.CaptureFixture):
    original = random(AwdLstm(5, 8, 2, tied=True))
    torch.save(original.state_dict(), tmp_path / "theirs.pt")
    text = tmp_path / "text.txt"
    text.write_text("the w3 w4\nw5 strange w22\n")
    folder = tmp_path / "ours"
    arguments = [str(tmp_path / "theirs.pt"), "--out", str(folder), "--vocabulary", str(vocabulary_file(tmp_path))]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "2 x LSTM 8, embedding 5, output projection 5, tied, vocabulary 23" in out
    assert "layers of width 8, 5 padded with zeros to 8" in out
    assert f"zoo evaluate {folder} --corpus DIR" in out

    assert zoo.cli.main(["info", str(folder)]) == 0
    digest = hashlib.sha256((tmp_path / "theirs.pt").read_bytes()).hexdigest()
    told = capsys.readouterr().out
    assert told.count(digest) == 2 and "imported.kind: awd_lstm" in told
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    assert recipe["name"] == "ours" and recipe["corpus"] == "unknown"
    assert recipe["model"]["hidden_size"] == 8 and recipe["imported"]["words"] == "vocabulary vocabulary.txt"
    assert not any(str(tmp_path) in (folder / name).read_text() for name in ("recipe.toml", "metrics.json"))

    assert zoo.cli.main(["suggest", "the w3", "--model", str(folder), "--k", "3", "--json"]) == 0
    suggested = json.loads(capsys.readouterr().out)["suggestions"]
    ids = torch.tensor([WORDS.index(word) for word in ("<eos>", "the", "w3")])
    with torch.no_grad():
        probabilities = original(ids[:, None])[0][-1, 0].exp()
    for suggestion in suggested:
        assert probabilities[WORDS.index(suggestion["word"])].item() == pytest.approx(
            suggestion["probability"], rel=1e-4
        )

    assert zoo.cli.main(["evaluate", str(folder), "--corpus", str(text), "--split", "test", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    stream = [WORDS.index(word) for word in "the w3 w4 <eos> w5 <unk> w22 <eos>".split()]
    with torch.no_grad():
        logs = original(torch.tensor([1, *stream[:-1]])[:, None])[0][:, 0]
    expected = -logs[range(len(stream)), stream].mean()
    assert scored["perplexity"] == pytest.approx(expected.exp().item(), rel=1e-4)


def test_a_folder_that_is_there(tmp_path: Path):
    state = random(WordLanguageModel("LSTM", 4, 4, 1, True)).state_dict()
    folder = imported(tmp_path, state)
    with pytest.raises(CheckpointError, match=r"is there already; .* --replace"):
        imported(tmp_path, state)
    other = random(WordLanguageModel("LSTM", 4, 4, 1, True), seed=8)
    assert imported(tmp_path, other.state_dict(), replace=True) == folder
    assert difference(other, folder) < CLOSE


def test_only_a_checkpoint_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = random(WordLanguageModel("LSTM", 4, 4, 1, True)).state_dict()
    (tmp_path / "ours").mkdir()
    thesis = tmp_path / "ours" / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds thesis.tex; to replace it would delete that"):
        imported(tmp_path, state, replace=True)
    thesis.unlink()
    folder = imported(tmp_path, state, replace=True)
    (folder / "notes").mkdir()
    with pytest.raises(CheckpointError, match="holds notes"):
        imported(tmp_path, state, replace=True)
    file = tmp_path / "theirs.pt"
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match="is a file or a link"):
        import_checkpoint(file, file, vocabulary=vocabulary_file(tmp_path), replace=True)
    assert file.read_bytes() == before
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError, match="is the folder that this runs in"):
        import_checkpoint(file, "", vocabulary=vocabulary_file(tmp_path), replace=True)


def test_numbers_that_cannot_be(tmp_path: Path):
    state = random(WordLanguageModel("LSTM", 4, 4, 1, False)).state_dict()
    with pytest.raises(CheckpointError, match=r"encoder.weight as sparse_coo; save it dense"):
        imported(tmp_path, {**state, "encoder.weight": state["encoder.weight"].to_sparse()})
    with pytest.raises(CheckpointError, match="--ignore 'nothing' fits no tensor"):
        imported(tmp_path, state, ignore=["nothing*"[:-1]])
    state["decoder.weight"][0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="numbers that are not finite"):
        imported(tmp_path, state)
    cells = {name.replace("_l0", ""): tensor for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match="LSTMCell or GRUCell"):
        imported(tmp_path, cells)
    assert not (tmp_path / "ours").exists()


def test_matrices_that_need_no_change_are_not_copied():
    from conversion.importers.network import find_network
    from conversion.importers.weights import tensors_of

    state = random(WordLanguageModel("LSTM", 4, 4, 1, False)).state_dict()
    tensors = tensors_of(find_network(Path("theirs.pt"), state))
    assert tensors["model.embed_tokens.weight"].data_ptr() == state["encoder.weight"].data_ptr()
    assert tensors["model.layers.0.recurrent.weight"].data_ptr() == state["rnn.weight_hh_l0"].data_ptr()
    assert tensors["lm_head.weight"].data_ptr() == state["decoder.weight"].data_ptr()
