"""Rows of token ids from images, and a manifest with which a run is verified back to the image files.

`NAME.jsonl` has a row an image, `{"id":"0","input_ids":[..],"loss_mask":[0,0,1,..],"label":3}`. `NAME.jsonl.images.json`
has the SHA-256 of the rows, the settings, and the SHA-256 of the image files. The rows are a function of settings and image
files, so `check_origin` makes them again and compares them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lazarus_core.atomic import stream_number, whole_file
from lazarus_core.bounded import open_file, read_lines
from lazarus_core.errors import InputError
from lazarus_core.outputs import OutputKind, begins_with, check_output
from lazarus_core.strict_json import read_object
from lazarus_tokenkit.errors import SampleError, TokenizerError
from lazarus_tokenkit.fingerprint import compute_fingerprint
from lazarus_tokenkit.images.codec import encode_image, loss_mask
from lazarus_tokenkit.images.readers import open_images
from lazarus_tokenkit.images.source import ImageSettings, ImageSource, block_means, check_settings
from lazarus_tokenkit.tokenizers.backends.pixels import PixelFormat, parse_pixel_format, pixel_tokenizer

MANIFEST_SUFFIX = ".images.json"
"""What the name of a manifest has after the name of the rows."""
CHANGED = "LT-E488"
_VERSION = 1
_SAMPLES = OutputKind("a file of images as token ids", code="LT-E503")
_MANIFEST = OutputKind("a manifest of images", begins_with(r'\{\s*"lazarus_images":'), "LT-E503")
_MAX_MANIFEST_BYTES = 4 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True)
class PreparedImages:
    """Result of `prepare_images`.

    Args:
        pixels: Format of the images; its name is that of the tokenizer.
        count: Number of images.
        by_label: Number of images of each label.
        manifest: Path of the manifest; None if the rows were written to a stream.
    """

    pixels: PixelFormat
    count: int
    by_label: tuple[int, ...]
    manifest: Path | None


def prepare_images(
    source: Path,
    output: Path,
    settings: ImageSettings | None = None,
    *,
    force: bool = False,
    on_progress: Callable[[int], Any] = lambda count: None,
) -> PreparedImages:
    """Writes images as rows of token ids, and their manifest beside them.

    Args:
        source: File or folder of images; see `lazarus_tokenkit.images.open_images`.
        output: File of JSON Lines to write.
        settings: Levels, blocks and labels.
        force: Whether to replace a file of another kind.
        on_progress: Called with the number of images finished since the last call.

    Raises:
        SampleError: The source cannot be read, or a setting does not fit it.
        OutputTaken: A file of another kind exists at `output`.
    """
    settings = settings or ImageSettings()
    manifest = None if stream_number(output) is not None else manifest_path(output)
    check_output(output, _SAMPLES_AGAIN if _has_manifest(output) else _SAMPLES, inputs=[source], force=force)
    if manifest is not None:
        check_output(manifest, _MANIFEST, inputs=[source], force=force)
    images = open_images(source, settings)
    pixels = _format(images, settings, source)
    digest, size = hashlib.sha256(), 0
    by_label = [0] * (pixels.labels + 1)
    with whole_file(output) as stream:
        for line, label in _lines(images, pixels, settings):
            stream.write(line)
            digest.update(line)
            size += len(line)
            by_label[pixels.labels if label is None else label] += 1
            on_progress(1)
    if manifest is not None:
        content = {
            "lazarus_images": _VERSION,
            "rows": {"name": output.name, "count": sum(by_label), "bytes": size, "sha256": digest.hexdigest()},
            "format": pixels.name,
            "tokenizer": f"sha256:{compute_fingerprint(pixel_tokenizer(pixels)).fingerprint}",
            "settings": settings.model_dump(mode="json"),
            "source": {"name": source.name, "files": len(images.files), "sha256": _digest_of(images, source)},
            "label_names": list(images.label_names),
        }
        with whole_file(manifest) as stream:
            stream.write((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return PreparedImages(pixels, sum(by_label), tuple(by_label[: pixels.labels]), manifest)


def manifest_path(rows: Path) -> Path:
    """Path of the manifest of a file of rows."""
    return rows.with_name(rows.name + MANIFEST_SUFFIX)


def format_of_rows(rows: Path) -> PixelFormat:
    """The format of a file of images, by its manifest.

    Raises:
        SampleError: The file has no manifest, or a damaged one.
    """
    place = manifest_path(rows)
    if not place.is_file():
        raise SampleError(f"{rows} has no manifest {place.name}, which names its tokenizer: give `tokenizer`", CHANGED)
    return parse_pixel_format(_read_manifest(place)["format"])


def image_manifests(files: Iterable[tuple[Path, str]]) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of the manifest of each file of images, for the header of a length cache.

    Args:
        files: Path and SHA-256 of each data file.

    Raises:
        SampleError: A file is not as its manifest says.
    """
    found: list[dict[str, Any]] = []
    for path, sha256 in files:
        place = manifest_path(path)
        if not place.is_file():
            continue
        manifest = _read_manifest(place)
        if manifest["rows"]["sha256"] != sha256:
            raise SampleError(
                f"{path} changed since it was prepared ({place.name} has another SHA-256): prepare the images again",
                CHANGED,
            )
        content = place.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        found.append({"name": place.name, "bytes": len(content), "sha256": digest, "role": "manifest"})
    return found


def check_origin(files: Sequence[Path], sources: Sequence[Path] = ()) -> Iterator[tuple[str, bool | None, str]]:
    """Checks files of images against their manifests, and by making them again from the image files.

    lazarus-train finds this function by the entry point group `lazarus.origins`.

    Args:
        files: Data files of a run; those without a manifest of images are left out.
        sources: The image source of each such file, in their order; empty if they are not known.

    Yields:
        Name of a link, whether it is valid (None if it was not compared), and what was found.

    Raises:
        SampleError: A manifest or a source cannot be read, or there are not as many sources as files of images.
    """
    prepared = [path for path in files if manifest_path(path).is_file()]
    if prepared and sources and len(sources) != len(prepared):
        raise SampleError(f"{len(sources)} `sources` for {len(prepared)} files of images: give one each", CHANGED)
    for place, path in enumerate(prepared):
        manifest = _read_manifest(manifest_path(path))
        rows = manifest["rows"]
        if _sha256(path) != rows["sha256"]:
            yield "images", False, f"{path} has another SHA-256"
            return
        yield "images", True, f"{path}: {rows['count']:,} images, {manifest['format']}"
        if sources:
            yield _compare(path, sources[place], manifest)
        else:
            name = manifest["source"]["name"]
            yield "image files", None, f"{name}: not compared: the image files were not given"


def _compare(path: Path, source: Path, manifest: dict[str, Any]) -> tuple[str, bool, str]:
    """Makes the rows again from the image files, and names the first one that differs."""
    settings = ImageSettings.model_validate(manifest["settings"])
    images = open_images(source, settings)
    pixels = _format(images, settings, source)
    count = 0
    with open_file(path) as stream:
        stored = read_lines(stream, path)
        for line, _ in _lines(images, pixels, settings):
            count += 1
            if line != next(stored, b""):
                return "image files", False, f"image {count} of {source} does not give row {count} of {path}"
        if next(stored, None) is not None:
            return "image files", False, f"{source} has {count:,} images, and {path} has more"
    return "image files", True, f"{source}: all {count:,} images give their rows"


def _format(images: ImageSource, settings: ImageSettings, source: Path) -> PixelFormat:
    height, width, labels = check_settings(images, settings, source)
    return PixelFormat(height, width, settings.levels, labels)


def _lines(images: ImageSource, pixels: PixelFormat, settings: ImageSettings) -> Iterator[tuple[bytes, int | None]]:
    """The line of each image, and its label."""
    mask = json.dumps(loss_mask(pixels), separators=(",", ":"))
    for image in islice(images.images(), settings.limit):
        ids = encode_image(pixels, block_means(image.grey, settings.shrink), image.label)
        label = "" if image.label is None else f',"label":{image.label}'
        tokens = json.dumps(ids, separators=(",", ":"))
        name = json.dumps(image.name, ensure_ascii=False)
        yield f'{{"id":{name},"input_ids":{tokens},"loss_mask":{mask}{label}}}\n'.encode(), image.label


def _digest_of(images: ImageSource, source: Path) -> str:
    """SHA-256 over the SHA-256 and name of each file, by lines as `sha256sum` prints them."""
    digest = hashlib.sha256()
    for file in images.files:
        name = file.relative_to(source).as_posix() if source.is_dir() else file.name
        digest.update(f"{_sha256(file)}  {name}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _has_manifest(output: Path) -> bool:
    return manifest_path(output).is_file()


_SAMPLES_AGAIN = OutputKind(_SAMPLES.name, lambda path: _is_prepared(path), _SAMPLES.code)


def _is_prepared(path: Path) -> bool:
    """Whether a file is the one that its manifest names."""
    try:
        manifest = _read_manifest(manifest_path(path))
    except SampleError:
        return False
    return manifest["rows"]["bytes"] == path.stat().st_size


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_object(path, max_bytes=_MAX_MANIFEST_BYTES)
        match manifest:
            case {
                "lazarus_images": int(version),
                "rows": {"name": str(), "count": int(), "bytes": int(), "sha256": str()},
                "format": str(name),
                "settings": dict(),
                "source": {"name": str()},
            } if version <= _VERSION:
                parse_pixel_format(name)
                ImageSettings.model_validate(manifest["settings"])
                return manifest
            case _:
                pass
    except (InputError, TokenizerError, ValidationError, OSError) as error:
        reason = error.message if isinstance(error, InputError | TokenizerError) else str(error).splitlines()[0]
        raise SampleError(f"{path} is not a manifest of images: {reason}; prepare the images again", CHANGED) from error
    raise SampleError(f"{path} is not a manifest of images of this version: prepare the images again", CHANGED)
