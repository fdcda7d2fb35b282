"""Measures matrix products on this machine, and advises on a faster BLAS or device."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lazarus_models.backend import BLAS, mx, on_cpu
from lazarus_models.blas import BlasInfo
from lazarus_models.trees import evaluate

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""Exists if Linux has loaded the driver of an NVIDIA GPU."""
_SIZE = 1024  # of the square matrices: 2 * 1024**3 operations take 0.3 s at netlib's 8 GFLOP/s
_REPEATS = 3  # the fastest one is reported


@dataclass(frozen=True)
class Diagnosis:
    """The device, BLAS and speed of MLX on this machine."""

    mlx: str
    device: str
    """The default device, such as `Device(cpu, 0)`."""
    device_name: str
    blas: BlasInfo
    gflops: float
    """Speed of a float32 matrix product, in 10^9 operations a second."""
    gflops_builtin: float | None
    """The same with the wheel's own BLAS; None if that one is in use, or on macOS."""
    advice: str
    """How to make it faster; empty if nothing is known."""


def diagnose() -> Diagnosis:
    """Measures the speed, in under two seconds."""
    fast = BLAS.library not in ("builtin", "accelerate")
    return Diagnosis(
        mlx=version("mlx"),
        device=str(mx.default_device()),
        device_name=str(mx.device_info().get("device_name", "unknown")),
        blas=BLAS,
        gflops=measure_gflops(),
        gflops_builtin=_measure_builtin() if fast else None,
        advice=_advice(),
    )


def _advice() -> str:
    if not on_cpu():
        return ""
    if NVIDIA_DRIVER.exists():
        return (
            "this machine has an NVIDIA GPU, but the CPU build of MLX is installed: run `uv pip uninstall mlx-cpu`, then "
            "`uv pip install 'mlx[cuda13]'`, or 'mlx[cuda12]' for an older driver"
        )
    if BLAS.library == "builtin":
        return f"matrix products are 20 to 30 times faster with OpenBLAS: {BLAS.reason}"
    return ""


def measure_gflops() -> float:
    """Speed of a float32 matrix product on the default device, in 10^9 operations a second."""
    left, right = mx.ones((_SIZE, _SIZE)), mx.ones((_SIZE, _SIZE))
    evaluate([left, right])
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        evaluate(left @ right)
        best = min(best, time.perf_counter() - start)
    return 2 * _SIZE**3 / best / 1e9


def _measure_builtin() -> float:
    # Another process: a BLAS cannot be unloaded.
    child = subprocess.run(
        [sys.executable, "-m", "lazarus_models.ops.cpu.doctor"],
        env={**os.environ, "LAZARUS_BLAS": "off"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(json.loads(child.stdout))


if __name__ == "__main__":
    json.dump(measure_gflops(), sys.stdout)
