"""Five steps of AdamW on every family by transformers and PyTorch: writes families.json beside this file.

    python make_families.py MODELS        (torch 2.13, transformers 5.24, float32, one thread)

MODELS holds a model directory a family (`../shared/data/models/families`). The rows are random ids, each row a sample by itself;
clipping at 1, a constant rate, decay of linear maps alone. Kept are the losses, the gradient norms, and of every tensor
afterwards the mean and the mean magnitude.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

ROWS, TOKENS, STEPS, RATE, DECAY, CLIP = 3, 24, 5, 1e-3, 0.5, 1.0
CONDITIONED = ("mamba",)
"""Families whose gradients float32 does not decide well: they are trained in float64 too."""
SPARED = ("norm", "embed", "bias", "A_log", ".D", "conv1d", "router", ".gate.", "sinks")
"""Parts of transformers' names of what decay spares, beside vectors."""


def rows(step: int) -> np.ndarray:
    """The ids of one step."""
    return np.random.default_rng(step).integers(3, 500, (ROWS, TOKENS))


def is_decayed(name: str, parameter: torch.Tensor) -> bool:
    return parameter.ndim >= 2 and not any(part in name for part in SPARED)


def train(folder: Path, dtype: torch.dtype = torch.float32) -> dict:
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).to(dtype).train()
    named = dict(model.named_parameters())
    groups = [
        {"params": [each for name, each in named.items() if is_decayed(name, each) == pulled], "weight_decay": decay}
        for pulled, decay in ((True, DECAY), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    losses, norms = [], []
    for step in range(STEPS):
        ids = torch.tensor(rows(step))
        logits = model(ids, use_cache=False).logits[:, :-1].to(dtype)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        losses.append(loss.item())
        optimizer.step()
    with tempfile.TemporaryDirectory() as written:  # by the names of files: transformers has others in memory
        model.save_pretrained(written)
        numbers = {name: each.astype(np.float64) for name, each in load_file(f"{written}/model.safetensors").items()}
    return {
        "losses": losses,
        "norms": norms,
        "weights": {name: [float(each.mean()), float(np.abs(each).mean())] for name, each in sorted(numbers.items())},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {}
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        found[folder.name] = train(folder)
        if folder.name in CONDITIONED:
            found[folder.name]["float64"] = {key: train(folder, torch.float64)[key] for key in ("losses", "norms")}
    settings = {"rows": ROWS, "tokens": TOKENS, "rate": RATE, "decay": DECAY, "clip": CLIP}
    text = json.dumps({"settings": settings, "families": found}, indent=1)
    (Path(__file__).parent / "families.json").write_text(text + "\n", encoding="utf-8")
