"""Images of a file or folder, whatever its form: the interface of the readers, and the settings.

Images are read one at a time. All images of a source have one shape.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.tokenizers.backends.pixels import MAX_LABELS, MAX_LEVELS, MAX_PIXELS

SOURCE, DAMAGED, SETTING = "LT-E484", "LT-E485", "LT-E486"
MAX_SIDE = 4096
"""Most pixels of a side of an image, before it is shrunk. It bounds the memory of one image to 16 MiB."""


class ImageSettings(BaseModel):
    """How images become levels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    levels: PositiveInt = 8
    """Grey levels, 2 to 256."""
    shrink: PositiveInt = 1
    """Side of the square blocks of pixels of which the mean is taken. 1 leaves the images as they are."""
    labels: NonNegativeInt | None = None
    """Number of labels; None for the largest label of the source plus one."""
    limit: PositiveInt | None = None
    """Number of images that are read; None for all."""
    array: str | None = None
    """Array with the images of an `.npz` file; None for the only one that can be."""
    label_array: str | None = None
    """Array with the labels of an `.npz` file; None for the only one that can be."""


class Image(NamedTuple):
    """An image as it was read.

    Args:
        name: Id: the path in a folder, else the position.
        grey: Grey values, uint8 (H, W).
        label: The label, or None.
    """

    name: str
    grey: NDArray[np.uint8]
    label: int | None


class ImageSource(Protocol):
    """The images of a file or folder."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in a fixed order."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every image."""
        ...

    @property
    def labels(self) -> int:
        """Largest label plus one; 0 without labels."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, if the source has names for them."""
        ...

    def images(self) -> Iterator[Image]:
        """The images, in order.

        Raises:
            SampleError: An image is damaged or has another shape.
        """
        ...


def check_settings(source: ImageSource, settings: ImageSettings, place: Path) -> tuple[int, int, int]:
    """Height, width and number of labels after the settings.

    Args:
        source: The images.
        settings: Levels, blocks and labels.
        place: The source, for messages.

    Raises:
        SampleError: A setting does not fit the images.
    """
    height, width = source.shape
    if not 2 <= settings.levels <= MAX_LEVELS:
        raise SampleError(f"`levels` is {settings.levels}: give 2 to {MAX_LEVELS}", SETTING)
    if height % settings.shrink or width % settings.shrink:
        raise SampleError(
            f"{place}: `shrink` {settings.shrink} does not divide the images of {height} x {width} pixels: give a"
            " divisor of both sides",
            SETTING,
        )
    height, width = height // settings.shrink, width // settings.shrink
    if height * width > MAX_PIXELS:
        raise SampleError(
            f"{place}: {height} x {width} pixels are more than {MAX_PIXELS:,}, the most of an image: give a larger"
            " `shrink`",
            SETTING,
        )
    labels = source.labels if settings.labels is None else settings.labels
    if labels < source.labels:
        raise SampleError(
            f"{place}: `labels` is {labels}, and the label {source.labels - 1} occurs: give at least {source.labels}",
            SETTING,
        )
    if labels > MAX_LABELS:
        raise SampleError(f"{place}: {labels:,} labels are more than {MAX_LABELS:,}, the most of a tokenizer", SETTING)
    return height, width, labels


def check_shape(shape: tuple[int, int], place: object) -> None:
    """Refuses an empty or a huge image.

    Args:
        shape: Height and width.
        place: The image, for messages.

    Raises:
        SampleError: A side is not from 1 to `MAX_SIDE`.
    """
    if not all(1 <= side <= MAX_SIDE for side in shape):
        raise SampleError(f"{place}: {shape[0]} x {shape[1]} pixels: a side must be from 1 to {MAX_SIDE:,}", DAMAGED)


def block_means(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The mean grey value of each square block, rounded half upwards.

    >>> block_means(np.array([[0, 255], [255, 255]], np.uint8), 2).tolist()
    [[191]]

    Args:
        grey: Grey values, (H, W).
        side: Side of a block; it divides both sides of the image.
    """
    height, width = grey.shape
    blocks = grey.reshape(height // side, side, width // side, side).astype(np.int64)
    area = side * side
    return ((blocks.sum(axis=(1, 3)) * 2 + area) // (2 * area)).astype(np.uint8)
