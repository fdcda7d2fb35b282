"""Similarity: experts of one block that compute nearly the same, so that they could be merged.

n = tokens, D = model width, E = experts

All experts compute the same sample of tokens, whichever experts the router chose. The similarity of two experts is the mean
cosine of their outputs for the same token; its baseline is that for different tokens, which a common mean alone explains.
Experts are grouped if they are linked by pairs of at least the threshold whose similarity is above the baseline.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.experts.balance import expert_utilization
from lazarus_introspect.experts.routing import moe_config, moe_layers, route_texts
from lazarus_introspect.metrics import Numbers, numbers
from lazarus_introspect.site_table import decoder_of
from lazarus_models.backend import mx
from lazarus_models.trees import part


class SimilarPair(Frozen):
    """Two experts with similar outputs."""

    first: int
    second: int
    similarity: float
    """Mean cosine of the outputs for the same token."""
    baseline: float
    """Mean cosine of the outputs for different tokens."""


class LayerSimilarity(Frozen):
    """The similarity of the experts of one block."""

    layer: int
    tokens: int
    """Tokens of the sample."""
    similarity: tuple[tuple[float, ...], ...]
    """Mean cosine for the same token, (E, E)."""
    baseline: tuple[tuple[float, ...], ...]
    """Mean cosine for different tokens, (E, E)."""
    pairs: tuple[SimilarPair, ...]
    """Pairs of at least the threshold and above their baseline, by descending similarity."""
    groups: tuple[tuple[int, ...], ...]
    """Experts that are linked by such pairs, two or more a group."""
    num_experts: int
    num_merged: int
    """Experts that would remain if every group were one expert."""
    unused: tuple[int, ...]
    """Experts that no token chose."""


def expert_similarity(
    model: Any,
    texts: Sequence[Sequence[int]],
    layer: int,
    *,
    threshold: float = 0.8,
    max_tokens: int = 256,
    seed: int = 0,
) -> LayerSimilarity:
    """Which experts of one block compute nearly the same.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        texts: Token ids of each text.
        layer: A block with experts.
        threshold: Least similarity of a pair, in (0, 1].
        max_tokens: Size of the sample; memory is 4 * max_tokens * E * D bytes.
        seed: Random seed of the sample, at least 0.

    Raises:
        SiteError: The block has no experts.
    """
    (layer,) = moe_layers(model, [layer])
    routed = route_texts(model, texts, [layer], has_inputs=True)
    inputs, config = routed.inputs[layer], moe_config(model, layer)
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(inputs))[:max_tokens]
    moe = part(decoder_of(model).layers[layer], config.name)
    every = mx.broadcast_to(mx.arange(config.num_experts), (1, len(sample), config.num_experts))
    outputs = numbers(part(moe, config.names[1])(mx.array(inputs[sample].astype(np.float32))[None], every)[0])
    same, different = _cosines(outputs)
    pairs = sorted(
        (
            SimilarPair(first=i, second=j, similarity=float(same[i, j]), baseline=float(different[i, j]))
            for i in range(config.num_experts)
            for j in range(i + 1, config.num_experts)
            if same[i, j] >= threshold and same[i, j] > different[i, j]
        ),
        key=lambda pair: (-pair.similarity, pair.first, pair.second),
    )
    groups = _groups(config.num_experts, [(each.first, each.second) for each in pairs])
    counts = expert_utilization(routed.layers[layer]).counts
    return LayerSimilarity(
        layer=layer,
        tokens=len(sample),
        similarity=tuple(map(tuple, same.tolist())),
        baseline=tuple(map(tuple, different.tolist())),
        pairs=tuple(pairs),
        groups=tuple(groups),
        num_experts=config.num_experts,
        num_merged=config.num_experts - sum(len(group) - 1 for group in groups),
        unused=tuple(expert for expert, count in enumerate(counts) if not count),
    )


def _cosines(outputs: Numbers) -> tuple[Numbers, Numbers]:
    """Mean cosines for the same and for different tokens, (E, E), of outputs (n, E, D)."""
    unit = outputs / np.maximum(np.linalg.norm(outputs, axis=-1, keepdims=True), 1e-12)
    tokens = len(unit)
    same = np.einsum("nid,njd->ij", unit, unit) / tokens
    sums = unit.sum(axis=0)  # (E, D): all pairs of tokens at once, minus those of the same token
    different = (sums @ sums.T - same * tokens) / max(tokens * (tokens - 1), 1)
    return same, different


def _groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The connected parts of two or more members, sorted."""
    group = list(range(count))
    for one, two in pairs:
        old, new = group[two], group[one]
        group = [new if each == old else each for each in group]
    found = [tuple(i for i in range(count) if group[i] == name) for name in sorted(set(group))]
    return sorted(each for each in found if len(each) > 1)
