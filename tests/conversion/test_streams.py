import numpy as np
import pytest
import torch

from conversion.streams import Stripes, window_length
from zoo.errors import CorpusError

TOKENS = np.arange(100, 203, dtype=np.int32)  # 103 tokens


@pytest.mark.parametrize(("window", "jitter", "short"), [(7, 0.0, 0.0), (12, 5.0, 0.3), (500, 0.0, 0.0)])
def test_every_token_of_the_stripes_is_a_target_once(window: int, jitter: float, short: float):
    stripes, generator = Stripes(TOKENS, eos_id=0, batch_size=4), torch.Generator().manual_seed(1)
    column, inputs, targets = 0, [], []
    while column < stripes.length:
        x, y = stripes.window(column, window_length(generator, window, jitter, short))
        assert x.shape == y.shape
        inputs.append(x)
        targets.append(y)
        column += x.shape[1]
    assert column == stripes.length == 25
    assert torch.cat(targets, 1).flatten().tolist() == list(range(100, 200))
    # Every input is the token before its target, of the stripe before where a stripe begins.
    assert torch.cat(inputs, 1).flatten().tolist() == [0, *range(100, 199)]


def test_processes_share_the_stripes():
    whole = Stripes(TOKENS, 0, 4).window(3, 5)
    parts = [Stripes(TOKENS, 0, 4, rows).window(3, 5) for rows in (slice(0, 2), slice(2, 4))]
    for side in (0, 1):
        assert torch.equal(whole[side], torch.cat([part[side] for part in parts]))


def test_too_few_tokens():
    with pytest.raises(CorpusError, match="3 tokens cannot fill 4 stripes"):
        Stripes(TOKENS[:3], 0, 4)


def test_window_lengths_are_as_published():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([window_length(generator, 70, 5.0, 0.05) for _ in range(4000)])
    short = lengths < 52
    assert 0.035 < short.float().mean() < 0.065
    assert 69 < lengths[~short].float().mean() < 71
    assert 33 < lengths[short].float().mean() < 37
    assert 4.5 < lengths[~short].float().std() < 5.5
    assert lengths.min() >= 5


def test_places_are_those_of_the_targets():
    for rows in (None, slice(1, 3)):
        stripes = Stripes(TOKENS, 0, 4, rows)
        for column, length in ((0, 7), (3, 5), (20, 9)):
            assert TOKENS[stripes.places(column, length)].tolist() == stripes.window(column, length)[1].tolist()
