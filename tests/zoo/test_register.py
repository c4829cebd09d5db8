"""`import zoo` is light, and after it transformers' Auto classes know ours, whatever was imported before."""

import subprocess
import sys

import pytest

ORDERS = [
    "import zoo\nfrom transformers import AutoConfig, AutoModelForCausalLM",
    "from transformers import AutoConfig, AutoModelForCausalLM\nimport zoo",
    "import transformers, zoo\nfrom transformers import GenerationMixin, AutoConfig, AutoModelForCausalLM",
    "from zoo import RnnLmForCausalLM\nfrom transformers import AutoConfig, AutoModelForCausalLM",
    "import zoo.configuration_rnnlm\nfrom transformers import AutoConfig, AutoModelForCausalLM",
    "import zoo.modeling_rnnlm\nfrom transformers import AutoConfig, AutoModelForCausalLM",
]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_zoo_brings_in_neither_torch_nor_transformers_nor_any_extra():
    heavy = "torch transformers datasets evaluate accelerate matplotlib pyopencl huggingface_hub".split()
    assert run(f"import sys, zoo; print([m for m in {heavy} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("order", ORDERS)
def test_auto_classes_know_ours(order):
    code = f"{order}\nconfig = AutoConfig.for_model('rnnlm', vocab_size=11)\n"
    assert run(code + "print(type(AutoModelForCausalLM.from_config(config)).__name__)") == "RnnLmForCausalLM"


def test_a_mere_look_for_the_module_does_not_lose_the_registration():
    code = "import zoo, importlib.util\nimportlib.util.find_spec('transformers.models.auto.modeling_auto')\n"
    code += "from transformers import AutoModelForCausalLM\n"
    assert run(code + "print(type(AutoModelForCausalLM.from_config(zoo.RnnLmConfig())).__name__)") == "RnnLmForCausalLM"


def test_unknown_attribute_names_the_known_ones():
    import zoo

    with pytest.raises(AttributeError, match="it has RnnLmCache, RnnLmConfig"):
        _ = zoo.RnnLmConfg
    assert "RnnLmModel" in dir(zoo)
