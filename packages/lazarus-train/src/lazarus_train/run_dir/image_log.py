"""The log of images that a run drew, `images.jsonl`: one line an evaluation, with the grey values of all its images."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html import section
from lazarus_tokenkit.images import image_grid
from lazarus_train.run_dir.metrics import JSON, read_lines

MAX_SHOWN = 8
"""Most evaluations on a page: the first, the last, and others evenly between them."""
_WIDTH = 640
"""Largest width of a grid on a page, in pixels of the screen."""
_ZOOM = 4
"""Pixels of the screen along a side of a pixel, if the grid is not wider than `_WIDTH`."""


class SampledImages(NamedTuple):
    """The images of one evaluation.

    Args:
        step: Steps done.
        images: Grey values, uint8 (N, H, W).
        columns: Images of each label: a row of the grid.
    """

    step: int
    images: NDArray[np.uint8]
    columns: int


def image_line(step: int, images: NDArray[np.uint8], labels: Sequence[int | None], columns: int) -> JSON:
    """The line of an evaluation.

    Args:
        step: Steps done.
        images: Grey values, (N, H, W).
        labels: Label of each image, or None.
        columns: Images of each label.
    """
    _, height, width = images.shape
    return {
        "step": step,
        "height": height,
        "width": width,
        "columns": columns,
        "labels": list(labels),
        "pixels": base64.b64encode(images.tobytes()).decode("ascii"),
    }


def read_images(path: Path) -> Iterator[SampledImages]:
    """The evaluations of a log, in order. Lines that are damaged are left out.

    Args:
        path: The log; it may be missing.
    """
    for line in read_lines(path):
        try:
            grey = np.frombuffer(base64.b64decode(line["pixels"], validate=True), np.uint8)
            images = grey.reshape(len(line["labels"]), line["height"], line["width"])
            columns = line["columns"]
            if images.size and isinstance(columns, int) and columns > 0:
                yield SampledImages(line["step"], images, columns)
        except (KeyError, TypeError, ValueError, binascii.Error):
            continue


def image_section(path: Path, name: str) -> str:
    """The section of a run's page with its images; empty if it drew none.

    Args:
        path: The log.
        name: Name of the run.
    """
    found = list(read_images(path))
    if not found:
        return ""
    chosen: list[int] = np.linspace(0, len(found) - 1, min(MAX_SHOWN, len(found))).round().astype(int).tolist()
    shown = "".join(f"<h3>after {found[at].step:,} steps</h3>{_drawing(found[at])}" for at in dict.fromkeys(chosen))
    text = "Drawn after the given number of steps with the same seeds; each row has one label."
    return section(f"Images of {name}", text, shown)


def _drawing(each: SampledImages) -> str:
    """The grid as SVG, since pages load nothing: for each grey value a path of horizontal strokes."""
    grid = image_grid(list(each.images), each.columns)
    height, width = grid.shape
    paths = "".join(
        f'<path stroke="#{grey:02x}{grey:02x}{grey:02x}" d="{"".join(_strokes(grid == grey))}"/>'
        for grey in np.unique(grid).tolist()
    )
    label = escape(f"{len(each.images)} images drawn after {each.step:,} steps")
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{min(_WIDTH, width * _ZOOM)}" role="img" aria-label="{label}" '
        f'shape-rendering="crispEdges">{paths}</svg>'
    )


def _strokes(chosen: NDArray[np.bool_]) -> Iterator[str]:
    """The runs of chosen pixels in each row, as strokes through the middle of the row."""
    edges: Any = np.diff(np.pad(chosen.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        yield f"M{start} {row}.5h{end - start}"
