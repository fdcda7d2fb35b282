"""Between images and token ids: grey levels, labels and the order of tokens.

An image is the tokens `bos, label, pixels`, with the pixels row by row from the top left. Only pixels carry loss.

B = images, H = height, W = width
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.tokenizers.backends.pixels import PixelFormat

MAX_GREY = 255
"""Grey value of white."""
LABEL, IDS = "LT-E482", "LT-E483"


def quantise(grey: NDArray[np.uint8], levels: int) -> NDArray[np.uint8]:
    """The nearest level of each grey value. Black is level 0, white is the last level.

    >>> quantise(np.array([0, 100, 255], np.uint8), 4).tolist()
    [0, 1, 3]

    Args:
        grey: Grey values, 0 to 255, any shape.
        levels: Number of levels, 2 to 256.
    """
    # Integer arithmetic: round(grey * (levels - 1) / 255), half upwards, with the same result on every machine.
    return ((grey.astype(np.int32) * 2 * (levels - 1) + MAX_GREY) // (2 * MAX_GREY)).astype(np.uint8)


def dequantise(level: NDArray[np.integer], levels: int) -> NDArray[np.uint8]:
    """The grey value of each level: evenly spaced, so no value is more than 255 / (2 (levels - 1)) + 1/2 off.

    >>> dequantise(np.array([0, 1, 3]), 4).tolist()
    [0, 85, 255]

    Args:
        level: Levels, 0 to `levels` - 1, any shape.
        levels: Number of levels, 2 to 256.
    """
    return ((level.astype(np.int32) * 2 * MAX_GREY + (levels - 1)) // (2 * (levels - 1))).astype(np.uint8)


def label_token(pixels: PixelFormat, label: int | None) -> int:
    """The token of a label.

    Args:
        pixels: Format of the images.
        label: The label, or None for no label.

    Raises:
        SampleError: The format has no such label.
    """
    if label is None:
        return pixels.no_label_id
    if not 0 <= label < pixels.labels:
        known = f"0 to {pixels.labels - 1}" if pixels.labels else "none"
        raise SampleError(f"the label {label} is not one of the {pixels.labels} labels ({known})", LABEL)
    return pixels.label_ids[label]


def prompt_ids(pixels: PixelFormat, label: int | None) -> list[int]:
    """The tokens before the pixels of an image: bos and the label.

    Args:
        pixels: Format of the images.
        label: The label, or None for no label.

    Raises:
        SampleError: The format has no such label.
    """
    return [pixels.bos_id, label_token(pixels, label)]


def encode_image(pixels: PixelFormat, grey: NDArray[np.uint8], label: int | None = None) -> list[int]:
    """The tokens of an image.

    Args:
        pixels: Format of the images.
        grey: Grey values, (H, W).
        label: The label, or None for no label.

    Raises:
        SampleError: The image has another shape, or the format has no such label.
    """
    if grey.shape != (pixels.height, pixels.width):
        shape = " x ".join(map(str, grey.shape))
        raise SampleError(f"an image of {shape} pixels, where {pixels.height} x {pixels.width} are expected", IDS)
    return [*prompt_ids(pixels, label), *quantise(grey, pixels.levels).ravel().tolist()]


def loss_mask(pixels: PixelFormat) -> list[int]:
    """1 for each token of an image that carries loss, else 0: bos and the label carry none."""
    return [0, 0] + [1] * pixels.pixels


def decode_image(pixels: PixelFormat, ids: Sequence[int]) -> tuple[NDArray[np.uint8], int | None]:
    """The image and the label of some tokens.

    Args:
        pixels: Format of the images.
        ids: Tokens of one image.

    Returns:
        Grey values, (H, W), and the label; None for no label.

    Raises:
        SampleError: The tokens are not those of one image.
    """
    if len(ids) != pixels.length or ids[0] != pixels.bos_id:
        raise SampleError(
            f"{len(ids)} tokens are not an image: it has {pixels.length} tokens and begins with id {pixels.bos_id}", IDS
        )
    label = int(ids[1]) - pixels.levels
    if not 0 <= label <= pixels.labels:
        raise SampleError(f"id {ids[1]} at the place of the label is not a label", IDS)
    found = None if label == pixels.labels else label
    return decode_pixels(pixels, ids[2:]), found


def decode_pixels(pixels: PixelFormat, ids: Sequence[int]) -> NDArray[np.uint8]:
    """The image of the pixel tokens alone, without bos and label.

    Args:
        pixels: Format of the images.
        ids: Levels of one image, row by row.

    Returns:
        Grey values, (H, W).

    Raises:
        SampleError: A token is not a level, or the number of tokens is not that of an image.
    """
    levels = np.asarray(ids, np.int64)
    if levels.shape != (pixels.pixels,) or levels.min() < 0 or levels.max() >= pixels.levels:
        raise SampleError(
            f"the tokens are not {pixels.pixels} levels from 0 to {pixels.levels - 1}: the pixels of one image", IDS
        )
    return dequantise(levels, pixels.levels).reshape(pixels.height, pixels.width)
