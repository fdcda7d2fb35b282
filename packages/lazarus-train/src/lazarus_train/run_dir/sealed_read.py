"""Reads sealed folders: the manifest lists every file with its SHA-256, and the folder has no other files."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from lazarus_core.canonical import digest_text
from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_plan.audit import Binding, Kind
from lazarus_plan.format import merkle_root

MANIFEST = "manifest.json"
"""SHA-256 of every other file; written last."""
MAX_MANIFEST = 1 << 24
"""Largest size of a manifest in bytes; a manifest has about 100 bytes per file."""
_HEX = re.compile(r"[0-9a-f]{64}")


class BrokenSeal(ValueError):
    """A folder differs from its manifest; the message describes the first difference."""


@dataclass(frozen=True)
class Sealed:
    """A folder and its manifest, read once.

    Args:
        path: The folder.
        manifest: Bytes of the manifest.
        digests: SHA-256 of every file, 64 hex, by its path in the folder.
    """

    path: Path
    manifest: bytes
    digests: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "Sealed":
        """Reads a manifest.

        Raises:
            BrokenSeal: The manifest is missing or damaged.
        """
        file = path / MANIFEST
        if path.is_symlink() or file.is_symlink():
            raise BrokenSeal(f"{MANIFEST if file.is_symlink() else path.name} is a link; a run writes files")
        if not file.is_file():
            raise BrokenSeal(f"{MANIFEST} is missing: the folder is incomplete")
        with file.open("rb") as stream:
            content = stream.read(MAX_MANIFEST + 1)
        return cls(path, content, _digests(content))

    def check(self, but: Collection[str] = ()) -> None:
        """Checks every file of the folder against the manifest.

        Args:
            but: Files whose content is not read, because they are hashed when loaded.

        Raises:
            BrokenSeal: A file is missing, was changed, or is not listed.
        """
        found = set(_entries(self.path)) - {MANIFEST}
        for name in self.digests:
            if name not in found:
                raise BrokenSeal(f"{name} is missing")
            if name not in but:
                self.expect(name, file_digest(self.path / name))
        extra = sorted(found - self.digests.keys())
        if extra:
            raise BrokenSeal(f"{extra[0]} is not listed in {MANIFEST}: remove it")

    def expect(self, name: str, digest: str | None) -> None:
        """Checks the digest of a file against the manifest.

        Args:
            name: Path of the file in the folder.
            digest: SHA-256 of its content, 64 hex.

        Raises:
            BrokenSeal: The digest differs.
        """
        if self.digests.get(name) != digest:
            raise BrokenSeal(f"{name} was changed: its SHA-256 differs from {MANIFEST}")

    def read_bytes(self, name: str) -> bytes:
        """Content of a file, checked.

        Raises:
            BrokenSeal: It is missing or was changed.
        """
        try:
            content = (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise BrokenSeal(f"{name} is missing") from None
        self.expect(name, hashlib.sha256(content).hexdigest())
        return content

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, as `sha256:` and 64 hex."""
        return digest_text(hashlib.sha256(self.manifest).digest())

    def binding(self, kind: Kind) -> Binding:
        """The audit-log entry of the folder. Its `rows` digest can prove that a file belongs to the folder.

        A leaf is the 32 bytes of a file's SHA-256 and its name in UTF-8; leaves are in the order of the manifest.
        """
        leaves = (bytes.fromhex(digest) + name.encode() for name, digest in self.digests.items())
        return Binding(kind, self.manifest, merkle_root(leaves))


def seal_damage(path: Path) -> str | None:
    """Description of a sealed folder's damage; None if it is undamaged."""
    try:
        Sealed.read(path).check()
    except BrokenSeal as error:
        return str(error)
    return None


def file_digest(file: Path) -> str:
    """SHA-256 of a file, 64 hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digests(content: bytes) -> dict[str, str]:
    """The members of a manifest, read strictly: canonical form, plain names, full digests, at least one."""
    damaged = BrokenSeal(f"{MANIFEST} is damaged")
    if len(content) > MAX_MANIFEST:
        raise damaged
    try:
        members = parse_object(content)
    except MalformedLine as error:
        raise BrokenSeal(f"{MANIFEST} is damaged: {error.problem}") from error
    listed = members.get("sha256")
    if members.keys() != {"sha256"} or not isinstance(listed, dict):
        raise damaged
    digests = cast("dict[str, Any]", listed)
    if not digests:
        raise BrokenSeal(f"{MANIFEST} is damaged: it lists no file")
    for name, digest in digests.items():
        if not _is_plain(name) or name == MANIFEST:
            raise BrokenSeal(f"{MANIFEST} is damaged: {name[:100]!r} is not the relative path of a file in the folder")
        if not isinstance(digest, str) or not _HEX.fullmatch(digest):
            raise BrokenSeal(f"{MANIFEST} is damaged: {name[:100]!r} has no SHA-256")
    return digests


def _is_plain(name: str) -> bool:
    """Whether a name is a normalised relative path inside its folder."""
    parts = name.split("/")
    return (
        all(part not in ("", ".", "..") for part in parts)
        and "\\" not in name
        and "\0" not in name
        and str(PurePosixPath(name)) == name
    )


def _entries(folder: Path, inside: str = "") -> Iterator[str]:
    """Paths of all files of a folder; entries other than files and folders, such as links, are refused."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        name = inside + entry.name
        if entry.is_dir(follow_symlinks=False):
            below = list(_entries(folder / entry.name, f"{name}/"))
            if not below:
                raise BrokenSeal(f"{name} is an empty folder, which no run writes: remove it")
            yield from below
        elif entry.is_file(follow_symlinks=False):
            yield name
        else:
            raise BrokenSeal(f"{name} is a link or a special file, which no run writes: remove it")
