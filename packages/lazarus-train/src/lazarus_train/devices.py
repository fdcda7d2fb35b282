"""What this machine computes with, and how: the one place of this package that asks which device it is.

| device | precision | cross-entropy | exponentials, roots | rows of a micro-batch | graphs | memory |
|---|---|---|---|---|---|---|
| CPU, Linux | float32: bfloat16 multiplies 30 times slower | at labels alone, in the logits' memory | NumPy's, in lean layers and Adam | small models: two threads, half each | written down each time | not handed back between steps |
| CPU, else | float32 | at labels alone, in the logits' memory | NumPy's, in lean layers and Adam | at once | written down each time | the system's way |
| Metal, CUDA | as stored | MLX's own, everywhere: shapes stay the same | MLX's | at once | compiled: gradients of packed rows, updates | 0.9 of what the GPU recommends is wired |

Attention and the precision of a loaded model are decided in lazarus-models by the same question.

| run by the authors | on |
|---|---|
| the first line | x86-64, two cores, with OpenBLAS and without |
| the last line's arithmetic and graphs | a CPU that took itself for a GPU, in `tests/test_devices.py` |
| processes joined by the ring and by MPI | loopback, Open MPI 4.1 (by `mpirun`: `mlx.launch --backend mpi` asks for Open MPI 5) |
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
"""Part of the memory a GPU recommends that a run wires down: the rest is the system's."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**25
"""Blocks up to this size come from memory that the process keeps, without page faults. A dense step of 6.5 million parameters
at 8 x 512 does 3,900 tokens a second of CPU time in 770 MiB, and with eight times as much no more than 4,000."""


SMALL_BYTES = 2**28
"""Weights beyond which one thread computes a micro-batch: each thread has gradients of its own until they are added, and where
matrix products are most of the work there is little to win (135 million parameters: 650 MiB less, no slower)."""


@dataclass(frozen=True)
class DevicePolicy:
    """How a step is computed.

    Args:
        device: What MLX computes on.
        threads: Python threads that compute a micro-batch, a share of its rows each.
        blas_threads: Threads of a matrix product, within each of them; None where MLX does not use BLAS.
        labels_only: Whether the head is asked for the places before labels alone, and its logits are overwritten.
        is_lean: Whether layers let go of what they have used (`lean`), and exponentials and roots are NumPy's.
        compiles: Whether gradients of packed rows and the optimizer's updates are compiled graphs.
        wired_bytes: Memory that MLX may hold on to; None leaves it as it is.
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
        """How many cores of a CPU a step may use."""
        return self.threads * (self.blas_threads or 1)


def weight_bytes(model: Path) -> int:
    """Bytes of the weight files of a model directory."""
    return sum(file.stat().st_size for file in model.glob("*.safetensors"))


@cache
def device_policy(weight_bytes: int = 0) -> DevicePolicy:
    """The policy of MLX's default device.

    Args:
        weight_bytes: Of the model to train: a large one is computed by one thread.
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
    """Sets this process up as `device_policy` says, and returns it."""
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
