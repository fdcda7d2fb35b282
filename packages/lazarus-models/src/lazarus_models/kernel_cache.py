"""The folder in which MLX keeps the kernels that it compiles for an NVIDIA GPU.

MLX compiles a kernel with NVRTC when it first needs it; a first training step takes about a minute (NVIDIA H200, MLX
0.32.4). It keeps the result in `MLX_PTX_CACHE_DIR`, by default in `mlx/VERSION/ptx` below the folder of temporary
files, which all users share and many systems empty when they start. `keep_kernels` names a folder of the user instead.
The names of MLX's files do not contain the architecture that a kernel is compiled for, so the folder's name does: home
directories are often shared by machines with different GPUs.
"""

import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

VARIABLE = "MLX_PTX_CACHE_DIR"
"""Environment variable that MLX reads once, before its first kernel. If it is empty, MLX keeps nothing."""


@dataclass(frozen=True)
class KernelCache:
    """Compiled GPU kernels on this machine.

    Args:
        folder: Folder that MLX keeps them in; None if it keeps none.
    """

    folder: Path | None

    @property
    def count(self) -> int:
        """Number of compiled modules; each has one or more kernels."""
        if self.folder is None or not self.folder.is_dir():
            return 0
        return sum(1 for _ in self.folder.rglob("*.ptx"))

    @property
    def first_run(self) -> str:
        """A line for the first run on a GPU; empty if there are kernels already."""
        if self.folder is None:
            return f"MLX compiles its GPU kernels in every process: {VARIABLE} is empty; unset it to keep them"
        if self.count:
            return ""
        return (
            "first run on this GPU: MLX compiles kernels when it first needs them, which takes about a minute; they are "
            f"kept in {self.folder}"
        )

    @property
    def in_words(self) -> str:
        """A line about the kernels, for a run that may need further ones."""
        kept = f"{self.count:,} compiled GPU modules are kept in {self.folder}; the first step compiles missing ones"
        return self.first_run or kept


def keep_kernels(architecture: str) -> KernelCache:
    """Chooses the folder of compiled kernels before MLX needs one. A folder that the user chose stays.

    Args:
        architecture: Architecture of the GPU, such as `sm_90`.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return KernelCache(Path(chosen) if chosen else None)
    folder = _own_folder(architecture)
    if folder is None:
        return KernelCache(Path(tempfile.gettempdir()) / "mlx" / version("mlx") / "ptx")
    os.environ[VARIABLE] = str(folder)
    return KernelCache(folder)


def _own_folder(architecture: str) -> Path | None:
    """The user's folder, made if necessary; None if it cannot be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "lazarus" / "kernels" / f"mlx-{version('mlx')}-{architecture}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or the user has no home directory
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
