"""torch.hub entry points: one per checkpoint of the catalog, `tokenizer` and `keyboard`; made from the catalog.

`torch.hub.load("path/to/this/folder", "lstm_200_ptb", source="local")` is the model,
`torch.hub.load("path/to/this/folder", "tokenizer", "lstm-200-ptb", source="local")` its tokenizer,
`torch.hub.load("path/to/this/folder", "keyboard", "lstm-200-ptb", source="local")` suggestions while a text is typed.
"""

import hashlib as _hashlib
import importlib as _importlib
import importlib.machinery as _machinery
import importlib.util as _util
import re as _re
import sys as _sys
from pathlib import Path as _Path

dependencies = ["torch", "transformers", "huggingface_hub", "safetensors", "tokenizers", "numpy"]


def _package() -> str:
    """Name under which the folder `zoo` beside this file is imported.

    Not "zoo", unless that is this very folder: Python keeps one module per name, so of two hub repositories that both
    have a folder `zoo` the second would get the first one's code. `zoo/__init__.py` is not run: it registers classes
    with transformers' Auto classes, and a second copy would take them away from an installed package.
    """
    folder = _Path(__file__).resolve().parent / "zoo"
    loaded = getattr(_sys.modules.get("zoo"), "__path__", None)
    if loaded and _Path(next(iter(loaded))).resolve() == folder:
        return "zoo"
    name = f"_rnnlm_zoo_{_hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in _sys.modules:
        spec = _machinery.ModuleSpec(name, loader=None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        _sys.modules[name] = _util.module_from_spec(spec)
    return name


def _module(name: str):
    """A module of the folder `zoo`."""
    return _importlib.import_module(f"{_package()}.{name}")


def _entry_point(row):
    """The function that loads one checkpoint of the catalog."""
    classifies = row.task == _module("catalog").CLASSIFICATION
    name_of_class = "RnnLmForSequenceClassification" if classifies else "RnnLmForCausalLM"

    def load(weights: str | None = "DEFAULT"):
        name, _, version = (weights if isinstance(weights, str) else "").partition("@")
        if weights not in (None, "DEFAULT", row.name) and (name != row.name or not version):
            raise _module("errors").CheckpointError(
                f"weights={weights!r} is not known; allowed: 'DEFAULT' or {row.name!r} (trained), "
                f"'{row.name}@v1' (that version of it), None (untrained)"
            )
        here = row.folder if row.folder.is_dir() else row.name
        if weights is None:
            config = _module("configuration_rnnlm").RnnLmConfig.from_pretrained(_module("hub").folder_of(here))
            return getattr(_module("modeling_rnnlm"), name_of_class)(config).eval()
        return _module("loading").load_any(weights if version else here)[0]

    load.__name__ = load.__qualname__ = _re.sub(r"\W", "_", row.name)
    quality = f", {row.headline}" if row.headline else ""
    load.__doc__ = f"""{row.description}: {row.parameters:,} parameters, {row.bytes / 1e6:.1f} MB{quality}.

    Args:
        weights: "DEFAULT" or "{row.name}": as trained; "{row.name}@v1": a version, whose meaning never changes;
            None: the same network untrained.

    Returns:
        {name_of_class} in eval mode.

    Raises:
        CheckpointError: unknown weights, a damaged file, or one that is not here and cannot be downloaded.
    """
    return load


def tokenizer(name: str):
    """The word-level tokenizer of a checkpoint.

    Args:
        name: a name of the catalog, e.g. "lstm-200-ptb" (or "lstm_200_ptb"), a version of it ("lstm-200-ptb@v1"), a
            folder, or "owner/name@revision" on the Hub.

    Returns:
        PreTrainedTokenizerFast.

    Raises:
        CheckpointError: no checkpoint has this name, or its files are damaged.
    """
    names = {_re.sub(r"\W", "_", row.name): row.name for row in _module("catalog").entries().values()}
    folder = _module("hub").folder_of(names.get(name, name))  # also by the name of its entry point
    _module("hub").verify(folder)
    return _importlib.import_module("transformers").PreTrainedTokenizerFast.from_pretrained(folder)


def keyboard(name: str | None = None, engine: str = "numpy"):
    """Suggestions while a text is typed, with a language model of the catalog.

    Args:
        name: as of `tokenizer`; None: the default of keyboards.
        engine: what computes: "numpy", "torch", "onnx", "onnx-fp16", "onnx-int8", "opencl" or "c".

    Returns:
        zoo.keyboard.Keyboard.

    Raises:
        CheckpointError: no checkpoint has this name, it is no language model, or its files are damaged.
    """
    return _module("keyboard").Keyboard(name, engine=engine)


for _row in _module("catalog").entries().values():
    _load = _entry_point(_row)
    globals()[_load.__name__] = _load
