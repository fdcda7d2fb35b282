"""Arrays of images and labels in an `.npz` file of NumPy. The file is never unpickled."""

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.bounded import open_file
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.source import DAMAGED, MAX_SIDE, SETTING, SOURCE, Image, check_shape

_MAX_BYTES = 4 << 30
"""Most decompressed bytes of the arrays of a file."""
_DAMAGE = (
    *(ArithmeticError, EOFError, KeyError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What `zipfile` and NumPy raise for damaged archives and heads of arrays."""


@dataclass(frozen=True)
class NpzImages:
    """Implements `ImageSource` for an `.npz` file.

    Args:
        path: The file.
        grey: Grey values, (N, H, W).
        label_values: Labels, (N,), or None.
    """

    path: Path
    grey: NDArray[np.uint8]
    label_values: NDArray[np.int64] | None

    @classmethod
    def open(cls, path: Path, array: str | None, label_array: str | None) -> "NpzImages":
        """Reads the arrays.

        Args:
            path: The file.
            array: Name of the images; None for the only array that can be.
            label_array: Name of the labels; None for the only array that can be.

        Raises:
            SampleError: The file is damaged, or the arrays cannot be told.
        """
        arrays = _read(path)
        grey = _choose(arrays, array, path, "array", "bytes (N, H, W)", _are_images)
        count = len(grey)
        if not count:
            raise SampleError(f"{path} has no images", DAMAGED)
        check_shape((grey.shape[1], grey.shape[2]), path)

        def are_labels(each: NDArray[Any]) -> bool:
            return each.ndim == 1 and each.dtype.kind in "iu" and len(each) == count

        may_be = [name for name, each in arrays.items() if are_labels(each)]
        if label_array is None and not may_be:
            return cls(path, grey, None)
        labels = _choose(arrays, label_array, path, "label_array", f"integers ({count},)", are_labels)
        if labels.min() < 0 or labels.max() >= MAX_SIDE * MAX_SIDE:
            raise SampleError(f"{path}: a label is {labels.min()} or {labels.max()}, out of range", DAMAGED)
        return cls(path, grey, labels.astype(np.int64))

    @property
    def files(self) -> tuple[Path, ...]:
        """See `ImageSource.files`."""
        return (self.path,)

    @property
    def shape(self) -> tuple[int, int]:
        """See `ImageSource.shape`."""
        return self.grey.shape[1], self.grey.shape[2]

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
        for number, grey in enumerate(self.grey):
            yield Image(str(number), grey, None if self.label_values is None else int(self.label_values[number]))


def _are_images(each: NDArray[Any]) -> bool:
    return each.ndim == 3 and each.dtype == np.uint8


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with open_file(path) as stream:
            with zipfile.ZipFile(stream) as archive:
                size = sum(each.file_size for each in archive.infolist())
            if size > _MAX_BYTES:
                raise SampleError(f"{path} has arrays of {size:,} bytes, more than {_MAX_BYTES:,}", DAMAGED)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise SampleError(f"{path} is not a file of arrays of NumPy: {error}", DAMAGED) from error


def _choose(
    arrays: Mapping[str, NDArray[Any]], name: str | None, path: Path, field: str, form: str, fits: Any
) -> NDArray[Any]:
    """The named array, or the only one that fits."""
    shown = ", ".join(f"{each} {array.dtype}{array.shape}" for each, array in list(arrays.items())[:8]) or "none"
    if name is not None:
        if name not in arrays or not fits(arrays[name]):
            raise SampleError(f"{path}: `{field}` {name!r} is no array of {form}; arrays: {shown}", SETTING)
        return arrays[name]
    found = [each for each in arrays if fits(arrays[each])]
    if len(found) == 1:
        return arrays[found[0]]
    if not found:
        raise SampleError(f"{path} has no array of {form}; arrays: {shown}", SOURCE)
    raise SampleError(f"{path} has {len(found)} arrays of {form}: name one by `{field}`; arrays: {shown}", SETTING)
