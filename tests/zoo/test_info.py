"""What is said of a checkpoint folder: matrices, forms and counts, and that it needs no torch."""

import subprocess
import sys

import pytest

from zoo.errors import CheckpointError
from zoo.info import HEADER, describe, table

from .folders import write_checkpoint
from .models import model_of


@pytest.mark.parametrize("form", ["dense", "low_rank", "tensor_train-int4", "sparse-int8"])
def test_every_matrix_has_a_row(tmp_path, form):
    folder = write_checkpoint(tmp_path / "tiny", model_of(cell="gru", projected=True, form=form, tied=False))
    found = describe(folder)
    names = ["embed"]
    names += [f"{role}.{layer}" for layer in (0, 1) for role in ("input", "recurrent", "candidate", "projection")]
    names += ["head", "bias.0", "bias.1", "bias.head"]
    assert [part["name"] for part in found["matrices"]] == names
    for what in ("parameters", "nonzeros", "bytes"):
        assert sum(part[what] for part in found["matrices"]) == found["total"][what]
        assert sum(role[what] for role in found["roles"].values()) == found["total"][what]
    assert {part["role"] for part in found["matrices"]} >= {"embed", "candidate", "head", "bias"}
    assert found["recipe"] is None and found["metrics"] is None


def test_the_table_is_aligned_with_its_header(tmp_path):
    spec = {"form": "low_rank", "rank": 2, "values": {"form": "int8", "scheme": "row"}}
    model = model_of(weights={"input": spec, "input.1": {"form": "int4", "group": 4}})
    rows = table(describe(write_checkpoint(tmp_path / "tiny", model)))
    assert rows[0] == HEADER and all(len(row) == len(HEADER) for row in rows)
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["input.0"][:4] == ("36", "7", "low_rank 2 of int8 row", str(2 * (36 + 7)))
    assert by_name["input.1"][2] == "int4 groups of 4" and by_name["bias.0"][:3] == ("36", "1", "bias")
    assert by_name["total"][3] == f"{describe(tmp_path / 'tiny')['total']['parameters']:,}"


def test_weights_of_another_config(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", model_of(layers=1))
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"num_hidden_layers": 1', '"num_hidden_layers": 2'))
    with pytest.raises(CheckpointError, match=r"lacks the tensor model\.layers\.1\.input\.weight"):
        describe(folder)


def test_describing_imports_neither_torch_nor_transformers(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", model_of(form="tensor_train-int8"))
    code = (
        "import sys; from zoo.info import describe; describe(sys.argv[1]); "
        "sys.exit(bool({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)]).returncode == 0
