"""Tables of latency from results with all keys, with some, and with none; predictions stay apart from measurements."""

from __future__ import annotations

from typing import Any

import pytest

from model_cards import latency
from model_cards.facts import Facts
from model_cards.paper import differences, kind, rows, rows_of
from zoo.layout import Layout, layout_of

LSTM: dict[str, Any] = {
    "cell": "lstm",
    "vocab_size": 10_000,
    "embedding_size": 200,
    "hidden_size": 200,
    "num_hidden_layers": 2,
}
INT8 = {"form": "int8", "scheme": "row"}
OLD = {
    "device": "Old CPU",
    "protocol": {"threads": 2},
    "milliseconds": {"torch": {"mean": 2.5, "median": 2.25, "p95": 3.125}},
    "memory": {"weights": 2_000_000, "step_peak": 10_000},
}
NEW = {
    "device": "New phone",
    "protocol": {"threads": 1},
    "milliseconds": {
        "opencl": {"mean": 0.21, "median": 0.2, "p95": 0.25, "p99": 0.3},
        "litert-int8": {"mean": 0.41, "median": 0.4, "p95": 0.45, "p99": 0.5},
    },
    "contenders": {
        "opencl": {
            "file_bytes": 1_500_000,
            "top3_agreement": 0.9925,
            "spaced_ms": 0.35,
            "cold_ms": 230.4,
            "rss_mb": 183.2,
            "times_floor": 0.98,
            "launches": 5,
            "chain": "chained",
        },
        "litert-int8": {"file_bytes": 2_000_000, "cold_ms": None},
    },
    "base": "litert-int8",
    "ratios": {"opencl": 0.5, "litert-int8": 1.0},
    "bandwidth": [{"bytes": 1_400_000, "gb_per_s": 137.04}],
    "skipped": {"ncnn": "not installed"},
}
PREDICTED = {
    "device": "Mali-T880",
    "command": "python -m bench.predict net --out",
    "predictions": [
        {"how": "fitted", "touched_bytes": 4e6, "milliseconds": 8.1, "low": 7.0, "high": 9.2, "range": "95 %"},
        {"how": "figures", "touched_bytes": 2e6, "low": 0.4, "high": 1.5, "range": "best to worst"},
    ],
}
AGREEMENT = {
    "device": "PoCL",
    "words": 5000,
    "command": "python -m bench.agreement net",
    "storages": {
        "fp32": {"same_top3": 1.0, "max_logit_difference": 1.3e-5, "perplexity": 91.6714, "torch_perplexity": 91.6711},
        "int8": {"same_top3": 0.9942, "max_logit_difference": 0.12, "perplexity": None, "torch_perplexity": None},
    },
}


def layout(**more: Any) -> Layout:
    return layout_of(LSTM | more)


def facts(network: Layout | None = None, timed: tuple = (), agreement: tuple = (), predicted: tuple = ()) -> Facts:
    unmeasured: Any = {"recipe": "", "sha256": {}, "size": {}, "quality": {}, "onnx": {}, "steps": []}
    network = network or layout(cell="gru")
    return Facts("net", network, **unmeasured, latency=[*timed], agreement=[*agreement], predicted=[*predicted])


def test_every_column_that_a_result_has_and_no_other():
    text = latency.section(facts(timed=(NEW,)))
    assert "Measured on New phone, 1 thread:" in text
    assert (
        "| contender | mean ms | median ms | p95 ms | p99 ms | / base | x floor | spaced ms | cold ms | MB | RSS MB "
        "| same top-3 |"
    ) in text
    assert "| opencl | 0.210 | 0.200 | 0.250 | 0.300 | 0.50 | 0.98 | 0.350 | 230 | 1.50 | 183 | 99.2% |" in text
    assert "| litert-int8 | 0.410 | 0.400 | 0.450 | 0.500 | 1.00 | – | – | – | 2.00 | – | – |" in text
    for told in ("base is litert-int8", "5 launches a token, chained", "137.0 GB/s of 1.4 MB", "ncnn (not installed)"):
        assert told in text


def test_results_from_before_have_their_columns():
    text = latency.section(facts(timed=(OLD, NEW)))
    assert "Measured on Old CPU, 2 threads:" in text and "| torch | 2.500 | 2.250 | 3.125 |" in text
    assert "weights take 2.00 MB" in text and text.index("Old CPU") < text.index("New phone")
    assert latency.section(facts()) == "Not measured yet.\n"


def test_predictions_are_called_so_and_stand_apart():
    text = latency.section(facts(timed=(NEW,), predicted=(PREDICTED,)))
    before, _, after = text.partition("**Predictions, not measurements**")
    assert "Mali" not in before and "New phone" not in after
    assert "| Mali-T880 | 8.10 (7.00 to 9.20) | 4.00 | fitted; 95 % |" in after
    assert "| Mali-T880 | 0.40 to 1.50 | 2.00 | figures; best to worst |" in after
    assert "`python -m bench.predict net --out`" in after


def test_agreement_with_torch():
    text = latency.section(facts(agreement=(AGREEMENT,)))
    assert "The OpenCL step beside torch, 5,000 words, on PoCL:" in text and "`python -m bench.agreement net`" in text
    assert "| fp32 | 100.00% | 1.3e-05 | 91.671 | 91.671 |" in text and "| int8 | 99.42% | 0.12 | – | – |" in text


def test_the_papers_row_comes_with_the_differences():
    text = latency.section(facts(layout()))
    assert "has 9.63 ms a token on a Mali-T880 for LSTM 200-200 (test perplexity 117.66)" in text
    assert "This checkpoint differs: tied, 2,651,600 parameters (there 4,651,600)." in text


def test_readme_has_a_row_per_device():
    two = NEW | {"device": "Other phone", "base": None, "ratios": {}, "contenders": {}}
    text = latency.table([facts(layout(), timed=(OLD, NEW, two), predicted=(PREDICTED,)), facts()])
    head, _, first, second = text.splitlines()
    assert head.count("*predicted*") == 2 and len({line.count("|") for line in text.splitlines()}) == 1
    phone = "| 8.10 (7.00 to 9.20) | 0.40 to 1.50 | 9.63 |"
    link = "| [net](zoo/checkpoints/net/README.md)"
    assert first == f"{link} | New phone, 1 thread | 0.200 | litert-int8 | 0.400 | 0.50 | 0.98 | 0.350 | 230 {phone}"
    assert second == f"{link} | Other phone, 1 thread | 0.200 | – | – | – | – | – | – {phone}"


def test_readme_says_what_is_not_measured():
    assert latency.table([facts()]) == "Nothing is measured yet."
    assert "| not yet | – | – | – | – | – | – | – | – | – | 9.63 |" in latency.table([facts(layout(), timed=(OLD,))])


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, ["LSTM 200-200"]),
        ({"hidden_size": 650, "projection_size": 128, "embedding_size": 128}, ["LR LSTM 650-650"]),
        (
            {"weights": dict.fromkeys(("embed", "input", "recurrent"), INT8)},
            ["LSTM 200-200 quantization (1 byte per number)"],
        ),
        ({"weights": {"embed": INT8}}, []),
        ({"hidden_size": 201, "tie_word_embeddings": False}, []),
        ({"weights": {"embed": {"form": "low_rank", "rank": 50}}}, []),
    ],
)
def test_rows_of_a_layout(more: dict, names: list[str]):
    assert [row.name for row in rows_of(layout(**more))] == names


def test_pruned_checkpoints_are_both_pruned_rows_in_8_bits_too():
    head = {"form": "sparse", "nonzeros": 200_000, "values": {"form": "int8"}}
    ours = layout(tie_word_embeddings=False, weights={"head": head, "embed": INT8, "input": INT8, "recurrent": INT8})
    found = rows_of(ours)
    assert [row.mali_ms for row in found] == [9.56, 9.56]
    assert "matrices int8 row (there dense)" in differences(ours, found[0].layout)


def test_rows_of_the_paper_differ_in_kind():
    kinds = [kind(row.layout) for row in rows()]
    assert len(kinds) == 20 and len({str(found) for found in kinds}) == 19  # pruned without and with training
    assert all(row in rows_of(row.layout) and not differences(row.layout, row.layout) for row in rows())
