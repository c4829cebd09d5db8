"""ncnn's files as they are written by hand; what ncnn makes of them is tested in `test_peers`."""

import numpy as np

from bench.contenders import best_of
from bench.peers.ncnn import touched
from bench.peers.ncnn_graph import FLOAT32, INT8, Graph, eight_bits


def test_eight_bits_give_back_the_matrix():
    matrix = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    matrix[3] = 0
    integers, scales = eight_bits(matrix)
    assert integers.dtype == np.int8 and np.abs(integers).max() == 127
    assert np.abs(integers / scales[:, None] - matrix).max() <= 0.5 / scales.min()


def test_a_blob_that_is_read_twice_is_split_and_one_that_is_read_once_is_not():
    g = Graph("fp32")
    x = g.input("x")
    once = g.op("TanH", x)
    g.output("y", g.op("BinaryOp", once, x, _0=2))
    layers, weights = g.files()
    assert weights == b""
    assert layers.splitlines() == [
        "7767517",
        "5 6",
        "Input l0 0 1 x",
        "Split l1 1 2 x x_0 x_1",
        "TanH l2 1 1 x_0 b0",
        "BinaryOp l3 2 1 b0 x_1 b1 0=2",
        "Split l4 1 1 b1 y",
    ]


def test_lists_of_parameters_and_padded_integers():
    g = Graph("int8")
    g.ops("Slice", g.matrix(g.input("x"), np.eye(3, dtype=np.float32), np.ones(3, np.float32)), outputs=2, _0=[1, 2])
    layers, weights = g.files()
    assert layers.splitlines()[-1] == "Slice l2 1 2 b0 b1 b2 -23300=2,1,2"
    parts = len(INT8) + 12, len(FLOAT32) + 12, 12  # nine integers and three zeros, the bias, the scales
    assert len(weights) == sum(parts)
    assert np.frombuffer(weights[-12:], np.float32).tolist() == [127, 127, 127]


def test_touched_bytes_are_all_but_the_other_rows(tmp_path):
    g = Graph("fp32")
    g.output("y", g.matrix(g.rows(g.input("token"), np.ones((10, 3), np.float32)), np.ones((2, 3), np.float32)))
    layers, weights = g.files()
    (tmp_path / "model.param").write_text(layers)
    (tmp_path / "model.bin").write_bytes(weights)
    assert touched(tmp_path, 4) == len(weights) - 4 * 9 * 3


def test_the_best_are_found_best_first():
    logits = np.random.default_rng(1).standard_normal(50).astype(np.float32)
    expected = np.argsort(-logits)[:3]
    values = logits[expected]
    assert best_of(logits.copy(), 3) == (expected.tolist(), values.tolist())
