"""A checkpoint folder alone is enough: no package of ours, no network, empty caches."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from conversion.checkpoint import save_checkpoint
from zoo import RnnLmForCausalLM, RnnLmForSequenceClassification
from zoo.modeling_rnnlm import AUTO_MAP, CODE
from zoo.review_tokenization import build_review_tokenizer
from zoo.tokenization import build_tokenizer

from .folders import REVIEW_WORDS, WORDS
from .models import FORMS, VARIANTS, config_of, fill, model_of, name_of

PROGRAM = """
import sys
for package in ("zoo", "conversion", "bench", "model_cards"):
    sys.modules[package] = None  # importing it raises ImportError
import json, torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
folder = sys.argv[1]
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model, found = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
base = AutoModel.from_pretrained(folder, trust_remote_code=True)
AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
batch = tokenizer(["w2 w3 w4", "w5"], padding=True, return_tensors="pt")
with torch.no_grad():
    out = model(**batch)
    text = model.generate(**batch, max_new_tokens=3, do_sample=False)
    hidden = base(**batch).last_hidden_state
print(json.dumps({
    "form": config.form_of("input", 0)["form"],
    "wrong": sorted(key for key, names in found.items() if names),
    "logits": out.logits[:, -1].tolist(),
    "generated": text.tolist(),
    "same": torch.equal(model.model(**batch).last_hidden_state, hidden),
    "dtype": str(model.dtype),
}))
"""


@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[11]], ids=name_of)
def test_folder_loads_where_our_packages_are_not_importable(tmp_path, variant):
    model = model_of(**variant)
    save_checkpoint(model, build_tokenizer(WORDS), tmp_path / "made", "", {}, half=True)
    folder = shutil.move(tmp_path / "made", tmp_path / "moved.v1")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_"))}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", PROGRAM, folder]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == [] and found["same"] and found["dtype"] == "torch.float32"
    assert found["form"] == variant["form"]
    with torch.no_grad():
        model.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
        ids, mask = torch.tensor([[2, 3, 4], [1, 1, 5]]), torch.tensor([[1, 1, 1], [0, 0, 1]])
        expected = model(ids, attention_mask=mask).logits[:, -1]
        torch.testing.assert_close(torch.tensor(found["logits"]), expected)
        generated = model.generate(ids, attention_mask=mask, max_new_tokens=3, do_sample=False)
        assert found["generated"] == generated.tolist()


def test_a_model_loaded_and_saved_again_takes_its_code_along(tmp_path):
    save_checkpoint(model_of(), build_tokenizer(WORDS), tmp_path / "made", "", {}, half=True)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / CODE[0]).write_text("of an older release")
    RnnLmForCausalLM.from_pretrained(tmp_path / "made").save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["auto_map"] == AUTO_MAP
    assert all((tmp_path / "again" / name).read_text() == (tmp_path / "made" / name).read_text() for name in CODE)


def test_untrusted_folder_says_which_flag_to_give(tmp_path):
    save_checkpoint(model_of(), build_tokenizer(WORDS), tmp_path / "made", "", {}, half=True)
    code = "import sys\nfrom transformers import AutoModelForCausalLM as A\nA.from_pretrained(sys.argv[1])"
    run = [sys.executable, "-c", code, tmp_path / "made"]
    done = subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0 and "trust_remote_code=True" in done.stderr


EVERY = """
import sys
for package in ("zoo", "conversion", "bench", "model_cards"):
    sys.modules[package] = None
import json, torch
from transformers import AutoModelForCausalLM
ids, found = torch.tensor([[2, 3, 4]]), {}
for folder in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    found[folder] = [model.generate(ids, max_new_tokens=5, do_sample=False).tolist(), model(ids).logits[0, -1].tolist()]
print(json.dumps(found))
"""


def test_every_form_generates_in_a_clean_process(tmp_path):
    expected, ids = {}, torch.tensor([[2, 3, 4]])
    for number, form in enumerate(("low_rank", *FORMS)):
        cell = ("lstm", "gru", "rnn")[number % 3]
        model = model_of(cell=cell, projected=number % 2 == 0, form=form, tied=number % 4 < 2)
        model.save_pretrained(tmp_path / form)
        tokens = model.generate(ids, max_new_tokens=5, do_sample=False).tolist()
        expected[str(tmp_path / form)] = [tokens, model(ids).logits[0, -1].tolist()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_"))}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", EVERY, *expected]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for folder, (tokens, logits) in json.loads(done.stdout).items():
        assert tokens == expected[folder][0], folder
        torch.testing.assert_close(torch.tensor(logits), torch.tensor(expected[folder][1]), atol=1e-4, rtol=1e-4)


CLASSIFIES = """
import sys
for package in ("zoo", "conversion", "bench", "model_cards"):
    sys.modules[package] = None
import json, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
folder, texts = sys.argv[1], ["A GOOD film!<br />", "bad"]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model, found = AutoModelForSequenceClassification.from_pretrained(
    folder, trust_remote_code=True, output_loading_info=True
)
batch = tokenizer(texts, padding=True, return_tensors="pt")
told = pipeline("text-classification", model=model, tokenizer=tokenizer)(texts)
print(json.dumps({
    "wrong": sorted(key for key, names in found.items() if names),
    "ids": batch.input_ids.tolist(),
    "logits": model(**batch).logits.tolist(),
    "labels": [row["label"] for row in told],
}))
"""


def test_a_text_classifier_loads_where_our_packages_are_not_importable(tmp_path):
    names = {0: "negative", 1: "positive"}
    model = fill(RnnLmForSequenceClassification(config_of(tied=False, pad_token_id=0, id2label=names)))
    save_checkpoint(model, build_review_tokenizer(REVIEW_WORDS), tmp_path / "made", "", {}, half=False)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_"))}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", CLASSIFIES, tmp_path / "made"]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == [] and found["ids"] == [[1, 3, 2, 4], [0, 0, 0, 5]]
    with torch.no_grad():
        expected = torch.cat([model(torch.tensor([ids])).logits for ids in ([1, 3, 2, 4], [5])])
    torch.testing.assert_close(torch.tensor(found["logits"]), expected)
    assert found["labels"] == [names[int(best)] for best in expected.argmax(1)]
