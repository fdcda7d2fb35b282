"""Caches that keep the segments of packed rows apart.

B = rows, N = tokens a row

Models take no mask argument; they call `cache[i].make_mask(...)`. A cache that stores nothing and knows the segments of
its rows gives each segment the logits, loss and gradients that it has in a row of its own (1e-5). RoPE is relative, so
positions need no reset.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
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
        model: A model whose config `supports_packing`.
        segment_ids: Label of each token, integer, (B, N). Padding is a segment of its own, usually 0.

    Raises:
        UnsupportedModel: The model has a layer that no mask keeps within a segment.
    """
    _refuse_states(model)
    return [SegmentCache(segment_ids)] * layer_count(model)


def mask_caches(model: nn.Module, mask: Bool[mx.array, "B 1 N N"]) -> list[MaskCache]:
    """One cache a layer: `model(ids, cache=mask_caches(model, mask))` uses the mask in every layer.

    Args:
        model: A model whose config `supports_packing`.
        mask: True where a token sees a key, bool, (B, 1, N, N).

    Raises:
        UnsupportedModel: The model has a layer that uses no mask.
    """
    _refuse_states(model)
    return [MaskCache(mask)] * layer_count(model)


def _refuse_states(model: nn.Module) -> None:
    if not cast("Decoder", model).config.supports_packing:
        raise UnsupportedModel(
            "this model has layers with a state, absolute positions or chunks, which no mask keeps within a segment; "
            "use one sample per row",
            "LM-E113",
        )
