"""Small models whose state dicts have the names and shapes of those that people have, and what they predict."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from zoo.loading import load

WORDS = ["the", "<eos>", "<unk>", *(f"w{number}" for number in range(3, 23))]
V = len(WORDS)


class WordLanguageModel(nn.Module):
    """PyTorch's example: encoder, rnn, decoder."""

    def __init__(self, cell: str, D: int, H: int, layers: int, tied: bool):
        super().__init__()
        self.encoder = nn.Embedding(V, D)
        kinds = {"RNN_TANH": "RNN", "RNN_RELU": "RNN"}
        options = {"nonlinearity": cell[4:].lower()} if cell in kinds else {}
        self.rnn = getattr(nn, kinds.get(cell, cell))(D, H, layers, **options)
        self.decoder = nn.Linear(H, V)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, ids, state=None):
        """ids [T, B] -> log probabilities [T, B, V] and the state."""
        y, state = self.rnn(self.encoder(ids), state)
        return self.decoder(y).log_softmax(-1), state


class WeightDrop(nn.Module):
    """Keeps the recurrent matrix under `_raw`; the module's own one is a dropped copy, here a wrong one."""

    def __init__(self, module: nn.LSTM, copy: bool):
        super().__init__()
        self.module = module
        raw = nn.Parameter(module.weight_hh_l0.data)
        del module._parameters["weight_hh_l0"]
        module.register_parameter("weight_hh_l0_raw", raw)
        if copy:  # releases that make it a parameter have both in the state dict
            module.weight_hh_l0 = nn.Parameter(raw.data * 0.5)

    def forward(self, x, state):
        lstm = nn.LSTM(self.module.input_size, self.module.hidden_size)
        own = self.module
        lstm.load_state_dict(
            {
                "weight_ih_l0": own.weight_ih_l0,
                "weight_hh_l0": own.weight_hh_l0_raw,
                "bias_ih_l0": own.bias_ih_l0,
                "bias_hh_l0": own.bias_hh_l0,
            }
        )
        return lstm(x, state)


class AwdLstm(nn.Module):
    """Salesforce's: one LSTM per layer, the last one as wide as the word vectors where these are tied."""

    def __init__(self, D: int, H: int, layers: int, tied: bool, dropped: bool = True, copy: bool = False):
        super().__init__()
        last = D if tied else H
        sizes = [(D if i == 0 else H, last if i == layers - 1 else H) for i in range(layers)]
        rnns = [nn.LSTM(N, M) for N, M in sizes]
        self.rnns = nn.ModuleList([WeightDrop(rnn, copy) for rnn in rnns] if dropped else rnns)
        self.encoder = nn.Embedding(V, D)
        self.decoder = nn.Linear(last, V)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, ids, states=None):
        """ids [T, B] -> log probabilities [T, B, V] and the states."""
        x, after = self.encoder(ids), []
        for rnn, state in zip(self.rnns, states or [None] * len(self.rnns), strict=True):
            x, state = rnn(x, state)
            after.append(state)
        return self.decoder(x).log_softmax(-1), after


def random(model: nn.Module, seed: int = 7) -> nn.Module:
    """The model with large random weights, so that a wrong gate or bias shows."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.7, 0.7)
    return model.eval()


@torch.no_grad()
def difference(original: nn.Module, folder: Path) -> float:
    """The greatest difference of log probabilities over texts read in two windows with carried state."""
    model, _ = load(folder)
    ids = torch.randint(V, (13, 3), generator=torch.Generator().manual_seed(1))
    worst, state, cache = torch.zeros(()), None, None
    for window in (ids[:8], ids[8:]):
        expected, state = original(window, state)
        output = model(window.T, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        worst = worst.maximum((output.logits.log_softmax(-1) - expected.transpose(0, 1)).abs().max())  # keeps NaN
    return worst.item()


def vocabulary_file(folder: Path, words: list[str] = WORDS) -> Path:
    """The words, one a line."""
    path = folder / "vocabulary.txt"
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return path
