"""MLX as the rest of the package imports it: `mx` and `nn`, with a fast BLAS loaded and MLX's switches set before them.

On a CPU without a fast BLAS, one warning says what to install, when the first model is made. Results then differ in their
last bits only.
"""

import contextlib
import logging
import mmap
import os
import resource
import tempfile
from collections.abc import Generator
from functools import cache

from lazarus_models.blas import OFF, ensure_fast_blas
from lazarus_models.errors import BlasError
from lazarus_models.kernel_cache import keep_kernels
from lazarus_models.mlx_builds import installed_builds, why_not_started
from lazarus_models.switches import prepare_switches

BLAS = ensure_fast_blas()
"""The BLAS that MLX uses."""
prepare_switches()
# MLX compiles in TMPDIR and tries no other folder.
if not os.access(os.environ.get("TMPDIR", "/tmp"), os.W_OK | os.X_OK):
    os.environ["TMPDIR"] = tempfile.gettempdir()
    logging.getLogger(__name__).warning("TMPDIR is not a writable folder: using %s", os.environ["TMPDIR"])

try:
    import mlx.core as mx  # (after the BLAS, or the BLAS has no effect)
except ImportError as error:
    raise why_not_started(error, installed_builds()) from error
import mlx.nn as nn  # noqa: E402
import mlx.optimizers as optimizers  # noqa: E402

__all__ = ["BLAS", "KERNELS", "mx", "nn", "on_cpu", "optimizers", "own_streams", "warn_of_slow_blas"]

_BLAS_BUFFER = 128 << 20
"""Bytes that OpenBLAS allocates for the first product of each thread. If refused, it retries forever."""


def on_cpu() -> bool:
    """Whether MLX's default device is a CPU."""
    return mx.default_device().type == mx.cpu


@cache
def warn_of_slow_blas() -> None:
    """Warns once a process of a CPU without a fast BLAS. Importing this module does not: a refused command has one line."""
    if BLAS.library == "builtin" and BLAS.reason != OFF and on_cpu():
        logging.getLogger(__name__).warning("MLX uses its slow built-in BLAS: %s", BLAS.reason)


@contextlib.contextmanager
def own_streams() -> Generator[None]:
    """Ends MLX's streams of the current thread when the block ends.

    Wrap everything that a thread does with MLX: a thread that exits with open streams sometimes aborts the process.
    Evaluate arrays before they leave the block.
    """
    try:
        yield
    finally:
        mx.clear_streams()


def _check_room(num_threads: int) -> None:
    """Refuses a limit of the address space (`ulimit -v`) under which OpenBLAS would hang.

    Raises:
        BlasError: The limit is too low.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    wanted = _BLAS_BUFFER * (num_threads + 1)
    try:
        mmap.mmap(-1, wanted).close()  # never touched: costs nothing
    except OSError as error:
        raise BlasError(
            f"the address space is limited to {limit >> 20:,} MiB (ulimit -v), OpenBLAS needs {wanted >> 20:,} MiB more: "
            "raise the limit",
            "LM-E152",
        ) from error


KERNELS = keep_kernels(str(mx.device_info(mx.gpu).get("architecture", "gpu"))) if mx.cuda.is_available() else None
"""Compiled kernels of an NVIDIA GPU; None on other devices."""
if BLAS.library not in ("builtin", "accelerate"):
    _check_room(BLAS.threads or 1)
