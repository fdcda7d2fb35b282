"""Caches that keep the segments of packed rows apart.

B = rows, N = tokens a row

Models take no mask argument; they ask `cache[i].make_mask(...)`, as mlx-lm's models do. A cache that stores nothing and
knows the segments of its rows gives every segment the logits, loss and gradients that it has alone (1e-5). RoPE is
relative, so positions need no reset.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import TYPE_CHECKING, cast

from jaxtyping import Bool, Int

from lazarus_models.backend import mx, nn
from lazarus_models.components.caches import MaskCache, SegmentCache
from lazarus_models.errors import UnsupportedModel
from lazarus_models.trees import layer_count

if TYPE_CHECKING:
    from lazarus_models.components.decoder import Decoder


def segment_caches(model: nn.Module, segment_ids: Int[mx.array, "B N"]) -> list[SegmentCache]:
    """One cache a layer: `model(ids, cache=segment_caches(model, segment_ids))` attends within segments.

    Args:
        model: Any that `supports_packing`.
        segment_ids: A label a token. Padding is a segment like any other, by custom 0.

    Raises:
        UnsupportedModel: A layer would let segments see each other.
    """
    _refuse_states(model)
    return [SegmentCache(segment_ids)] * layer_count(model)


def mask_caches(model: nn.Module, mask: Bool[mx.array, "B 1 N N"]) -> list[MaskCache]:
    """One cache a layer: `model(ids, cache=mask_caches(model, mask))` attends as the mask says, uncached."""
    _refuse_states(model)
    return [MaskCache(mask)] * layer_count(model)


def _refuse_states(model: nn.Module) -> None:
    if not cast("Decoder", model).config.supports_packing:
        raise UnsupportedModel(
            "this model's layers carry a state, absolute positions or chunks across a row, which no mask can part; "
            "give one sample a row",
            "LM-E113",
        )
