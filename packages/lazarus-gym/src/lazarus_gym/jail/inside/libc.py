"""System calls that Python has no function for: namespaces, Landlock, privileges. Linux only; elsewhere nothing happens."""

import ctypes
import os
import struct
import sys
from pathlib import Path

_NO_NEW_PRIVS = 38
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of Landlock's calls; the same on all architectures."""
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITES = sum(1 << bit for bit in (1, *range(4, 13)))
"""Landlock's rights to write, remove and make files."""
_EXECUTE = 1
_TRUNCATE_SINCE, _TRUNCATE = 3, 1 << 14
_REFER_SINCE, _REFER = 2, 1 << 13


def system_call(number: int, *args: int) -> int:
    """Result of a system call, -1 for an error.

    Args:
        number: Number of the call.
        args: Integers and addresses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in args)))


def _prctl(option: int, value: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0


def no_new_privileges() -> bool:
    """Gives up set-user-id programs; seccomp and Landlock ask for it."""
    return sys.platform == "linux" and _prctl(_NO_NEW_PRIVS, 1)


def leave_network() -> bool:
    """Moves the process into a network namespace of its own, which has no interface. Returns whether that was possible.

    Root needs no user namespace for it; others need one, which some systems forbid. Call it before there are threads.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    ways = (_NEW_NET, _NEW_USER | _NEW_NET) if os.geteuid() == 0 else (_NEW_USER | _NEW_NET,)
    return any(libc.unshare(flags) == 0 for flags in ways)


def only_write_below(folder: Path) -> bool:
    """Landlock: writes below one folder only, and no program started. Returns whether the kernel took it.

    Args:
        folder: An existing folder.
    """
    if sys.platform != "linux":
        return False
    version = system_call(_CREATE_RULESET, 0, 0, _VERSION_FLAG)
    if version < 1 or not no_new_privileges():
        return False
    writes = _WRITES | (_REFER if version >= _REFER_SINCE else 0) | (_TRUNCATE if version >= _TRUNCATE_SINCE else 0)
    attributes = ctypes.create_string_buffer(struct.pack("=Q", writes | _EXECUTE), 8)
    rules = system_call(_CREATE_RULESET, ctypes.addressof(attributes), 8, 0)
    if rules < 0:
        return False
    below = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", writes, below), 12)
        added = system_call(_ADD_RULE, rules, _PATH_BENEATH, ctypes.addressof(rule), 0)
        return added == 0 and system_call(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(below)
        os.close(rules)
