import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="needs the extra export: pip install 'rnnlm-zoo[export]'")
ort = pytest.importorskip("onnxruntime", reason="needs the extra export: pip install 'rnnlm-zoo[export]'")

from conversion.exporters.builder import Storage, from_eight_bits, to_eight_bits  # noqa: E402
from conversion.exporters.network import build  # noqa: E402
from tests.conversion.exporters.twins import random_states, steps  # noqa: E402
from tests.zoo.models import GATED, MIXED, VARIANTS, VOCABULARY, model_of, name_of  # noqa: E402
from zoo.errors import ZooError  # noqa: E402


def session(proto):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(proto, ids, states):
    runner = session(proto)
    assert [given.name for given in runner.get_inputs()] == ["input_ids", *states]
    names = [out.name for out in runner.get_outputs()]
    return dict(zip(names, runner.run(None, {"input_ids": ids, **states}), strict=True))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        np.testing.assert_allclose(found[name], value, atol=5e-5 * max(1, np.abs(value).max()), err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS + GATED + MIXED, ids=name_of)
@pytest.mark.parametrize("sequence", [False, True], ids=["step", "sequence"])
def test_graph_computes_what_torch_computes(variant, sequence):
    model = model_of(**variant)
    proto = build(model, Storage(), sequence)
    for B, T in ((3, 5), (1, 2)) if sequence else ((3, 1), (1, 1)):
        ids = np.random.default_rng(B).integers(0, VOCABULARY, (B, T))
        states = random_states(model, B)
        assert_same(run(proto, ids, states), steps(model, ids, states))


@pytest.mark.parametrize("layers", [1, 3])
def test_any_number_of_layers(layers):
    model = model_of(cell="lstm", layers=layers, head_bias=False)
    ids, states = np.array([[4, 2, 30]]), random_states(model, 1)
    assert_same(run(build(model, Storage(), True), ids, states), steps(model, ids, states))


def test_ids_outside_the_vocabulary_are_refused():
    model = model_of()
    with pytest.raises(Exception, match="indices element out of data bounds"):
        run(build(model, Storage(), False), np.array([[VOCABULARY]]), random_states(model, 1))


def test_half_stores_every_matrix_in_two_bytes_and_takes_and_gives_fp32():
    model = model_of(cell="gru", projected=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    proto = build(model, Storage(half=True), True)
    big = [tensor for tensor in proto.graph.initializer if np.prod(tensor.dims) > VOCABULARY]
    assert big and {tensor.data_type for tensor in big} == {10}  # FLOAT16
    ids, states = np.array([[1, 7, 9]]), random_states(model, 1)
    assert_same(run(proto, ids, states), steps(model, ids, states))


def test_a_tied_matrix_is_stored_once():
    V, D = 31, 7
    for tied, copies in ((True, 1), (False, 2)):
        proto = build(model_of(tied=tied, hidden_size=D), Storage(), False)
        assert sum(list(tensor.dims) == [V, D] for tensor in proto.graph.initializer) == copies


@pytest.mark.parametrize("form", ["int8", "int8-range", "int4", "sparse", "sparse-int8", "tensor_train-int8"])
def test_compressed_matrices_are_stored_compressed_in_every_file(form):
    model = model_of(cell="lstm", form=form, tied=False)
    for storage in (Storage(), Storage(half=True)):
        stored = [
            tuple(tensor.dims) for tensor in build(model, storage, False).graph.initializer if tensor.data_type == 1
        ]
        dense = {tuple(shape) for shape in model.config.shapes.values()}
        assert not dense & set(stored)


def test_integers_of_a_checkpoint_are_the_integers_of_the_file():
    from onnx import numpy_helper

    model = model_of(form="int8", tied=False)
    proto = build(model, Storage(half=True), False)
    stored = [numpy_helper.to_array(tensor) for tensor in proto.graph.initializer if tensor.data_type == 3]
    given = model.model.layers[1].recurrent.weight.numpy()
    assert any(array.shape == given.shape and (array == given).all() for array in stored)


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 37])
def test_eight_bits_are_off_by_at_most_half_a_step(columns):
    matrix = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    matrix[2] = 0
    q, scale, unit = to_eight_bits(matrix)
    assert q.dtype == np.int8 and scale.dtype == np.float16 and q.shape[2] == 16
    close = from_eight_bits(q, scale, unit, columns)
    limit = np.abs(matrix).max() / 127
    assert close.shape == matrix.shape and np.abs(close - matrix).max() <= 0.51 * limit
    assert (close[2] == 0).all()


def test_rows_kept_exact_in_eight_bits():
    model = model_of(tied=True)
    weight = model.model.embed_tokens.weight
    rows = np.array([0, 5, 30])
    close = from_eight_bits(*to_eight_bits(weight.detach().numpy()), weight.shape[1])
    close[rows] = weight.detach().half().float().numpy()[rows]
    proto = build(model, Storage(half=True, eight_bits={id(weight): rows}), False)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.half().float()
    weight.data = torch.from_numpy(close)
    ids, states = np.array([[0], [1], [30]]), random_states(model, 3)
    assert_same(run(proto, ids, states), steps(model, ids, states))


def test_a_weight_beyond_fp16_is_refused():
    model = model_of()
    with torch.no_grad():
        model.lm_head.weight[3, 2] = 1e5
    with pytest.raises(ZooError, match="--variant fp32"):
        build(model, Storage(half=True), False)
