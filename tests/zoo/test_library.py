"""What transformers offers works on our classes unmodified: Trainer, pipelines, Auto classes, compile."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, pipeline

import zoo
from zoo.tokenization import build_tokenizer

from .models import config_of, fill

WORDS = ["<unk>", "<eos>", "the", "cat", "sat", "on", "mat", "n't", "did"]


def checkpoint(folder, **options):
    """A tiny checkpoint with its tokenizer, and the model."""
    config = config_of(**options)
    config.vocab_size = len(WORDS)
    model = fill(zoo.RnnLmForCausalLM(config))
    model.lm_head.bias.data[WORDS.index("<eos>")] = -100.0  # go on to max_new_tokens
    model.save_pretrained(folder)
    build_tokenizer(WORDS).save_pretrained(folder)
    return model


class Lines(torch.utils.data.Dataset):
    """Texts of unequal length, padded on the right."""

    def __init__(self, tokenizer):
        texts = ["the cat sat", "the cat did n't", "the cat sat on the mat"] * 8
        tokenizer.padding_side = "right"
        self.batch = tokenizer(texts, padding=True, return_tensors="pt")

    def __len__(self):
        return len(self.batch["input_ids"])

    def __getitem__(self, row):
        ids, mask = self.batch["input_ids"][row], self.batch["attention_mask"][row]
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


@pytest.mark.parametrize("form", ["dense", "low_rank"])
def test_trainer_fine_tunes_and_the_result_loads(tmp_path, form):
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate: pip install 'rnnlm-zoo[train]'")
    model = checkpoint(tmp_path / "start", form=form)
    data = Lines(AutoTokenizer.from_pretrained(tmp_path / "start"))
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"), num_train_epochs=15, per_device_train_batch_size=8, learning_rate=0.02,
        report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True, logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before / 2
    predictions = trainer.predict(data).predictions
    assert predictions.shape == (24, 6, len(WORDS))  # the state is not among them
    trainer.save_model(str(tmp_path / "tuned"))
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    ids = data[0]["input_ids"][None]
    assert torch.equal(tuned(ids).logits, model.eval()(ids).logits)


def test_text_generation_pipeline_gives_readable_text(tmp_path):
    checkpoint(tmp_path)
    generator = pipeline("text-generation", model=str(tmp_path), device="cpu")
    text = generator("the cat", max_new_tokens=4, do_sample=False)[0]["generated_text"]
    assert text.startswith("the cat ")
    assert all(word in WORDS for word in text.split())
    batch = generator(["the cat", "the cat did n't sit"], max_new_tokens=2, do_sample=False, batch_size=2)
    alone = generator("the cat did n't sit", max_new_tokens=2, do_sample=False)
    assert batch[1] == alone
    assert batch[0][0]["generated_text"] == " ".join(text.split()[:4])


def test_text_classification_pipeline(tmp_path):
    config = config_of(num_labels=2)
    config.vocab_size = len(WORDS)
    fill(zoo.RnnLmForSequenceClassification(config)).save_pretrained(tmp_path)
    build_tokenizer(WORDS).save_pretrained(tmp_path)
    answers = pipeline("text-classification", model=str(tmp_path), device="cpu")(["the cat", "the mat did n't sit"])
    assert [set(answer) for answer in answers] == [{"label", "score"}] * 2


def test_compiled_model_equals_the_eager_one_with_and_without_mask():
    model = fill(zoo.RnnLmForCausalLM(config_of()))
    ids = torch.randint(0, 31, (2, 4), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(ids, use_cache=False).logits, model(ids, use_cache=False).logits)
        torch.testing.assert_close(
            compiled(ids, attention_mask=mask, use_cache=False).logits[:, 1:],
            model(ids, attention_mask=mask, use_cache=False).logits[:, 1:],
        )
