"""Rows of token ids as one PNG file."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import whole_file
from lazarus_core.outputs import OutputKind, begins_with, check_output
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.codec import IDS, decode_image
from lazarus_tokenkit.images.png import image_grid, png_bytes
from lazarus_tokenkit.images.preparation import format_of_rows
from lazarus_tokenkit.samples.kinds import IdsSample
from lazarus_tokenkit.samples.read import read_rows
from lazarus_tokenkit.tokenizers.backends.pixels import pixel_format
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

PNG = OutputKind("a PNG file", begins_with(r"\x89PNG\r\n\x1a\n"), "LT-E503")
MAX_GRID_PIXELS = 1 << 27
"""Most pixels of a grid: 128 MiB."""


def check_grid(shape: tuple[int, int], images: int, columns: int, zoom: int) -> None:
    """Refuses a grid that is too large.

    Args:
        shape: Height and width of an image.
        images: Number of images.
        columns: Images a row.
        zoom: Pixels of the grid along a side of a pixel.

    Raises:
        SampleError: It has more than `MAX_GRID_PIXELS`.
    """
    rows = -(-images // columns)
    pixels = rows * (shape[0] + 1) * columns * (shape[1] + 1) * zoom * zoom
    if pixels > MAX_GRID_PIXELS:
        raise SampleError(
            f"the grid has {pixels:,} pixels, more than {MAX_GRID_PIXELS:,}: give fewer images, fewer `columns` or a"
            " smaller `zoom`",
            IDS,
        )


def save_grid(images: Sequence[NDArray[np.uint8]], output: Path, *, columns: int, zoom: int = 1) -> None:
    """Writes images of one shape as one PNG file. Call `lazarus_core.outputs.check_output` first.

    Args:
        images: Grey values of each image, (H, W), row by row.
        output: The file.
        columns: Images a row.
        zoom: Pixels of the grid along a side of a pixel.
    """
    content = png_bytes(image_grid(images, columns, zoom))
    with whole_file(output) as stream:
        stream.write(content)


def write_grid(
    data: Path,
    output: Path,
    tokenizer: Tokenizer | None = None,
    *,
    first: int = 0,
    count: int = 100,
    columns: int = 10,
    zoom: int = 4,
    force: bool = False,
) -> list[int | None]:
    """Writes some rows of token ids as one PNG file.

    Args:
        data: Rows of images.
        output: The file to write.
        tokenizer: Tokenizer of the rows; None for the one that their manifest names.
        first: First row, from 0.
        count: Most images.
        columns: Most images a row of the grid.
        zoom: Pixels of the file along a side of a pixel.
        force: Whether to replace a file that is not PNG.

    Returns:
        Label of each image, or None.

    Raises:
        SampleError: A row is not an image, there is no row, or the grid is too large.
        OutputTaken: A file of another kind exists at `output`.
    """
    check_output(output, PNG, inputs=[data], force=force)
    pixels = format_of_rows(data) if tokenizer is None else pixel_format(tokenizer)
    images: list[NDArray[np.uint8]] = []
    labels: list[int | None] = []
    for row in islice(read_rows(data), first, first + count):
        if not isinstance(row.sample, IdsSample):
            raise SampleError(f"{row.place}: the row has no `input_ids`: give rows of images", IDS)
        try:
            image, label = decode_image(pixels, row.sample.ids.tolist())
        except SampleError as error:
            raise SampleError(f"{row.place}: {error.message}", error.code) from error
        images.append(image)
        labels.append(label)
    if not images:
        raise SampleError(f"{data} has no row {first}: give a smaller `first`", IDS)
    columns = min(columns, len(images))
    check_grid((pixels.height, pixels.width), len(images), columns, zoom)
    save_grid(images, output, columns=columns, zoom=zoom)
    return labels
