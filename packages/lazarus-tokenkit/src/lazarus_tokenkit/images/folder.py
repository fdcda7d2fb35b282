"""A folder of `.png` files. The subfolder of a file is its label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lazarus_core.bounded import read_bytes
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.pictures import read_grey
from lazarus_tokenkit.images.source import DAMAGED, SOURCE, Image
from lazarus_tokenkit.samples.files import visible_files

_MAX_BYTES = 64 << 20
"""Most bytes of one image file."""
_MAX_DIGITS = 9
"""Most digits of a label in the name of a folder."""


@dataclass(frozen=True)
class FolderImages:
    """Implements `ImageSource` for a folder.

    Args:
        path: The folder.
        files: Its image files, in the order of their paths.
        label_values: Label of each file; empty without labels.
        label_names: Names of the labels, if they are not numbers.
        shape: Height and width of the first image.
    """

    path: Path
    files: tuple[Path, ...]
    label_values: tuple[int, ...]
    label_names: tuple[str, ...]
    shape: tuple[int, int]

    @classmethod
    def open(cls, path: Path) -> "FolderImages":
        """Lists the files and reads the first one.

        Raises:
            SampleError: There is no image, or some files have a label and others none.
        """
        found = [each for each in visible_files(path) if each.suffix.lower() == ".png"]
        files = tuple(sorted(found, key=lambda each: each.relative_to(path).as_posix()))
        if not files:
            raise SampleError(f"{path} has no .png files: give a folder of them, or another source", SOURCE)
        folders = [each.relative_to(path).parts[0] if each.parent != path else None for each in files]
        names = sorted({name for name in folders if name is not None})
        if names and None in folders:
            alone = files[folders.index(None)]
            raise SampleError(f"{alone} is in no subfolder, and other files are: move it to that of its label", SOURCE)
        are_numbers = all(name.isascii() and name.isdecimal() and len(name) <= _MAX_DIGITS for name in names)
        numbers = {name: int(name) if are_numbers else place for place, name in enumerate(names)}
        if len(set(numbers.values())) < len(names):
            raise SampleError(f"{path} has two subfolders for one label, such as 1 and 01: rename one", SOURCE)
        labels = tuple(numbers[name] for name in folders if name is not None)
        first = read_grey(_content(files[0]), str(files[0]))
        shape = first.shape[0], first.shape[1]
        return cls(path, files, labels, () if are_numbers else tuple(names), shape)

    @property
    def labels(self) -> int:
        """See `ImageSource.labels`."""
        return max(self.label_values, default=-1) + 1

    def images(self) -> Iterator[Image]:
        """See `ImageSource.images`."""
        for number, file in enumerate(self.files):
            grey = read_grey(_content(file), str(file))
            if grey.shape != self.shape:
                sizes = f"{grey.shape[0]} x {grey.shape[1]}", f"{self.shape[0]} x {self.shape[1]}"
                raise SampleError(
                    f"{file} has {sizes[0]} pixels, and {self.files[0]} has {sizes[1]}: give images of one shape",
                    DAMAGED,
                )
            label = self.label_values[number] if self.label_values else None
            yield Image(file.relative_to(self.path).as_posix(), grey, label)


def _content(file: Path) -> bytes:
    return read_bytes(file, _MAX_BYTES)
