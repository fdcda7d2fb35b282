"""The artifact on disk: four files of the plan and two caches.

```
plan.jsonl         one line a step
metadata.json      configuration, sources, epochs, and a checksum of all three documents
fingerprints.json  the chain and plan_id
stats.json         integers; recomputed, not trusted
plan.idx           line offsets, u64 little-endian, S + 1 of them             derivable
plan.rows          first 4 bytes of row and token digest a sample, u32 pairs  derivable from the length caches
```
"""

import json
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lazarus_core.atomic import whole_folder
from lazarus_core.bounded import open_file, read_bytes
from lazarus_core.bounded import read_blocks as read_whole_lines
from lazarus_core.canonical import JSON, canonical_digest
from lazarus_core.errors import LazarusError, OutputTaken
from lazarus_core.outputs import begins_with, check_names
from lazarus_core.reasons import absent_or
from lazarus_plan.config import AS_STORED
from lazarus_plan.errors import CorruptPlan, FormatError, PlanError
from lazarus_plan.format.documents import document_bytes, read_object
from lazarus_plan.format.links import describe_links, links_of
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.numbering import fault_of
from lazarus_plan.packing.stats import plan_stats
from lazarus_plan.plan import FORMAT_VERSION, NEWEST_VERSION, BatchPlan, Metadata

PLAN = "plan.jsonl"
METADATA = "metadata.json"
FINGERPRINTS = "fingerprints.json"
STATS = "stats.json"
INDEX = "plan.idx"
ROWS = "plan.rows"
DOCUMENTS = (METADATA, FINGERPRINTS, STATS)
FILES = (PLAN, *DOCUMENTS)
CACHES = (INDEX, ROWS)
REMAKE = "delete it, or build the plan again"
"""Way out for a cache that belongs to another plan."""

BLOCK_BYTES = 1 << 19
"""Bytes of `plan.jsonl` per block, so that they and their arrays stay in the processor's cache."""


class Artifact(NamedTuple):
    """The documents of a plan as read, before any check.

    Args:
        path: The folder.
        metadata: `metadata.json`.
        members: The members of `metadata.json` without the checksum.
        checksum: Stated checksum over all three documents.
        fingerprints: `fingerprints.json`.
        stats: `stats.json`.
        prefixes: `plan.rows`, or None if it is absent.
        offsets: `plan.idx`, or None if it is absent.
        max_samples: Upper bound for the number of placed samples, from the size of `plan.jsonl`.
    """

    path: Path
    metadata: Metadata
    members: JSON
    checksum: str
    fingerprints: JSON
    stats: JSON
    prefixes: NDArray[np.uint32] | None
    offsets: NDArray[np.uint64] | None
    max_samples: int


def save_plan(plan: BatchPlan, path: Path | str, *, force: bool = True) -> None:
    """Write a plan atomically. An earlier plan at `path` is replaced.

    Args:
        plan: The plan.
        path: Output folder.
        force: Also replace a plan with another identity, or a damaged one.

    Raises:
        OutputTaken: `path` has other content or other files, or another plan without `force`. Nothing is changed.
    """
    path = Path(path)
    check_replaceable(path, plan, force=force)
    with new_folder(path, force=force) as folder:
        deque(write_lines(folder, encode_lines(plan)), maxlen=0)
        write_rest(folder, plan)


@contextmanager
def new_folder(path: Path, *, force: bool = True) -> Generator[Path]:
    """Create a temporary folder for the files of a plan, which replaces `path` when the block ends.

    Args:
        path: Folder of the plan; absent, empty, or a plan that may be replaced.
        force: Replace a plan with another `plan_id`.

    Raises:
        OutputTaken: `path` has another plan, other content or other files. Nothing is changed.
        OSError: The system refuses, as on a full disk; its `filename` is `path`.
    """
    check_replaceable(path, force=force)
    with whole_folder(path) as folder:
        yield folder
        check_same_id(path, stated_id(folder), force=force, now=stated_links(folder))


def check_replaceable(path: Path, plan: BatchPlan | None = None, *, force: bool = True) -> None:
    """Check that a plan may be written to `path`: it is absent, an empty folder, or a plan without other files.

    Args:
        path: Output folder.
        plan: The new plan, if known. An existing plan must be the same, unless `force`.
        force: Allow replacing another plan.

    Raises:
        OutputTaken: `path` must not be replaced.
    """
    names = {each.name for each in path.iterdir()} if path.is_dir() else set[str]()
    if not os.path.lexists(path) or (path.is_dir() and not names):
        return
    if not (holds_plan(path) or (force and names >= {*FILES} and _BEGINS_AS_METADATA(path / METADATA))):
        raise OutputTaken(f"{path} exists and is not a plan: choose another folder, or remove it", "LP-E007")
    check_names(path, (*FILES, *CACHES), "a plan", code="LP-E007")
    if plan is not None:
        now = links_of(plan.metadata.config.canonical(), plan.fingerprints)
        check_same_id(path, plan.plan_id, force=force, now=now)


_BEGINS_AS_METADATA = begins_with(r'\{\s*"plan_format_version":')


def check_same_id(path: Path, plan_id: str | None, *, force: bool, now: JSON) -> None:
    """Refuse to replace a plan or lock by one with another identity.

    Args:
        path: Folder of the output; nothing is checked if it has no fingerprints.
        plan_id: Identity of the new plan, `sha256:` and 64 hexadecimal digits, or None if it is unknown.
        force: Skip the check.
        now: Result of `links_of` for the new plan; the message names what differs.

    Raises:
        OutputTaken: `path` has another plan or lock (LP-E010).
    """
    if force or not (path / FINGERPRINTS).is_file():
        return
    there = stated_id(path)
    if there != plan_id:
        raise OutputTaken(
            f"{path} has another plan, {str(there)[7:23]}, not {str(plan_id)[7:23]} "
            f"({describe_links(stated_links(path), now)}): choose another folder, or set `force` to replace it",
            "LP-E010",
        )


def stated_id(path: Path) -> str | None:
    """The `plan_id` that the documents in a folder state, unchecked."""
    try:
        return str(read_object(path / FINGERPRINTS).get("plan_id"))
    except LazarusError:
        return None


def stated_links(path: Path) -> JSON:
    """Configuration and digests of the links, as the documents in a folder state them, unchecked; {} if they are damaged."""
    try:
        config = read_object(path / METADATA).get("config")
        return links_of(cast("JSON", config) if isinstance(config, dict) else {}, read_object(path / FINGERPRINTS))
    except LazarusError:
        return {}


def is_lock(path: Path) -> bool:
    """Whether a folder has the documents of a plan and none of the files of a whole plan."""
    return (path / METADATA).is_file() and not any((path / name).exists() for name in (PLAN, *CACHES))


def holds_plan(path: Path) -> bool:
    """Whether a folder has the metadata of a plan, in this format or an older one."""
    try:
        members = read_object(path / METADATA)
        members.pop("checksum", "")
        _to_metadata(members, path / METADATA)
    except FormatError as error:
        return error.code == "LP-E161"
    except LazarusError:
        return False
    return True


def write_lines(folder: Path, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Write `plan.jsonl` and its index of line offsets while the blocks are iterated.

    Args:
        folder: Folder of the plan, without these files.
        blocks: Bytes of `plan.jsonl`, in pieces of whole lines.

    Returns:
        The same blocks, each after it was written. The files are complete when the iterator is exhausted.
    """
    offset = 0
    with (folder / PLAN).open("wb") as lines, (folder / INDEX).open("wb") as index:
        index.write(bytes(8))
        for block in blocks:
            lines.write(block)
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + 1 + offset
            index.write(ends.astype("<u8").tobytes())
            offset += len(block)
            yield block


def write_rest(folder: Path, plan: BatchPlan) -> None:
    """Write the documents, and `plan.rows` if the plan has prefixes: all files except `plan.jsonl` and its index.

    Args:
        folder: Folder of the plan. Files of these names are replaced.
        plan: The plan, with its fingerprints.
    """
    write_documents(folder, plan)
    if plan.prefixes is not None:
        (folder / ROWS).write_bytes(plan.prefixes.astype("<u4").tobytes())


def write_documents(path: Path, plan: BatchPlan) -> None:
    """Write metadata, fingerprints and statistics. They form the lock, from which the rest can be rebuilt.

    Args:
        path: Folder of the plan or lock. Files of these names are replaced.
        plan: The plan, with its fingerprints.
    """
    members, stats = plan.metadata.model_dump(mode="json"), plan_stats(plan)
    members["config"] = plan.metadata.config.canonical()
    for name in ("parent", "numbering"):
        if members[name] is None:
            del members[name]
    for epoch in members["epochs"]:
        if epoch["absent"] is None:
            del epoch["absent"]
    members["checksum"] = checksum(members, plan.fingerprints, stats)
    (path / METADATA).write_bytes(document_bytes(members))
    (path / FINGERPRINTS).write_bytes(document_bytes(plan.fingerprints))
    (path / STATS).write_bytes(document_bytes(stats))


def checksum(metadata: JSON, fingerprints: JSON, stats: JSON) -> str:
    """Digest over all members of the documents, including those that `plan_id` does not cover.

    Args:
        metadata: Content of `metadata.json`, without `checksum`.
        fingerprints: Content of `fingerprints.json`.
        stats: Content of `stats.json`.

    Returns:
        `sha256:` and 64 hexadecimal digits.
    """
    return canonical_digest({"metadata": metadata, "fingerprints": fingerprints, "stats": stats})


def read_artifact(path: Path | str) -> Artifact:
    """Read the documents of a plan.

    Raises:
        PlanError: The folder is not a plan (LP-E007).
        CorruptPlan: A file is missing or cannot be parsed (LP-E151).
        FormatError: A newer format (LP-E160).
    """
    path = Path(path)
    if not any((path / name).is_file() for name in (METADATA, PLAN)):
        found = absent_or(path, f"is not a plan, which has {METADATA} and {PLAN}")
        raise PlanError(f"{found}: build one with `build_plan`", "LP-E007")
    members = read_object(path / METADATA)
    stated = members.pop("checksum", "")
    metadata = _to_metadata(members, path / METADATA)
    return Artifact(
        path=path,
        metadata=metadata,
        members=members,
        checksum=str(stated),
        fingerprints=read_object(path / FINGERPRINTS),
        stats=read_object(path / STATS),
        prefixes=_read_prefixes(path / ROWS, sum(source.count for source in metadata.sources)),
        offsets=_read_offsets(path / INDEX),
        max_samples=_size(path / PLAN) // len("0,[0,1],"),
    )


def read_blocks(path: Path) -> Iterator[bytes]:
    """Iterate over `plan.jsonl` in blocks of whole lines.

    Raises:
        CorruptPlan: The file is missing, or the folder is a lock.
    """
    try:
        stream = open_file(path / PLAN)
    except FileNotFoundError:
        if is_lock(path):
            raise CorruptPlan(
                f"{path} is a lock, which has no steps: make its plan with `materialise`", "LP-E151"
            ) from None
        raise CorruptPlan(f"{path / PLAN} is missing: the plan is not whole", "LP-E151") from None
    with stream:
        yield from read_whole_lines(stream, path / PLAN, BLOCK_BYTES)


def _to_metadata(members: JSON, path: Path) -> Metadata:
    version = members.get("plan_format_version")
    if isinstance(version, int) and version > NEWEST_VERSION:
        raise FormatError(
            f"{path} has plan format {version}, this lazarus-plan reads up to {NEWEST_VERSION}: upgrade lazarus-plan",
            "LP-E160",
        )
    if isinstance(version, int) and version < FORMAT_VERSION:
        raise FormatError(
            f"{path} has plan format {version}, whose plan_id does not cover the data: build the plan again from the "
            "same lengths and configuration, which gives the same steps and a new plan_id",
            "LP-E161",
        )
    try:
        metadata = Metadata.model_validate_json(json.dumps(members), context=AS_STORED)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptPlan(f"{path}: `{where}`: {first['msg']}", "LP-E151") from error
    if metadata.config.row_len is None or metadata.seed != metadata.config.seed:
        raise CorruptPlan(f"{path}: `config` is not resolved, or its seed is not `seed`", "LP-E151")
    fault = fault_of(metadata)
    if fault is not None:
        raise CorruptPlan(f"{path}: {fault}", "LP-E151")
    return metadata


def _read_offsets(path: Path) -> NDArray[np.uint64] | None:
    """The index, mapped from the file."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size < 16 or size % 8:
        raise CorruptPlan(f"{path} has {size} bytes, no offset of 8 bytes for each line: {REMAKE}", "LP-E153")
    return np.memmap(path, dtype="<u8", mode="r")


def _read_prefixes(path: Path, samples: int) -> NDArray[np.uint32] | None:
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size != samples * 8:
        raise CorruptPlan(f"{path} has {size} bytes, {samples} samples need {samples * 8}: {REMAKE}", "LP-E153")
    content = read_bytes(path, size)
    return np.frombuffer(content, dtype="<u4").reshape(samples, 2).astype(np.uint32)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
