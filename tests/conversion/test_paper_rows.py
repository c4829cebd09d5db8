"""The parameter columns of Grachev et al. 2019 (Tables 1 and 3) from configs alone, and conversion/paper_rows.toml."""

import math
import sys
from pathlib import Path

import pytest

import conversion
from conversion.pipeline import plan
from conversion.recipe import read_recipe
from zoo.counts import parameters_of
from zoo.layout import layout_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

V = 10_000
WITHOUT, WITH, CUT, NO = "without biases", "with biases", "without biases, cut off", "no"
RANGE = {"form": "int8", "scheme": "range"}


def train(row_modes, column_modes, ranks):
    return {"form": "tensor_train", "row_modes": row_modes, "column_modes": column_modes, "ranks": ranks}


def low_rank(rank):
    return {"head": {"form": "low_rank", "rank": rank}}


TRAIN_600 = train([40, 60, 1, 1], [1, 1, 20, 30], [32, 60, 28])
PRUNED = {"head": {"form": "sparse", "nonzeros": 200_000}}
# (table, id): cell, H, D, P, weights; what the paper prints in M, and which of our counts rounds to it;
# in Table 3 also of the output layer.
TABLE = {
    (1, "lstm-200"): ("lstm", 200, 200, None, {}, "4.64", WITHOUT),
    (1, "lstm-300"): ("lstm", 300, 300, None, {}, "7.45", WITH),
    (1, "lstm-400"): ("lstm", 400, 400, None, {}, "10.56", WITHOUT),
    (1, "lstm-500"): ("lstm", 500, 500, None, {}, "14", WITHOUT),
    (1, "lstm-650"): ("lstm", 650, 650, None, {}, "19.7", CUT),
    (1, "rnn-650"): ("rnn", 650, 650, None, {}, "16.9", NO),
    (1, "gru-650"): ("gru", 650, 650, None, {}, "18.07", WITHOUT),
    (1, "lstm-1500"): ("lstm", 1500, 1500, None, {}, "66.02", WITH),
    (1, "lstm-200-pruned"): ("lstm", 200, 200, None, PRUNED, "0.5", NO),
    (1, "lstm-200-pruned-tuned"): ("lstm", 200, 200, None, PRUNED, "0.5", NO),
    (1, "lstm-200-int8"): (
        *("lstm", 200, 200, None),
        dict.fromkeys(("embed", "input", "recurrent", "head"), RANGE),
        *("4.64", WITHOUT),
    ),
    (1, "lr-lstm-200"): ("lstm", 200, 48, 32, {}, "0.928", WITHOUT),
    (1, "lr-lstm-300"): ("lstm", 300, 81, 82, {}, "2.072", WITHOUT),
    (1, "lr-lstm-400"): ("lstm", 400, 120, 120, {}, "3.28", WITH),
    (1, "lr-lstm-500"): ("lstm", 500, 123, 124, {}, "3.584", WITHOUT),
    (1, "lr-lstm-650"): ("lstm", 650, 132, 132, {}, "4.2", WITHOUT),
    (1, "lr-rnn-650"): ("rnn", 650, 366, 366, {}, "8.75", WITHOUT),
    (1, "lr-gru-650"): ("gru", 650, 128, 128, {}, "3.19", WITHOUT),
    (1, "tt-lstm-600"): ("lstm", 600, 600, None, {"input": TRAIN_600, "recurrent": TRAIN_600}, "12.6", WITHOUT),
    (1, "lr-lstm-1500"): ("lstm", 1500, 504, 505, {}, "23.72", WITHOUT),
    (3, "lstm-200"): ("lstm", 200, 200, None, {}, "4.64", WITHOUT, "2.0", WITHOUT),
    (3, "lstm-650"): ("lstm", 650, 650, None, {}, "19.7", CUT, "6.5", WITHOUT),
    (3, "lstm-1500"): ("lstm", 1500, 1500, None, {}, "66.02", WITH, "15.0", WITHOUT),
    (3, "lstm-200-lr-head"): ("lstm", 200, 200, None, low_rank(50), "3.15", WITHOUT, "0.51", WITHOUT),
    (3, "lstm-650-lr-head"): ("lstm", 650, 650, None, low_rank(112), "14.48", NO, "1.193", WITHOUT),
    (3, "lstm-1500-lr-head"): ("lstm", 1500, 1500, None, low_rank(246), "53.85", WITH, "2.829", WITHOUT),
    (3, "lstm-200-tt-head"): (
        *("lstm", 200, 200, None),
        {"head": train([100, 100, 1], [1, 1, 200], [58, 48])},
        *("2.95", WITH, "0.304", WITH),
    ),
    (3, "lstm-600-tt-head"): (
        *("lstm", 600, 600, None),
        {"head": train([100, 100, 1], [1, 1, 600], [72, 130])},
        *("12.8", WITHOUT, "1.03", WITH),
    ),
    (3, "lstm-1500-tt-head"): (
        *("lstm", 1500, 1500, None),
        {"head": train([100, 100, 1], [1, 1, 1500], [80, 307])},
        *("53.95", WITH, "2.92", WITHOUT),
    ),
}
ROWS = tomllib.loads((Path(conversion.__file__).parent / "paper_rows.toml").read_text(encoding="utf-8"))["row"]
BY_ID = {(row["table"], row["id"]): row for row in ROWS}
every_row = pytest.mark.parametrize("key", TABLE, ids=lambda key: f"table-{key[0]}-{key[1]}")


def config(cell, H, D, P=None, weights=None):
    fields = {"vocab_size": V, "embedding_size": D, "hidden_size": H, "num_hidden_layers": 2, "cell": cell}
    fields |= {} if P is None else {"projection_size": P}
    return fields | {"tie_word_embeddings": False} | ({"weights": weights} if weights else {})


def counts(*given):
    """(without biases, with biases) of a whole network, and of its output layer."""
    found = parameters_of(layout_of(config(*given)))
    biases = sum(number for name, number in found.items() if "bias" in name)
    total = sum(found.values())
    return (total - biases, total), (found["head"], found["head"] + found["bias.head"])


def rounds_to(count, printed, agrees):
    """Whether a count (without, with biases) gives a figure in M as the paper prints it."""
    digits = len(printed.partition(".")[2])
    if agrees == CUT:
        return math.floor(count[0] / 10 ** (6 - digits)) == round(float(printed) * 10**digits)
    number = count[[WITHOUT, WITH].index(agrees)]
    return f"{number / 1e6:.{digits}f}" == printed


@every_row
def test_parameters_are_those_of_the_paper(key):
    cell, H, D, P, weights, printed, agrees, *output = TABLE[key]
    total, head = counts(cell, H, D, P, weights)
    if agrees == NO:
        assert not any(rounds_to(total, printed, how) for how in (WITHOUT, WITH, CUT))
    else:
        assert rounds_to(total, printed, agrees)
    if output:
        assert rounds_to(head, *output)


@every_row
def test_the_file_says_the_same(key):
    cell, H, D, P, weights, printed, agrees, *output = TABLE[key]
    row, (total, head) = BY_ID[key], counts(cell, H, D, P, weights)
    assert row["config"] == config(cell, H, D, P, weights)
    assert (row["paper"]["parameters_m"], row["agrees"]) == (float(printed), agrees)
    assert (row["ours"]["without_biases"], row["ours"]["with_biases"]) == total
    if output:
        assert (row["paper"]["output_m"], row["output_agrees"]) == (float(output[0]), output[1])
        assert (row["ours"]["output_without_biases"], row["ours"]["output_with_biases"]) == head
    if weights is PRUNED:
        assert row["ours"]["nonzeros_without_biases"] == total[0] - head[0] + 200_000
    assert row["paper"]["size_mb"] > 0 and row["paper"]["test_perplexity"] > 78
    assert (row["table"] == 1) == ("mali_ms" in row["paper"])
    assert agrees != NO or row["remark"]


def test_the_file_has_the_rows_of_both_tables():
    assert list(BY_ID) == list(TABLE) and len(ROWS) == 20 + 9


def shared(cell, H, rank):
    """Counts where embedding, layers and output share one rank, as the paper's section 5.1 describes them."""
    return counts(cell, H, rank, rank)[0]


@pytest.mark.parametrize("key", [(1, f"lr-lstm-{H}") for H in (200, 300, 500, 1500)])
def test_no_rank_in_all_places_gives_these_rows(key):
    cell, H, _, _, _, printed, _ = TABLE[key]
    ranks = range(1, H)
    assert not any(rounds_to(shared(cell, H, r), printed, how) for r in ranks for how in (WITHOUT, WITH))


def test_what_the_remarks_say_of_the_papers_own_arithmetic():
    assert 40 * (2 * V + 16 * 200) == 928_000 and shared("lstm", 200, 40)[0] == 944_000
    assert 128 * (2 * V + 16 * 500) == 3_584_000 and shared("lstm", 500, 128)[0] == 3_712_000
    assert 70 * (2 * V + 32 * 300) == 2_072_000
    assert 100 * (2 * V + 32 * 400) == 3_280_000
    assert round(539 * (2 * V + 16 * 1500) / 1e6, 2) == 23.72
    assert shared("lstm", 650, 128) == (4_057_600, 4_072_800)
    assert shared("lstm", 650, 128)[0] + 2 * 128 * 650 == 4_224_000  # another projection in each layer
    assert shared("rnn", 650, 128)[0] == 3_059_200 < shared("gru", 650, 128)[0] == 3_190_272
    dense_rnn = counts("rnn", 650, 650)[0][0]
    assert dense_rnn == 14_690_000 and dense_rnn - 2 * V * 650 == 1_690_000
    assert round(0.1 * counts("lstm", 200, 200)[0][0] / 1e6, 3) == 0.464


def planned(name):
    """The config that a recipe ends in, its parents' recipes read for theirs."""
    recipe = read_recipe(name)
    if not recipe.compress:
        return recipe.config(V, 1)
    return plan(recipe, planned(recipe.parent))


@pytest.mark.parametrize("key", list(TABLE), ids=lambda key: f"table {key[0]} {key[1]}")
def test_every_row_has_a_recipe_of_its_size(key):
    row = BY_ID[key]
    name = f"paper-{row['id']}"
    config = planned(name)
    found = sum(parameters_of(layout_of(config.to_dict())).values())
    assert found == row["ours"]["with_biases"]
    assert read_recipe(name).gpu_only == (config.hidden_size == 1500)
    for field, value in row["config"].items():
        if field != "weights":
            assert getattr(config, field) == value
    for role, spec in row["config"].get("weights", {}).items():
        assert config.form_of(role, None if role in ("embed", "head") else 0) == spec
