"""Figures of attention patterns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazarus_introspect.analysis.results import DetectedHead, HeadPattern
from lazarus_introspect.analysis.settings import check_layers
from lazarus_introspect.analysis.tokens import Prompt
from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.metrics import Numbers, numbers
from lazarus_introspect.reading.attention import detect_heads
from lazarus_introspect.site_table import sites
from lazarus_models import LoadedModel
from lazarus_models.config import AttentionConfig


def attention_result(
    lm: LoadedModel,
    prompt: Prompt,
    layers: Sequence[int] | None,
    heads: Sequence[int] | None,
    *,
    has_patterns: bool,
    detect: bool,
    seed: int,
) -> dict[str, Any]:
    """The fields of an `AttentionResult`; see `ModelAnalyzer.attention`.

    Args:
        lm: The model.
        prompt: The prompt.
        layers: Blocks; None for all with attention.
        heads: Heads; None for all.
        has_patterns: Whether whole patterns are included.
        detect: Whether heads are tested.
        seed: Random seed of the test.
    """
    found = sites(lm)
    chosen = check_layers(range(found.layers) if layers is None else layers, found.layers)
    names = {layer: f"blocks.{layer}.attn.pattern" for layer in chosen}
    absent = {layer: found.absent[name] for layer, name in names.items() if name in found.absent}
    if len(absent) == len(chosen):
        found.find(names[chosen[0]])  # says why
    _, cache = run_with_cache(lm, prompt.rows, [name for layer, name in names.items() if layer not in absent])
    shown: list[HeadPattern] = []
    for layer, name in names.items():
        if layer in absent:
            continue
        pattern = numbers(cache[name][0])  # (H, T, T)
        own = check_layers(range(len(pattern)) if heads is None else heads, len(pattern), "head")
        mixer = lm.model.config.blocks[layer].mixer
        has_sink = isinstance(mixer, AttentionConfig) and mixer.sinks
        shown += [_figures(layer, head, pattern[head], has_sink=has_sink, has_pattern=has_patterns) for head in own]
    detected = None
    if detect:
        first = lm.tokenizer.bos_id if lm.tokenizer.adds_bos else None
        every = detect_heads(lm, seed=seed, first=first)
        detected = tuple(
            DetectedHead(
                layer=each.layer,
                head=each.head,
                kind=each.kind,
                score=each.score,
                control=each.control,
                p=each.p,
                q=each.q,
            )
            for each in every
            if each.detected
        )
    tested = sum(cache[name].shape[1] for name in cache) if detect and layers is None else 0
    return {"heads": tuple(shown), "absent": absent, "detected": detected, "tested": tested}


def _figures(layer: int, head: int, pattern: Numbers, *, has_sink: bool, has_pattern: bool) -> HeadPattern:
    tokens = len(pattern)
    seen = np.tri(tokens, dtype=np.bool_)
    shares = np.where(seen, pattern, 0)
    totals = shares.sum(axis=1)
    normed = shares / np.maximum(totals, 1e-12)[:, None]
    entropy = -np.where(normed > 0, normed * np.log(np.maximum(normed, 1e-300)), 0).sum(axis=1)
    most = np.log(np.arange(1, tokens + 1))
    relative = (entropy[1:] / most[1:]).mean() if tokens > 1 else 0.0
    return HeadPattern(
        layer=layer,
        head=head,
        entropy=float(np.clip(relative, 0, 1)),
        first=float(shares[:, 0].mean()),
        previous=float(np.diagonal(shares, -1).mean()) if tokens > 1 else 0.0,
        own=float(np.diagonal(shares).mean()),
        sink=float(np.clip(1 - totals, 0, 1).mean()) if has_sink else 0.0,
        last_row=tuple(pattern[-1].tolist()),
        pattern=tuple(map(tuple, pattern.tolist())) if has_pattern else None,
    )
