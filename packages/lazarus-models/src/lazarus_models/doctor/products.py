"""The speed of matrix products on the default device."""

import json
import os
import subprocess
import sys
import time

from lazarus_models.backend import mx, on_cpu
from lazarus_models.trees import evaluate

CPU_SIZE, CPU_PRODUCTS = 1024, 1
"""Side of the square matrices: 2 * 1024**3 operations take 0.3 s at netlib's 8 GFLOP/s."""
GPU_SIZE, GPU_PRODUCTS = 4096, 8
"""Eight products of 2 * 4096**3 operations take 2 ms at 600 TFLOP/s, and 0.4 s at the 2.6 of an Apple M1."""
_REPEATS = 3  # the fastest one is reported
_TIMEOUT_S = 120.0


def measure_gflops(dtype: str = "float32") -> float:
    """Speed of a matrix product on the default device, in 10^9 operations a second.

    Args:
        dtype: `float32`, `float16` or `bfloat16`.
    """
    size, count = (CPU_SIZE, CPU_PRODUCTS) if on_cpu() else (GPU_SIZE, GPU_PRODUCTS)
    kind = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}[dtype]
    # Different values: multiplying ones costs a GPU less power, which raises its clock.
    left = mx.random.uniform(-1, 1, (size, size), key=mx.random.key(0)).astype(kind)
    right = mx.random.uniform(-1, 1, (size, size), key=mx.random.key(1)).astype(kind)
    evaluate([left, right])
    evaluate(left @ right)  # the first product of a process chooses its kernel
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        evaluate([left @ right for _ in range(count)])
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 * count / best / 1e9


def measure_elsewhere(**environment: str) -> float | None:
    """`measure_gflops` in another process, for settings that MLX reads once when it starts; None if it fails.

    Args:
        environment: Variables that differ from those of this process.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-m", "lazarus_models.doctor.products"],
            # No switch of MLX is ours in the child, which would choose it again.
            env={**os.environ, "LAZARUS_MLX_SWITCHES": "", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=_TIMEOUT_S,
        )
        return float(json.loads(child.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None


if __name__ == "__main__":
    json.dump(measure_gflops(), sys.stdout)
