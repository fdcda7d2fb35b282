"""Who attends to whom, as arrays.

B = rows, N = tokens a row
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from jaxtyping import Bool, Int

from lazarus_models.backend import mx


def segment_mask(segment_ids: Int[mx.array, "B N"], window_size: int | None = None) -> Bool[mx.array, "B 1 N N"]:
    """Who attends to whom: a token to itself and to earlier tokens with the same segment id.

    Args:
        segment_ids: A label a token. Padding is a segment like any other, by custom 0: it attends to padding only, so
            that no row of the mask is empty, and no real token attends to it.
        window_size: A token sees itself and the `window_size - 1` tokens before it; None, all of them.
    """
    position = mx.arange(segment_ids.shape[1])
    distance = position[:, None] - position[None, :]  # (N, N), query minus key
    seen = distance >= 0
    if window_size is not None:
        seen = seen & (distance < window_size)
    same = segment_ids[:, :, None] == segment_ids[:, None, :]  # (B, N, N)
    return (same & seen)[:, None]
