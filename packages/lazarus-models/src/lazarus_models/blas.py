"""A fast BLAS for MLX on a Linux CPU: found and loaded when this module is imported.

The Linux wheel of MLX multiplies matrices with netlib's reference BLAS at 8 GFLOP/s a machine; OpenBLAS makes it 120
on one thread (2-core AMD EPYC). The dynamic linker gives MLX whichever `cblas_sgemm` was loaded first, so this
module must be imported before `mlx.core`: take `mx` from `lazarus_models.backend` and it is.

`LAZARUS_BLAS` decides: unset, the system's OpenBLAS, else the extra `blas` (`packaged_blas`); `packaged`, that one in any
case; `off`, none; a path, that library. On macOS MLX uses Accelerate
and the GPU, and nothing is done.
"""

import ctypes
import ctypes.util
import os
import sys
from dataclasses import dataclass
from functools import cache

from lazarus_models.errors import BlasError

OFF = "LAZARUS_BLAS=off"  # the reason where a slow BLAS is what was asked for
PACKAGED = "packaged"  # the word for the extra's
SYSTEM_HINT = "Debian and Ubuntu: `apt install libopenblas0-pthread`; Fedora: `dnf install openblas`"
INSTALL_HINT = f"install OpenBLAS ({SYSTEM_HINT}; without an administrator: `pip install 'lazarus-models[blas]'`)"


@dataclass(frozen=True)
class BlasInfo:
    """The BLAS that MLX multiplies with, as a run's manifest records it."""

    library: str
    """`openblas`, `scipy_openblas32`, the file name that `LAZARUS_BLAS` gave, `builtin` (the wheel's own) or `accelerate`."""
    reason: str
    """Why this one, in words."""
    path: str | None = None
    """The shared library, as the loader was given it."""
    version: str | None = None
    """OpenBLAS's version, such as `0.3.21`."""
    core: str | None = None
    """The kernels in use, such as `Haswell`: other kernels, other last bits."""
    threads: int | None = None
    """BLAS threads: another number, other last bits."""


@cache
def ensure_fast_blas() -> BlasInfo:
    """Loads the fastest BLAS at hand and says which it is; the work is done once a process.

    Raises:
        BlasError: `LAZARUS_BLAS` is neither a word known here nor a library with `cblas_sgemm`.
    """
    wanted = os.environ.get("LAZARUS_BLAS", "")
    if sys.platform != "linux":
        return BlasInfo("accelerate", "MLX uses Accelerate and the GPU here")
    if wanted == "off":
        return BlasInfo("builtin", OFF)
    if wanted == PACKAGED:
        return BlasInfo("builtin", f"LAZARUS_BLAS={PACKAGED}, and no `lazarus-models[blas]` is installed")
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
            f"`LAZARUS_BLAS` names {path!r}, which cannot be loaded: {error}; give a shared library or `off`", "LM-E150"
        ) from error
    if not hasattr(library, "cblas_sgemm"):
        raise BlasError(
            f"`LAZARUS_BLAS` names {path!r}, which has no `cblas_sgemm`; give an OpenBLAS or `off`", "LM-E151"
        )
    if not hasattr(library, "openblas_get_config"):
        return BlasInfo(os.path.basename(path), reason, path)  # noqa: PTH119 (a library name, not always a path)
    return describe(library, "openblas", reason, path)


def describe(library: ctypes.CDLL, name: str, reason: str, path: str, prefix: str = "") -> BlasInfo:
    """An OpenBLAS in its own words; `prefix` is what its symbols begin with."""
    get_config, get_core = library[f"{prefix}openblas_get_config"], library[f"{prefix}openblas_get_corename"]
    get_config.restype = get_core.restype = ctypes.c_char_p
    config: list[str] = get_config().decode("ascii", "replace").split()
    return BlasInfo(
        name,
        reason,
        path,
        version=next((word for word in config if word[:1].isdigit()), None),
        core=get_core().decode("ascii", "replace"),
        threads=library[f"{prefix}openblas_get_num_threads"](),
    )


ensure_fast_blas()
