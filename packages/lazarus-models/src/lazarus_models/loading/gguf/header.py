"""Reads the header of a GGUF file: metadata and the place of every tensor. No weight is read.

The file is untrusted. Every count, length and offset is compared with the size of the file before anything of that size is
allocated. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from pathlib import Path
from typing import IO, Any

from lazarus_core.bounded import open_file
from lazarus_models.errors import UnsupportedModel, WeightsError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)  # version 1 has counts of 32 bits, and no published file uses it
_MAX_ENTRIES = 1 << 16  # metadata keys, or tensors; the largest published models have about 2,000 tensors
_MAX_KEY = 1 << 16  # bytes of a key, by the format
_MAX_NAME = 256  # bytes of a tensor's name; the format allows 64
_MAX_DIMENSIONS = 4
_MAX_HEADER = 1 << 28  # bytes of metadata and tensor descriptions; the vocabulary of Gemma 3 needs 7 million
_MAX_ALIGNMENT = 1 << 20
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_BOOL = 7
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
"""Letters of `struct` by the format's number of a type."""
_LEAST_ENTRY = 8 + 4 + 1  # bytes of the shortest entry: an empty key, its type and one byte
_LEAST_TENSOR = 8 + 4 + 4 + 8  # bytes of the shortest description: an empty name, no dimensions, a type, an offset


class TensorType(IntEnum):
    """The format's numbers of the types of tensors that are read."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q8_0 = 8
    Q4_K = 12
    Q6_K = 14
    BF16 = 30


BLOCKS: dict[TensorType, tuple[int, int]] = {
    TensorType.F32: (1, 4),
    TensorType.F16: (1, 2),
    TensorType.BF16: (1, 2),
    TensorType.Q4_0: (32, 18),
    TensorType.Q4_1: (32, 20),
    TensorType.Q8_0: (32, 34),
    TensorType.Q4_K: (256, 144),
    TensorType.Q6_K: (256, 210),
}
"""Weights of a block, and its bytes."""
_NAMES = {6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS"} | {
    18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32"
} | {27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}  # fmt: skip


@dataclass(frozen=True)
class GgufTensor:
    """The description of a tensor."""

    shape: tuple[int, ...]
    """Rows first, as in numpy; the file has the reverse order."""
    type: TensorType
    offset: int
    """First byte in the file."""
    nbytes: int


@dataclass(frozen=True)
class GgufHeader:
    """The content of a file without the weights."""

    metadata: dict[str, Any]
    """Numbers, texts, booleans, and lists of one of them, by key."""
    tensors: dict[str, GgufTensor]
    """In the order of the file."""


def read_gguf_header(path: Path) -> GgufHeader:
    """Reads the header of a file and checks it.

    Raises:
        WeightsError: The file is not a GGUF file, truncated or damaged; the message gives the byte.
        UnsupportedModel: A tensor has a type that is not read, or the file is big-endian.
    """
    with open_file(path) as stream:
        stream.seek(0, 2)
        size = stream.tell()
        stream.seek(0)
        return _Cursor(path, stream, size).header()


class _Cursor:
    """A position in the file, with a check before every read."""

    def __init__(self, path: Path, stream: IO[bytes], size: int) -> None:
        self._path, self._size, self._at = path, size, 0
        self._bytes = memoryview(stream.read(min(size, _MAX_HEADER)))

    def header(self) -> GgufHeader:
        if bytes(self._bytes[:4]) != _MAGIC:
            raise WeightsError(f"{self._path}: not a GGUF file, which begins with `GGUF`: give another file", "LM-E264")
        self._at = 4
        version = self._number("I")
        if version & 0xFFFF == 0 and version:
            raise UnsupportedModel(f"{self._path}: a big-endian GGUF file; convert it on its machine", "LM-E266")
        if version not in _VERSIONS:
            raise UnsupportedModel(f"{self._path}: version {version} of GGUF is not read; 2 and 3 are", "LM-E266")
        num_tensors, num_keys = self._number("Q"), self._number("Q")
        self._refuse_count(num_keys, _LEAST_ENTRY, _MAX_ENTRIES, "metadata keys")
        self._refuse_count(num_tensors, _LEAST_TENSOR, _MAX_ENTRIES, "tensors")
        metadata: dict[str, Any] = {}
        for _ in range(num_keys):
            key = self._text(_MAX_KEY, "a key")
            if key in metadata:
                raise self._damaged(f"the key {key[:80]!r} twice")
            metadata[key] = self._value(self._number("I"), key)
        described = [self._description() for _ in range(num_tensors)]
        return GgufHeader(metadata, self._placed(described, metadata.get("general.alignment", _DEFAULT_ALIGNMENT)))

    def _damaged(self, problem: str) -> WeightsError:
        return WeightsError(
            f"{self._path}: truncated or not a GGUF file (byte {self._at:,} of {self._size:,}: {problem}); fetch or "
            "write it again",
            "LM-E264",
        )

    def _take(self, count: int) -> memoryview:
        end = self._at + count
        if end > len(self._bytes):
            limit = "the end of the file" if len(self._bytes) == self._size else f"the limit of {_MAX_HEADER:,} bytes"
            raise self._damaged(f"{count:,} bytes beyond {limit}")
        taken, self._at = self._bytes[self._at : end], end
        return taken

    def _number(self, letter: str) -> Any:
        return struct.unpack("<" + letter, self._take(struct.calcsize("<" + letter)))[0]

    def _refuse_count(self, count: int, least_bytes: int, limit: int, what: str) -> None:
        most = min(limit, (len(self._bytes) - self._at) // least_bytes)
        if count > most:
            raise self._damaged(f"{count:,} {what}; at most {most:,} fit")

    def _text(self, limit: int, what: str) -> str:
        length = self._number("Q")
        self._refuse_count(length, 1, limit, f"bytes of {what}")
        try:
            return str(self._take(length), "utf-8")
        except UnicodeDecodeError:
            raise self._damaged(f"{what} is not UTF-8") from None

    def _value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self._text(_MAX_HEADER, f"`{key[:80]}`")
        if kind == _ARRAY:
            return self._array(self._number("I"), key)
        if kind not in _SCALARS:
            raise self._damaged(f"`{key[:80]}` has the unknown type {kind}")
        number = self._number(_SCALARS[kind])
        return bool(number) if kind == _BOOL else number

    def _array(self, kind: int, key: str) -> list[Any]:
        length = self._number("Q")
        if kind == _STRING:
            self._refuse_count(length, 8, _MAX_HEADER, f"texts of `{key[:80]}`")
            return [self._text(_MAX_HEADER, f"`{key[:80]}`") for _ in range(length)]
        if kind not in _SCALARS:
            raise self._damaged(f"`{key[:80]}` is an array of the unknown type {kind}")
        width = struct.calcsize("<" + _SCALARS[kind])
        self._refuse_count(length, width, _MAX_HEADER, f"numbers of `{key[:80]}`")
        numbers = list(struct.unpack(f"<{length}{_SCALARS[kind]}", self._take(length * width)))
        return [bool(number) for number in numbers] if kind == _BOOL else numbers

    def _description(self) -> tuple[str, tuple[int, ...], TensorType, int]:
        name = self._text(_MAX_NAME, "a tensor's name")
        dimensions = self._number("I")
        self._refuse_count(dimensions, 8, _MAX_DIMENSIONS, f"dimensions of `{name}`")
        shape = tuple(self._number("Q") for _ in range(dimensions))
        kind, offset = self._number("I"), self._number("Q")
        if kind not in list(TensorType):
            said = f"{_NAMES[kind]}" if kind in _NAMES else f"of the unknown type {kind}"
            known = ", ".join(one.name for one in TensorType)
            raise UnsupportedModel(f"{self._path}: `{name}` is {said}, which is not read; {known} are", "LM-E266")
        return name, shape[::-1], TensorType(kind), offset

    def _placed(
        self, described: list[tuple[str, tuple[int, ...], TensorType, int]], alignment: Any
    ) -> dict[str, GgufTensor]:
        """Tensors by name, with bytes inside of the file that no other tensor has."""
        is_power = type(alignment) is int and 0 < alignment <= _MAX_ALIGNMENT and not alignment & (alignment - 1)
        if not is_power:
            raise self._damaged(f"`general.alignment` is {alignment!r}, not a power of two up to {_MAX_ALIGNMENT:,}")
        start = -(-self._at // alignment) * alignment
        tensors: dict[str, GgufTensor] = {}
        for name, shape, kind, offset in described:
            weights, width = BLOCKS[kind]
            if not shape or shape[-1] % weights:
                raise self._damaged(f"`{name}` has the shape {shape}, but {kind.name} has blocks of {weights}")
            nbytes = prod(shape) // weights * width
            if start + offset + nbytes > self._size:
                raise self._damaged(f"`{name}` ends at byte {start + offset + nbytes:,}")
            if name in tensors:
                raise self._damaged(f"`{name}` twice")
            tensors[name] = GgufTensor(shape, kind, start + offset, nbytes)
        end = start
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1].offset):
            if tensor.offset < end:
                raise self._damaged(f"`{name}` overlaps another tensor")
            end = tensor.offset + tensor.nbytes
        return tensors
