"""OpenBLAS from the package index (the extra `blas`), for Linux machines where none can be installed.

Its symbols have a prefix, so the dynamic linker never gives them to MLX; but MLX's library calls `cblas_sgemm` and its
kin through a table of addresses, and the entries of these are overwritten here. What MLX computes afterwards is compared
with exact products, and the old addresses come back if it differs. It needs glibc's lazily bound, writable table; where
that is not found, nothing is changed.
"""

import ctypes
import mmap
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lazarus_models.blas import SYSTEM_HINT, BlasInfo, describe

PACKAGE = "scipy_openblas32"
_CALLS = ("cblas_sgemm", "cblas_dgemm", "cblas_cgemm")
_JUMP_SLOTS = (7, 1026)  # R_X86_64_JUMP_SLOT, R_AARCH64_JUMP_SLOT
_DYNAMIC, _LOAD = 2, 1  # program headers
_PLTRELSZ, _STRTAB, _SYMTAB, _JMPREL = 2, 5, 6, 23  # entries of the dynamic section


class _Segment(NamedTuple):
    """A program header of ELF, 64 bits."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    size: int
    memory: int
    alignment: int


def use_packaged_blas(found: BlasInfo) -> BlasInfo:
    """Points MLX, imported before, at the packaged OpenBLAS, if it is installed.

    Returns:
        What MLX multiplies with now; `found` with the reason where it could not be changed.
    """
    spec = find_spec(PACKAGE)
    path = next(iter(Path(spec.origin).parent.glob("lib/lib*openblas*.so")), None) if spec and spec.origin else None
    if path is None:
        return found
    library = ctypes.CDLL(str(path))
    slots = _slots()
    if set(slots) != set(_CALLS):
        return _not_this_one("MLX's library has no table to enter it in")
    before = {name: slot.value for name, slot in slots.items()}
    for name, slot in slots.items():
        slot.value = ctypes.cast(library[f"scipy_{name}"], ctypes.c_void_p).value
    if not _multiplies_rightly():
        for name, slot in slots.items():
            slot.value = before[name]
        return _not_this_one("MLX multiplies wrongly with it")
    return describe(library, PACKAGE, "the extra `blas`", str(path), prefix="scipy_")


def _not_this_one(why: str) -> BlasInfo:
    return BlasInfo("builtin", f"{PACKAGE} is installed, but {why}; install the system's OpenBLAS ({SYSTEM_HINT})")


def _slots() -> dict[str, ctypes.c_void_p]:
    """Where MLX's library keeps the addresses that it calls."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, _, offset, *_, name = line.split(maxsplit=5)
        if name.endswith("/libmlx.so") and int(offset, 16) == 0:
            start = int(span.partition("-")[0], 16)
            return {call: ctypes.c_void_p.from_address(start + place) for call, place in _places(Path(name))}
    return {}


def _places(path: Path) -> Iterator[tuple[str, int]]:
    """Name and address of the entries of `_CALLS`, relative to where the library is loaded."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as elf:
        (table,) = struct.unpack_from("<Q", elf, 32)
        size, count = struct.unpack_from("<HH", elf, 54)
        segments = [_Segment(*struct.unpack_from("<IIQQQQQQ", elf, table + size * place)) for place in range(count)]

        def offset(address: int) -> int:
            held = next(
                one for one in segments if one.kind == _LOAD and one.address <= address < one.address + one.size
            )
            return address - held.address + held.offset

        dynamic = next(one for one in segments if one.kind == _DYNAMIC)
        said = dict(struct.iter_unpack("<QQ", elf[dynamic.offset : dynamic.offset + dynamic.size]))
        jumps, symbols, names = offset(said[_JMPREL]), offset(said[_SYMTAB]), offset(said[_STRTAB])
        for slot, info, _ in struct.iter_unpack("<QQq", elf[jumps : jumps + said[_PLTRELSZ]]):
            (name_at,) = struct.unpack_from("<I", elf, symbols + 24 * (info >> 32))
            name = elf[names + name_at : elf.find(b"\0", names + name_at)].decode("ascii")
            if name in _CALLS and info & 0xFFFFFFFF in _JUMP_SLOTS:
                yield name, slot


def _multiplies_rightly() -> bool:
    """Whether products of small whole numbers, which float32 holds exactly, are what numpy says, each way around."""
    import mlx.core as mx  # `backend` imports this module
    import numpy as np

    left = (np.arange(67 * 129) % 13 - 6).astype(np.float32).reshape(67, 129)
    right = (np.arange(129 * 35) % 11 - 5).astype(np.float32).reshape(129, 35)
    expected = left @ right
    turned_left, turned_right = np.ascontiguousarray(left.T), np.ascontiguousarray(right.T)
    found = (
        mx.array(left) @ mx.array(right),
        mx.array(turned_left).T @ mx.array(right),
        mx.array(left) @ mx.array(turned_right).T,
        mx.array(left[:1]) @ mx.array(right),
    )
    return all(np.array_equal(np.array(one, np.float32), expected[: one.shape[0]]) for one in found)
