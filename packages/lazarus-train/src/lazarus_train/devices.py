"""What this machine computes with: the one place that asks which device it is.

| device | precision | attention of packed rows | cross-entropy | compiled | threads |
|---|---|---|---|---|---|
| CPU | float32: bfloat16 multiplies 30 times slower there | by segment | keeps its exponentials | no | 2 |
| Metal, CUDA | as stored, bfloat16 by custom | one fused kernel with a mask | MLX's own | yes | 1 |

Attention and precision of a loaded model are decided in lazarus-models by the same question. The CPU's line was run on
x86-64 Linux; what the other line says was run on a CPU that was told to be one, where it gives the same losses.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

from lazarus_models.backend import BLAS, mx

MEMORY_SHARE = 0.9
"""Part of the memory a GPU recommends that a run may wire down: the rest is the system's."""


@dataclass(frozen=True)
class DevicePolicy:
    """How a training step is computed.

    Args:
        device: What MLX computes on.
        threads: Halves of a step that are computed at the same time, each by a Python thread.
        keeps_exponentials: Whether the cross-entropy keeps the forward pass's exponentials for the backward pass.
        compiles: Whether loss and gradients are compiled.
        wired_bytes: Memory that MLX may hold on to; None leaves it as it is.
    """

    device: Literal["cpu", "gpu"]
    threads: int
    keeps_exponentials: bool
    compiles: bool
    wired_bytes: int | None


@cache
def device_policy() -> DevicePolicy:
    """The policy of MLX's default device."""
    if mx.default_device().type == mx.cpu:
        threads = 2 if (os.cpu_count() or 1) > 1 and BLAS.threads == 1 else 1
        return DevicePolicy("cpu", threads, keeps_exponentials=True, compiles=False, wired_bytes=None)
    recommended = cast("int | None", mx.device_info().get("max_recommended_working_set_size"))
    wired = int(recommended * MEMORY_SHARE) if recommended else None
    return DevicePolicy("gpu", 1, keeps_exponentials=False, compiles=True, wired_bytes=wired)
