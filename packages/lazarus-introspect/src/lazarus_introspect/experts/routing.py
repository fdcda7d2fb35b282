"""Routing: which experts each token uses, and what the router computed for them.

n = tokens, E = experts, k = experts a token, D = model width

The indices that the experts' layers receive are the same in every family; scores and shares are those of the model. Padding
is left out by `mask`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.cache import ActivationCache, run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import Numbers, log_softmax, numbers
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.config import MoEConfig

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Routing:
    """The routing of n tokens in one block."""

    layer: int
    """Block, from 0."""
    config: MoEConfig
    """Experts of the block."""
    logits: Numbers
    """Scores of all experts, (n, E)."""
    experts: Integers
    """Chosen experts, by descending share, (n, k)."""
    weights: Numbers
    """Their shares, (n, k)."""
    tokens: Integers
    """Token ids, (n,)."""
    rows: Integers
    """Text of each token, from 0, (n,)."""

    @property
    def num_experts(self) -> int:
        """Experts E of the block."""
        return self.config.num_experts

    @property
    def experts_per_token(self) -> int:
        """Experts k that each token uses."""
        return self.config.num_experts_per_tok

    @property
    def probabilities(self) -> Numbers:
        """The router's distribution over all experts, (n, E): softmax of the scores, or their sigmoids over the sum."""
        if self.config.router == "sigmoid":
            shares = 1 / (1 + np.exp(-np.clip(self.logits, -700, 700)))
            return shares / shares.sum(axis=1, keepdims=True)
        return np.exp(log_softmax(self.logits))

    @property
    def chosen(self) -> Numbers:
        """1 where a token uses an expert, else 0, (n, E)."""
        found = np.zeros((len(self.experts), self.num_experts))
        np.put_along_axis(found, self.experts, 1.0, axis=1)
        return found

    def permuted(self, order: Sequence[int]) -> "Routing":
        """The same routing with other numbers of the experts.

        Args:
            order: `order[new]` is the old number of an expert.
        """
        new = np.argsort(np.array(order))
        return replace(self, logits=self.logits[:, list(order)], experts=new[self.experts])


def moe_layers(model: Any, layers: Iterable[int] | None = None) -> list[int]:
    """The blocks with experts.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        layers: Blocks; each must have experts. None for all that have.

    Raises:
        SiteError: A block does not exist or has no experts, or no block has.
    """
    found = sites(model)
    if layers is None:
        every = [layer for layer in range(found.layers) if f"blocks.{layer}.moe.experts" in found.present]
        if not every:
            found.find("blocks.0.moe.experts")  # says why
        return every
    return [layer for layer in layers if found.find(f"blocks.{layer}.moe.experts")]


def moe_config(model: Any, layer: int) -> MoEConfig:
    """The experts of a block.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        layer: A block with experts.
    """
    feeds = decoder_of(model).config.blocks[layer].feed_forward
    return next(feed for feed in feeds if isinstance(feed, MoEConfig))


ROUTING_SITES = ("router_logits", "experts", "weights")
"""Sites of a block that `routing_of` reads."""


def routing_of(model: Any, cache: ActivationCache, layer: int, ids: Any, mask: Any = None) -> Routing:
    """The routing of a captured pass.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        cache: Activations with the sites of `ROUTING_SITES`.
        layer: A block with experts.
        ids: Token ids of the pass, (B, T).
        mask: 1 for tokens, 0 for padding, (B, T); None if there is no padding.

    Raises:
        RequestError: `mask` has another shape, or leaves no token.
    """
    tokens = np.array(ids).astype(np.int64)
    kept = np.ones(tokens.shape, bool) if mask is None else np.array(mask).astype(bool)
    if kept.shape != tokens.shape or not kept.any():
        raise RequestError(f"`mask` has the shape {kept.shape}; give {tokens.shape} with at least one token", "LI-E160")
    logits, experts, weights = (numbers(cache[f"blocks.{layer}.moe.{name}"])[kept] for name in ROUTING_SITES)
    chosen = experts.astype(np.int64)
    order = np.lexsort((chosen, -weights), axis=1)
    return Routing(
        layer=layer,
        config=moe_config(model, layer),
        logits=logits,
        experts=np.take_along_axis(chosen, order, axis=1),
        weights=np.take_along_axis(weights, order, axis=1),
        tokens=tokens[kept],
        rows=np.broadcast_to(np.arange(len(tokens))[:, None], tokens.shape)[kept],
    )


@dataclass(frozen=True)
class RoutedTexts:
    """The routing of several texts, and what the routers read."""

    layers: dict[int, Routing]
    """By block."""
    inputs: dict[int, Numbers]
    """Input of each router, (n, D), by block; empty unless it was asked for."""


def route_texts(
    model: Any, texts: Sequence[Sequence[int]], layers: Iterable[int] | None = None, *, has_inputs: bool = False
) -> RoutedTexts:
    """The routing of texts of any lengths, one pass a text.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        texts: Token ids of each text.
        layers: Blocks with experts; None for all.
        has_inputs: Whether the inputs of the routers are kept: 8 * n * D bytes a block.

    Raises:
        SiteError: A block has no experts.
        RequestError: There is no text.
    """
    chosen = moe_layers(model, layers)
    if not texts:
        raise RequestError("`texts` is empty; give at least one text", "LI-E160")
    names = [f"blocks.{layer}.moe.{name}" for layer in chosen for name in ROUTING_SITES]
    names += [f"blocks.{layer}.mlp_in" for layer in chosen] if has_inputs else []
    found: dict[int, list[Routing]] = {layer: [] for layer in chosen}
    inputs: dict[int, list[Numbers]] = {layer: [] for layer in chosen}
    for row, ids in enumerate(texts):
        _, cache = run_with_cache(model, [list(ids)], names)
        for layer in chosen:
            one = routing_of(model, cache, layer, [list(ids)])
            found[layer].append(replace(one, rows=one.rows + row))
            if has_inputs:
                inputs[layer].append(numbers(cache[f"blocks.{layer}.mlp_in"][0]))
    joined = {layer: _joined(parts) for layer, parts in found.items()}
    return RoutedTexts(joined, {layer: np.concatenate(parts) for layer, parts in inputs.items() if parts})


def _joined(parts: Sequence[Routing]) -> Routing:
    arrays = {
        name: np.concatenate([getattr(each, name) for each in parts])
        for name in ("logits", "experts", "weights", "tokens", "rows")
    }
    return replace(parts[0], **arrays)
