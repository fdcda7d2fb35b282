"""Whether gradients add their terms in a fixed order on this device.

A GPU adds the terms of a scattered sum in the order in which its threads finish, so two equal runs differ in their last
bits, and then in their weights. Operations with such a gradient ask `has_fixed_gradient_order`, and then use sums whose
order is part of the program. A CPU adds in the order of memory, and uses MLX's own gradients.
"""

from typing import Literal

from lazarus_models.backend import on_cpu

GradientOrder = Literal["fixed", "any"]
"""`fixed`: equal inputs give equal gradients. `any`: MLX's own gradients, which may differ from call to call on a GPU."""

_chosen: GradientOrder | None = None


def set_gradient_order(order: GradientOrder | None) -> None:
    """Chooses the order of sums in gradients for this process.

    Args:
        order: `fixed` or `any`; None for the default of the device: fixed on a GPU. Graphs that are compiled already keep
            theirs.
    """
    global _chosen
    _chosen = order


def has_fixed_gradient_order() -> bool:
    """Whether operations replace MLX's gradients by those with a fixed order. By default on a GPU only."""
    return not on_cpu() if _chosen is None else _chosen == "fixed"
