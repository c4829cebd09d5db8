"""Tensors of every stored type, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from zoo.errors import CheckpointError
from zoo.tensors import INTEGERS, TensorFile

NUMBERS = [[1, 0, -3], [100, 2, 7]]


def write(folder, tensors):
    save_file(tensors, folder / "model.safetensors")
    return TensorFile(folder)


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.bfloat16, torch.float64])
def test_floats_become_float32(tmp_path, kind):
    tensor = torch.tensor([[0.1, -2.5, 0], [3e-5, 7, -0.0]]).to(kind)
    file = write(tmp_path, {"before": torch.ones(3), "x": tensor, "scalar": tensor[0, 1].clone()})
    found = file.read("x", (2, 3))
    assert found.dtype == np.float32 and (found == tensor.float().numpy()).all()
    assert file.read("scalar", ()) == -2.5


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_stay_what_they_are(tmp_path, kind):
    tensor = torch.from_numpy(np.array(NUMBERS).astype(kind))
    file = write(tmp_path, {"x": tensor})
    found = file.read("x", (2, 3), kind)
    assert found.dtype == kind and (found == tensor.numpy()).all()


def test_another_type_is_refused(tmp_path):
    file = write(tmp_path, {"x": torch.ones(2, dtype=torch.int64), "y": torch.ones(2), "z": torch.ones(2).char()})
    with pytest.raises(CheckpointError, match=r"stores x as I64 and config\.json asks for F16 or F32"):
        file.read("x", (2,))
    with pytest.raises(CheckpointError, match=r"stores y as F32 and config\.json asks for I8;"):
        file.read("y", (2,), np.int8)
    with pytest.raises(CheckpointError, match=r"stores z as I8 and config\.json asks for U8;"):
        file.check("z", (2,), np.uint8)
    file.check("z", (2,))  # of any type


def test_bytes_below_a_prefix(tmp_path):
    file = write(
        tmp_path, {"a.x": torch.ones(3), "a.y": torch.ones(5).char(), "ab": torch.ones(7), "b.x": torch.ones(1)}
    )
    assert file.bytes_below("a.") == 12 + 5 and file.bytes_below("a") == 12 + 5 + 28 and file.bytes_below("c") == 0


def test_tensors_that_nobody_asked_for(tmp_path):
    file = write(tmp_path, {"x": torch.ones(3), "y": torch.ones(3)})
    file.read("x", (3,))
    with pytest.raises(CheckpointError, match=r"has the tensor y, which config\.json has no place for"):
        file.check_all_asked()
