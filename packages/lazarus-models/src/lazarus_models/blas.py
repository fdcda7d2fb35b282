"""Finds and loads a fast BLAS for MLX on a Linux CPU, when this module is imported.

The Linux wheel of MLX multiplies matrices with netlib's reference BLAS: 8 GFLOP/s, where OpenBLAS reaches 120 on one
thread (2-core AMD EPYC). The dynamic linker gives MLX the `cblas_sgemm` that was loaded first, so this module must be
imported before `mlx.core`. Importing `mx` from `lazarus_models.backend` does that.

The environment variable `LAZARUS_BLAS` selects the library: unset, the system's OpenBLAS; `off`, none; a path, that
library. On macOS MLX uses Accelerate and the GPU, and this module does nothing.
"""

import ctypes
import ctypes.util
import os
import sys
from dataclasses import dataclass
from functools import cache

from lazarus_models.errors import BlasError

OFF = "LAZARUS_BLAS=off"
"""The reason given when the user switched the fast BLAS off."""
INSTALL_HINT = (
    "install OpenBLAS (Debian and Ubuntu: `apt install libopenblas0-pthread`; Fedora: `dnf install openblas`), "
    "or set LAZARUS_BLAS to the path of one"
)


@dataclass(frozen=True)
class BlasInfo:
    """The BLAS that MLX uses, as a run's manifest records it."""

    library: str
    """`openblas`, the file name from `LAZARUS_BLAS`, `builtin` (the wheel's own) or `accelerate`."""
    reason: str
    """Why this library is used."""
    path: str | None = None
    """The shared library, as it was given to the loader."""
    version: str | None = None
    """OpenBLAS's version, such as `0.3.21`."""
    core: str | None = None
    """The kernels in use, such as `Haswell`. Other kernels give other last bits."""
    threads: int | None = None
    """BLAS threads. Another number gives other last bits."""


@cache
def ensure_fast_blas() -> BlasInfo:
    """Loads the fastest BLAS available and describes it; the work is done once a process.

    Raises:
        BlasError: `LAZARUS_BLAS` is neither `off` nor a library with `cblas_sgemm`.
    """
    wanted = os.environ.get("LAZARUS_BLAS", "")
    if sys.platform != "linux":
        return BlasInfo("accelerate", "MLX uses Accelerate and the GPU on this system")
    if wanted == "off":
        return BlasInfo("builtin", OFF)
    path = wanted or ctypes.util.find_library("openblas")
    if path is None:
        return BlasInfo("builtin", f"no OpenBLAS on this machine; {INSTALL_HINT}")
    if "mlx.core" in sys.modules:
        return BlasInfo("builtin", "mlx.core was imported before lazarus_models, too late for a fast BLAS")
    return _load(path, "LAZARUS_BLAS" if wanted else "the system's OpenBLAS")


def _load(path: str, reason: str) -> BlasInfo:
    try:
        library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise BlasError(
            f"`LAZARUS_BLAS` names `{path}`, which cannot be loaded: {error}; give a shared library or `off`", "LM-E150"
        ) from error
    if not hasattr(library, "cblas_sgemm"):
        raise BlasError(
            f"`LAZARUS_BLAS` names `{path}`, which has no `cblas_sgemm`; give an OpenBLAS or `off`", "LM-E151"
        )
    if not hasattr(library, "openblas_get_config"):
        return BlasInfo(os.path.basename(path), reason, path)  # noqa: PTH119 (a library name, not always a path)
    library.openblas_get_config.restype = library.openblas_get_corename.restype = ctypes.c_char_p
    config: list[str] = library.openblas_get_config().decode("ascii", "replace").split()
    return BlasInfo(
        "openblas",
        reason,
        path,
        version=next((word for word in config if word[:1].isdigit()), None),
        core=library.openblas_get_corename().decode("ascii", "replace"),
        threads=library.openblas_get_num_threads(),
    )


ensure_fast_blas()
