import torch

from bench.memory import Memory


def test_counts_what_is_made_and_forgets_what_is_gone():
    x = torch.ones(1000)
    with Memory() as memory:
        y = x + 1  # 4,000 bytes
        y.add_(1)  # nothing new
        z = torch.cat([x, y])[:10]  # a view of 8,000 bytes
        del y
        w = x * 2
    assert memory.largest == 8000
    assert memory.peak == 12000 and memory.alive == 12000
    del z, w
    assert memory.alive == 0
