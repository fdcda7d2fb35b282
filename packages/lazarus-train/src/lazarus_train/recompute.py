"""Gradient checkpointing: a block's activations are computed again for its gradient instead of being kept.

Memory for activations falls from all blocks' to one block's, for a third more time; losses and gradients are the same.
"""

from typing import Any

from lazarus_models.backend import mx
from lazarus_models.decoder import Block, Decoder
from lazarus_models.parameters import flatten, unflatten


class RecomputedBlock(Block):
    """A block of one model whose activations are not kept; blocks of other models are left alone."""

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        """As the block does."""

        def compute(parameters: Any, x: mx.array) -> mx.array:
            own = flatten(self.trainable_parameters())
            self.update(parameters)  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
            computed = super(RecomputedBlock, self).__call__(x, mask, cache)
            self.update(unflatten(own))  # pyright: ignore[reportUnknownMemberType] (as above)
            return computed  # the second time is after the step's loss: what the block holds by then is the optimizer's

        return mx.checkpoint(compute)(self.trainable_parameters(), x)


def recompute_blocks(model: Decoder) -> None:
    """Makes every block of a model recompute its activations."""
    for block in model.layers:
        block.__class__ = RecomputedBlock
