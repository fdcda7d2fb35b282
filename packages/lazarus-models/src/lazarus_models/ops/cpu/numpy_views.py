"""NumPy views of MLX arrays on a CPU.

MLX's wheel for Linux computes exponentials, logistics and square roots with scalar code: 9.5, 15 and 6.7 ns each. NumPy takes
0.35 ns with vector instructions (2-core AMD EPYC, AVX-512). So custom functions compute these with NumPy, in MLX's memory.
Viewing an array evaluates it immediately.

NumPy's vector instructions give the same bits for a number at any place in memory.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate


def view(array: mx.array) -> NDArray[np.float32]:
    """Evaluates a float32 array and returns a view of it: writing to the view changes the array."""
    evaluate(array)
    numbers: Any = array  # the stub does not know that it is a buffer
    return np.asarray(numbers)


def flat_view(array: mx.array, what: str) -> NDArray[np.float32]:
    """A view of an array with one axis, for kernels that write in place; never a copy.

    Args:
        array: Row-contiguous, float32, of any shape; `mx.contiguous` gives such an array.
        what: Name of the array in the error message.
    """
    numbers = view(array)
    assert numbers.flags.c_contiguous, (
        f"{what} of shape {array.shape} is a strided view in memory: writing in place would change a copy of it; "
        "call `mx.contiguous` first"
    )
    assert numbers.dtype == np.float32, f"{what} is {numbers.dtype}; in-place kernels write float32"
    return numbers.reshape(-1)


def fresh(values: NDArray[np.float32]) -> mx.array:
    """An MLX array with these values and without a graph, so that it keeps no other array in memory."""
    source: Any = values  # the stub asks for a NumPy that is not typed
    return mx.array(source)
