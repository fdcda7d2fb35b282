"""The builds of MLX on this machine, and the reason why one does not start.

A build is a distribution with `libmlx.so`: `mlx-cpu`, `mlx-cuda-12`, `mlx-cuda-13` or `mlx-metal`. All of them write the
same file, so only one may be installed.
"""

from importlib.metadata import PackageNotFoundError, version

from lazarus_models.errors import DeviceError

BUILDS = ("mlx-cpu", "mlx-cuda-12", "mlx-cuda-13", "mlx-metal")
"""Distributions that contain MLX's library."""
MIN_DRIVERS = {"mlx-cuda-12": "550.54.14", "mlx-cuda-13": "580"}
"""Oldest NVIDIA driver of each build (MLX's documentation of its installation, version 0.32)."""
INSTALL_CUDA = "run `uv pip uninstall mlx-cpu`, then `uv pip install --reinstall-package mlx-cuda-13 'mlx[cuda13]'`"
"""Commands that replace MLX for CPUs in an environment."""
INSTALL_CPU = (
    "run `uv pip uninstall mlx-cuda-12 mlx-cuda-13`, then `uv pip install --reinstall-package mlx-cpu 'mlx[cpu]'`"
)
"""Commands that replace MLX for CUDA in an environment."""


def installed_builds() -> dict[str, str]:
    """Versions of the installed builds, by distribution."""
    found: dict[str, str] = {}
    for name in BUILDS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def why_not_started(error: ImportError, builds: dict[str, str]) -> DeviceError:
    """The error of a command that needs MLX, where `import mlx.core` fails.

    Args:
        error: What the import raised.
        builds: Result of `installed_builds`.
    """
    reason = " ".join(str(error).split())[:300]
    cuda = [name for name in builds if name in MIN_DRIVERS]
    if not builds:
        return DeviceError(
            f"MLX has no library for this machine ({reason}): install `mlx[cpu]`, or `mlx[cuda13]` for an NVIDIA GPU",
            "LM-E570",
        )
    if len(builds) > 1:
        return DeviceError(
            f"{' and '.join(builds)} are installed, and each overwrites the library of the other ({reason}): {INSTALL_CPU}; "
            f"for an NVIDIA GPU {INSTALL_CUDA}",
            "LM-E570",
        )
    if cuda and "libcuda.so" in reason:
        return DeviceError(
            f"{cuda[0]} needs the NVIDIA driver {MIN_DRIVERS[cuda[0]]} or newer, and this machine has none ({reason}): install "
            f"the driver, or MLX for CPUs: {INSTALL_CPU}",
            "LM-E571",
        )
    if cuda and "driver version is insufficient" in reason:
        return DeviceError(
            f"{cuda[0]} finds no NVIDIA GPU with driver {MIN_DRIVERS[cuda[0]]} or newer ({reason}): update the driver, or "
            f"install MLX for CPUs: {INSTALL_CPU}",
            "LM-E571",
        )
    return DeviceError(f"MLX does not start ({reason}): reinstall it with `uv pip install --reinstall mlx`", "LM-E570")
