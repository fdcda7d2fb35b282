"""The one door to MLX: `mx` and `nn`, with the fast BLAS loaded before them.

On a CPU without a fast BLAS one warning says what to install; the results are the same but for their last bits.
"""

import contextlib
import logging
import mmap
import os
import resource
import tempfile
from collections.abc import Generator

from lazarus_models.blas import OFF, ensure_fast_blas
from lazarus_models.errors import BlasError
from lazarus_models.packaged_blas import use_packaged_blas

_FOUND = ensure_fast_blas()
if not os.access(
    os.environ.get("TMPDIR", "/tmp"), os.W_OK | os.X_OK
):  # MLX compiles there, and does not look for another
    os.environ["TMPDIR"] = tempfile.gettempdir()
    logging.getLogger(__name__).warning("TMPDIR is no folder to write to: %s is used", os.environ["TMPDIR"])

import mlx.core as mx  # noqa: E402 (after the BLAS, or it has no effect)
import mlx.nn as nn  # noqa: E402

BLAS = use_packaged_blas(_FOUND) if _FOUND.library == "builtin" and _FOUND.reason != OFF else _FOUND

_BLAS_BUFFER = 128 << 20
"""Bytes that OpenBLAS takes for the first product of each thread. Where they are refused, it asks again without end."""


def _check_room(num_threads: int) -> None:
    """Refuses a limit of the address space (`ulimit -v`) under which OpenBLAS would hang.

    Raises:
        BlasError: It is too low.
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


if BLAS.library not in ("builtin", "accelerate"):
    _check_room(BLAS.threads or 1)

__all__ = ["BLAS", "mx", "nn", "own_streams"]


@contextlib.contextmanager
def own_streams() -> Generator[None]:
    """Around all that a thread does with MLX: its streams end here. Left behind, they abort the process at its exit now
    and then. What leaves the thread is computed before.
    """
    try:
        yield
    finally:
        mx.clear_streams()


if BLAS.library == "builtin" and BLAS.reason != OFF and mx.default_device().type == mx.cpu:
    logging.getLogger(__name__).warning("MLX runs on its slow built-in BLAS: %s", BLAS.reason)
