"""Copies on the Hugging Face hub, by its client. What arrived is compared with the digests that the hub states.

The hub states the SHA-256 of large files, and the Git object id of small ones, which is computed here too. Links are no
files there: the list of files has them.
"""

import errno
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lazarus_cli.operations.copies import check_expected
from lazarus_cli.operations.errors import CopyDiffers, OperationError
from lazarus_cli.operations.file_list import LIST, MAX_FILES, MAX_LIST, FileList, Listed, check_names, hash_file
from lazarus_cli.operations.places import HubPlace
from lazarus_cli.operations.unfinished import is_restored, make_links, unfinished_folder, write_file
from lazarus_core.bounded import read_bytes
from lazarus_core.errors import LazarusError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

_CLIENTS = ("huggingface_hub", "httpx", "httpcore", "requests")
"""Packages whose errors mean that the hub refused or was not reached; the client had several over time."""
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of writing a file here, which name no file."""
_OWN = (".gitattributes", LIST)
"""Files of a repository that are no part of the artifact."""


def push_to_hub(source: Path, listed: FileList, place: HubPlace, *, is_private: bool) -> str:
    """Copies an artifact to a repository, in one commit, and compares what the hub then has.

    Files of an earlier copy that are not listed any more are deleted; other files of the repository stay.

    Args:
        source: The artifact.
        listed: Its files, as just hashed.
        place: The repository, and the branch.
        is_private: Whether a new repository is private.

    Returns:
        The commit, 40 hexadecimal digits.

    Raises:
        OperationError: The hub cannot be reached, or refuses.
        CopyDiffers: The hub has other files after the commit.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    revision = place.revision or "main"
    with _hub(place) as api:
        api.create_repo(place.repo, exist_ok=True, private=is_private)
        before = _tree(api, place.repo, revision)
        earlier = set(_earlier_list(place.repo, revision).files) if LIST in before else set[str]()
        gone = sorted((earlier & before.keys()) - listed.files.keys())
        operations = [
            *(CommitOperationDelete(path_in_repo=name) for name in gone),
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(source / name)) for name in listed.files),
            CommitOperationAdd(path_in_repo=LIST, path_or_fileobj=listed.to_bytes()),
        ]
        done = api.create_commit(
            place.repo, operations, commit_message=f"Push {listed.kind} {listed.digest[:16]}", revision=revision
        )
        commit = done.oid
        after = _tree(api, place.repo, commit)
    for name, each in listed.files.items():
        if name not in after or not _is_same(after[name], each, source / name):
            raise CopyDiffers(f"{place.repo}: {name} is not as it was sent: push again", "LC-E276")
    if gone and (stale := sorted(after.keys() & set(gone))):
        raise CopyDiffers(f"{place.repo}: {stale[0]} was not deleted: push again", "LC-E276")
    return commit


def pull_from_hub(place: HubPlace, path: Path, *, expect: str | None = None) -> FileList:
    """Fetches a repository, compares every file, and puts the folder in place.

    Files come through the client's cache, so a stopped download continues.

    Args:
        place: The repository and its revision.
        path: The new folder.
        expect: First digits of the digest of the list; None for any.

    Returns:
        The files: those of the list, or all of the repository if it has no list.

    Raises:
        OutputTaken: `path` exists and has other files.
        OperationError: The hub cannot be reached, or has no such repository.
        CopyDiffers: A file differs from the list or from the digest that the hub states. Nothing was put in place.
    """
    with _hub(place) as api:
        commit = _commit(api, place)
        tree = _tree(api, place.repo, commit)
        if LIST in tree:
            listed = _earlier_list(place.repo, commit)
            check_expected(listed, expect)
            cached = {name: _fetched(place.repo, commit, name) for name in listed.files if name in tree}
        elif expect is not None:
            raise CopyDiffers(f"{place.repo} has no {LIST} to compare with the expected digest", "LC-E276")
        else:
            names = sorted(tree.keys() - {*_OWN})
            check_names(names, {}, place.repo)
            cached = {name: _fetched(place.repo, commit, name) for name in names}
            listed = FileList("model", {name: _stated(place, tree[name], cached[name]) for name in names})
    if is_restored(path, listed):
        return listed
    with unfinished_folder(path, listed) as part:
        for name, each in listed.files.items():
            if name not in cached:
                raise CopyDiffers(f"{place.repo}: {name} is missing: push again", "LC-E276")
            with cached[name].open("rb") as stream:
                write_file(part / name, each, stream.read, lambda _: None, f"{place.repo}: {name}")
        make_links(part, listed)
    return listed


def _commit(api: "HfApi", place: HubPlace) -> str:
    sha: object = api.repo_info(place.repo, revision=place.revision).sha
    if not isinstance(sha, str):
        raise OperationError(f"{place.repo}: the hub names no commit of it: give another revision", "LC-E279")
    return sha


def _tree(api: "HfApi", repo: str, revision: str) -> "Mapping[str, RepoFile]":
    """The files of a repository by name."""
    found: dict[str, RepoFile] = {}
    for each in cast("Any", api.list_repo_tree(repo, recursive=True, revision=revision)):
        if hasattr(each, "blob_id"):  # folders have a tree id
            found[str(each.path)] = each
        if len(found) > MAX_FILES:
            raise OperationError(f"{repo} has more than {MAX_FILES:,} files: pull its parts", "LC-E272")
    return found


def _earlier_list(repo: str, revision: str) -> FileList:
    return FileList.parse(read_bytes(_fetched(repo, revision, LIST), MAX_LIST), f"{repo}: {LIST}")


def _fetched(repo: str, revision: str, name: str) -> Path:
    """A file in the client's cache; it is downloaded if it is not there."""
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType] (a parameter of it is a bare dict)

    return Path(hf_hub_download(repo, name, revision=revision, endpoint=os.environ.get("HF_ENDPOINT")))


def _is_same(there: "RepoFile", each: Listed, file: Path) -> bool:
    """Whether the hub states the digest of a file."""
    if there.lfs is not None:
        return (there.lfs.sha256, there.lfs.size) == (each.sha256, each.bytes)
    return there.size == each.bytes and there.blob_id == _git_id(file)


def _stated(place: HubPlace, there: "RepoFile", file: Path) -> Listed:
    digest, size = hash_file(file)
    if not _is_same(there, Listed(size, digest), file):
        raise CopyDiffers(f"{place.repo}: {there.path} differs from the digest of the hub: pull again", "LC-E276")
    return Listed(size, digest)


def _git_id(file: Path) -> str:
    """The id of a Git object with the content of a file, 40 hex."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def _hub(place: HubPlace) -> "Generator[HfApi]":
    """The client of the hub. Its errors become one line; errors of files on this machine stay as they are."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        yield HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="lazarus")
    except LazarusError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and (error.filename is not None or error.errno in _OF_THE_DISK):
            error.filename = error.filename or HF_HUB_CACHE
            raise
        if not isinstance(error, OSError | ValueError | RuntimeError) and not type(error).__module__.startswith(
            _CLIENTS
        ):
            raise
        reason = " ".join(line.strip() for line in str(error).strip().splitlines()[:4] if line.strip())
        raise OperationError(
            f"hf://{place.repo}: the hub refused or cannot be reached: {reason[:300]}; correct the name, the connection, or "
            "log in by `hf auth login` or HF_TOKEN",
            "LC-E279",
        ) from error
