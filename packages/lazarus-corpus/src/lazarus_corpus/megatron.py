r"""Megatron's indexed data sets: token ids in `NAME.bin`, lengths and offsets in `NAME.idx`.

Layout of `.idx` (Megatron-LM, core/datasets/indexed_dataset.py), little-endian:

    9 bytes   b"MMIDIDX\0\0"
    u64       version, 1
    u8        code of the type of an id
    u64       number of sequences, n
    u64       number of document boundaries, m
    i32[n]    lengths in ids
    i64[n]    offsets in bytes in `.bin`
    i64[m]    numbers of the first sequence of each document, and n
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import whole_file
from lazarus_corpus.errors import OutputError, SettingError

MAGIC = b"MMIDIDX\0\0"
VERSION = 1
TYPES: dict[int, str] = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
_HEADER = struct.Struct("<9sQBQQ")
SMALL_VOCABULARY = 65_500
"""Below it, ids are stored in two bytes, as Megatron does."""


def id_type(vocabulary: int) -> np.dtype[Any]:
    """The smallest type that Megatron uses for a vocabulary.

    Args:
        vocabulary: Number of tokens.
    """
    return np.dtype("<u2" if vocabulary < SMALL_VOCABULARY else "<i4")


def write_megatron(
    prefix: Path | str, documents: Iterable[Iterable[Sequence[int]]], vocabulary: int
) -> tuple[int, int]:
    """Writes `PREFIX.bin` and `PREFIX.idx`.

    Args:
        prefix: Path without the ending.
        documents: For each document its sequences of ids; one sequence each, as a rule.
        vocabulary: Number of tokens; decides the type of an id.

    Returns:
        Numbers of sequences and documents.

    Raises:
        SettingError: An id is negative or not below `vocabulary`.
    """
    prefix = Path(prefix)
    kind = id_type(vocabulary)
    lengths: list[int] = []
    boundaries = [0]
    with whole_file(prefix.with_name(prefix.name + ".bin")) as stream:
        for document in documents:
            for ids in document:
                values = np.asarray(ids, np.int64)
                if len(values) and (values.min() < 0 or values.max() >= vocabulary):
                    raise SettingError(
                        f"document {len(boundaries) - 1}: an id is not in 0 to {vocabulary - 1:,}", "LD-E109"
                    )
                stream.write(values.astype(kind).tobytes())
                lengths.append(len(values))
            boundaries.append(len(lengths))
        with whole_file(prefix.with_name(prefix.name + ".idx")) as index:
            code = next(code for code, name in TYPES.items() if np.dtype(name) == kind)
            sizes = np.asarray(lengths, np.int64)
            offsets = (np.cumsum(sizes) - sizes) * kind.itemsize
            index.write(_HEADER.pack(MAGIC, VERSION, code, len(lengths), len(boundaries)))
            index.write(sizes.astype("<i4").tobytes() + offsets.astype("<i8").tobytes())
            index.write(np.asarray(boundaries, "<i8").tobytes())
    return len(lengths), len(boundaries) - 1


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of an indexed data set as rows of token ids, for length caches and training.

    The sequences of a document are joined. lazarus-tokenkit finds this function by the entry-point group `lazarus.readers`.

    Args:
        path: `PREFIX.idx`.

    Raises:
        SampleError: The files are missing, damaged, or have no token ids.
    """
    from lazarus_tokenkit.errors import SampleError

    try:
        found = MegatronData(path.with_suffix(""))
    except OutputError as error:
        raise SampleError(error.message, error.code) from error
    if found.type.kind == "f":
        raise SampleError(f"{path}: values of type {found.type} are no token ids", "LD-E145")
    for sequences in found.by_document():
        yield {"input_ids": np.concatenate(sequences) if sequences else np.empty(0, np.int64)}


class MegatronData:
    """Reads an indexed data set. The ids stay on disk.

    Args:
        prefix: Path without the ending.

    Raises:
        OutputError: The files are missing, damaged, or do not belong together.
    """

    def __init__(self, prefix: Path | str) -> None:
        prefix = Path(prefix)
        self._index, self._bin = (prefix.with_name(prefix.name + ending) for ending in (".idx", ".bin"))
        for path in (self._index, self._bin):
            if not path.is_file():
                raise OutputError(f"{path}: no such file", "LD-E145")
        with self._index.open("rb") as stream:
            head = stream.read(_HEADER.size)
            if len(head) < _HEADER.size or head[:9] != MAGIC:
                raise OutputError(f"{self._index}: not an index of Megatron", "LD-E145")
            _, version, code, count, boundaries = _HEADER.unpack(head)
            if version != VERSION or code not in TYPES:
                raise OutputError(f"{self._index}: version {version} and type {code} are not known", "LD-E145")
            size = self._index.stat().st_size
            rest = size - _HEADER.size - 12 * count - 8 * boundaries
            if rest not in (0, count):  # `count` bytes of modes follow in multimodal data
                raise OutputError(f"{self._index}: {size:,} bytes do not fit {count:,} sequences", "LD-E145")
            self.type = np.dtype(TYPES[code])
            self.lengths = np.frombuffer(stream.read(4 * count), "<i4")
            self.offsets = np.frombuffer(stream.read(8 * count), "<i8")
            self.documents = np.frombuffer(stream.read(8 * boundaries), "<i8")
        self._check()
        self._ids: NDArray[Any] = (
            np.memmap(self._bin, self.type, "r") if self._bin.stat().st_size else np.empty(0, self.type)
        )

    def _check(self) -> None:
        sizes = self.lengths.astype(np.int64) * self.type.itemsize
        ends = self.offsets + sizes
        bounds = self.documents
        is_whole = (
            (self.lengths >= 0).all()
            and (self.offsets >= 0).all()
            and (self.offsets % self.type.itemsize == 0).all()
            and self._bin.stat().st_size % self.type.itemsize == 0
            and (not len(ends) or ends.max() <= self._bin.stat().st_size)
            and len(bounds) > 0
            and bounds[0] == 0
            and bounds[-1] == len(self.lengths)
            and (np.diff(bounds) >= 0).all()
        )
        if not is_whole:
            raise OutputError(f"{self._index}: damaged, or not the index of {self._bin.name}", "LD-E145")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """The ids of a sequence.

        Args:
            number: Its number, from 0.
        """
        start = int(self.offsets[number]) // self.type.itemsize
        return self._ids[start : start + int(self.lengths[number])]

    def by_document(self) -> Iterator[list[NDArray[Any]]]:
        """The sequences of each document."""
        for start, end in zip(self.documents[:-1].tolist(), self.documents[1:].tolist(), strict=True):
            yield [self[number] for number in range(start, end)]
