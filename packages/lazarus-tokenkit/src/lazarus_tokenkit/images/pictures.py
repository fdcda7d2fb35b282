"""Image files of any form that Pillow reads, as grey values. Pillow is an optional dependency: lazarus-tokenkit[images]."""

import warnings
from importlib import import_module
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.source import DAMAGED, MAX_SIDE, check_shape

NOT_INSTALLED = "LT-E487"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
"""Modes of 8 bits a channel. Pillow would cut 16 bits off at white instead of scaling them."""


def read_grey(content: bytes, place: str) -> NDArray[np.uint8]:
    """The grey values of an image file; colours become their luminance (ITU-R 601), transparency is ignored.

    Args:
        content: Content of the file.
        place: The file, for messages.

    Returns:
        Grey values, (H, W).

    Raises:
        SampleError: Pillow is not installed, or the content is damaged, too large or of more than 8 bits a channel.
    """
    pillow = pillow_module(place)
    try:
        with (
            warnings.catch_warnings(action="error", category=pillow.DecompressionBombWarning),
            pillow.open(BytesIO(content), formats=("PNG", "JPEG", "GIF", "BMP")) as image,
        ):
            width, height = image.size
            check_shape((height, width), place)  # from the header, before the pixels are decoded
            if image.mode not in _MODES:
                raise SampleError(
                    f"{place}: its pixels are of mode {image.mode}: save it with 8 bits a channel", DAMAGED
                )
            return np.asarray(image.convert("L"), np.uint8)
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise SampleError(f"{place} has too many pixels: a side must be from 1 to {MAX_SIDE:,}", DAMAGED) from error
    except (EOFError, OSError, SyntaxError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SampleError(f"{place} is not an image: {reason}", DAMAGED) from error


def pillow_module(place: str) -> Any:
    """The module of Pillow.

    Args:
        place: The file that needs it, for the message.

    Raises:
        SampleError: It is not installed.
    """
    try:
        return import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise SampleError(f"{place}: to read image files, install lazarus-tokenkit[images]", NOT_INSTALLED) from error
