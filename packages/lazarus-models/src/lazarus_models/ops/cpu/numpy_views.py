"""MLX's arrays as NumPy's, on a CPU, for what MLX computes there one number at a time.

MLX's wheel for Linux has matrix products by BLAS, and sums and products by vector instructions, but exponentials, logistics and
square roots number by number: 9.5, 15 and 6.7 ns each, where NumPy takes 0.35 ns (2-core AMD EPYC, AVX-512). So these are
NumPy's, on MLX's own memory, within functions that tell MLX their gradients. What is read in this way is computed at once.

NumPy's vector instructions give each number the same bits wherever in memory it stands.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate


def view(array: mx.array) -> NDArray[np.float32]:
    """The numbers of a float32 array, computed now and not copied: what is written is the array's."""
    evaluate(array)
    numbers: Any = array  # the stub does not know that it is a buffer
    return np.asarray(numbers)


def flat_view(array: mx.array, what: str) -> NDArray[np.float32]:
    """The numbers of an array on one axis, for kernels that write in place: never a copy.

    Args:
        array: Row-contiguous float32; `mx.contiguous` gives such an array.
        what: What the array is, for the error message.
    """
    numbers = view(array)
    assert numbers.flags.c_contiguous, (
        f"{what} of shape {array.shape} is a strided view in memory: writing in place would change a copy of it; "
        "call `mx.contiguous` first"
    )
    assert numbers.dtype == np.float32, f"{what} is {numbers.dtype}; in-place kernels write float32"
    return numbers.reshape(-1)


def fresh(values: NDArray[np.float32]) -> mx.array:
    """An array of numbers that depends on nothing: of a graph that is being differentiated it keeps no part in memory."""
    source: Any = values  # the stub asks for a NumPy that is not typed
    return mx.array(source)
