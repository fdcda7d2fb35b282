"""Sorting of more records than fit into memory.

Records are divided by the first bits of a 64-bit key into files of a few MB. The files in order, each sorted in memory, are
all records in order. Keys are hashes, so the files have nearly equal sizes; equal keys are in one file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTITION_BYTES = 1 << 20
"""Mean size of a partition."""
CHUNK_BYTES = 1 << 19
"""Bytes of records that are read at a time."""
_MAX_BITS = 12

Records = NDArray[Any]


class Partitions:
    """Records in files by the first bits of their keys.

    Args:
        folder: A folder for the files; it is made.
        kind: The type of a record.
        count: Number of records that will be added, for the number of files.
    """

    def __init__(self, folder: Path, kind: np.dtype[Any], count: int) -> None:
        self._folder, self._kind = folder, kind
        files = -(-count * kind.itemsize // PARTITION_BYTES)
        self._bits = min(max(files - 1, 0).bit_length(), _MAX_BITS)
        folder.mkdir()

    def add(self, records: Records, keys: Records) -> None:
        """Adds records; those with equal keys stay in the order in which they are added.

        Args:
            records: The records.
            keys: The key of each one, uint64 in any byte order.
        """
        if not self._bits:
            if len(records):  # every file has a record
                self._append(0, records)
            return
        part = (keys.astype(np.uint64) >> np.uint64(64 - self._bits)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        ends = np.cumsum(np.bincount(part, minlength=1 << self._bits))
        records = records[order]
        start = 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                self._append(number, records[start:end])
            start = end

    def __iter__(self) -> Iterator[Records]:
        """The records of each file, at least one, by ascending keys' first bits. A file is removed once it is read."""
        for number in range(1 << self._bits):
            path = self._path(number)
            if path.exists():
                records = np.fromfile(path, self._kind)
                path.unlink()
                yield records
        self._folder.rmdir()

    def _append(self, number: int, records: Records) -> None:
        with self._path(number).open("ab") as stream:
            stream.write(np.ascontiguousarray(records).view(np.uint8).data)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:04d}.bin"


def read_records(path: Path, kind: np.dtype[Any], start: int = 0, end: int | None = None) -> Iterator[Records]:
    """The records of a file, some MB at a time.

    Args:
        path: The file.
        kind: The type of a record.
        start: First record.
        end: Record after the last one; None for all.
    """
    end = count_records(path, kind) if end is None else end
    size = max(1, CHUNK_BYTES // kind.itemsize)
    while start < end:
        yield np.fromfile(path, kind, min(size, end - start), offset=start * kind.itemsize)
        start += size


def count_records(path: Path, kind: np.dtype[Any]) -> int:
    """Number of records in a file.

    Args:
        path: The file.
        kind: The type of a record.
    """
    return path.stat().st_size // kind.itemsize
