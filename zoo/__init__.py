"""Compressed recurrent language models as transformers classes.

`import zoo` is all that `AutoConfig`, `AutoModel`, `AutoModelForCausalLM` and `AutoModelForSequenceClassification` need
to load a checkpoint of ours. It imports neither torch nor transformers: the classes are loaded when first asked for.
"""

import importlib

from ._register import register_with_transformers

_MODULE_OF = {
    "RnnLmConfig": "configuration_rnnlm",
    "RnnLmCache": "cache_rnnlm",
    "RnnLmModel": "modeling_rnnlm",
    "RnnLmForCausalLM": "modeling_rnnlm",
    "RnnLmForSequenceClassification": "modeling_rnnlm",
}
__all__ = sorted(_MODULE_OF)
__version__ = "0.1.0.dev0"


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


register_with_transformers()
