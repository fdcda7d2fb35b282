"""Gradient checkpointing: a block's activations are computed again for its gradient instead of being kept.

Memory for activations falls from that of all blocks to that of one block, for a third more time; losses and gradients are the
same. On a CPU a block hands on an array that depends on nothing (`lazarus_models.ops.recomputation`): `mx.checkpoint` alone
took more memory there than no checkpointing, since MLX keeps what it computes while it differentiates.
"""

from typing import Any

from lazarus_models.backend import mx
from lazarus_models.components import Block
from lazarus_models.ops import recomputed
from lazarus_models.trees import flatten, unflatten
from lazarus_train.devices import device_policy


class Recomputed(Block):
    """Added to the class of a block: its activations are computed again for the gradient, not kept."""

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        """As the block does."""
        learnt = flatten(self.trainable_parameters())

        def compute(x: mx.array, *parameters: mx.array) -> list[mx.array]:
            own = flatten(self.trainable_parameters())
            self._put(dict(zip(learnt, parameters, strict=True)))
            computed = super(Recomputed, self).__call__(x, mask, cache)
            self._put(own)  # the second time is after the step's loss: what the block holds by then is the optimizer's
            return [computed]

        return recomputed(compute, x, *learnt.values(), at_once=device_policy().is_lean)[0]

    def _put(self, parameters: dict[str, mx.array]) -> None:
        self.update(unflatten(parameters))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
