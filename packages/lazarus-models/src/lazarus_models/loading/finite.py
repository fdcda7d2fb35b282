"""Are all numbers of a tensor finite? NaN and infinity are refused by name before a model computes with them.

A NaN or infinity has all bits of its exponent set: as an integer without its sign it is at least the pattern of infinity.
So two searches for a maximum decide, without a copy: as signed integers the positive ones are the largest, as unsigned
integers the negative ones. 135 million weights in bfloat16 take 0.02 s (measured), 2 % of loading them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_models.backend import mx
from lazarus_models.errors import WeightsError

_PATTERNS: dict[mx.Dtype, tuple[mx.Dtype, int]] = {  # integers of the same width, and infinity as one
    mx.float16: (mx.uint16, 0x7C00),
    mx.bfloat16: (mx.uint16, 0x7F80),
    mx.float32: (mx.uint32, 0x7F800000),
    mx.float64: (mx.uint64, 0x7FF0000000000000),
}
_CHUNK = 1 << 17  # numbers; both searches find them in the processor's cache
_E8M0_NAN = 255  # the one scale of mxfp4 that is no power of two (OCP Microscaling Formats 1.0, table 7)


def is_finite(tensor: mx.array) -> bool:
    """Whether no number of a tensor is NaN or infinite; integers always are finite."""
    if tensor.dtype not in _PATTERNS or not tensor.size:
        return True
    words, infinity = _PATTERNS[tensor.dtype]
    raw: Any = mx.view(tensor.flatten(), words)
    unsigned = np.array(raw, copy=False)
    signed = unsigned.view(f"i{unsigned.itemsize}")
    negative = infinity | 1 << (8 * unsigned.itemsize - 1)
    return all(
        int(signed[start : start + _CHUNK].max()) < infinity and int(unsigned[start : start + _CHUNK].max()) < negative
        for start in range(0, unsigned.size, _CHUNK)
    )


def refuse_infinite(tensors: Mapping[str, mx.array], place: Path | str) -> None:
    """Checks tensors before they are used.

    Args:
        tensors: By name.
        place: Their file or folder, for messages.

    Raises:
        WeightsError: A tensor holds NaN or infinity, or a scale of four-bit weights is NaN; names the first.
    """
    for name, tensor in sorted(tensors.items()):
        is_scale = tensor.dtype == mx.uint8 and name.endswith(("scales", "_scales"))
        if not is_finite(tensor) or (is_scale and tensor.size and bool((tensor == _E8M0_NAN).any().item())):
            raise WeightsError(
                f"{place}: `{name}` holds NaN or infinity, so every answer would be NaN; fetch or train the weights again",
                "LM-E128",
            )
