"""Adam on a CPU: MLX's update rule, vectorised by NumPy, in place.

MLX computes square roots one by one and passes over memory about twelve times. Here each block of an array is
updated
while it is in a core's cache, and all cores work on blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import mlx.optimizers as optimizers
import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.ops import flat_view

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
        rate, unbias = rate / (1 - b1**step), (1 - b2**step) ** -0.5

        def move(block: Sequence[_Numbers]) -> None:
            slope, place, mean, square = block
            mean *= b1
            mean += (1 - b1) * slope
            square *= b2
            change: _Numbers = np.square(slope)
            change *= 1 - b2
            square += change
            np.sqrt(square, out=change)
            change *= unbias
            change += self.eps
            np.divide(mean, change, out=change)
            change *= rate
            np.subtract(place, change, out=place)

        arrays = {
            "a gradient": mx.contiguous(gradient),
            "a parameter": parameter,
            "a first moment": state["m"],
            "a second moment": state["v"],
        }
        for _ in self._pool.map(move, _blocks(arrays)):
            pass
        return parameter


def _blocks(arrays: Mapping[str, mx.array]) -> Iterator[list[_Numbers]]:
    flat = [flat_view(array, what) for what, array in arrays.items()]
    for first in range(0, flat[0].size, _BLOCK):
        yield [each[first : first + _BLOCK] for each in flat]
