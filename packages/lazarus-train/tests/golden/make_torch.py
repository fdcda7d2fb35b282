"""Makes torch.json: 50 optimizer steps of PyTorch on a tiny Llama of transformers.

    python make_torch.py > torch.json        (torch 2.13, transformers 5.23, in an environment of their own)

AdamW in two groups, clipping, warm-up and cosine, all torch's own. Weights and data are numpy's, by seed and name.
"""

import json

import numpy as np
import torch
import transformers

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 20,
    "tie_word_embeddings": False,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
STEPS, WARMUP, PEAK, FLOOR, DECAY, MAX_NORM = 50, 5, 3e-3, 3e-4, 0.1, 1.0
ROWS, TOKENS = 4, 12


def main():
    torch.set_num_threads(1)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE, attn_implementation="eager"))
    named = dict(sorted(model.named_parameters()))
    random = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in named.values():
            fresh = random.normal(size=parameter.shape) * 0.2 + (parameter.ndim == 1)
            parameter.copy_(torch.tensor(fresh, dtype=torch.float32))
    is_decayed = {name: parameter.ndim >= 2 and "embed" not in name for name, parameter in named.items()}
    groups = [
        {"params": [p for name, p in named.items() if is_decayed[name]], "weight_decay": DECAY},
        {"params": [p for name, p in named.items() if not is_decayed[name]], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK)
    schedules = torch.optim.lr_scheduler
    schedule = schedules.SequentialLR(
        optimizer,
        [
            schedules.LinearLR(optimizer, start_factor=1 / WARMUP, total_iters=WARMUP - 1),
            schedules.CosineAnnealingLR(optimizer, STEPS - WARMUP, eta_min=FLOOR),
        ],
        milestones=[WARMUP],
    )
    steps = []
    for _ in range(STEPS):
        ids = torch.tensor(random.integers(0, SHAPE["vocab_size"], (ROWS, TOKENS)))
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        steps.append({"loss": loss.item(), "norm": norm.item(), "rate": schedule.get_last_lr()[0]})
        optimizer.step()
        schedule.step()
    golden = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "shape": SHAPE,
        "warmup_steps": WARMUP,
        "learning_rate": PEAK,
        "min_learning_rate": FLOOR,
        "weight_decay": DECAY,
        "max_grad_norm": MAX_NORM,
        "rows": ROWS,
        "tokens": TOKENS,
        "steps": steps,
        "final": {name: [round(x, 7) for x in parameter.flatten().tolist()] for name, parameter in named.items()},
    }
    print(json.dumps(golden))


if __name__ == "__main__":
    main()
