"""Grey PNG files: written with the standard library alone, the same bytes for the same image.

A PNG file (RFC 2083) is a signature and chunks: a header, the zlib stream of the rows, an end. Each row has a byte for
its filter in front; filter 0 stores the row as it is.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GAP, GAP_GREY = 1, 128
"""Width of the lines between the images of a grid, in pixels of the images, and their grey value."""


def png_bytes(grey: NDArray[np.uint8]) -> bytes:
    """The content of a PNG file of 8-bit grey.

    Args:
        grey: Grey values, (H, W), at least one pixel.
    """
    height, width = grey.shape
    rows = np.zeros((height, 1 + width), np.uint8)
    rows[:, 1:] = grey
    # 8 bits a pixel, colour type 0 (grey), and the only defined compression, filter method and order.
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(rows.tobytes(), 9)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def image_grid(images: Sequence[NDArray[np.uint8]], columns: int, zoom: int = 1) -> NDArray[np.uint8]:
    """Arranges images of one shape in rows, with lines between and around them.

    Args:
        images: Grey values of each image, (H, W), row by row; at least one.
        columns: Images a row, at least 1.
        zoom: Pixels of the grid along each side of a pixel, at least 1.

    Returns:
        Grey values of the grid. Places after the last image have the grey of the lines.
    """
    height, width = images[0].shape
    rows = -(-len(images) // columns)
    grid = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), GAP_GREY, np.uint8)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        grid[top : top + height, left : left + width] = image
    return grid.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
