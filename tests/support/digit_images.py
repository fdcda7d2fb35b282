"""Images of digits for tests and benchmarks: a 5 x 7 font, shifted, with noise; and a classifier by the nearest template."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FONT = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00010 00100 01000 11111",
    "11111 00010 00100 00010 00001 10001 01110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)
"""Rows of each digit, 1 for ink."""
GLYPHS = np.array([[[int(dot) for dot in row] for row in glyph.split()] for glyph in FONT], np.uint8)
INK, PAPER, NOISE = 220, 20, 40
"""Grey values of ink and paper, and the most that noise adds or subtracts."""


def placed(digit: int, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    """The image of a digit without noise: ink and paper."""
    image = np.zeros((height, width), np.uint8)
    image[top : top + 7, left : left + 5] = GLYPHS[digit]
    return np.where(image == 1, INK, PAPER).astype(np.uint8)


def digits(count: int, seed: int = 0, height: int = 9, width: int = 7) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of digits at random places with noise, uint8 (N, H, W), and their labels, uint8 (N,)."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count).astype(np.uint8)
    tops = generator.integers(0, height - 6, count)
    lefts = generator.integers(0, width - 4, count)
    places = zip(labels, tops, lefts, strict=True)
    clean = np.stack([placed(int(label), int(top), int(left), height, width) for label, top, left in places])
    noise = generator.integers(-NOISE, NOISE + 1, clean.shape)
    return np.clip(clean.astype(np.int64) + noise, 0, 255).astype(np.uint8), labels


def classify(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The digit of the template at any place that is nearest to each image, (N,)."""
    _, height, width = images.shape
    places = [(digit, top, left) for digit in range(10) for top in range(height - 6) for left in range(width - 4)]
    templates = np.stack([placed(*place, height, width) for place in places]).astype(np.float64)
    found = images.astype(np.float64)
    distances = ((found[:, None] - templates[None]) ** 2).sum(axis=(2, 3))
    return np.array([place[0] for place in places])[distances.argmin(axis=1)]


def write_idx(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8] | None, *, compressed: bool = False
) -> Path:
    """Writes images and labels as MNIST has them; returns the path of the images."""
    opened, end = (gzip.open, ".gz") if compressed else (open, "")
    path = folder / f"train-images-idx3-ubyte{end}"
    with opened(path, "wb") as stream:
        stream.write(struct.pack(">IIII", 0x803, *images.shape) + images.tobytes())
    if labels is not None:
        with opened(folder / f"train-labels-idx1-ubyte{end}", "wb") as stream:
            stream.write(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())
    return path
