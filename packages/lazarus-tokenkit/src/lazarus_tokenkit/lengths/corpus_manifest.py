"""The manifest of a corpus whose shards are data files. Its digest is recorded with those of the data files.

A shard is a file in a folder `shards` beside a `manifest.json` of lazarus-corpus. The manifest has the SHA-256 of every
shard and a digest of every source, so a chain that has the manifest's digest leads back to the sources.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from lazarus_core.errors import InputError
from lazarus_core.strict_json import read_object
from lazarus_tokenkit.errors import SampleError

MANIFEST, SHARDS = "manifest.json", "shards"
ROLE = "manifest"
"""Member `role` of a recorded file that has no rows."""
CHANGED = "LT-E325"
_FORMAT = "lazarus-corpus-"


def manifest_files(files: Iterable[tuple[Path, str]]) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of the manifest of each corpus that the files are shards of.

    Args:
        files: Path and SHA-256 of each data file.

    Raises:
        SampleError: A shard is not as its manifest says; the message names it.
    """
    found: dict[Path, dict[str, str] | None] = {}
    for path, sha256 in files:
        place = path.parent.parent / MANIFEST
        if path.parent.name != SHARDS:
            continue
        if place not in found:
            found[place] = _shards(place)
        shards = found[place]
        if shards is not None:
            _check(path, sha256, shards)
    return [
        {"name": MANIFEST, "bytes": place.stat().st_size, "sha256": _sha256(place), "role": ROLE}
        for place, shards in found.items()
        if shards is not None
    ]


def _shards(manifest: Path) -> dict[str, str] | None:
    """SHA-256 of each shard, and of its content under `content NAME`; None if the file is no manifest of a corpus."""
    if not manifest.is_file():
        return None
    try:
        content = read_object(manifest)
    except InputError:
        return None  # of another program
    shards = content.get("shards")
    if not str(content.get("format")).startswith(_FORMAT) or not isinstance(shards, list):
        return None
    named = [cast("dict[str, Any]", each) for each in cast("list[Any]", shards) if isinstance(each, dict)]
    return {
        prefix + str(each.get("name")): str(each.get(member))
        for each in named
        for prefix, member in (("", "sha256"), ("content ", "content_sha256"))
    }


def _check(path: Path, sha256: str, shards: dict[str, str]) -> None:
    if shards.get(path.name) == sha256:
        return
    if path.name not in shards:
        raise SampleError(
            f"{path}: a shard that the corpus's {MANIFEST} does not name: build the corpus again, or move the file",
            CHANGED,
        )
    if _content_sha256(path) != shards[f"content {path.name}"]:
        raise SampleError(
            f"{path}: changed since the corpus was built ({MANIFEST} has another SHA-256); build it again", CHANGED
        )


def _content_sha256(path: Path) -> str:
    """SHA-256 of the decompressed content; empty if it cannot be decompressed."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except (OSError, EOFError, zlib.error):
        return ""
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
