"""SHA-256 of files, with a cache by size and times in the private folder of a recipe.

The cache answers for a file whose size, inode, and times of change are those of the entry. A file that changed less than
`SETTLED_S` before it was read gets no entry: within the resolution of its time stamp, it could change once more unseen.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lazarus_cli.recipes.errors import RecipeError
from lazarus_core.atomic import whole_file
from lazarus_core.bounded import open_file
from lazarus_core.canonical import canonical_digest, digest_text
from lazarus_core.errors import InputError
from lazarus_core.strict_json import read_object

SETTLED_S = 2.0
"""Coarsest time stamps of file systems in use (FAT)."""
MAX_FILES = 1_000_000
"""Most files of a folder of data."""
_SAVED = ("state.json", "dataset_dict.json")
"""Files of a data set that Hugging Face's `save_to_disk` wrote."""


class Digests:
    """Digests of files and folders.

    Args:
        cache: File of the cache; None for none.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._known: dict[str, Any] = _read_cache(cache) if cache is not None and cache.is_file() else {}
        self._is_changed = False

    def file(self, path: Path) -> str:
        """SHA-256 of a file, 64 hexadecimal digits.

        Raises:
            InputError: It is no regular file.
            OSError: The system refuses.
        """
        name, state = os.path.abspath(path), _state(path)  # noqa: PTH100 (a link keeps its name)
        known = self._known.get(name)
        if isinstance(known, list) and cast("list[Any]", known)[:-1] == state:
            return str(cast("list[Any]", known)[-1])
        with open_file(path) as stream:
            found: Any = stream  # an unbuffered or buffered file
            digest = hashlib.file_digest(found, "sha256").hexdigest()
        if _state(path) == state and time.time() - max(state[2], state[3]) / 1e9 > SETTLED_S:
            self._known[name] = [*state, digest]
            self._is_changed = True
        return digest

    def folder(self, path: Path) -> str:
        """Digest of the names and contents of all files of a folder. Hidden ones do not count."""
        return canonical_digest({str(each.relative_to(path)): self.file(each) for each in _files(path)})

    def rows(self, paths: Sequence[Path]) -> tuple[str, tuple[Path, ...]]:
        """Digest of data files as a set, and the files in the order of their digests.

        Names, folders and order of the files make no difference, except for the endings, which decide how they are read.

        Args:
            paths: Files, and folders whose files are taken. A saved data set counts as one.
        """
        found: list[tuple[str, str, Path]] = []
        for path in paths:
            if path.is_dir() and not any((path / name).is_file() for name in _SAVED):
                found += [(self.file(each), "".join(each.suffixes[-2:]), each) for each in _files(path)]
            else:
                digest = self.folder(path) if path.is_dir() else self.file(path)
                found.append((digest, "".join(path.suffixes[-2:]), path))
        found.sort(key=lambda each: (each[0], each[1], str(each[2])))
        return canonical_digest([[ending, digest] for digest, ending, _ in found]), tuple(each[2] for each in found)

    def any(self, path: Path) -> str:
        """Digest of a file or folder."""
        return self.folder(path) if path.is_dir() else digest_text(bytes.fromhex(self.file(path)))

    def save(self) -> None:
        """Writes the cache, if anything was added. Entries of files that are gone are left out."""
        if self._cache is None or not self._is_changed:
            return
        self._known = {name: each for name, each in self._known.items() if Path(name).exists()}
        with whole_file(self._cache) as stream:
            stream.write(json.dumps({"files": self._known}).encode())
        self._is_changed = False


def _files(path: Path) -> list[Path]:
    found: list[Path] = []
    for each in sorted(path.rglob("*")):
        if each.is_file() and not any(part.startswith(".") for part in each.relative_to(path).parts):
            found.append(each)
        if len(found) > MAX_FILES:
            raise RecipeError(f"{path} has more than {MAX_FILES:,} files: give a smaller folder", "LC-E205")
    return found


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _read_cache(path: Path) -> dict[str, Any]:
    """The entries; none if the file is damaged, since all of them can be computed again."""
    try:
        found = read_object(path).get("files")
    except InputError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
