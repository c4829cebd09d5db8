"""Makes transformers' Auto classes know ours, without importing transformers before the user does.

transformers has no entry points for models, and importing its model machinery takes seconds. So a finder waits for the
modules in which its Auto classes live and registers ours as soon as they have run.
"""

import importlib
import importlib.abc
import importlib.util
import sys

AUTO_MODULE = "transformers.models.auto.modeling_auto"
CONFIG_MODULE = "transformers.models.auto.configuration_auto"
OUR_MODULE = f"{__package__}.modeling_rnnlm"


def register_config() -> None:
    """Registers the config class; needed to read a config.json of ours."""
    from transformers.models.auto.configuration_auto import AutoConfig

    from .configuration_rnnlm import RnnLmConfig

    AutoConfig.register(RnnLmConfig.model_type, RnnLmConfig, exist_ok=True)


def register_models() -> None:
    """Registers the model classes under their Auto classes."""
    from transformers.models.auto import modeling_auto

    from . import modeling_rnnlm
    from .configuration_rnnlm import RnnLmConfig

    for auto, name in (
        ("AutoModel", "RnnLmModel"),
        ("AutoModelForCausalLM", "RnnLmForCausalLM"),
        ("AutoModelForSequenceClassification", "RnnLmForSequenceClassification"),
    ):
        getattr(modeling_auto, auto).register(RnnLmConfig, getattr(modeling_rnnlm, name), exist_ok=True)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls `action` once, right after the module `name` has been imported for the first time."""

    def __init__(self, name: str, action):
        self.name, self.action, self.asking = name, action, False

    def find_spec(self, fullname, path, target=None):
        if fullname != self.name or self.asking:
            return None
        self.asking = True  # the others, for the module itself
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.asking = False
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            run(module)
            self.action()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register_with_transformers() -> None:
    """Registers at once where transformers' Auto modules are loaded already, else as soon as they are."""
    finished = {name for name in (AUTO_MODULE, CONFIG_MODULE) if name in sys.modules}

    def after_models(name: str):
        # Each of the two modules may be imported in the middle of importing the other one: the later to end registers.
        finished.add(name)
        if AUTO_MODULE in finished and (OUR_MODULE in finished or OUR_MODULE not in sys.modules):
            register_models()

    if CONFIG_MODULE in finished:
        register_config()
    else:
        sys.meta_path.insert(0, _AfterImport(CONFIG_MODULE, register_config))
    sys.meta_path.insert(0, _AfterImport(OUR_MODULE, lambda: after_models(OUR_MODULE)))
    if AUTO_MODULE in finished:
        after_models(AUTO_MODULE)
    else:
        sys.meta_path.insert(0, _AfterImport(AUTO_MODULE, lambda: after_models(AUTO_MODULE)))
