"""A Llama in plain PyTorch, trained from scratch: the other side of `pretrain_curve.py`, which starts it.

    python tools/benchmarks/pretrain_curve_torch.py FOLDER SEED

Shares no code with Lazarus. FOLDER holds `setup.json`, `train.json` (ids of the whole text) and `held_out.json` (ids by sample).
Rows are cut anew every epoch, from an offset of their own and in an order of their own. Prints step, held-out nats a token,
and the median seconds of a step.

B = rows, T = tokens a row, D = model width, H = heads, W = width of a head
"""

import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

SAID = json.loads((Path(sys.argv[1]) / "setup.json").read_text())
SHAPE = SAID["shape"]
D, H, LAYERS, V = (SHAPE[key] for key in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"))
W = D // H


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(D))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + SHAPE["rms_norm_eps"])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        inside = SHAPE["intermediate_size"]
        self.before_attention, self.before_mlp = RMSNorm(), RMSNorm()
        self.qkv, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
        self.gate, self.up = nn.Linear(D, inside, bias=False), nn.Linear(D, inside, bias=False)
        self.down = nn.Linear(inside, D, bias=False)

    def forward(self, x, cosines, sines):
        rows, tokens, _ = x.shape
        parts = self.qkv(self.before_attention(x)).view(rows, tokens, 3, H, W).transpose(1, 3)  # (B, H, 3, T, W)
        queries, keys = (turn(parts[:, :, which], cosines, sines) for which in (0, 1))
        gathered = functional.scaled_dot_product_attention(queries, keys, parts[:, :, 2], is_causal=True)
        x = x + self.out(gathered.transpose(1, 2).reshape(rows, tokens, D))
        normed = self.before_mlp(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


def turn(x, cosines, sines):
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(V, D), nn.Linear(D, V, bias=False)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), RMSNorm()
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                is_residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if is_residual else 0.02)

    def forward(self, ids):
        speeds = 10000.0 ** (-torch.arange(0, W, 2) / W)
        angles = torch.arange(ids.shape[1])[:, None] * speeds
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, angles.cos(), angles.sin())
        return self.head(self.norm(x))


@torch.no_grad()
def held_out(model, samples):
    total = 0.0
    for first in range(0, len(samples), 16):  # padded behind, where causal attention does not look
        ids = nn.utils.rnn.pad_sequence(samples[first : first + 16], batch_first=True, padding_value=-100)
        logits = model(ids.clamp(min=0))[:, :-1]
        total += functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()
    return total / sum(len(ids) - 1 for ids in samples)


def main():
    seed = int(sys.argv[2])
    torch.manual_seed(seed)
    torch.set_num_threads(SAID["threads"])
    stream = torch.tensor(json.loads((Path(sys.argv[1]) / "train.json").read_text()))
    samples = [torch.tensor(ids) for ids in json.loads((Path(sys.argv[1]) / "held_out.json").read_text())]
    rows, tokens, steps = SAID["rows"], SAID["tokens"], SAID["steps"]
    model = Llama()
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    spared = [weight for name, weight in model.named_parameters() if weight.ndim == 1 or "embed" in name]
    groups = [{"params": matrices, "weight_decay": SAID["weight_decay"]}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=SAID["learning_rate"])
    waiting, seconds = [], []
    for step in range(steps):
        began = time.perf_counter()
        warmup, peak = SAID["warmup_steps"], SAID["learning_rate"]
        done = (step - warmup) / (steps - warmup)
        rate = peak * (step + 1) / warmup if step < warmup else peak * (1 + math.cos(math.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        while len(waiting) < rows:
            first = int(torch.randint(tokens, ()))
            cut = stream[first : first + (len(stream) - first) // tokens * tokens].view(-1, tokens)
            waiting += list(cut[torch.randperm(len(cut))])
        ids, waiting = torch.stack(waiting[:rows]), waiting[rows:]
        loss = functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
        if (step + 1) % SAID["eval_every"] == 0 or step + 1 == steps:
            print(step + 1, held_out(model, samples), statistics.median(seconds), flush=True)


if __name__ == "__main__":
    main()
