"""The NVIDIA driver and the CUDA libraries on this machine.

Versions of the driver come from NVML, the library behind `nvidia-smi`, which is part of the driver. Where a container
has no NVML, Linux still names the driver's version in /proc.
"""

import contextlib
import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from lazarus_models.mlx_builds import MIN_DRIVERS

NVML = "libnvidia-ml.so.1"
"""NVML's library, as the loader finds it."""
PROC = Path("/proc/driver/nvidia/version")
"""Exists if Linux has loaded the driver of an NVIDIA GPU."""
_MAX_PROC_BYTES = 4096
_VERSION_CHARS = 80  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
MIN_CAPABILITY = (7, 5)
"""Oldest architecture that MLX supports: Turing, `sm_75`."""


@dataclass(frozen=True)
class Driver:
    """A driver.

    Args:
        version: Such as `580.82.07`; empty if unknown.
        cuda: Newest CUDA version that it runs, such as `13.0`; empty if unknown.
        source: Where the versions come from: `NVML`, the path in /proc, or empty if neither exists.
    """

    version: str = ""
    cuda: str = ""
    source: str = ""


def read_driver(nvml: str | Path = NVML, proc: Path = PROC) -> Driver:
    """The driver by NVML, or else by /proc; empty if neither exists.

    Args:
        nvml: NVML's library.
        proc: Version file of the Linux driver.
    """
    found = _by_nvml(str(nvml))
    if found is not None:
        return found
    with contextlib.suppress(OSError), proc.open("rb") as file:
        text = file.read(_MAX_PROC_BYTES).decode("ascii", "replace")
        version = re.search(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", text)
        return Driver(version[1] if version else "", "", str(proc))
    return Driver()


def _by_nvml(path: str) -> Driver | None:
    """The driver by NVML; None if the library is missing or does not start."""
    try:
        library: Any = ctypes.CDLL(path)
        if library.nvmlInit_v2() != 0:
            return None
        try:
            version, cuda = ctypes.create_string_buffer(_VERSION_CHARS), ctypes.c_int()
            has_version = library.nvmlSystemGetDriverVersion(version, ctypes.c_uint(_VERSION_CHARS)) == 0
            has_cuda = library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda)) == 0
        finally:
            library.nvmlShutdown()
    except (OSError, AttributeError):  # no such library, or an old one without these functions
        return None
    return Driver(
        version.value.decode("ascii", "replace") if has_version else "",
        f"{cuda.value // 1000}.{cuda.value % 1000 // 10}" if has_cuda else "",  # 13000 is 13.0
        "NVML",
    )


def toolkit_versions() -> dict[str, str]:
    """Versions of the CUDA libraries in this Python environment, by short name: `cublas`, `cudnn`, `cuda-nvrtc`.

    MLX for CUDA loads these, not those of a toolkit in /usr/local/cuda.
    """
    found: dict[str, str] = {}
    for each in distributions():
        name = (each.name or "").lower().replace("_", "-")
        if name.startswith("nvidia-"):
            found[re.sub(r"-cu\d+$", "", name.removeprefix("nvidia-"))] = each.version
    return dict(sorted(found.items()))


def cuda_advice(driver: Driver, builds: Mapping[str, str], architecture: str) -> str:
    """What to install or update on a machine with an NVIDIA GPU; empty if nothing.

    Args:
        driver: Result of `read_driver`.
        builds: Result of `installed_builds`.
        architecture: Architecture of the GPU, such as `sm_90`.
    """
    lines: list[str] = []
    capability = re.fullmatch(r"sm_(\d+)(\d)[a-z]*", architecture)
    if capability and (int(capability[1]), int(capability[2])) < MIN_CAPABILITY:
        oldest = "".join(map(str, MIN_CAPABILITY))
        lines.append(
            f"MLX needs a GPU of architecture sm_{oldest} or newer; this one is {architecture}: use MLX for CPUs"
        )
    for build in builds:
        oldest = MIN_DRIVERS.get(build)
        if oldest and driver.version and _numbers(driver.version) < _numbers(oldest):
            older = " or install `mlx[cuda12]`, which needs 550.54.14" if build == "mlx-cuda-13" else ""
            lines.append(
                f"{build} needs the NVIDIA driver {oldest} or newer; this is {driver.version}: update it{older}"
            )
    if len(builds) > 1:
        lines.append(
            f"{' and '.join(builds)} are installed and overwrite each other's library: uninstall both, then install `mlx[cuda13]` alone"
        )
    if not driver.source:
        lines.append("neither NVML nor /proc names the driver: in a container, add the driver capability `utility`")
    return "; ".join(lines)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
