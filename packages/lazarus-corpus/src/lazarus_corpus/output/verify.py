"""Compares a corpus with its manifest, and its sources with the digests in it."""

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lazarus_core.printable import printable
from lazarus_corpus.documents import source_key
from lazarus_corpus.errors import OutputError
from lazarus_corpus.output.manifest import SourceDigest, read_manifest
from lazarus_corpus.settings import CorpusSettings
from lazarus_corpus.sources.read import files_of, read_file


class Check(NamedTuple):
    """One part of a corpus.

    Args:
        name: The part.
        ok: Whether it is as the manifest says.
        found: What was found.
    """

    name: str
    ok: bool
    found: str


def verify_corpus(folder: Path | str, settings: CorpusSettings | None = None) -> Iterator[Check]:
    """Checks the shards of a corpus, in their order; then its sources, if they are given.

    Args:
        folder: The corpus.
        settings: Sources to read again and compare; None for none.

    Raises:
        OutputError: There is no manifest, or it was changed.
        SourceError: A source cannot be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    known = {shard["name"] for shard in manifest["shards"]}
    for shard in manifest["shards"]:
        yield _shard(folder / "shards" / shard["name"], shard)
    present = [path.name for path in (folder / "shards").iterdir()] if (folder / "shards").is_dir() else []
    for name in sorted(set(present) - known):
        yield Check(f"shards/{printable(name)}", False, "not in the manifest")
    if settings is not None:
        yield from _sources(manifest, settings, folder)


def require_whole(folder: Path) -> None:
    """Refuses a corpus with a changed shard, before another stage reads it.

    Args:
        folder: The corpus.

    Raises:
        OutputError: A shard is missing or changed; the message names it.
    """
    for check in verify_corpus(folder):
        if not check.ok:
            raise OutputError(f"{folder}: {check.name}: {check.found}", "LD-E143")


def _shard(path: Path, shard: dict[str, str]) -> Check:
    name = f"shards/{path.name}"
    if not path.is_file():
        return Check(name, False, "missing")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest == shard["sha256"]:
        return Check(name, True, f"{digest[:16]}, {shard['documents']} documents")
    content = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                content.update(block)
    except (OSError, EOFError, zlib.error) as error:
        return Check(name, False, f"changed: cannot be decompressed ({error})")
    same = content.hexdigest() == shard["content_sha256"]
    return Check(name, same, "compressed anew, equal content" if same else "changed: another SHA-256")


def _sources(manifest: dict[str, list[dict[str, str]]], settings: CorpusSettings, corpus: Path) -> Iterator[Check]:
    recorded = {source["name"]: source["digest"] for source in manifest["sources"]}
    for source in settings.sources:
        if source.name not in recorded:
            yield Check(f"source {source.name}", False, "not in the manifest")
            continue
        with tempfile.TemporaryDirectory(prefix="lazarus-corpus-") as folder:
            digest = SourceDigest(Path(folder) / "source")
            for path in files_of(source, corpus):
                for document in read_file(path, source):
                    digest.add(source_key(document))
            found, before = digest.hexdigest(), recorded[source.name]
        other = f"other documents: digest {before[:8]} in the manifest, {found[:8]} now"
        yield Check(
            f"source {source.name}", found == before, f"{digest.count:,} documents" if found == before else other
        )
    for name in sorted(recorded.keys() - {source.name for source in settings.sources}):
        yield Check(f"source {name}", False, "not in the given sources")
