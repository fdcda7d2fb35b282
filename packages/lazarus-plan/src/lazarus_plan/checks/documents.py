"""Check the three documents of a plan against each other, without `plan.jsonl`. A lock allows no more.

Statements about the lines (`merkle_root`, `plan_sha256`, `stats`) remain claims here; `artifact` recomputes them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from lazarus_core.canonical import JSON, canonical_digest
from lazarus_core.errors import LazarusError
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.findings import Finding
from lazarus_plan.format.fingerprint import (
    PLAN_INPUTS,
    UPSTREAM,
    plan_id,
    plan_identity,
    prefixes_digest,
    source_identities,
)
from lazarus_plan.format.store import FINGERPRINTS, METADATA, REMAKE, ROWS, Artifact, checksum, read_artifact
from lazarus_plan.lengths.cache import ABSENT
from lazarus_plan.numbering import Numbering
from lazarus_plan.plan import Metadata


def load_documents(path: Path | str) -> Artifact:
    """Read the documents of a plan or lock and check them against each other.

    Args:
        path: Folder of a plan, or of a lock.

    Returns:
        The documents. Their `plan_id` is recomputed from their content; `merkle_root` is not compared with the lines.

    Raises:
        PlanError: The folder is not a plan or lock.
        CorruptPlan: The first contradiction.
    """
    artifact = read_artifact(path)
    for finding in check_documents(artifact):
        raise CorruptPlan(f"{path}: {finding.message}", finding.code)
    return artifact


def check_documents(artifact: Artifact) -> list[Finding]:
    """Find contradictions between the documents of a plan."""
    try:
        findings = list(_check_links(artifact)) or list(_check_identity(artifact))
    except (KeyError, IndexError, TypeError, AttributeError, LazarusError) as error:
        return [Finding("LP-E151", f"{FINGERPRINTS}: a member is missing or of another type: {error!r:.100}")]
    stated = checksum(artifact.members, artifact.fingerprints, artifact.stats)
    if not findings and artifact.checksum != stated:
        findings = [
            Finding("LP-E151", f"{METADATA}: `checksum` does not match: this file, {FINGERPRINTS} or stats was edited")
        ]
    return findings


def check_prefixes(artifact: Artifact) -> list[Finding]:
    """Check that `plan.rows`, if present, has the digests that `plan_id` covers."""
    if artifact.prefixes is None:
        return []
    parts = artifact.fingerprints["lengths"]["parts"]
    numbering = Numbering.of_plan(artifact.metadata)
    return [
        Finding("LP-E153", f"{ROWS} does not match the lengths of {source.name}: {REMAKE}")
        for source, numbers, about in zip(
            artifact.metadata.sources, map(numbering.of, range(numbering.num_sources)), parts, strict=True
        )
        if prefixes_digest(artifact.prefixes[numbers]) != about.get("rows")
    ]


def identity_of(artifact: Artifact) -> JSON:
    """The object whose digest is the plan's `plan_id`, from documents that `check_documents` passed."""
    return _identity(artifact.metadata, artifact.fingerprints)


def _identity(metadata: Metadata, prints: JSON) -> JSON:
    sources = source_identities(prints, [source.count for source in metadata.sources])
    return plan_identity(
        metadata.config,
        sources,
        prints["merkle_root"],
        prints["plan"]["count"],
        metadata.parent,
        metadata.numbering,
    )


def _check_links(artifact: Artifact) -> Iterator[Finding]:
    """Check that every link has a digest for each source, and that its own digest is the digest of these."""
    metadata, prints = artifact.metadata, artifact.fingerprints
    lengths = [source.lengths for source in metadata.sources]
    for link in (*UPSTREAM, "lengths"):
        if not _is_sound(prints.get(link), len(lengths), lengths if link == "lengths" else None):
            yield Finding("LP-E151", f"{FINGERPRINTS}: the link `{link}` does not match its sources")
    if not all(map(_is_file, _files(prints))):
        yield Finding("LP-E151", f"{FINGERPRINTS}: `data.parts` has a file without `name`, `bytes` or `sha256`")
    if tuple(source.offset for source in metadata.sources) != Numbering.of_plan(metadata).offsets:
        yield Finding("LP-E151", f"{METADATA}: the offsets of `sources` are not the sums of the counts before them")
    canonical = metadata.config.canonical()
    expected: JSON = {"digest": canonical_digest(canonical), "inputs": [], "count": len(canonical)}
    if prints.get("config") != expected:
        yield Finding("LP-E151", f"{FINGERPRINTS}: `config` does not match the configuration: edited")


def _check_identity(artifact: Artifact) -> Iterator[Finding]:
    """Check that `plan_id` is the digest of the identity in the documents."""
    prints = artifact.fingerprints
    identity = plan_id(_identity(artifact.metadata, prints))
    expected: JSON = {"digest": identity, "inputs": list(PLAN_INPUTS), "count": prints["plan"]["count"]}
    if prints["plan_id"] != identity or prints["plan"] != expected:
        yield Finding("LP-E151", f"{FINGERPRINTS}: `plan_id` does not match the documents: edited")


def _files(prints: JSON) -> Iterator[object]:
    for parts in prints["data"]["parts"]:
        yield from parts.get("files", [])


def _is_file(file: object) -> bool:
    """Whether an object describes a data file in the form of `lengths build`."""
    if not isinstance(file, dict):
        return False
    members = cast("JSON", file)
    digest = members.get("sha256")
    is_sized = isinstance(members.get("bytes"), int) and isinstance(members.get("name"), str)
    return is_sized and isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) is not None


def _is_sound(link: object, count: int, sources: list[str] | None) -> bool:
    if not isinstance(link, dict):
        return False
    members = cast("JSON", link)
    given, parts = members.get("sources"), members.get("parts")
    if not isinstance(given, list) or not isinstance(parts, list):
        return False
    digests, components = cast("list[object]", given), cast("list[object]", parts)
    if len(digests) != count or len(components) != count or not all(isinstance(each, dict) for each in components):
        return False
    is_absent = ABSENT in digests and sources is None
    digest = ABSENT if is_absent else canonical_digest(digests)
    return members.get("digest") == digest and (sources is None or digests == sources)
