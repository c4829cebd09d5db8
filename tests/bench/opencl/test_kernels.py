"""Products, rows and the choice of best words beside their numpy twins, at odd sizes without toss-ups in rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.opencl.memory import apart, upload
from bench.opencl.network import best as choose
from bench.opencl.network import output
from bench.opencl.plan import Plan
from bench.opencl.programs import build, launches_of, source_of
from bench.opencl.reference import best, quantise, rounded
from bench.opencl.settings import Settings
from tests.bench.opencl.devices import DEVICES, simds
from zoo.forms import LowRank, Sparse, TensorTrain, column_type
from zoo.leaves import Dense, Int4, Int8

pytestmark = pytest.mark.skipif(not DEVICES, reason="no OpenCL device; pip install 'pyopencl[pocl]'")
SETTINGS = [Settings(1, 3), Settings(4, 2, one_launch=True, groups=1), Settings(16, 1, groups=2)]
SETTINGS += [Settings(8 * simd, 1, simd, one_launch=True, groups=1) for simd in simds()]
rng = np.random.default_rng(0)


def dense(rows, columns):
    return Dense(rng.standard_normal((rows, columns)).astype(np.float32))


def int8(rows, columns, offset=0.0, least=-127):
    scale = rng.uniform(0.01, 0.02, (rows, 1)).astype(np.float32)
    return Int8(rng.integers(least, 128, (rows, columns), np.int8), scale, np.float32(offset))


def int4(rows, columns, group):
    groups = -(-columns // group)
    scale = rng.uniform(0.1, 0.2, (rows, groups)).astype(np.float16).astype(np.float32)
    pairs = rng.integers(1, 16, (rows, -(-columns // 2), 2), np.uint8)
    return Int4(pairs[..., 0] | pairs[..., 1] << 4, scale, group, columns)


def sparse(rows, columns, scale=None):
    counts = rng.integers(0, columns + 1, rows)
    columns_of = [np.sort(rng.permutation(columns)[:count]) for count in counts]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    kind = np.float32 if scale is None else np.int8
    values = rng.integers(-127, 128, starts[-1]).astype(kind)
    return Sparse(values, np.concatenate(columns_of).astype(column_type(columns)), starts, scale, columns, "test")


def train(row_modes, column_modes, ranks, leaf):
    bonds = [1, *ranks, 1]
    sizes = zip(bonds[:-1], row_modes, column_modes, bonds[1:], strict=True)
    cores = [leaf(r * i, j * s) for r, i, j, s in sizes]
    return TensorTrain(cores, {"row_modes": row_modes, "column_modes": column_modes, "ranks": ranks})


MATRICES = {
    "dense 37 x 29": lambda: dense(37, 29),
    "dense 1 x 1": lambda: dense(1, 1),
    "int8 37 x 29": lambda: int8(37, 29),
    "int8 3 x 131 with -128": lambda: int8(3, 131, least=-128),
    "int8 33 x 17 in 256 steps": lambda: int8(33, 17, offset=0.3, least=-128),
    "int4 37 x 29 by 16": lambda: int4(37, 29, 16),
    "int4 5 x 70 by 32": lambda: int4(5, 70, 32),
    "int4 35 x 31 by 6": lambda: int4(35, 31, 6),
    "int4 3 x 90 by 40": lambda: int4(3, 90, 40),
    "sparse 37 x 29": lambda: sparse(37, 29),
    "sparse 37 x 29 int8": lambda: sparse(37, 29, np.full(37, 0.02, np.float32)),
    "sparse 75 x 300": lambda: sparse(75, 300),
    "sparse 75 x 300 int8": lambda: sparse(75, 300, rng.uniform(0.01, 0.02, 75).astype(np.float32)),
    "low rank 37 x 29": lambda: LowRank(dense(37, 5), dense(5, 29)),
    "low rank 37 x 29 int8": lambda: LowRank(dense(37, 5), int8(5, 29)),
    "train 30 x 24": lambda: train([5, 3, 2], [2, 3, 4], [4, 3], dense),
    "train 30 x 24 reshaped": lambda: train([5, 6, 1], [1, 1, 24], [4, 3], dense),
    "train 30 x 24 int8": lambda: train([5, 3, 2], [2, 3, 4], [4, 3], int8),
    "train 30 x 24 int8 reshaped": lambda: train([5, 6, 1], [1, 1, 24], [4, 3], int8),
    "train 30 x 36 int8, whole vectors of ranks": lambda: train([5, 3, 2], [3, 3, 4], [16, 32], int8),
    "train 30 x 24 int8 in 256 steps": lambda: train([5, 3, 2], [2, 3, 4], [4, 3], lambda *size: int8(*size, 0.3)),
    "train 30 x 24 int4": lambda: train([5, 3, 2], [2, 3, 4], [4, 3], lambda *size: int4(*size, 6)),
}


def run(plan: Plan, device, token: int = 0) -> dict[str, np.ndarray]:
    """The contents of all vectors after the calls of a plan."""
    import pyopencl as cl

    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    launches, memory = launches_of(plan), apart(plan)
    program = build(context, source_of(launches, plan, memory))
    buffers, lanes, kernels = upload(context, memory), plan.settings.lanes, []
    for launch in launches:
        kernel = cl.Kernel(program, launch.name)
        kernels.append(kernel)  # oclgrind forgets what is released before it has run
        kernel.set_args(np.int32(token), np.int32(0), *buffers)
        alone = launch.calls[-1].file == "merge"
        groups = 1 if alone else plan.settings.groups or -(-launch.items // lanes)
        cl.enqueue_nd_range_kernel(queue, kernel, (groups * lanes,), (lanes,))
    found = {name: np.empty_like(contents) for name, contents in plan.vectors.items()}
    for name, contents in found.items():
        cl.enqueue_copy(queue, contents, buffers[memory.places[name][0]])
    return found


def whole(form, columns: int) -> np.ndarray:
    """x [columns] that a form's rounding leaves as it is: whole numbers, the greatest of them the rounding's."""
    most = 127 if isinstance(form, Int4) else 2047
    x = rng.integers(-most, most + 1, columns).astype(np.float32)
    x[rng.integers(columns)] = -most
    return x


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_products(settings):
    plan, expected = Plan(settings, top=1, half=False), {}
    for name, make in MATRICES.items():
        form = make()
        columns = _columns(form)
        x, y = plan.vector(f"{name} x", columns), plan.vector(f"{name} y", 3 + _rows(form))
        plan.vectors[x][:columns] = whole(form, columns)
        bias = rng.standard_normal(_rows(form)).astype(np.float32)
        plan.product(name, form, x, y, bias, at=3)
        plan.product(f"{name} again", form, x, y, at=3, add=True)
        product = rounded(form).matvec(plan.vectors[x][:columns].copy())
        expected[y] = (np.concatenate([np.zeros(3), 2 * product + bias]), np.abs(product).max())
    found = run(plan, DEVICES[0])
    for y, (numbers, size) in expected.items():
        np.testing.assert_allclose(found[y][: len(numbers)], numbers, atol=2e-5 * size, err_msg=y)
        assert not found[y][len(numbers) :].any(), f"{y}: something was written behind the last row"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_halfs_of_a_train(settings):
    plan = Plan(settings, top=1, half=True)
    form = train([5, 3, 2], [3, 3, 4], [16, 3], lambda *size: Dense(rng.integers(-3, 4, size).astype(np.float32)))
    plan.vector("x", 36)
    plan.vectors["x"][:36] = rng.integers(-3, 4, 36)
    plan.product("train", form, "x", plan.vector("y", 30))
    found = run(plan, DEVICES[0])["y"][:30]
    np.testing.assert_array_equal(found, form.matvec(plan.vectors["x"][:36].copy()))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_rows(settings):
    plan, expected = Plan(settings, top=1, half=False), {}
    for name, make in MATRICES.items():
        form = make()
        token = min(2, _rows(form) - 1)
        if token == 2:
            expected[plan.vector(f"{name} x", _columns(form))] = form.row(token)
            plan.row(name, form, f"{name} x", shared=False)
    found = run(plan, DEVICES[0], token=2)
    for x, numbers in expected.items():
        np.testing.assert_allclose(
            found[x][: len(numbers)], numbers, atol=1e-5 * np.abs(numbers).max(initial=1), err_msg=x
        )


@pytest.mark.parametrize("V", [5, 64, 1003])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_best(settings, V):
    plan = Plan(settings, top=5, half=False)
    logits = np.round(rng.standard_normal(V), 1).astype(np.float32) * 30  # with equals
    plan.vector("logits", V, -np.inf)
    plan.vectors["logits"][:V] = logits
    plan.call("tanh", {"UNITS": 1, "AT": 0}, [("const float", "logits"), ("float", plan.vector("other", 1))])
    choose(plan, V)
    answer = run(plan, DEVICES[0])["result"]
    ids, log_probs = best(logits, 5)
    assert answer[:5].tolist() == ids
    np.testing.assert_allclose(answer[5:].view(np.float32), log_probs, atol=1e-5)


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_output(settings, rising):
    """Logits, best words and probabilities in one call; also where the greatest comes last and dwarfs all before."""
    plan, V = Plan(settings, top=5, half=False), 203
    form, x = int8(V, 17), plan.vector("x", 17)
    plan.vectors[x][:17] = whole(form, 17)
    bias = np.arange(V, dtype=np.float32) * (2000 if rising else 20)
    plan.vector("logits", V, -np.inf)
    output(plan, "head", form, x, bias)
    found = run(plan, DEVICES[0])
    logits = rounded(form).matvec(plan.vectors[x][:17]) + bias
    np.testing.assert_allclose(found["logits"][:V], logits, atol=2e-5 * np.abs(logits).max())
    ids, log_probs = best(found["logits"][:V], 5)
    assert found["result"][:5].tolist() == ids
    np.testing.assert_allclose(found["result"][5:].view(np.float32), log_probs, atol=2e-6 * np.abs(logits).max())


ALONE = [Settings(1, 1, one_launch=True, groups=1), *(each for each in SETTINGS if each.one_launch and each.lanes == 1)]


@pytest.mark.parametrize("settings", ALONE, ids=str)
@pytest.mark.parametrize(
    ("V", "N", "half"), [(5, 17, False), (64, 20, False), (203, 128, True), (1003, 31, True), (203, 300, False)]
)
def test_screened_output(settings, half, V, N):
    """The best words of the whole matrix, from its upper halves and a few rows; and the row of a word."""
    for spread, shift in ((0.0, 0.0), (0.5, -30.0), (50.0, 0.0)):
        plan, form = Plan(settings, top=5, half=half, screen=True), int8(V, N, least=-128)
        form.scale = form.scale.astype(np.float16).astype(np.float32)
        plan.vector("x", N)
        plan.vectors["x"][:N] = whole(form, N) / 2048 * (V > 5)
        x = plan.vectors["x"][:N].copy()
        bias = (rng.permutation(V) * spread + shift + rng.uniform(0, 0.1, V)).astype(np.float16).astype(np.float32)
        plan.vector("logits", V, -np.inf)
        plan.row("head", form, plan.vector("row", N), shared=True)
        output(plan, "head", form, "x", bias)
        found = run(plan, DEVICES[0], token=3)
        np.testing.assert_allclose(found["row"][:N], form.row(3), rtol=1e-6)
        logits = rounded(form).matvec(x) + bias
        ids, log_probs = best(logits, 5)
        assert found["result"][:5].tolist() == ids
        own, size = found["logits"][:V], np.abs(logits).max()
        np.testing.assert_allclose(own[ids], logits[ids], atol=2e-6 * size)
        np.testing.assert_allclose(found["result"][5:].view(np.float32), log_probs, atol=0.1 + 2e-6 * size)
        read = np.isclose(own, logits, rtol=0, atol=2e-6 * size)
        q = form.weight.astype(int)
        upper = rounded(Int4(_upper_halves(q), 16 * form.scale, N + N % 2, N)).matvec(x) + bias
        np.testing.assert_allclose(own[~read], upper[~read], atol=1e-5 * size)
        assert spread < 50 or V == 5 or not read.all()


def _upper_halves(q):
    u = np.clip((q + 8) // 16, -8, 7) + 8
    u = np.pad(u, ((0, 0), (0, q.shape[1] % 2)))
    return (u[:, ::2] | u[:, 1::2] << 4).astype(np.uint8)


def test_the_best_are_found_where_the_upper_halves_mislead():
    """Among rows of nearly one direction, which only their lower halves tell apart."""
    for settings, N in itertools.product((ALONE[0], ALONE[-1]), (24, 96, 512)):
        q = np.clip(rng.integers(-100, 101, N) + rng.integers(-9, 10, (500, N)), -127, 127).astype(np.int8)
        form = Int8(q, np.full((500, 1), 0.01, np.float32), np.float32(0))
        plan = Plan(settings, top=3, half=False, screen=True)
        plan.vector("x", N)
        plan.vectors["x"][:N] = whole(form, N)
        plan.vector("logits", 500, -np.inf)
        output(plan, "head", form, "x", np.zeros(500, np.float32))
        exact = rounded(form).matvec(plan.vectors["x"][:N].copy())
        upper = rounded(plan.screens["head"].upper).matvec(plan.vectors["x"][:N].copy())
        assert best(upper, 3)[0] != best(exact, 3)[0]
        assert run(plan, DEVICES[0])["result"][:3].tolist() == best(exact, 3)[0]


def test_twin_of_rounding():
    q, unit = quantise(np.array([1.0, -2.0, 0.5], np.float32), 127)
    assert q.tolist() == [64, -127, 32]
    assert unit == pytest.approx(2 / 127)
    assert quantise(np.zeros(3, np.float32), 127)[0].tolist() == [0, 0, 0]


def _rows(form) -> int:
    return len(form.matvec(np.zeros(_columns(form), np.float32)))


def _columns(form) -> int:
    if isinstance(form, LowRank):
        return _columns(form.right)
    if isinstance(form, TensorTrain):
        return int(np.prod(form.column_modes))
    return (
        form.num_columns
        if isinstance(form, Sparse)
        else (form.weight.shape if isinstance(form, Dense) else form.size)[1]
    )
