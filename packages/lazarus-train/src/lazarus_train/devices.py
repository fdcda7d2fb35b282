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

On a GPU, `prepare_device` also chooses MLX's kernels, before the first of them runs. A variable in the environment of the
user wins over each choice.

| choice | on a CPU | on a GPU, by default | with the setting |
|---|---|---|---|
| sums in gradients | MLX's, in the order of memory | in a fixed order (`lazarus_models.ops.gather`) | \
`fast_nondeterministic`: MLX's, in any order |
| attention on CUDA in half precision | - | without cuDNN, whose gradient differs from call to call | \
`fast_nondeterministic`: as MLX chooses |
| float32 products | exact | exact (`MLX_ENABLE_TF32=0`) | `tf32`: factors rounded to TF32, in the whole process |

| tested by the authors | on |
|---|---|
| the first line | x86-64, two cores, with and without OpenBLAS |
| arithmetic and graphs of the last line, and the fixed order | a CPU with the GPU policy, in `tests/test_devices.py` |
| which gradients of MLX repeat on CUDA, exact float32, attention without cuDNN | an H200, MLX 0.32.4, once |
| the choice of kernels for CUDA and Metal in this module | written for them, never run there in this version |
| processes joined by the ring and by MPI | loopback, Open MPI 4.1 (by `mpirun`: `mlx.launch --backend mpi` needs
Open MPI 5) |
| macOS, Metal, NCCL | not yet |
"""

import contextlib
import ctypes
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from lazarus_models.backend import BLAS, mx
from lazarus_models.ops import has_attended_in_half_precision, set_gradient_order
from lazarus_models.switches import CUDNN_ATTENTION, TF32, describe_switches, origin, set_switch, switch_values
from lazarus_train.errors import SetupError
from lazarus_train.kernels import EXACT, NOT_PROMISED, KernelSettings

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
        fixed_order: Whether gradients use sums in a fixed order instead of MLX's, which repeat on a CPU only.
    """

    device: Literal["cpu", "gpu"]
    threads: int
    blas_threads: int | None
    labels_only: bool
    is_lean: bool
    compiles: bool
    wired_bytes: int | None
    fixed_order: bool = False

    @property
    def cores(self) -> int:
        """Number of CPU cores that a step may use."""
        return self.threads * (self.blas_threads or 1)


def weight_bytes(model: Path) -> int:
    """Size of the weight files of a model directory in bytes."""
    return sum(file.stat().st_size for file in model.glob("*.safetensors"))


@cache
def device_policy(weight_bytes: int = 0, kernels: KernelSettings = EXACT) -> DevicePolicy:
    """The policy of MLX's default device.

    Args:
        weight_bytes: Size of the weights of the model in bytes; a large model uses one thread.
        kernels: Settings of the run.
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
    return DevicePolicy(
        "gpu",
        1,
        None,
        labels_only=False,
        is_lean=False,
        compiles=True,
        wired_bytes=int(recommended * MEMORY_SHARE) if recommended else None,
        fixed_order=not kernels.fast_nondeterministic,
    )


def prepare_device(weight_bytes: int = 0, kernels: KernelSettings = EXACT) -> DevicePolicy:
    """Applies `device_policy` to this process, and returns it.

    Args:
        weight_bytes: Size of the weights of the model in bytes.
        kernels: Settings of the run. MLX chooses some kernels once in a process, so a process has one value of each.

    Raises:
        SetupError: MLX has already chosen other kernels in this process.
    """
    policy = device_policy(weight_bytes, kernels)
    if policy.wired_bytes is not None:
        mx.set_wired_limit(policy.wired_bytes)
    if policy.blas_threads is not None and BLAS.library == "openblas":
        ctypes.CDLL(BLAS.path).openblas_set_num_threads(policy.blas_threads)
    if policy.device == "cpu" and sys.platform == "linux":
        libc: Any = ctypes.CDLL(None)
        with contextlib.suppress(AttributeError):  # another C library than GNU's
            libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)
    set_gradient_order("fixed" if policy.fixed_order else "any")
    if policy.device == "gpu":
        _choose_attention(policy)
        _choose_products(kernels)
    return policy


def _choose_attention(policy: DevicePolicy) -> None:
    """Sets cuDNN's switch before MLX reads it, at the first attention in half precision of the process."""
    wanted, before = "0" if policy.fixed_order else "1", switch_values()[CUDNN_ATTENTION]
    if policy.fixed_order and has_attended_in_half_precision() and before != "0" and _has_cuda():
        if origin(CUDNN_ATTENTION) == "user":
            return
        raise SetupError(
            "this process has computed attention in half precision with cuDNN, whose gradients do not repeat: train in a "
            f"new process, set {CUDNN_ATTENTION}=0 in its environment, or set `fast_nondeterministic`",
            "LR-E270",
        )
    set_switch(CUDNN_ATTENTION, wanted)


def _choose_products(kernels: KernelSettings) -> None:
    """Sets the switch of TF32 before MLX reads it, at the first product of the process, and measures the result."""
    if not set_switch(TF32, "1" if kernels.tf32 else "0"):
        return  # the user's choice
    if uses_tf32() == kernels.tf32:
        return
    if kernels.tf32:
        raise SetupError(
            "`tf32` has no effect: this device has no TF32, or the process computed exact products before; train in a new "
            "process, or leave `tf32` out",
            "LR-E271",
        )
    raise SetupError(
        "this process has computed with `tf32` before, and MLX keeps that: train in a new process, or set `tf32`",
        "LR-E271",
    )


@cache
def uses_tf32() -> bool:
    """Whether this process rounds the factors of float32 products to TF32. Measured, because MLX does not say."""
    if mx.default_device().type == mx.cpu:
        return False
    # TF32 keeps 10 bits of a fraction, so it rounds 1 + 2**-12 to 1.
    factor = mx.full((512, 512), 1 + 2**-12)
    return cast("float", mx.abs(factor @ mx.eye(512) - factor).max().item()) > 2**-13


def kernel_warnings(policy: DevicePolicy, kernels: KernelSettings) -> list[str]:
    """What a run no longer promises by its settings or its environment, a line each.

    Args:
        policy: Result of `prepare_device`.
        kernels: Settings of the run.
    """
    if policy.device == "cpu":
        return [f"warning: `{name}` has no effect on a CPU" for name, is_set in vars(kernels).items() if is_set]
    found = [] if policy.fixed_order else ["warning: `fast_nondeterministic`: " + NOT_PROMISED]
    if policy.fixed_order and _has_cuda() and switch_values()[CUDNN_ATTENTION] != "0":
        found.append(
            f"warning: {CUDNN_ATTENTION}={switch_values()[CUDNN_ATTENTION]} in the environment: {NOT_PROMISED}"
        )
    if uses_tf32():
        why = "`tf32`" if kernels.tf32 else f"{TF32}={switch_values()[TF32]} in the environment"
        found.append(
            f"warning: {why}: float32 products are rounded to TF32, those of held-out losses and references of this run, too"
        )
    elif kernels.tf32:
        found.append(f"warning: `tf32` has no effect: {TF32}={switch_values()[TF32]} in the environment")
    return found


def describe_device(policy: DevicePolicy) -> dict[str, Any]:
    """The policy as a run's manifest records it; on a GPU with its device and driver, and with MLX's switches.

    Args:
        policy: Result of `device_policy`.
    """
    described = asdict(policy)
    if policy.device == "cpu":
        del described["fixed_order"]  # records of a CPU keep their form
        return described
    return described | {"tf32": uses_tf32(), "switches": describe_switches(), "gpu": _gpu()}


def _gpu() -> dict[str, str]:
    """Name, architecture and driver of the default GPU."""
    info = mx.device_info()
    known = {name: str(info[name]) for name in ("device_name", "architecture") if name in info}
    return {"backend": "cuda" if _has_cuda() else "metal", **known, "driver": _driver_version()}


def _driver_version(path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Version of the NVIDIA driver, or of macOS; `unknown` if the system does not say."""
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            line = file.readline(1_000)
    except OSError:
        return "unknown"
    found = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", line)  # NVRM version: NVIDIA UNIX ... Kernel Module  580.65.06  ...
    return found[0] if found else "unknown"


def _has_cuda() -> bool:
    return mx.cuda.is_available()
