"""A digest of what a checkpoint computes: of the same numbers in, the numbers out, to the last bit.

This file imports nothing of the zoo, so that it also runs where only the folder is trusted:
`python -c "$(cat digest.py)" FOLDER` loads the folder with its own code in a process that cannot import this package.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

POSITIONS = 64
HIDDEN = ("zoo", "conversion", "bench", "model_cards")
MULTIPLIER, MODULUS = 48_271, 2**31 - 1  # Lehmer's generator: the same ids everywhere


def digest_of(model: Any) -> dict[str, Any]:
    """What a model answers to a fixed sequence of ids.

    Args:
        model: a language model or a text classifier of transformers, in eval mode.

    Returns:
        `sha256` of the float32 logits, the same only on the same kind of machine with the same versions; `mean` and
        `spread` of them, the same everywhere up to rounding.
    """
    import torch

    ids, state = [], 1
    for _ in range(POSITIONS):
        state = state * MULTIPLIER % MODULUS
        ids.append(state % model.config.vocab_size)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits.float().contiguous()
    finally:
        torch.set_num_threads(threads)
    if not torch.isfinite(logits).all():
        raise ValueError("the model answers with numbers that are not finite")
    numbers = logits.double()
    return {
        "sha256": hashlib.sha256(logits.numpy().tobytes()).hexdigest(),
        "mean": float(numbers.mean()),
        "spread": float(numbers.square().mean().sqrt()),
    }


def hidden_digest(folder: str) -> dict[str, Any]:
    """The digest of a folder loaded with the code in it, while none of our packages can be imported."""
    for package in HIDDEN:
        sys.modules[package] = None  # type: ignore[assignment]  # importing it raises ImportError
    import transformers

    with open(f"{folder}/config.json", encoding="utf-8") as file:
        (name,) = json.load(file)["architectures"]
    auto = "AutoModelForCausalLM" if name.endswith("ForCausalLM") else "AutoModelForSequenceClassification"
    model, found = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    wrong = sorted(key for key, names in found.items() if names)
    if wrong:
        raise ValueError(f"the weights do not fill the model: {', '.join(wrong)}")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    if len(tokenizer) != model.config.vocab_size:
        raise ValueError(f"the tokenizer has {len(tokenizer)} words, the model {model.config.vocab_size}")
    return digest_of(model.eval())


if __name__ == "__main__":
    print(json.dumps(hidden_digest(sys.argv[1])))
