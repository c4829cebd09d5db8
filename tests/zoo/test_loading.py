"""Language models and text classifiers, each loaded as what it is; damaged folders are in `test_runtime`."""

import json

import pytest

from zoo.errors import CheckpointError
from zoo.loading import load, load_any, load_classifier
from zoo.runtime import NumpyModel

from .folders import write_checkpoint, write_classifier


@pytest.mark.parametrize("labels", [1, 2])
def test_a_text_classifier_is_loaded_as_what_it_is(tmp_path, labels):
    folder = write_checkpoint(tmp_path / "language")
    classifier = write_classifier(tmp_path / "classifier", labels)
    model, tokenizer = load_classifier(classifier)
    assert type(model).__name__ == "RnnLmForSequenceClassification" and not model.training
    assert tokenizer("Good film").input_ids == [3, 2] and model.config.num_labels == labels
    assert type(load_any(classifier)[0]) is type(model)
    assert type(load_any(folder)[0]).__name__ == "RnnLmForCausalLM"
    with pytest.raises(
        CheckpointError, match=r"is a text classifier and a language model is needed; .*load_classifier"
    ):
        load(classifier)
    with pytest.raises(CheckpointError, match=r"is a language model and a text classifier is needed; .*loading\.load$"):
        load_classifier(folder)
    with pytest.raises(CheckpointError, match="is a text classifier, and next words are suggested by language models"):
        NumpyModel(classifier)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"id2label": {"0": "a", "1": "b", "2": "c"}},
            r"score\.weight of shape \[2, 9\] and config\.json asks for \[3",
        ),
        ({"hidden_size": 8}, r"of shape \[36"),
        ({"architectures": None}, r"lacks the tensor lm_head\.weight"),
    ],
)
def test_config_and_weights_of_a_text_classifier(tmp_path, fields, message):
    folder = write_classifier(tmp_path / "classifier")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(CheckpointError, match=message):
        load_any(folder)
