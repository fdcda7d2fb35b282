"""Safetensors files: equal tensors give equal bytes on every machine.

`mx.load` is lazy and trusts the file, so a file is checked before it is loaded, and evaluated before this module returns.
`mx.save_safetensors` writes tensors in the order of a hash table, so this module writes them itself, sorted by name.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from lazarus_core.atomic import whole_file
from lazarus_core.bounded import open_file
from lazarus_core.strict_json import MalformedJson, parse_object
from lazarus_models.backend import mx
from lazarus_models.errors import WeightsError
from lazarus_models.trees import evaluate

_WORDS = {  # the format's names, https://github.com/huggingface/safetensors
    mx.float32: "F32",
    mx.float16: "F16",
    mx.bfloat16: "BF16",
    mx.float64: "F64",
    mx.int8: "I8",
    mx.int16: "I16",
    mx.int32: "I32",
    mx.int64: "I64",
    mx.uint8: "U8",
    mx.uint16: "U16",
    mx.uint32: "U32",
    mx.uint64: "U64",
    mx.bool_: "BOOL",
}
DTYPES = {word: dtype for dtype, word in _WORDS.items()}
"""MLX's type by the format's name."""
_LENGTH_BYTES = 8  # a file begins with the header's length, little-endian
MAX_HEADER_BYTES = 100_000_000
"""Largest header that the safetensors library reads."""
_ALIGNMENT = 8  # bytes to which the format's own writers align the data


class Stored(NamedTuple):
    """Shape and type of a tensor, from a file's header."""

    shape: tuple[int, ...]
    dtype: str
    """The format's name, such as `BF16`."""


def read_header(path: Path) -> dict[str, Stored]:
    """The shape and type of every tensor by name, without reading the data.

    Raises:
        WeightsError: The file is truncated or not a safetensors file.
    """
    _refuse_hostile_header(path)
    try:
        opened: Any = safe_open(path, framework="numpy")
        with opened as file:
            slices: dict[str, Any] = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return {name: Stored(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except SafetensorError as error:
        size = path.stat().st_size
        raise WeightsError(
            f"{path}: truncated or not a safetensors file ({size} bytes: {error}); fetch or write it again", "LM-E121"
        ) from error


def _refuse_hostile_header(path: Path) -> None:
    """Checks the size of the header and its JSON; the safetensors library checks offsets and shapes."""
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            problem = f"a header of {length:,} bytes in a file of {size:,}; at most {MAX_HEADER_BYTES:,} are read"
            raise WeightsError(
                f"{path}: truncated or not a safetensors file ({problem}); fetch or write it again", "LM-E121"
            )
        content = stream.read(length)
    try:
        parse_object(content)
    except MalformedJson as error:
        raise WeightsError(
            f"{path}: truncated or not a safetensors file ({size} bytes: the header: {error.message}); fetch or write it again",
            "LM-E121",
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a file's header."""
    read_header(path)
    opened: Any = safe_open(path, framework="numpy")
    with opened as file:
        return file.metadata() or {}


def load_tensors(path: Path) -> dict[str, mx.array]:
    """Reads every tensor of a file into memory, sorted by name.

    Raises:
        WeightsError: The file is truncated or not a safetensors file.
    """
    read_header(path)
    with plain_name(path) as name:
        tensors: dict[str, mx.array] = mx.load(name)  # pyright: ignore[reportAssignmentType] (the stub names every format's result)
        evaluate(tensors)
    return dict(sorted(tensors.items()))


def save_tensors(tensors: Mapping[str, mx.array], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors, sorted by name, to a temporary file that then replaces the target.

    Args:
        tensors: Arrays of any shape by name.
        path: The target; an existing file is replaced completely or not at all.
        metadata: Texts for the header. None for `{"format": "pt"}`, which transformers requires.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted((metadata or {"format": "pt"}).items()))}
    offset = 0
    for name, tensor in sorted(tensors.items()):
        span = [offset, offset := offset + tensor.nbytes]
        header[name] = {"dtype": _WORDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": span}
    words = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    words += b" " * (-len(words) % _ALIGNMENT)
    with whole_file(path) as file:
        file.write(len(words).to_bytes(8, "little") + words)
        for _, tensor in sorted(tensors.items()):
            file.write(_bytes(tensor))


@contextlib.contextmanager
def plain_name(path: Path) -> Generator[str]:
    """A name that MLX can open: a link if the file's own name is not ASCII or does not end in `.safetensors`."""
    if path.suffix == ".safetensors" and str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "file.safetensors"
        link.symlink_to(path.resolve(strict=True))
        yield str(link)


def _bytes(tensor: mx.array) -> memoryview:
    raw: Any = tensor.flatten().view(mx.uint8)
    return memoryview(raw)
