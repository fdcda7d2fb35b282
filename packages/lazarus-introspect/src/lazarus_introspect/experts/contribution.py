"""Contribution to the vocabulary: the tokens whose logits an expert raises, directly.

n = tokens of an expert, D = model width, V = vocabulary

An expert's contribution is its mean output, times its share, over the tokens that chose it, through the last norm, frozen at
the mean scale of these tokens, and the head. Logits are centred over the vocabulary. How far the mean stands for the single
outputs is its consistency: the norm of the mean over the mean norm, 1 if all outputs are equal and about 1 / sqrt(n) if
their directions are random.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import id_text
from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.experts.routing import moe_config
from lazarus_introspect.metrics import Numbers, numbers
from lazarus_introspect.reading.attribution import FrozenNorm
from lazarus_introspect.reading.lens import language_head, last_norm
from lazarus_introspect.site_table import decoder_of
from lazarus_models.backend import mx
from lazarus_tokenkit import Tokenizer


class RaisedToken(Frozen):
    """A token that an expert makes more probable."""

    token: str
    id: int
    logit: float
    """Change of the logit above the mean over the vocabulary."""
    above_others: float
    """The same minus the mean of the block's other used experts."""


class ExpertContribution(Frozen):
    """The direct effect of one expert on the logits."""

    expert: int
    tokens: int
    """Tokens that chose it; 0 for an unused expert, without raised tokens."""
    consistency: float
    """Norm of the mean output over the mean norm, in [0, 1]."""
    consistency_baseline: float
    """1 / sqrt(tokens): outputs of random directions."""
    raised: tuple[RaisedToken, ...]
    """By descending `logit`."""


class ExpertVocabulary(Frozen):
    """The contributions of the experts of one block."""

    layer: int
    experts: tuple[ExpertContribution, ...]


def expert_vocabulary(
    model: Any, tokenizer: Tokenizer, texts: Sequence[Sequence[int]], layer: int, *, top_k: int = 10
) -> ExpertVocabulary:
    """The tokens that the experts of one block make more probable.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        tokenizer: Its tokenizer.
        texts: Token ids of each text.
        layer: A block with experts.
        top_k: Tokens of each expert.

    Raises:
        SiteError: The block has no experts.
        RequestError: The model's outputs are not tokens.
    """
    decoder, config = decoder_of(model), moe_config(model, layer)
    head = language_head(decoder)
    prefix = f"blocks.{layer}.moe."
    sums = np.zeros((config.num_experts, decoder.config.width))
    norms, counts = np.zeros(config.num_experts), np.zeros(config.num_experts, int)
    stream = np.zeros((config.num_experts, decoder.config.width))
    for ids in texts:
        names = [f"{prefix}experts", f"{prefix}weights", f"{prefix}expert_out", "resid_final"]
        _, cache = run_with_cache(model, [list(ids)], names)
        chosen, shares, outputs, final = (numbers(cache[name][0]) for name in names)
        if config.router != "sigmoid":  # there the share is a factor of the input
            outputs = outputs * shares[..., None]
        flat, vectors = chosen.astype(np.int64).ravel(), outputs.reshape(-1, outputs.shape[-1])
        np.add.at(sums, flat, vectors)
        np.add.at(norms, flat, np.linalg.norm(vectors, axis=1))
        np.add.at(stream, flat, np.repeat(final, chosen.shape[1], axis=0) ** 2)
        counts += np.bincount(flat, minlength=config.num_experts)
    used = np.flatnonzero(counts)
    scale = decoder.config.blocks[layer].residual_scale
    logits = {
        int(expert): _raised(decoder, head, sums[expert] / counts[expert] * scale, stream[expert] / counts[expert])
        for expert in used
    }
    total = np.sum(list(logits.values()), axis=0)
    return ExpertVocabulary(
        layer=layer,
        experts=tuple(
            ExpertContribution(
                expert=expert,
                tokens=int(counts[expert]),
                consistency=float(np.linalg.norm(sums[expert]) / norms[expert]) if norms[expert] else 0.0,
                consistency_baseline=float(counts[expert] ** -0.5) if counts[expert] else 0.0,
                raised=_top(tokenizer, logits[expert], total, len(used), top_k) if expert in logits else (),
            )
            for expert in range(config.num_experts)
        ),
    )


def _raised(decoder: Any, head: Any, vector: Numbers, square: Numbers) -> Numbers:
    """Centred logits of a vector in the stream, (V,); the norm's scale is that of a stream with these mean squares."""
    frozen = FrozenNorm(last_norm(decoder), mx.array(np.sqrt(square)[None].astype(np.float32)))
    moved = frozen.linear(mx.array(vector[None].astype(np.float32)))
    zero = mx.zeros_like(moved)
    step = 1e-2 / max(float(np.abs(numbers(moved)).max()), 1e-9)  # small: a softcap of the head is linear there
    slope = numbers((head(moved * step) - head(zero))[0]) / step
    return slope - slope.mean()


def _top(tokenizer: Tokenizer, logits: Numbers, total: Numbers, used: int, count: int) -> tuple[RaisedToken, ...]:
    others = (total - logits) / max(used - 1, 1)
    return tuple(
        RaisedToken(
            token=id_text(tokenizer, int(token)),
            id=int(token),
            logit=float(logits[token]),
            above_others=float(logits[token] - others[token]),
        )
        for token in np.argsort(-logits, kind="stable")[:count]
    )
