"""The artifact on disk: four files that are the plan, two that are caches.

```
plan.jsonl         one line a step
metadata.json      configuration, sources, epochs
fingerprints.json  the chain and plan_id
stats.json         integers; recomputed, not trusted
plan.idx           line offsets, u64 little-endian, S + 1 of them             derivable
plan.rows          first 4 bytes of row and token digest a sample, u32 pairs  derivable from the length caches
```
"""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lazarus_plan.canonical import JSON
from lazarus_plan.codec import encode_lines
from lazarus_plan.errors import CorruptPlan, FormatError, PlanError
from lazarus_plan.plan import FORMAT_VERSION, BatchPlan, Metadata
from lazarus_plan.stats import plan_stats

PLAN = "plan.jsonl"
METADATA = "metadata.json"
FINGERPRINTS = "fingerprints.json"
STATS = "stats.json"
INDEX = "plan.idx"
ROWS = "plan.rows"
FILES = (PLAN, METADATA, FINGERPRINTS, STATS)


class Artifact(NamedTuple):
    """The files of a plan, read and not yet believed."""

    path: Path
    lines: list[bytes]
    metadata: Metadata
    fingerprints: JSON
    stats: JSON
    prefixes: NDArray[np.uint32] | None


def save_plan(plan: BatchPlan, path: Path) -> None:
    """Writes the artifact beside `path` and renames it into place. A plan that stood there is replaced.

    Raises:
        PlanError: `path` is there and is not a plan: it is left alone.
    """
    if path.exists() and not is_plan(path) and not (path.is_dir() and not any(path.iterdir())):
        raise PlanError(f"{path} exists and is not a plan: choose another folder, or remove it", "LP-E007")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        lines = encode_lines(plan)
        (beside / PLAN).write_bytes(b"".join(lines))
        (beside / METADATA).write_bytes(_document(plan.metadata.model_dump(mode="json")))
        (beside / FINGERPRINTS).write_bytes(_document(plan.fingerprints))
        (beside / STATS).write_bytes(_document(plan_stats(plan)))
        offsets = np.concatenate([[0], np.cumsum([len(line) for line in lines])])
        (beside / INDEX).write_bytes(offsets.astype("<u8").tobytes())
        if plan.prefixes is not None:
            (beside / ROWS).write_bytes(plan.prefixes.astype("<u4").tobytes())
        _replace_folder(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_artifact(path: Path) -> Artifact:
    """Reads the files of a plan.

    Raises:
        PlanError: Not a plan (LP-E007), exit 2.
        CorruptPlan: A file is missing or does not parse (LP-E151), exit 1.
        FormatError: A newer format (LP-E160).
    """
    if not is_plan(path):
        what = "does not exist" if not path.exists() else f"is not a plan: no {METADATA} and {PLAN} in it"
        raise PlanError(f"{path} {what}; build one with `lazarus data batchplan build`", "LP-E007")
    metadata = _read_metadata(path / METADATA)
    return Artifact(
        path=path,
        lines=_read(path / PLAN).splitlines(keepends=True),
        metadata=metadata,
        fingerprints=_read_object(path / FINGERPRINTS),
        stats=_read_object(path / STATS),
        prefixes=_read_prefixes(path / ROWS, sum(source.count for source in metadata.sources)),
    )


def is_plan(path: Path) -> bool:
    """Whether a folder holds a plan, whole or not."""
    return (path / METADATA).is_file() or (path / PLAN).is_file()


def _read_metadata(path: Path) -> Metadata:
    members = _read_object(path)
    version = members.get("plan_format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FormatError(
            f"{path} has plan format {version}, this lazarus-plan reads {FORMAT_VERSION}: upgrade lazarus-plan",
            "LP-E160",
        )
    try:
        metadata = Metadata.model_validate_json(json.dumps(members))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptPlan(f"{path}: `{where}`: {first['msg']}", "LP-E151") from error
    if metadata.config.row_len is None or metadata.seed != metadata.config.seed:
        raise CorruptPlan(f"{path}: `config` is not resolved, or its seed is not `seed`", "LP-E151")
    return metadata


def _read_prefixes(path: Path, samples: int) -> NDArray[np.uint32] | None:
    if not path.is_file():
        return None
    content = path.read_bytes()
    if len(content) != samples * 8:
        raise CorruptPlan(
            f"{path} has {len(content)} bytes, {samples} samples need {samples * 8}: rebuild it", "LP-E151"
        )
    return np.frombuffer(content, dtype="<u4").reshape(samples, 2).astype(np.uint32)


def _read_object(path: Path) -> JSON:
    try:
        members = json.loads(_read(path))
    except ValueError as error:
        raise CorruptPlan(f"{path} is not JSON: {error}", "LP-E151") from error
    if not isinstance(members, dict):
        raise CorruptPlan(f"{path} is not a JSON object", "LP-E151")
    return cast("JSON", members)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CorruptPlan(f"{path} is missing: the plan is not whole", "LP-E151") from None


def _document(members: JSON) -> bytes:
    """JSON for people and for git: two spaces, the order given, LF at the end."""
    return json.dumps(members, indent=2, ensure_ascii=False).encode() + b"\n"


def _replace_folder(beside: Path, path: Path) -> None:
    """Renames `beside` to `path`; what stood there moves aside first and is removed last."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        path.rename(aside)
    beside.rename(path)
    shutil.rmtree(aside, ignore_errors=True)
