"""IDX files, as MNIST has them: a header of big-endian numbers, then bytes (yann.lecun.com/exdb/mnist).

```
images  0x00000803  count  height  width  bytes..        labels  0x00000801  count  bytes..
```
"""

import gzip
import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lazarus_core.bounded import open_file
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.source import DAMAGED, Image, check_shape

_IMAGES, _LABELS = 0x803, 0x801
_MAX_LABEL_BYTES = 1 << 28
"""Most bytes of a file of labels, decompressed: one a label."""


@dataclass(frozen=True)
class IdxImages:
    """Implements `ImageSource` for a pair of IDX files, or one without labels.

    Args:
        path: File of the images.
        label_path: File of the labels, or None.
        count: Number of images.
        shape: Height and width.
        label_values: The labels, (N,), or None.
    """

    path: Path
    label_path: Path | None
    count: int
    shape: tuple[int, int]
    label_values: NDArray[np.uint8] | None

    @classmethod
    def open(cls, path: Path) -> "IdxImages":
        """Reads the header and the labels.

        Raises:
            SampleError: A file is damaged, or the files do not belong together.
        """
        with _opened(path) as stream:
            count, height, width = _header(stream, path, _IMAGES, 3)
        check_shape((height, width), path)
        label_path = _label_path(path)
        labels = None if label_path is None else _read_labels(label_path)
        if labels is not None and len(labels) != count:
            raise SampleError(f"{label_path} has {len(labels):,} labels for the {count:,} images of {path}", DAMAGED)
        if not count:
            raise SampleError(f"{path} has no images", DAMAGED)
        return cls(path, label_path, count, (height, width), labels)

    @property
    def files(self) -> tuple[Path, ...]:
        """See `ImageSource.files`."""
        return (self.path,) if self.label_path is None else (self.path, self.label_path)

    @property
    def labels(self) -> int:
        """See `ImageSource.labels`."""
        return 0 if self.label_values is None else int(self.label_values.max()) + 1

    @property
    def label_names(self) -> tuple[str, ...]:
        """See `ImageSource.label_names`."""
        return ()

    def images(self) -> Iterator[Image]:
        """See `ImageSource.images`."""
        size = self.shape[0] * self.shape[1]
        with _opened(self.path) as stream:
            _header(stream, self.path, _IMAGES, 3)
            for number in range(self.count):
                grey = np.frombuffer(_exactly(stream, size, self.path, f"image {number}"), np.uint8)
                label = None if self.label_values is None else int(self.label_values[number])
                yield Image(str(number), grey.reshape(self.shape), label)
            if stream.read(1):
                raise SampleError(f"{self.path} has bytes after its last image: fetch it again", DAMAGED)


def _label_path(path: Path) -> Path | None:
    """The file of the labels that belongs to a file of images, compressed or not; None if there is none."""
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    found = [path.with_name(each) for each in (name, f"{name}.gz")]
    return next((each for each in found if each != path and each.is_file()), None)


def _read_labels(path: Path) -> NDArray[np.uint8]:
    with _opened(path) as stream:
        (count,) = _header(stream, path, _LABELS, 1)
        if count > _MAX_LABEL_BYTES:
            raise SampleError(f"{path} has {count:,} labels, more than {_MAX_LABEL_BYTES:,}", DAMAGED)
        labels = np.frombuffer(_exactly(stream, count, path, "the labels"), np.uint8)
        if stream.read(1):
            raise SampleError(f"{path} has bytes after its last label: fetch it again", DAMAGED)
    return labels


def _header(stream: IO[bytes], path: Path, magic: int, axes: int) -> tuple[int, ...]:
    """The sizes of a file's axes."""
    found, *sizes = struct.unpack(f">{1 + axes}I", _exactly(stream, 4 * (1 + axes), path, "the header"))
    if found != magic:
        raise SampleError(
            f"{path} begins with {found:#010x}, not {magic:#010x}: it is not an IDX file of bytes with {axes} axes",
            DAMAGED,
        )
    return tuple(sizes)


def _exactly(stream: IO[bytes], size: int, path: Path, what: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise SampleError(f"{path} ends within {what}: fetch it again", DAMAGED)
    return content


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    """Context manager: the decompressed bytes. Damage of the compression is an error that names the file."""
    with open_file(path) as stream:
        try:
            if path.name.endswith(".gz"):
                with gzip.open(stream) as plain:
                    yield plain  # pyright: ignore[reportReturnType] (GzipFile is a binary stream)
            else:
                yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SampleError(f"{path} is damaged: {error}; fetch it again", DAMAGED) from error
