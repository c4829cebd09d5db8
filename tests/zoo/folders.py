"""Checkpoint folders of small random models, for the tests."""

from pathlib import Path

from safetensors.torch import save_file

from zoo.tokenization import build_tokenizer

from .models import VOCABULARY, model_of

# `eos_token_id` of the models is 1.
WORDS = ["<unk>", "<eos>", *(f"w{number}" for number in range(2, VOCABULARY))]


def write_checkpoint(folder: Path, model=None, words=WORDS, half=False) -> Path:
    """Config, weights (float16 where `half`) and tokenizer of a model; the folder."""
    model = model_of() if model is None else model
    model.config.dtype = "float32"  # of the computation, whatever the file holds
    model.config.save_pretrained(folder)
    tied = model.all_tied_weights_keys if model.config.tie_word_embeddings else {}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer(words).save_pretrained(folder)
    return folder
