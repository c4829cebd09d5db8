import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="needs the extra export: pip install 'rnnlm-zoo[export]'")

from conversion.exporters import rounding
from conversion.exporters.check import same_words
from conversion.exporters.text import sample
from tests.zoo.models import VOCABULARY, model_of


def test_rounded_changes_the_named_matrices_only_and_puts_them_back():
    model = model_of(tied=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    likely = np.array([2, 9])
    with rounding.rounded(model, ["lm_head.weight", "model.layers.0.input.weight"], likely):
        now = model.state_dict()
        changed = {name for name, value in before.items() if not torch.equal(value, now[name])}
        assert changed == {"lm_head.weight", "model.layers.0.input.weight"}
        assert torch.equal(now["lm_head.weight"][likely], before["lm_head.weight"][likely])
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("form", ["dense", "low_rank", "int8", "sparse"])
def test_choice_keeps_the_words_suggested(form):
    model = model_of(form=form, tied=False)
    ids = sample(model, 1, 400)[0]
    chosen = rounding.choose(model, ids)
    names = {name for name, value in model.named_parameters() if value.dim() == 2 and value.is_floating_point()}
    assert set(chosen.order) == (names if form in ("dense", "low_rank") else set())
    assert len(chosen.likely) == 2 and 0 <= chosen.kept <= len(chosen.order)  # 31 / 16, rounded up
    texts = ids.reshape(rounding.STREAMS, -1)
    reference = rounding.logits_of(model, texts)
    with rounding.rounded(model, chosen.order[chosen.kept :], chosen.likely):
        assert same_words(reference, rounding.logits_of(model, texts))[0].mean() >= 0.99
    if chosen.kept:  # one less would not do
        with rounding.rounded(model, chosen.order[chosen.kept - 1 :], chosen.likely):
            assert same_words(reference, rounding.logits_of(model, texts))[0].mean() < 0.99


def test_only_tables_of_words_keep_rows():
    model = model_of(form="low_rank", tied=True)
    chosen = rounding.Rounding(tuple(rounding.dense_weights(model)), 0, np.array([3]))
    kept = {name for name, rows in chosen.rows_kept(model).items() if len(rows)}
    assert kept == {"model.embed_tokens.left.weight"}
    assert VOCABULARY == 31
