"""From a name to a model and its tokenizer in torch, strictly: nothing missing, left over or of another shape."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from .errors import CheckpointError, ZooError
from .hub import folder_of, verify
from .layout import CLASSIFIER
from .tensors import TensorFile

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from .modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification, RnnLmPreTrainedModel

LANGUAGE_MODEL = "RnnLmForCausalLM"
MOST_THREADS = 64  # allowed where there are fewer processors
LOADERS = {LANGUAGE_MODEL: ("a language model", "load"), CLASSIFIER: ("a text classifier", "load_classifier")}


def load(name: str | Path, revision: str | None = None) -> tuple[RnnLmForCausalLM, PreTrainedTokenizerFast]:
    """The language model of a checkpoint in eval mode, and its tokenizer.

    Args:
        name: a shipped checkpoint, a folder, or `owner/name[@revision]` on the Hub.
        revision: branch, tag or commit of a Hub repository.

    Raises:
        CheckpointError: unknown, damaged, a text classifier, or a config, weights and tokenizer that do not belong
            together.
    """
    return cast("tuple[RnnLmForCausalLM, PreTrainedTokenizerFast]", load_any(name, revision, [LANGUAGE_MODEL]))


def load_classifier(
    name: str | Path, revision: str | None = None
) -> tuple[RnnLmForSequenceClassification, PreTrainedTokenizerFast]:
    """As `load`, of a text classifier; CheckpointError for a language model."""
    found = load_any(name, revision, [CLASSIFIER])
    return cast("tuple[RnnLmForSequenceClassification, PreTrainedTokenizerFast]", found)


def set_threads(count: int | None) -> None:
    """Lets torch compute with so many processor threads; None: its own choice (ZooError: none, or beyond all sense)."""
    if count is None:
        return
    import torch

    most = max(os.cpu_count() or 1, MOST_THREADS)
    if not 1 <= count <= most:
        raise ZooError(f"--threads is {count}; allowed: 1 to {most}, e.g. {os.cpu_count() or 1}, the processors here")
    torch.set_num_threads(count)


def load_any(
    name: str | Path, revision: str | None = None, allowed: Collection[str] = tuple(LOADERS)
) -> tuple[RnnLmPreTrainedModel, PreTrainedTokenizerFast]:
    """As `load`, of whatever its config.json says that it is, if that is allowed."""
    import torch
    from transformers import PreTrainedTokenizerFast

    from . import modeling_rnnlm
    from .configuration_rnnlm import RnnLmConfig

    folder = folder_of(name, revision)
    verify(folder)
    try:
        config = RnnLmConfig.from_pretrained(folder)
    except (StrictDataclassError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder / 'config.json'} is no config of this zoo: {reason}") from error
    name_of_class = CLASSIFIER if CLASSIFIER in (config.architectures or ()) else LANGUAGE_MODEL
    if name_of_class not in allowed:
        what, loader = LOADERS[name_of_class]
        needed = " or ".join(LOADERS[other][0] for other in allowed)
        raise CheckpointError(
            f"{name} is {what} and {needed} is needed; name one, or load this with zoo.loading.{loader}"
        )
    cls = getattr(modeling_rnnlm, name_of_class)
    with torch.device("meta"):  # shapes without memory
        empty = cls(config)
    file = TensorFile(folder)
    for tensor, value in empty.state_dict().items():
        if tensor not in empty.all_tied_weights_keys:
            kind = None if value.is_floating_point() else np.dtype(str(value.dtype).removeprefix("torch.")).type
            file.check(tensor, tuple(value.shape), kind)
    file.check_all_asked()
    try:
        model, found = cls.from_pretrained(folder, config=config, output_loading_info=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file.path} cannot be loaded: {reason}; get the checkpoint again") from error
    wrong = {what: sorted(map(str, names)) for what, names in found.items() if names}
    if wrong:
        raise CheckpointError(f"{file.path} does not fill the model of config.json: {wrong}; get the checkpoint again")
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # the tokenizers library has no class of its own for a file that it cannot read
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder / 'tokenizer.json'} cannot be loaded: {reason}; get it again") from error
    return model.eval(), tokenizer
