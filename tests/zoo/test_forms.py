"""Every weight form in numpy against a plain twin written from the file format, at odd sizes; damaged files."""

import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from zoo import forms
from zoo.errors import CheckpointError
from zoo.sparse_rnnlm import Sparse
from zoo.specs import check, words
from zoo.tensors import TensorFile

INT8 = {"form": "int8", "scheme": "row"}
SPECS = [
    {"form": "dense"},
    {"form": "int8", "scheme": "row"},
    {"form": "int8", "scheme": "range"},
    {"form": "int4", "group": 2},
    {"form": "int4", "group": 6},
    {"form": "int4", "group": 64},
    {"form": "sparse", "nonzeros": 9},
    {"form": "sparse", "nonzeros": 1},
    {"form": "sparse", "nonzeros": 9, "values": {"form": "int8"}},
]
LEAVES = SPECS[:6]
SIZES = [(15, 14), (1, 12), (18, 1), (13, 17), (31, 26)]


def twin(tensors, prefix, rows, columns, spec):
    """The matrix [rows, columns] in float64, as the format says, number by number."""
    own = {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items()}
    out = np.zeros((rows, columns))
    if spec["form"] == "low_rank":
        values = spec.get("values", {"form": "dense"})
        left = twin(tensors, f"{prefix}.left", rows, spec["rank"], values)
        return left @ twin(tensors, f"{prefix}.right", spec["rank"], columns, values)
    if spec["form"] == "tensor_train":
        return train_twin(tensors, prefix, spec)
    if spec["form"] == "sparse":
        scale = own.get("scale", np.ones(rows))
        for m in range(rows):
            for k in range(own["starts"][m], own["starts"][m + 1]):
                out[m, own["columns"][k]] = scale[m] * float(own["values"][k])
        return out
    for m, n in np.ndindex(rows, columns):
        q = float(own["weight"][m, n // 2 if spec["form"] == "int4" else n])
        if spec["form"] == "dense":
            out[m, n] = q
        elif spec["form"] == "int4":
            out[m, n] = float(own["scale"][m, n // spec["group"]]) * (((int(q) >> 4) if n % 2 else int(q) & 15) - 8)
        elif spec["scheme"] == "row":
            out[m, n] = float(own["scale"][m]) * q
        else:
            out[m, n] = float(own["low"]) + float(own["step"]) * (q + 128)
    return out


def train_twin(tensors, prefix, spec):
    """W[(i1..id), (j1..jd)] = the product over m of G_m[:, i_m, j_m, :], number by number."""
    bonds, values = [1, *spec["ranks"], 1], spec.get("values", {"form": "dense"})
    cores = []
    for m, (i, j) in enumerate(zip(spec["row_modes"], spec["column_modes"], strict=True)):
        r, s = bonds[m], bonds[m + 1]
        cores.append(twin(tensors, f"{prefix}.cores.{m}", r * i, j * s, values).reshape(r, i, j, s))
    out = np.zeros((np.prod(spec["row_modes"]), np.prod(spec["column_modes"])))
    for row, i in enumerate(np.ndindex(*spec["row_modes"])):
        for column, j in enumerate(np.ndindex(*spec["column_modes"])):
            product = np.ones((1, 1))
            for core, i_m, j_m in zip(cores, i, j, strict=True):
                product = product @ core[:, i_m, j_m]
            out[row, column] = product[0, 0]
    return out


def tensors_of(rng, prefix, rows, columns, spec):
    """Random tensors of a form."""
    form, floats = spec["form"], lambda *shape: rng.standard_normal(shape).astype(np.float32)
    values = spec.get("values", {"form": "dense"})
    if form == "dense":
        return {f"{prefix}.weight": floats(rows, columns)}
    if form == "low_rank":
        left = tensors_of(rng, f"{prefix}.left", rows, spec["rank"], values)
        return left | tensors_of(rng, f"{prefix}.right", spec["rank"], columns, values)
    if form == "tensor_train":
        bonds, found = [1, *spec["ranks"], 1], {}
        for m, (i, j) in enumerate(zip(spec["row_modes"], spec["column_modes"], strict=True)):
            found |= tensors_of(rng, f"{prefix}.cores.{m}", bonds[m] * i, j * bonds[m + 1], values)
        return found
    if form == "sparse":
        places = np.sort(rng.choice(rows * columns, spec["nonzeros"], replace=False))
        starts = np.searchsorted(places, np.arange(rows + 1) * columns).astype(np.int32)
        kept = {f"{prefix}.columns": (places % columns).astype(forms.column_type(columns)), f"{prefix}.starts": starts}
        if "values" in spec:
            stored = rng.integers(-127, 128, len(places)).astype(np.int8)
            return kept | {f"{prefix}.values": stored, f"{prefix}.scale": np.abs(floats(rows))}
        return kept | {f"{prefix}.values": floats(len(places))}
    if form == "int4":
        weight = rng.integers(1, 16, (rows, -(-columns // 2))) | rng.integers(1, 16, (rows, -(-columns // 2))) << 4
        scale = np.abs(floats(rows, -(-columns // spec["group"])))
        return {f"{prefix}.weight": weight.astype(np.uint8), f"{prefix}.scale": scale}
    weight = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
    if spec["scheme"] == "row":
        return {f"{prefix}.weight": weight, f"{prefix}.scale": np.abs(floats(rows))}
    return {f"{prefix}.weight": weight, f"{prefix}.low": np.float32(-1.7), f"{prefix}.step": np.float32(0.013)}


def write(folder, tensors):
    """A weights file; its TensorFile."""
    save_file({name: np.array(tensor, order="C") for name, tensor in tensors.items()}, folder / "model.safetensors")
    return TensorFile(folder)


def compare(folder, rows, columns, spec):
    """Reads a random matrix and compares product, rows and the number of nonzeros."""
    check(spec, rows, columns, "config.json: x")
    tensors = tensors_of(np.random.default_rng(rows * columns), "x", rows, columns, spec)
    file = write(folder, tensors)
    matrix, plain = forms.read(file, "x", rows, columns, spec), twin(tensors, "x", rows, columns, spec)
    file.check_all_asked()
    size = np.abs(plain).max() + 1e-9
    for x in (np.random.default_rng(1).standard_normal(columns).astype(np.float32), np.ones(columns, np.float32)):
        found = matrix.matvec(x)
        assert found.shape == (rows,) and found.dtype == np.float32
        np.testing.assert_allclose(found, plain @ x, atol=2e-5 * size * columns**0.5)
    for m in range(rows):
        found = matrix.row(m)
        assert found.shape == (columns,) and found.dtype == np.float32
        np.testing.assert_allclose(found, plain[m], atol=1e-5 * size)
    return matrix, tensors, plain


@pytest.mark.parametrize("spec", SPECS, ids=words)
@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_numbers_stored_one_by_one(tmp_path, spec, rows, columns):
    matrix, _, plain = compare(tmp_path, rows, columns, spec)
    assert matrix.nonzeros == np.count_nonzero(plain)


@pytest.mark.parametrize("values", LEAVES, ids=words)
@pytest.mark.parametrize(("rows", "columns", "rank"), [(15, 14, 3), (1, 12, 1), (13, 17, 13), (31, 26, 7)])
def test_low_rank(tmp_path, values, rows, columns, rank):
    spec = {"form": "low_rank", "rank": rank, "values": values}
    matrix, tensors, _ = compare(tmp_path, rows, columns, spec)
    left, right = twin(tensors, "x.left", rows, rank, values), twin(tensors, "x.right", rank, columns, values)
    assert matrix.nonzeros == np.count_nonzero(left) + np.count_nonzero(right)


@pytest.mark.parametrize("values", LEAVES, ids=words)
@pytest.mark.parametrize(
    ("row_modes", "column_modes", "ranks"),
    [
        ([13], [17], []),
        ([3, 5], [7, 2], [4]),
        ([2, 3, 2], [1, 3, 5], [2, 7]),
        ([3, 1, 4, 2], [2, 3, 1, 3], [5, 6, 4]),
        ([5, 3, 1, 1], [1, 1, 7, 2], [4, 6, 2]),  # the plain reshape of Grachev et al., eq. 22
    ],
)
def test_tensor_train(tmp_path, values, row_modes, column_modes, ranks):
    spec = {"form": "tensor_train", "row_modes": row_modes, "column_modes": column_modes, "ranks": ranks}
    compare(tmp_path, np.prod(row_modes), np.prod(column_modes), spec | {"values": values})


@pytest.mark.parametrize("spec", [*LEAVES[1:], {"form": "sparse", "nonzeros": 90_000}], ids=words)
def test_several_blocks_of_rows(tmp_path, spec):
    rng, M, N = np.random.default_rng(0), 1201, 331
    file = write(tmp_path, tensors_of(rng, "x", M, N, spec))
    matrix, x = forms.read(file, "x", M, N, spec), rng.standard_normal(N).astype(np.float32)
    plain = np.array([matrix.row(m) for m in range(M)], np.float64)
    np.testing.assert_allclose(matrix.matvec(x), plain @ x, atol=1e-4 * np.abs(plain).max())
    if spec["form"] != "sparse":
        z = rng.standard_normal((2, N, 3)).astype(np.float32)
        np.testing.assert_allclose(matrix.matmat(z), plain @ z, atol=1e-4 * np.abs(plain).max())
        y = rng.standard_normal(M).astype(np.float32)
        np.testing.assert_allclose(matrix.vecmat(y), y @ plain, atol=2e-4 * np.abs(plain).max())


def test_empty_rows_of_a_sparse_matrix(tmp_path):
    tensors = {
        "x.values": np.array([2, 3, -4], np.float32),
        "x.columns": np.array([1, 0, 3], np.uint8),
        "x.starts": np.array([0, 0, 1, 1, 3, 3], np.int32),
    }
    matrix = forms.read(write(tmp_path, tensors), "x", 5, 4, {"form": "sparse", "nonzeros": 3})
    assert matrix.matvec(np.array([1, 10, 100, 1000], np.float32)).tolist() == [0, 20, 0, 3 - 4000, 0]
    assert matrix.row(0).tolist() == [0] * 4 and matrix.row(3).tolist() == [3, 0, 0, -4]


def test_zeros_that_are_stored_do_not_count(tmp_path):
    tensors = {
        "s.values": np.array([5, 0, 7], np.int8),
        "s.columns": np.array([0, 1, 1], np.uint8),
        "s.starts": np.array([0, 2, 3], np.int32),
        "s.scale": np.array([1, 0], np.float16),
        "q.weight": np.array([[1, 0], [5, 6]], np.int8),
        "q.scale": np.array([1, 0], np.float16),
        "f.weight": np.array([[0x88, 0x98], [0x8F, 0x11]], np.uint8),
        "f.scale": np.array([[1, 1], [1, 0]], np.float16),
        "d.weight": np.array([[1, 0, -0.0]], np.float16),
    }
    file = write(tmp_path, tensors)
    assert forms.read(file, "s", 2, 2, {"form": "sparse", "nonzeros": 3, "values": {"form": "int8"}}).nonzeros == 1
    assert forms.read(file, "q", 2, 2, {"form": "int8", "scheme": "row"}).nonzeros == 1
    assert forms.read(file, "f", 2, 3, {"form": "int4", "group": 2}).nonzeros == 1
    assert forms.read(file, "d", 1, 3, {"form": "dense"}).nonzeros == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": [0, 2, 1, 3]}, "starts does not rise from 0 to the 3 stored numbers"),
        ({"starts": [0, 1, 2, 2]}, "starts does not rise"),
        ({"starts": [1, 1, 2, 3]}, "starts does not rise"),
        ({"columns": [0, 1, 300]}, "columns has one outside 0 to 299"),
        ({"columns": [0, -1, 2]}, "columns has one outside"),
        ({"columns": [2, 2, 1]}, "columns does not rise within each row"),
        ({"columns": [2, 1, 3]}, "columns does not rise"),
        ({"columns": [0, 1]}, r"has x\.columns of shape \[2\] and config\.json asks for \[3\]"),
        ({"values": [1, 2, 3, 4]}, r"has x\.values of shape \[4\] and config\.json asks for \[3\]"),
    ],
)
def test_damaged_sparse_matrices(tmp_path, change, message):
    good = {"values": [1, 2, 3], "columns": [1, 3, 0], "starts": [0, 2, 2, 3]}
    kinds = {"values": np.float32, "columns": np.int16, "starts": np.int32}

    def read(given):
        tensors = {f"x.{name}": np.array(numbers, kinds[name]) for name, numbers in given.items()}
        return forms.read(write(tmp_path, tensors), "x", 3, 300, {"form": "sparse", "nonzeros": 3})

    assert read(good).matvec(np.ones(300, np.float32)).tolist() == [3, 0, 3]
    with pytest.raises(CheckpointError, match=message) as caught:
        read(good | change)
    assert "model.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "tensors", "message"),
    [
        ({"form": "int8", "scheme": "row"}, {"weight": np.ones((2, 3), np.float32)}, "x.weight as F32 and .* for I8"),
        ({"form": "dense"}, {"weight": np.ones((2, 3), np.int8)}, "x.weight as I8 and .* for F16 or F32"),
        ({"form": "int4", "group": 2}, {"weight": np.ones((2, 2), np.int8)}, "x.weight as I8 and .* for U8"),
        ({"form": "int8", "scheme": "range"}, {"weight": np.ones((2, 3), np.int8)}, "lacks the tensor x.low"),
        ({"form": "int8", "scheme": "row"}, {"weight": np.ones((2, 3), np.int8)}, r"lacks the tensor x.scale \[2\]"),
    ],
)
def test_tensors_of_another_form(tmp_path, spec, tensors, message):
    file = write(tmp_path, {f"x.{name}": tensor for name, tensor in tensors.items()})
    with pytest.raises(CheckpointError, match=message):
        forms.read(file, "x", 2, 3, spec)


@pytest.mark.parametrize(
    ("N", "kind", "other", "message"),
    [
        (1 << 8, np.uint8, np.int16, "I16 and .* asks for U8"),
        ((1 << 8) + 1, np.int16, np.uint8, "U8 and .* asks for I16"),
        ((1 << 15) - 1, np.int16, np.int32, "I32 and .* asks for I16"),
        (1 << 15, np.int32, np.int16, "I16 and .* asks for I32"),
    ],
)
def test_columns_are_as_wide_as_they_must_be(tmp_path, N, kind, other, message):
    spec = {"form": "sparse", "nonzeros": 2}
    tensors = {"x.values": np.array([2, 1], np.float32), "x.starts": np.array([0, 2], np.int32)}
    right = write(tmp_path, tensors | {"x.columns": np.array([0, N - 1], kind)})
    matrix = forms.read(right, "x", 1, N, spec)
    assert matrix.row(0)[[0, N - 1]].tolist() == [2, 1] and matrix.matvec(np.ones(N, np.float32)).tolist() == [3]
    part = Sparse.from_dense(torch.from_numpy(matrix.row(0)[None]), spec)
    assert part["columns"].numpy().dtype == kind and part["columns"].tolist() == [0, N - 1]
    wrong = write(tmp_path, tensors | {"x.columns": np.array([0, 5], other)})
    with pytest.raises(CheckpointError, match=message):
        forms.read(wrong, "x", 1, N, spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"form": "int8", "scheme": "row"},
        {"form": "int8", "scheme": "range"},
        {"form": "int4", "group": 32},
        {"form": "sparse", "nonzeros": 200_000},
        {"form": "low_rank", "rank": 50, "values": INT8},
        {"form": "tensor_train", "row_modes": [100, 100], "column_modes": [10, 20], "ranks": [100], "values": INT8},
    ],
    ids=words,
)
def test_a_product_takes_little_memory_beyond_the_matrix(tmp_path, spec):
    M, N = 10_000, 200
    file = write(tmp_path, tensors_of(np.random.default_rng(0), "x", M, N, spec))
    matrix, x = forms.read(file, "x", M, N, spec), np.ones(N, np.float32)
    tracemalloc.start()
    matrix.matvec(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5e6  # expanded it would be 8 MB
