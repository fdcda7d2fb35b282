"""Readers of a model's files: plain, or with a hash of every file.

A file can be replaced between hashing and reading. `HashedFiles` opens every file once, so its digests are those of the bytes
that were loaded. It needs memory for the model and one tensor.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, cast

import numpy as np

from lazarus_core.bounded import read_bytes
from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_models.backend import mx
from lazarus_models.config.huggingface import parse_json, read_json
from lazarus_models.errors import WeightsError
from lazarus_models.tensor_files import DTYPES, Stored, load_tensors, read_header
from lazarus_models.trees import evaluate

_LENGTH_BYTES = 8  # a safetensors file begins with the header's length
_MAX_HEADER = 100_000_000  # bytes; the largest header that the safetensors library reads


class Files(Protocol):
    """Reads the files of one model."""

    def json(self, path: Path) -> dict[str, Any]:
        """Reads a JSON object."""
        ...

    def header(self, path: Path) -> dict[str, Stored]:
        """Reads the shapes and types of the tensors of a file, by name."""
        ...

    def tensors(self, path: Path) -> Mapping[str, mx.array]:
        """Reads the tensors of a file into memory, by name."""
        ...


@dataclass(frozen=True)
class PlainFiles:
    """Reads files without hashing."""

    def json(self, path: Path) -> dict[str, Any]:
        """Reads a JSON object."""
        return read_json(path)

    def header(self, path: Path) -> dict[str, Stored]:
        """Reads the shapes and types of the tensors of a file, by name."""
        return read_header(path)

    def tensors(self, path: Path) -> Mapping[str, mx.array]:
        """Reads the tensors of a file into memory, by name."""
        return load_tensors(path)


@dataclass(frozen=True)
class HashedFiles:
    """Reads every file once, and records the SHA-256 of its bytes."""

    digests: dict[str, str] = field(default_factory=dict[str, str])
    """SHA-256 as 64 hexadecimal digits by file name, of completely read files."""
    _open: dict[Path, "_TensorFile"] = field(default_factory=dict[Path, "_TensorFile"])

    def __enter__(self) -> "HashedFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            file.close()

    def json(self, path: Path) -> dict[str, Any]:
        """Reads a JSON object."""
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            return read_json(path)  # raises an error that names the file
        self.digests[path.name] = hashlib.sha256(content).hexdigest()
        return parse_json(content, path)

    def header(self, path: Path) -> dict[str, Stored]:
        """Reads the shapes and types of the tensors of a file; the file stays open until its data is read."""
        read_header(path)  # raises an error for a malformed file
        self._open[path] = _TensorFile(path)
        return self._open[path].stored

    def tensors(self, path: Path) -> Mapping[str, mx.array]:
        """Reads the tensors of a file into memory, by name."""
        if path not in self._open:
            self.header(path)
        file = self._open.pop(path)
        with file:
            tensors = dict(sorted(file.read()))
        self.digests[path.name] = file.digest
        return tensors


def load_hashed(path: Path) -> tuple[dict[str, mx.array], str]:
    """Reads the tensors of a file.

    Returns:
        The tensors by name, and the SHA-256 of the file's bytes as 64 hexadecimal digits.

    Raises:
        WeightsError: The file is truncated or not a safetensors file.
    """
    with HashedFiles() as files:
        tensors = dict(files.tensors(path))
        return tensors, files.digests[path.name]


class _TensorFile:
    """An open safetensors file, read once from the first byte to the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[bytes] = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        try:
            self._spans = self._read_header()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> "_TensorFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()

    @property
    def stored(self) -> dict[str, Stored]:
        """Shape and type of every tensor, from the header."""
        return {name: stored for name, stored, _ in self._spans}

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes read so far."""
        return self._hash.hexdigest()

    def read(self) -> Iterator[tuple[str, mx.array]]:
        """Reads every tensor, in the order of the file."""
        for name, stored, size in self._spans:
            raw = mx.array(np.frombuffer(self._take(size), dtype=np.uint8))
            dtype = DTYPES[stored.dtype]
            tensor = mx.reshape(mx.view(raw, dtype) if size else mx.zeros((0,), dtype), stored.shape)
            evaluate(tensor)
            yield name, tensor
        if self._stream.read(1):
            raise self._damaged("bytes follow the last tensor")

    def _read_header(self) -> list[tuple[str, Stored, int]]:
        """Name, description and number of bytes of every tensor, in the order of the data."""
        length = int.from_bytes(self._take(_LENGTH_BYTES), "little")
        left = os.fstat(self._stream.fileno()).st_size - _LENGTH_BYTES - length
        if length > _MAX_HEADER or left < 0:
            raise self._damaged(f"a header of {length} bytes")
        try:
            members = parse_object(bytes(self._take(length)))
        except MalformedLine as error:
            raise self._damaged(error.problem) from error
        members.pop("__metadata__", None)
        spans: list[tuple[str, Stored, int]] = []
        offset = 0
        for name, said in sorted(members.items(), key=lambda item: _begin(item[1])):
            stored, size = self._describe(name, said, offset)
            spans.append((name, stored, size))
            offset += size
        if offset != left:
            raise self._damaged(f"tensors of {offset} bytes in {left}")
        return spans

    def _describe(self, name: str, said: Any, offset: int) -> tuple[Stored, int]:
        try:
            shape, dtype = tuple(int(width) for width in said["shape"]), str(said["dtype"])
            size = int(np.prod(shape, dtype=object)) * DTYPES[dtype].size
            if list(said["data_offsets"]) != [offset, offset + size] or min(shape, default=0) < 0:
                raise ValueError("the offsets do not fit the shape")
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(f"`{name}`: {error}") from error
        return Stored(shape, dtype), size

    def _take(self, size: int) -> memoryview:
        """The next bytes of the file, hashed."""
        buffer = memoryview(bytearray(size))
        done = 0
        while done < size:
            count = cast("int | None", self._stream.readinto(buffer[done:]))  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] (a raw file has it)
            if not count:
                raise self._damaged(f"{size - done} bytes are missing")
            done += count
        self._hash.update(buffer)
        return buffer

    def _damaged(self, problem: str) -> WeightsError:
        return WeightsError(
            f"{self._path}: truncated or not a safetensors file ({problem}); fetch or write it again", "LM-E121"
        )


def _begin(said: Any) -> int:
    """The first offset of a tensor's data, for sorting; malformed entries come first and are refused later."""
    try:
        return int(said["data_offsets"][0])
    except (KeyError, TypeError, ValueError, IndexError):
        return -1
