"""The list of an artifact's files with size and SHA-256: `lazarus-files.json` of every backup and pushed copy.

The list has no times, paths of machines or order of its own, so equal files give equal bytes, and its SHA-256 identifies
the copy. Symbolic links are listed with their targets, which have to lie in the artifact. Empty folders, locks and
temporary files are left out.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

from lazarus_cli.operations.artifacts import kind_of
from lazarus_cli.operations.errors import CopyDiffers, OperationError
from lazarus_core.errors import LazarusError
from lazarus_core.leftovers import is_temporary
from lazarus_core.strict_json import parse_object

JSON = dict[str, Any]
LIST = "lazarus-files.json"
"""Name of the list in a copy."""
PART = ".lazarus-part"
"""Ending of the name of an unfinished copy."""
MAX_LIST = 64 << 20
"""Largest list in bytes; an entry has about 150 bytes."""
MAX_FILES = 400_000
"""Largest number of files and links of a copy."""
MAX_NAME = 1024
"""Longest name of a file in an artifact, in bytes of UTF-8."""
MAX_SIZE = 1 << 50
"""Largest size of a file in bytes."""
CHUNK = 1 << 20
"""Bytes that are read at once."""
_HEX = re.compile(r"[0-9a-f]{64}")


class Listed(NamedTuple):
    """A file.

    Args:
        bytes: Its size.
        sha256: SHA-256 of its content, 64 hex.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class FileList:
    """Files and links of an artifact.

    Args:
        kind: What the artifact is.
        files: By their paths in the artifact, sorted.
        links: Targets of symbolic links by path, sorted.
    """

    kind: str
    files: Mapping[str, Listed]
    links: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(each.bytes for each in self.files.values())

    @property
    def digest(self) -> str:
        """SHA-256 of the list, 64 hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The list as JSON, the same bytes for the same files."""
        members = {
            "lazarus_files": 1,
            "kind": self.kind,
            "files": {name: each._asdict() for name, each in self.files.items()},
            "links": dict(self.links),
        }
        return json.dumps(members, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes, place: str) -> "FileList":
        """Reads a list strictly.

        Args:
            content: Its bytes.
            place: Where it is, for messages.

        Raises:
            OperationError: It is not a list of files, or a name or a link in it leads out of the copy.
        """
        try:
            members = parse_object(content)
            if members.keys() != {"lazarus_files", "kind", "files", "links"} or members["lazarus_files"] != 1:
                raise ValueError("its members are not those of version 1")
            files = {name: _listed(name, each) for name, each in cast("JSON", members["files"]).items()}
            links = cast("dict[str, str]", members["links"])
            check_names(files.keys(), links)
            found = cls(str(members["kind"]), files, links)
            if found.to_bytes() != content:
                raise ValueError("it is not in canonical form")
        except (LazarusError, ValueError, AttributeError, TypeError) as error:
            raise OperationError(f"{place} is not a list of files: {error}; make the copy again", "LC-E275") from error
        return found


def list_files(path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> FileList:
    """Lists and hashes the files of an artifact.

    Args:
        path: Its folder.
        on_bytes: Called with the number of bytes that were hashed since the last call.

    Raises:
        OperationError: It is no artifact, or it has a special file or a link out of it.
    """
    kind = kind_of(path) if path.is_dir() else None
    if kind is None:
        raise OperationError(f"{path} is no run, recipe, corpus, plan, model or tokenizer: give its folder", "LC-E271")
    names, links = _scan(path)
    check_names(names, links, str(path))
    files: dict[str, Listed] = {}
    for name in names:
        digest, size = hash_file(path / name, on_bytes)
        files[name] = Listed(size, digest)
    return FileList(kind, files, links)


def hash_file(file: Path, on_bytes: Callable[[int], object] = lambda _: None) -> tuple[str, int]:
    """SHA-256, 64 hex, and size of a file.

    Args:
        file: The file.
        on_bytes: Called with the number of bytes that were read since the last call.
    """
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest(), size


def check_files(path: Path, listed: FileList, on_bytes: Callable[[int], object] = lambda _: None) -> None:
    """Reads a copy again and compares it with its list.

    Args:
        path: The copy; it may have its list.
        listed: What it should have.
        on_bytes: Called with the number of bytes that were read since the last call.

    Raises:
        CopyDiffers: A file or link is missing, differs, or is not listed.
    """
    names, links = _scan(path)
    for name in sorted({*listed.files, *names}):
        if name not in listed.files:
            raise CopyDiffers(f"{path / name} is not in {LIST}: remove it, or make the copy again", "LC-E276")
        expected = listed.files[name]
        if name not in names or hash_file(path / name, on_bytes) != (expected.sha256, expected.bytes):
            state = "differs from its SHA-256" if name in names else "is missing"
            raise CopyDiffers(f"{path / name} {state}: make the copy again", "LC-E276")
    if links != listed.links:
        name = min(links.items() ^ listed.links.items())[0]
        raise CopyDiffers(f"{path / name}: the link differs from {LIST}: make the copy again", "LC-E276")


def _scan(path: Path) -> tuple[list[str], dict[str, str]]:
    """Sorted names of the files, and the links, below a folder."""
    files: list[str] = []
    links: dict[str, str] = {}
    for folder, inner, names in os.walk(path, onerror=_refuse):
        for name in (*inner, *names):
            file = Path(folder, name)
            place = file.relative_to(path).as_posix()
            if file.is_symlink():
                links[place] = os.readlink(file)  # noqa: PTH115 (`readlink` of a path drops `./`)
            elif is_temporary(name) or name.endswith((PART, f"{PART}.json")) or place in (LIST, ".lock"):
                inner[:] = [each for each in inner if each != name]
            elif file.is_file():
                files.append(place)
            elif not file.is_dir():
                raise OperationError(f"{file} is no file, folder or link: remove it", "LC-E272")
        if len(files) + len(links) > MAX_FILES:
            raise OperationError(f"{path} has more than {MAX_FILES:,} files: copy its parts", "LC-E272")
    return sorted(files), dict(sorted(links.items()))


def _refuse(error: OSError) -> None:
    raise error


def check_names(files: Collection[str], links: Mapping[str, str], place: str = "") -> None:
    """Refuses names that lead out of a folder, and links out of it.

    Args:
        files: Names of files.
        links: Targets of links by name.
        place: Where they are, for messages.

    Raises:
        OperationError: A name or a link cannot be copied.
    """
    if len(files) + len(links) > MAX_FILES:
        raise OperationError(f"{place} has more than {MAX_FILES:,} files: copy its parts", "LC-E272")
    folders: set[str] = set()
    for name in (*files, *links):
        _check_name(name, place)
        folders |= {str(each) for each in PurePosixPath(name).parents}
    for name in sorted(folders & {*files, *links}):
        raise OperationError(f"{name[:100]!r} is a file or link, and other names lie below it", "LC-E272")
    for name, target in links.items():
        _check_link(name, target, place)


def _check_name(name: object, place: str) -> None:
    where = f"{place}: " if place else ""
    if not isinstance(name, str) or not name or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise OperationError(f"{where}{str(name)[:60]!r} is no name of a file: rename it", "LC-E272")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise OperationError(f"{where}{name[:100]!r} is not UTF-8: rename it", "LC-E272") from error
    is_plain = str(PurePosixPath(name)) == name and not name.startswith("/") and "\\" not in name and "\0" not in name
    if not is_plain or ".." in name.split("/") or name == LIST:
        raise OperationError(f"{where}{name[:100]!r} is no plain path inside a folder: rename it", "LC-E272")


def _check_link(name: str, target: object, place: str) -> None:
    where = f"{place}: " if place else ""
    text = target if isinstance(target, str) else ""
    if not text or text.startswith("/") or "\0" in text or len(text) > MAX_NAME:
        raise OperationError(
            f"{where}link {name[:100]!r} leads out of the folder, to {str(target)[:100]!r}: replace it by what it names",
            "LC-E272",
        )
    depth = name.count("/")
    for part in text.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            raise OperationError(
                f"{where}link {name[:100]!r} leads out of the folder, to {text[:100]!r}: replace it by what it names",
                "LC-E272",
            )


def _listed(name: str, members: object) -> Listed:
    if not isinstance(members, dict) or cast("JSON", members).keys() != {"bytes", "sha256"}:
        raise ValueError(f"{name[:60]!r} has no size and SHA-256")
    size, digest = cast("JSON", members)["bytes"], cast("JSON", members)["sha256"]
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise ValueError(f"{name[:60]!r} has no size")
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        raise ValueError(f"{name[:60]!r} has no SHA-256")
    return Listed(size, digest)
