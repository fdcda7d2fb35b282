"""Finds out what MLX computes on, how fast it is, and what to install."""

from dataclasses import dataclass, field
from importlib.metadata import version

from lazarus_models.backend import BLAS, KERNELS
from lazarus_models.blas import BlasInfo
from lazarus_models.doctor.devices import Device, read_device
from lazarus_models.doctor.nvidia import PROC, Driver, cuda_advice, read_driver, toolkit_versions
from lazarus_models.doctor.products import measure_elsewhere, measure_gflops
from lazarus_models.doctor.repeats import check_repeats, repeat_advice
from lazarus_models.mlx_builds import INSTALL_CUDA, installed_builds
from lazarus_models.switches import CUDNN_ATTENTION, set_switch


@dataclass(frozen=True)
class Diagnosis:
    """The device, versions and speed of MLX on this machine. What a device does not have is None or empty."""

    mlx: str
    device: Device
    builds: dict[str, str]
    """Installed distributions with MLX's library, and their versions."""
    gflops: float | None
    """Speed of a float32 matrix product without TF32, in 10^9 operations a second; None if it was not measured."""
    advice: str
    """How to make it faster or work; empty if nothing is known."""
    blas: BlasInfo | None = None
    """On a CPU only."""
    gflops_builtin: float | None = None
    """Speed with the BLAS of the CPU wheel; None if that one is in use, or on macOS."""
    gflops_tf32: float | None = None
    """Speed of a float32 product as TF32, on CUDA."""
    gflops_bfloat16: float | None = None
    """Speed of a bfloat16 product, on a GPU."""
    repeats: dict[str, int] = field(default_factory=dict[str, int])
    """Runs of a gradient that equal the first, by name, on a GPU."""
    driver: Driver | None = None
    """On CUDA only."""
    toolkit: dict[str, str] = field(default_factory=dict[str, str])
    """Versions of CUDA libraries, on CUDA."""
    kernels: str = ""
    """Folder of compiled kernels, on CUDA."""


def diagnose() -> Diagnosis:
    """Describes and measures the default device: two seconds on a CPU, up to a minute in the first run on a GPU."""
    device, builds = read_device(), installed_builds()
    if device.kind == "cpu":
        return _of_cpu(device, builds)
    if device.kind == "metal":
        return Diagnosis(
            mlx=version("mlx"),
            device=device,
            builds=builds,
            gflops=measure_gflops(),
            gflops_bfloat16=measure_gflops("bfloat16"),
            repeats=(repeats := check_repeats()),
            advice=repeat_advice(repeats),
        )
    set_switch(CUDNN_ATTENTION, "0")  # as training does, before the first attention
    driver, repeats = read_driver(), check_repeats()
    return Diagnosis(
        mlx=version("mlx"),
        device=device,
        builds=builds,
        gflops=measure_elsewhere(MLX_ENABLE_TF32="0"),  # read once a process
        gflops_tf32=measure_elsewhere(MLX_ENABLE_TF32="1"),
        gflops_bfloat16=measure_gflops("bfloat16"),
        repeats=repeats,
        driver=driver,
        toolkit=toolkit_versions(),
        kernels="" if KERNELS is None or KERNELS.folder is None else str(KERNELS.folder),
        advice="; ".join(
            part for part in (cuda_advice(driver, builds, device.architecture), repeat_advice(repeats)) if part
        ),
    )


def _of_cpu(device: Device, builds: dict[str, str]) -> Diagnosis:
    fast = BLAS.library not in ("builtin", "accelerate")
    return Diagnosis(
        mlx=version("mlx"),
        device=device,
        builds=builds,
        blas=BLAS,
        gflops=measure_gflops(),
        gflops_builtin=measure_elsewhere(LAZARUS_BLAS="off") if fast else None,
        advice=_cpu_advice(),
    )


def _cpu_advice() -> str:
    if PROC.exists():
        return (
            f"this machine has an NVIDIA GPU, but the CPU build of MLX is installed: {INSTALL_CUDA}, or `mlx-cuda-12` "
            "and 'mlx[cuda12]' for a driver older than 580"
        )
    if BLAS.library == "builtin":
        return f"matrix products are 20 to 30 times faster with OpenBLAS: {BLAS.reason}"
    return ""
