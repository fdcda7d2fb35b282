"""Chooses the reader of a file or folder of images.

| source | images | labels |
|---|---|---|
| `NAME-idx3-ubyte`, also `.gz` | as MNIST has them | of `NAME` with `labels-idx1` in place of `images-idx3`, if that file exists |
| `.npz` | its only array of bytes (N, H, W) | its only array of integers (N,), if there is one |
| a folder | its `.png` files, in the order of their paths | the names of the subfolders, as numbers or in sorted order |
| `.parquet` | column `image`: an image file as bytes | column `label`, if there is one |
"""

from pathlib import Path

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.images.folder import FolderImages
from lazarus_tokenkit.images.idx import IdxImages
from lazarus_tokenkit.images.npz import NpzImages
from lazarus_tokenkit.images.parquet import ParquetImages
from lazarus_tokenkit.images.source import SETTING, SOURCE, ImageSettings, ImageSource


def open_images(path: Path, settings: ImageSettings | None = None) -> ImageSource:
    """Opens the images of a file or folder.

    Args:
        path: The file or folder.
        settings: Names of arrays.

    Raises:
        SampleError: The source is missing, has no images, or is of no known form.
    """
    settings = settings or ImageSettings()
    if not path.exists():
        raise SampleError(f"{path} does not exist: correct the path", SOURCE)
    is_npz = path.suffix == ".npz"
    if not is_npz and (settings.array or settings.label_array):
        raise SampleError(f"{path}: `array` and `label_array` name arrays of an .npz file: leave them out", SETTING)
    if path.is_dir():
        return FolderImages.open(path)
    if is_npz:
        return NpzImages.open(path, settings.array, settings.label_array)
    if path.suffix == ".parquet":
        return ParquetImages.open(path)
    if path.name.removesuffix(".gz").endswith("-ubyte") or path.name.removesuffix(".gz").endswith(".idx3"):
        return IdxImages.open(path)
    raise SampleError(
        f"{path} has no images of a known form: give a file NAME-idx3-ubyte[.gz], .npz or .parquet, or a folder of .png",
        SOURCE,
    )
