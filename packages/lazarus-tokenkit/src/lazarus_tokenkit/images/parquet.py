"""A Parquet file of images, as data sets of the hub have them: `image` is an image file as bytes, `label` a number."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.pictures import read_grey
from lazarus_tokenkit.images.source import DAMAGED, Image
from lazarus_tokenkit.samples.files import read_objects
from lazarus_tokenkit.samples.placed_row import PlacedRow
from lazarus_tokenkit.tokenizers.backends.pixels import MAX_LABELS

IMAGE, LABEL = "image", "label"


@dataclass(frozen=True)
class ParquetImages:
    """Implements `ImageSource` for a Parquet file.

    Args:
        path: The file.
        shape: Height and width of the first image.
        labels: Largest label plus one.
    """

    path: Path
    shape: tuple[int, int]
    labels: int

    @classmethod
    def open(cls, path: Path) -> "ParquetImages":
        """Reads the first image, and the labels of all rows.

        Raises:
            SampleError: The file is damaged, or a row has no image.
        """
        shape: tuple[int, int] | None = None
        labels = 0
        for row in read_objects(path):
            if shape is None:
                grey = read_grey(_content(row), row.place)
                shape = grey.shape[0], grey.shape[1]
            labels = max(labels, (_label(row) if LABEL in row.members else -1) + 1)
        if shape is None:
            raise SampleError(f"{path} has no images", DAMAGED)
        return cls(path, shape, labels)

    @property
    def files(self) -> tuple[Path, ...]:
        """See `ImageSource.files`."""
        return (self.path,)

    @property
    def label_names(self) -> tuple[str, ...]:
        """See `ImageSource.label_names`."""
        return ()

    def images(self) -> Iterator[Image]:
        """See `ImageSource.images`."""
        for number, row in enumerate(read_objects(self.path)):
            grey = read_grey(_content(row), row.place)
            if grey.shape != self.shape:
                sizes = f"{grey.shape[0]} x {grey.shape[1]}", f"{self.shape[0]} x {self.shape[1]}"
                raise SampleError(
                    f"{row.place}: {sizes[0]} pixels, and the first image has {sizes[1]}: give images of one shape",
                    DAMAGED,
                )
            yield Image(str(number), grey, _label(row) if LABEL in row.members else None)


def _content(row: PlacedRow) -> bytes:
    value: Any = row.members.get(IMAGE)
    if isinstance(value, dict):  # the type Image of the library datasets
        value = cast("dict[str, Any]", value).get("bytes")
    if not isinstance(value, bytes):
        raise SampleError(f"{row.place}: `{IMAGE}` has no bytes: give a column with image files as bytes", DAMAGED)
    return value


def _label(row: PlacedRow) -> int:
    value = row.members[LABEL]
    if type(value) is not int or not 0 <= value < MAX_LABELS:
        raise SampleError(f"{row.place}: `{LABEL}` is not a number from 0 to {MAX_LABELS - 1:,}", DAMAGED)
    return value
