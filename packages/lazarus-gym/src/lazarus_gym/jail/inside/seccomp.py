"""A seccomp filter for Linux that refuses processes, threads, sockets, signals and privileges with EPERM.

It needs no privilege and cannot be removed. It knows the numbers of x86-64 and AArch64 (the kernel's `unistd.h`).
"""

import ctypes
import platform
import struct
from collections.abc import Mapping

from .libc import no_new_privileges, system_call

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""`AUDIT_ARCH_...` of `linux/audit.h`."""
_CALL = {"x86_64": 317, "aarch64": 277}
"""Number of `seccomp`."""
_TABLE = """
clone 56 220
fork 57 -
vfork 58 -
clone3 435 435
execve 59 221
execveat 322 281
socket 41 198
connect 42 203
accept 43 202
sendto 44 206
sendmsg 46 211
bind 49 200
listen 50 201
socketpair 53 199
kill 62 129
tkill 200 130
tgkill 234 131
pidfd_open 434 434
pidfd_send_signal 424 424
rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240
ptrace 101 117
process_vm_readv 310 270
process_vm_writev 311 271
setrlimit 160 164
prlimit64 302 261
mount 165 40
chroot 161 51
pivot_root 155 41
unshare 272 97
setns 308 268
bpf 321 280
perf_event_open 298 241
io_uring_setup 425 425
memfd_create 319 279
userfaultfd 323 282
keyctl 250 219
add_key 248 217
request_key 249 218
init_module 175 105
finit_module 313 273
kexec_load 246 104
reboot 169 142
open_by_handle_at 304 265
setpriority 141 140
"""
"""Refused calls with their numbers on x86-64 and AArch64."""
_REFUSED: Mapping[str, list[int]] = {
    machine: sorted(int(row[column]) for row in map(str.split, _TABLE.split("\n")) if row and row[column] != "-")
    for machine, column in (("x86_64", 1), ("aarch64", 2))
}
_EPERM = 1
_LOAD, _JUMP_EQUAL, _JUMP_NOT_BELOW, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of classic BPF: load a word, jump if equal, jump if not below, return."""
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_SET_FILTER, _ALL_THREADS = 1, 1
_X32 = 0x40000000
"""Calls of the x32 interface of x86-64 have this bit."""


def filter_program(machine: str) -> bytes:
    """The filter as BPF instructions of eight bytes: code, jump if true, jump if false, value.

    Args:
        machine: `x86_64` or `aarch64`.
    """
    numbers = _REFUSED[machine]
    lines = [
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # its number
        (_JUMP_NOT_BELOW, len(numbers) + 1, 0, _X32),  # to the refusal
        # A refused number jumps over the numbers after it and the line that allows.
        *((_JUMP_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERROR | _EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def refuse_calls() -> bool:
    """Installs the filter for all threads of the process. Returns whether the kernel took it."""
    machine = platform.machine()
    if machine not in _REFUSED or not no_new_privileges():
        return False
    program = filter_program(machine)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    return system_call(_CALL[machine], _SET_FILTER, _ALL_THREADS, ctypes.addressof(header)) == 0
