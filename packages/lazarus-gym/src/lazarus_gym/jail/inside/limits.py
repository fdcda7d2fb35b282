"""Limits of memory, files and processes, set once after the targets are loaded."""

import os
import resource
import sys
import threading
import time
from pathlib import Path

MAX_FILE_BYTES = 1_000_000
"""Largest file that a verdict may write into its folder."""
MAX_FILES = 64
WATCH_EVERY_S = 0.02
OUT_OF_MEMORY = 77
"""Exit code of a worker whose watchdog found too much memory."""


def limit_memory(extra_bytes: int) -> str:
    """Bounds what verdicts may allocate beyond what is in use now. Returns the name of the means.

    Linux bounds the address space, so an allocation fails at once. macOS does not enforce that bound: there a thread ends
    the process when its peak of resident memory is too high.

    Args:
        extra_bytes: Bytes that may be added.
    """
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        limit = pages * resource.getpagesize() + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return "address space"
    watch_memory(extra_bytes)
    return "watchdog"


def watch_memory(extra_bytes: int) -> None:
    """Starts a thread that ends the process when its resident memory grew by too much.

    Args:
        extra_bytes: Bytes that may be added.
    """
    limit = _resident() + extra_bytes

    def watch() -> None:
        while _resident() <= limit:
            time.sleep(WATCH_EVERY_S)
        os._exit(OUT_OF_MEMORY)

    threading.Thread(target=watch, daemon=True).start()


def limit_files_and_processes() -> None:
    """Bounds files and their size, forbids core dumps and, where the user is not root, further processes."""
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def _resident() -> int:
    """Resident memory, in bytes; on macOS its peak. On Linux a peak would be that of the parent: it survives `exec`."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
