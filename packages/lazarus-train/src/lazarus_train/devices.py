"""Device policy: precision, threads, compilation and memory settings by device. No other module of this package
tests the device.

| device | precision | cross-entropy | exponentials, roots | rows of a micro-batch | graphs | memory |
|---|---|---|---|---|---|---|
| CPU, Linux | float32: bfloat16 multiplies 30 times slower | at labels only, in the logits' memory | NumPy, in
low-memory layers and Adam | small models: two threads, half each | traced every time | not returned to the system
between steps |
| CPU, other | float32 | at labels only, in the logits' memory | NumPy, in low-memory layers and Adam | at once |
traced every time | system default |
| Metal, CUDA | as stored | MLX, at every position: shapes stay fixed | MLX | at once | compiled: gradients of
packed rows, updates | 0.9 of the recommended GPU memory is wired |

lazarus-models chooses attention and the precision of a loaded model by the same test.

| tested by the authors | on |
|---|---|
| the first line | x86-64, two cores, with and without OpenBLAS |
| arithmetic and graphs of the last line | a CPU with the GPU policy, in `tests/test_devices.py` |
| processes joined by the ring and by MPI | loopback, Open MPI 4.1 (by `mpirun`: `mlx.launch --backend mpi` needs
Open MPI 5) |
| macOS, Metal, CUDA, NCCL | not yet |
"""

import contextlib
import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from lazarus_models.backend import BLAS, mx

MEMORY_SHARE = 0.9
"""Fraction of the recommended GPU memory that a run wires. The rest is for the system."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**25
"""Blocks up to this size come from memory that the process keeps, without page faults. A dense step of 6.5 million
parameters at 8 x 512 runs at 3,900 tokens per second of CPU time in 770 MiB; an eight times larger limit gives 4,000.
"""


SMALL_BYTES = 2**28
"""Size of the weights above which one thread computes a micro-batch. Each thread has its own gradients until they
are added.
If matrix products dominate, threads gain little (135 million parameters: 650 MiB less, no slower).
"""


@dataclass(frozen=True)
class DevicePolicy:
    """How this device computes a step.

    Args:
        device: MLX's default device.
        threads: Python threads that share the rows of a micro-batch.
        blas_threads: Threads of a matrix product, within each Python thread; None if MLX does not use BLAS.
        labels_only: Whether the head runs only at positions before labels, and its logits are overwritten.
        is_lean: Whether to use low-memory layers, and NumPy for exponentials and roots.
        compiles: Whether gradients of packed rows and the optimizer's updates are compiled graphs.
        wired_bytes: MLX's wired memory limit; None leaves the default.
    """

    device: Literal["cpu", "gpu"]
    threads: int
    blas_threads: int | None
    labels_only: bool
    is_lean: bool
    compiles: bool
    wired_bytes: int | None

    @property
    def cores(self) -> int:
        """Number of CPU cores that a step may use."""
        return self.threads * (self.blas_threads or 1)


def weight_bytes(model: Path) -> int:
    """Size of the weight files of a model directory in bytes."""
    return sum(file.stat().st_size for file in model.glob("*.safetensors"))


@cache
def device_policy(weight_bytes: int = 0) -> DevicePolicy:
    """The policy of MLX's default device.

    Args:
        weight_bytes: Size of the weights of the model in bytes; a large model uses one thread.
    """
    if mx.default_device().type == mx.cpu:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
        asked = os.environ.get("OPENBLAS_NUM_THREADS")
        is_small = weight_bytes <= SMALL_BYTES
        threads = 2 if cores > 1 and is_small and BLAS.library == "openblas" else 1
        blas_threads = int(asked) if asked else max(1, cores // threads)
        return DevicePolicy(
            "cpu", threads, blas_threads, labels_only=True, is_lean=True, compiles=False, wired_bytes=None
        )
    recommended = cast("int | None", mx.device_info().get("max_recommended_working_set_size"))
    wired = int(recommended * MEMORY_SHARE) if recommended else None
    return DevicePolicy("gpu", 1, None, labels_only=False, is_lean=False, compiles=True, wired_bytes=wired)


def prepare_device(weight_bytes: int = 0) -> DevicePolicy:
    """Applies `device_policy` to this process, and returns it."""
    policy = device_policy(weight_bytes)
    if policy.wired_bytes is not None:
        mx.set_wired_limit(policy.wired_bytes)
    if policy.blas_threads is not None and BLAS.library == "openblas":
        ctypes.CDLL(BLAS.path).openblas_set_num_threads(policy.blas_threads)
    if policy.device == "cpu" and sys.platform == "linux":
        libc: Any = ctypes.CDLL(None)
        with contextlib.suppress(AttributeError):  # another C library than GNU's
            libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)
    return policy
