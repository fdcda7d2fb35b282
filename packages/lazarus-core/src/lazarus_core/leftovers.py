"""Remove the temporary files of killed processes before the same output is written again.

A file or folder is written as `.NAME.PID.tmp` and renamed to `NAME`. A folder that is replaced is called `.NAME.PID.old`
in between. The writer locks its temporary file. A leftover is removed if its process has ended and its lock is free;
the lock covers writers on other machines that share the disk.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path


def beside(path: Path, ending: str = "tmp") -> Path:
    """Temporary path in the same folder, for the new or the replaced content of `path`. It contains the process id.

    Args:
        path: The file or folder that is written.
        ending: Last part of the name: `tmp` for a new file, `old` for a replaced one that is moved aside.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Lock a file or folder as being written, until the block or the process ends."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.(?P<ending>old\.tmp|tmp|old|part)")
"""Name of a temporary file or folder. Early versions wrote `.old.tmp`, too."""


def clear_folder(folder: Path) -> None:
    """Remove all temporary files in a folder that this process has locked; other files stay.

    The numbers of processes are not compared with those that run: after a restart of a machine or container, another
    process often has the number of the killed one. A folder that was moved aside is restored if its name is free.
    """
    try:
        with os.scandir(folder) as entries:
            found = [match for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
    except OSError:
        return  # no such folder yet, or one that cannot be listed
    for match in sorted(found, key=lambda each: each["ending"]):
        leftover, path = folder / match[0], folder / match["name"]
        if match["ending"] == "old" and not os.path.lexists(path):
            with contextlib.suppress(OSError):
                leftover.rename(path)
        else:
            remove(leftover)


def clear_leftovers(path: Path) -> None:
    """Remove the temporary files that ended processes left next to `path`.

    If a process ended between two renames and `path` is absent, the folder that was moved aside is restored. What was written
    to a temporary folder, and has a temporary name of its own, such as `..plan.7.tmp.7.tmp`, is removed too.
    """
    name = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.(tmp|old|part)")
    inner = re.compile(r"\.{2,}" + re.escape(path.name) + r"(?:\.\d+\.(?:tmp|old|part))+\.(\d+)\.(?:tmp|old|part)")
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return  # no such folder yet, or one that cannot be listed
    for match in filter(None, map(inner.fullmatch, names)):
        if not _is_in_use(path.with_name(match[0]), int(match[1])):
            remove(path.with_name(match[0]))
    found = list(filter(None, map(name.fullmatch, names)))
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
    """Remove a file, link or folder of ours. What cannot be removed stays."""
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


def abandoned(folder: Path) -> list[Path]:
    """Temporary files in a folder that no process writes any more; nothing is removed.

    A folder that was moved aside is left out while its name is free: it is the only copy. A file is also left out while
    a process of this machine has the number in its name.
    """
    try:
        with os.scandir(folder) as entries:
            found = [match for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
    except OSError:
        return []
    return sorted(
        folder / match[0]
        for match in found
        if (match["ending"] != "old" or os.path.lexists(folder / match["name"]))
        and not _is_in_use(folder / match[0], int(match["pid"]))
    )


def is_temporary(name: str) -> bool:
    """Whether a file or folder has a name of a temporary one.

    >>> is_temporary(".plan.4711.tmp"), is_temporary("plan.tmp")
    (True, False)
    """
    return _TEMPORARY.fullmatch(name) is not None
