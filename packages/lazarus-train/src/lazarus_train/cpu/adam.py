"""Adam on a CPU: MLX's update rule, vectorised by NumPy, in place.

MLX computes square roots one by one and passes over memory about twelve times. Here each block of an array is updated
while it is in a core's cache, and all cores work on blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx, optimizers
from lazarus_models.ops import flat_view

# 128 KiB per array: four arrays and two temporaries stay in a core's second-level cache.
_BLOCK = 2**15
"""Numbers updated at once."""
_Numbers = NDArray[np.float32]


class VectorAdam(optimizers.Adam):
    """Adam with bias correction (Kingma and Ba 2015, arXiv 1412.6980), which updates float32 arrays in place.

    Args:
        betas: Decays of the mean of gradients and of the mean of their squares.
        eps: Added to the root of the mean of squares.
        cores: Number of cores; the result is bitwise the same for any number.
    """

    def __init__(self, betas: tuple[float, float], eps: float, cores: int) -> None:
        super().__init__(0.0, betas=list(betas), eps=eps, bias_correction=True)
        self._pool = ThreadPoolExecutor(cores)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict[str, mx.array]) -> mx.array:
        """The updated parameter. Parameter and moments are overwritten, so they must be row-contiguous arrays
        without other users.

        Args:
            gradient: Gradient, float32.
            parameter: Parameter, float32, same shape.
            state: Moments and step count.
        """
        b1, b2 = self.betas
        counts = cast("dict[str, mx.array]", cast("Any", self).state)
        step, rate = cast("int", counts["step"].item()), cast("float", counts["learning_rate"].item())
        # Both bias corrections are scalars: one scales the rate, the other the root of the second moment.
        rate, unbias = rate / (1 - b1**step), (1 - b2**step) ** -0.5

        def move(block: Sequence[_Numbers]) -> None:
            slope, place, mean, square = block
            # Exponential averages in place: the views share memory with the MLX arrays.
            mean *= b1
            mean += (1 - b1) * slope
            square *= b2
            # One temporary serves as g^2, as the denominator and as the step.
            change: _Numbers = np.square(slope)
            change *= 1 - b2
            square += change
            np.sqrt(square, out=change)
            change *= unbias
            change += self.eps
            # Step = rate * mean / (unbias * sqrt(square) + eps).
            np.divide(mean, change, out=change)
            change *= rate
            np.subtract(place, change, out=place)

        arrays = {
            # A contiguous copy if the gradient is a transposed view, so that flat positions match.
            "a gradient": mx.contiguous(gradient),
            "a parameter": parameter,
            "a first moment": state["m"],
            "a second moment": state["v"],
        }
        # Consuming the results waits for all blocks and raises errors of the threads.
        for _ in self._pool.map(move, _blocks(arrays)):
            pass
        return parameter


def _blocks(arrays: Mapping[str, mx.array]) -> Iterator[list[_Numbers]]:
    flat = [flat_view(array, what) for what, array in arrays.items()]
    # Slices are views: an update of a block changes the array. Blocks do not overlap, so threads need no lock.
    for first in range(0, flat[0].size, _BLOCK):
        yield [each[first : first + _BLOCK] for each in flat]
