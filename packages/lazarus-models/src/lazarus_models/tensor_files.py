"""Safetensors files: the same tensors are the same bytes on every machine.

`mx.load` is lazy and trusts the file, so a file is checked before it is loaded and evaluated before it is left;
`mx.save_safetensors` orders tensors by a hash table, so writing is done here, in the order of the names.
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
_LENGTH_BYTES = 8  # of the header's length, which a file begins with
MAX_HEADER_BYTES = 100_000_000
"""What safetensors itself reads at most."""
_ALIGNMENT = 8  # bytes; what the format's own writers align the data to


class Stored(NamedTuple):
    """A tensor as a file's header describes it."""

    shape: tuple[int, ...]
    dtype: str
    """The format's word, such as `BF16`."""


def read_header(path: Path) -> dict[str, Stored]:
    """Every tensor by name, without reading the data.

    Raises:
        WeightsError: The file is truncated or no safetensors file.
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
            f"{path}: truncated or no safetensors file ({size} bytes: {error}); fetch or write it again", "LM-E121"
        ) from error


def _refuse_hostile_header(path: Path) -> None:
    """Checks the file's kind, the size of its header, and the JSON in it; safetensors compares offsets and shapes."""
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            problem = f"a header of {length:,} bytes in a file of {size:,}; at most {MAX_HEADER_BYTES:,} are read"
            raise WeightsError(
                f"{path}: truncated or no safetensors file ({problem}); fetch or write it again", "LM-E121"
            )
        content = stream.read(length)
    try:
        parse_object(content)
    except MalformedJson as error:
        raise WeightsError(
            f"{path}: truncated or no safetensors file ({size} bytes: the header: {error.message}); fetch or write it again",
            "LM-E121",
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Words in a file's header."""
    read_header(path)
    opened: Any = safe_open(path, framework="numpy")
    with opened as file:
        return file.metadata() or {}


def load_tensors(path: Path) -> dict[str, mx.array]:
    """Every tensor of a file, in memory when this returns."""
    read_header(path)
    with plain_name(path) as name:
        tensors: dict[str, mx.array] = mx.load(name)  # pyright: ignore[reportAssignmentType] (the stub names every format's result)
        evaluate(tensors)
    return dict(sorted(tensors.items()))


def save_tensors(tensors: Mapping[str, mx.array], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors in the order of their names, beside the target first, then in its place.

    Args:
        tensors: Name -> array, of any shape.
        path: The file; one that exists is replaced whole or not at all.
        metadata: Words for the header. transformers asks for `{"format": "pt"}`, the default.
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
    """A name that MLX can open, of a file whose own may be no UTF-8 or end otherwise."""
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
