"""What a killed process left half written, found by its name and removed by the next writer of the same output.

A file or folder is written as `.NAME.PID.tmp` and renamed to `NAME`; a folder that it replaces is `.NAME.PID.old` for that
moment. The writer locks what it writes. A leftover is removed when its process does not run any more and nobody holds
its lock: the lock covers a writer on another machine that shares the disk.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path


def beside(path: Path, ending: str = "tmp") -> Path:
    """The name under which this process writes `path`, or moves it aside."""
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Marks a file or folder as being written, until the end of the block or of the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def clear_leftovers(path: Path) -> None:
    """Removes what dead processes left beside `path` while they wrote it.

    Where one died between two renames, so that nothing is at `path`, the folder that it moved aside is put back.
    """
    name = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.(tmp|old|part)")
    try:
        with os.scandir(path.parent) as entries:
            found = [match for entry in entries if (match := name.fullmatch(entry.name))]
    except OSError:
        return  # no such folder yet, or one that cannot be listed
    for match in sorted(found, key=lambda each: each[2]):
        leftover = path.with_name(match[0])
        if _is_in_use(leftover, int(match[1])):
            continue
        with contextlib.suppress(OSError):
            if match[2] == "old" and not os.path.lexists(path):
                leftover.rename(path)
            else:
                remove(leftover)


def remove(path: Path) -> None:
    """Removes a file, a link or a folder that is ours; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _is_in_use(leftover: Path, pid: int) -> bool:
    return (pid != os.getpid() and _is_running(pid)) or _is_locked(leftover)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
