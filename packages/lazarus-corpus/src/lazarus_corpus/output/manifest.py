"""`manifest.json`: settings, sources, shards with their digests, and the digest of the whole set.

It contains nothing of paths, order of files, machine or time: equal documents and settings give equal bytes.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_core.reasons import absent_or
from lazarus_core.strict_json import read_object
from lazarus_corpus.documents import DIGEST_BYTES, stable_json
from lazarus_corpus.engine.partitions import Partitions, read_records
from lazarus_corpus.errors import OutputError
from lazarus_corpus.settings import CorpusSettings

FORMAT = "lazarus-corpus-1"
MANIFEST = "manifest.json"
_DIGEST = np.dtype([("first", ">u8"), ("last", ">u8")])
"""A digest as two numbers that have its order."""


class SourceDigest:
    """SHA-256 of a set of documents: of their sorted digests, so that order and files make no difference.

    Args:
        folder: A folder for temporary files; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "digests.bin"
        folder.mkdir()
        self._stream = self._path.open("wb")
        self.count = 0

    def add(self, digests: bytes) -> None:
        """Adds documents.

        Args:
            digests: `documents.source_key` of each one, joined.
        """
        self._stream.write(digests)
        self.count += len(digests) // DIGEST_BYTES

    def hexdigest(self) -> str:
        """The digest of all documents. The temporary files are removed."""
        self._stream.close()
        parts = Partitions(self._folder / "parts", _DIGEST, self.count)
        for chunk in read_records(self._path, _DIGEST):
            parts.add(chunk, chunk["first"])
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part[np.lexsort((part["last"], part["first"]))].tobytes())
        shutil.rmtree(self._folder)
        return digest.hexdigest()


def public_settings(settings: CorpusSettings) -> dict[str, Any]:
    """The settings without paths.

    Args:
        settings: The settings.
    """
    content = settings.model_dump(mode="json")
    for source in content["sources"]:
        del source["path"]
    content["contamination"]["against"] = sorted(path.name for path in settings.contamination.against)
    return content


def write_manifest(folder: Path, content: dict[str, Any]) -> str:
    """Writes the manifest with the digest of its content, and returns that digest.

    Args:
        folder: The corpus.
        content: All members but `digest`.
    """
    digest = hashlib.sha256(stable_json(content)).hexdigest()
    (folder / MANIFEST).write_text(
        json.dumps({**content, "digest": digest}, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )
    return digest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads a manifest and compares its digest.

    Args:
        folder: The corpus.

    Raises:
        OutputError: There is none, or it was changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        found = absent_or(folder, f"has no {MANIFEST}: it is not a corpus, or a build that has not ended")
        raise OutputError(f"{found}: give the folder of a corpus", "LD-E141")
    content = read_object(path)
    if content.get("format") != FORMAT or not isinstance(content.get("shards"), list):
        raise OutputError(f"{path}: not the manifest of a corpus ({FORMAT})", "LD-E141")
    if hashlib.sha256(
        stable_json({name: value for name, value in content.items() if name != "digest"})
    ).hexdigest() != content.get("digest"):
        raise OutputError(f"{path}: its content does not have its digest: it was changed", "LD-E142")
    return content
