"""Checkpoint folders of small random models, for the tests."""

import json
from pathlib import Path

from safetensors.torch import save_file

from zoo import RnnLmForSequenceClassification
from zoo.review_tokenization import build_review_tokenizer
from zoo.tokenization import build_tokenizer

from .models import VOCABULARY, config_of, fill, model_of

# `eos_token_id` of the models is 1.
WORDS = ["<unk>", "<eos>", *(f"w{number}" for number in range(2, VOCABULARY))]
REVIEW_WORDS = ["<pad>", "<unk>", *"film good ! bad the scene long".split(), *(f"w{n}" for n in range(9, VOCABULARY))]


def write_checkpoint(folder: Path, model=None, words=WORDS, half=False, build=build_tokenizer) -> Path:
    """Config, weights (float16 where `half`) and tokenizer of a model; the folder."""
    model = model_of() if model is None else model
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"  # of the computation, whatever the file holds
    model.config.save_pretrained(folder)
    tied = model.all_tied_weights_keys if model.config.tie_word_embeddings else {}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    build(words).save_pretrained(folder)
    return folder


def write_classifier(folder: Path, labels: int = 2, corpus: str = "imdb", **options) -> Path:
    """As `write_checkpoint`, of a filled text classifier with a metrics.json; options as in `config_of`."""
    kinds = {1: "regression"}
    config = config_of(
        **{"tied": False, "layers": 1, **options}, num_labels=labels, problem_type=kinds.get(labels), pad_token_id=0
    )
    config.weights.pop("head", None)
    model = fill(RnnLmForSequenceClassification(config))
    write_checkpoint(folder, model, REVIEW_WORDS, build=build_review_tokenizer)
    (folder / "metrics.json").write_text(json.dumps({"corpus": corpus}))
    return folder
