"""The chain of digests from the rows of the data to the identity of the plan.

```
data ─┐
template ─┼─> lengths ─┐
tokenizer ┘            ├─> plan
               config ─┘
```
Each link has `digest`, `inputs` (the links it depends on) and `count`; the first four also `sources`, one digest per
length cache, and `parts`, the component digests that let a mismatch be named. A link's digest is SHA-256 over the
canonical JSON of its `sources`. `plan_id` is the digest of `plan_identity`: it covers every link, the parent of a
rebased plan and every byte of `plan.jsonl`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_core.canonical import JSON, canonical_digest, digest_text
from lazarus_plan.config import PlanConfig
from lazarus_plan.format.merkle import merkle_root
from lazarus_plan.lengths.cache import ABSENT, LengthCache
from lazarus_plan.plan import FORMAT_VERSION, NEWEST_VERSION, Parent, Ranges

UPSTREAM = ("data", "template", "tokenizer")
PLAN_INPUTS = (*UPSTREAM, "lengths", "config")
"""The links that `plan_id` covers."""
SHORT = 16
"""Hexadecimal digits of a digest shown to people; stored digests are whole."""


def short(digest: str) -> str:
    """Short form of a digest for people: its first 16 hexadecimal digits, without `sha256:`."""
    return digest.removeprefix("sha256:")[:SHORT]


def plan_identity(
    config: PlanConfig,
    sources: JSON,
    root: str,
    steps: int,
    parent: Parent | None = None,
    numbering: Ranges | None = None,
) -> JSON:
    """The object whose digest is `plan_id`.

    Args:
        config: Resolved configuration.
        sources: From `source_identities`.
        root: Merkle root over the lines of `plan.jsonl`, 64 hexadecimal digits.
        steps: Number of lines.
        parent: Of a rebased plan: the plan whose first steps it repeats.
        numbering: Ranges of the sample numbers, if the sources do not follow one another.
    """
    identity: JSON = {
        "plan_format_version": FORMAT_VERSION if numbering is None else NEWEST_VERSION,
        "config": config.canonical(),
        **sources,
        "merkle_root": root,
        "steps": steps,
    }
    if parent is not None:
        identity["parent"] = parent.model_dump(mode="json")
    if numbering is not None:
        identity["numbering"] = [list(each) for each in numbering]
    return identity


def plan_id(identity: JSON) -> str:
    """The identifier of a plan: `sha256:` and 64 hexadecimal digits over `plan_identity`."""
    return canonical_digest(identity)


def source_identities(chain: JSON, counts: Sequence[int]) -> JSON:
    """The part of a plan's identity that describes its length caches: lists with one element per cache.

    Args:
        chain: The links `data`, `template`, `tokenizer` and `lengths` of `fingerprints.json`.
        counts: Samples of each cache.
    """
    about = chain["lengths"]["parts"]
    return {
        **{link: list(chain[link]["sources"]) for link in (*UPSTREAM, "lengths")},
        "encoding": [canonical_digest(parts.get("encoding", {})) for parts in about],
        "files": [[file["sha256"] for file in parts.get("files", [])] for parts in chain["data"]["parts"]],
        "rows": [parts.get("rows", ABSENT) for parts in about],
        "counts": list(counts),
    }


def fingerprint_plan(
    caches: Sequence[LengthCache],
    config: PlanConfig,
    blocks: Iterable[bytes],
    parent: Parent | None = None,
    numbering: Ranges | None = None,
) -> JSON:
    """The content of `fingerprints.json`.

    Args:
        caches: Length caches of the sources.
        config: Resolved configuration.
        blocks: The bytes of `plan.jsonl`, in pieces of whole lines.
        parent: Of a rebased plan: the plan whose first steps it repeats.
        numbering: Ranges of the sample numbers, if the sources do not follow one another.
    """
    chain: JSON = {}
    # One digest per cache, then one over the list, so the order of the caches counts.
    for link in UPSTREAM:
        sources = [str(getattr(cache.header, link)) for cache in caches]
        parts = [cache.header.parts.get(link, {}) for cache in caches]
        # One source without a fingerprint makes the link absent: a digest of the rest would claim too much.
        is_absent = ABSENT in sources
        chain[link] = {
            "digest": ABSENT if is_absent else canonical_digest(sources),
            "inputs": [],
            # Samples for data; caches for template and tokenizer.
            "count": sum(map(len, caches)) if link == "data" else len(caches),
            "sources": sources,
            "parts": parts,
        }
    sources = [cache.digest for cache in caches]
    lengths = canonical_digest(sources)
    # A cache's digest covers its header and all of its lines.
    chain["lengths"] = {
        "digest": lengths,
        "inputs": list(UPSTREAM),
        "count": sum(map(len, caches)),
        "sources": sources,
        "parts": [_lengths_parts(cache) for cache in caches],
    }
    canonical = config.canonical()
    chain["config"] = {"digest": canonical_digest(canonical), "inputs": [], "count": len(canonical)}
    # One pass over the blocks, which the caller may encode lazily.
    sha, root, steps = digest_lines(blocks)
    sources_held = source_identities(chain, list(map(len, caches)))
    identity = plan_id(plan_identity(config, sources_held, root, steps, parent, numbering))
    chain["plan"] = {"digest": identity, "inputs": list(PLAN_INPUTS), "count": steps}
    return {**chain, "plan_sha256": sha, "merkle_root": root, "plan_id": identity}


def prefixes_digest(prefixes: NDArray[np.uint32]) -> str:
    """SHA-256 of a source's part of `plan.rows`, which binds it to the plan.

    Args:
        prefixes: First 4 bytes of the digests of rows and tokens, uint32 (samples, 2).
    """
    # Little-endian on every machine, so the digest depends on the values only.
    return digest_text(hashlib.sha256(np.ascontiguousarray(prefixes, dtype="<u4").data).digest())


def _lengths_parts(cache: LengthCache) -> JSON:
    prefixes = cache.prefixes
    return {"encoding": cache.header.encoding} | ({} if prefixes is None else {"rows": prefixes_digest(prefixes)})


def digest_lines(blocks: Iterable[bytes]) -> tuple[str, str, int]:
    """`plan_sha256`, `merkle_root` (hex; leaves are the lines without LF) and the number of lines, in one pass.

    Args:
        blocks: The bytes of `plan.jsonl`, in pieces of whole lines.
    """
    sha = hashlib.sha256()
    steps = 0

    def leaves() -> Iterator[bytes]:
        nonlocal steps
        for block in blocks:
            # The file's digest includes the LFs; the leaves of the tree do not.
            sha.update(block)
            # Blocks end with LF, which leaves an empty last element. A missing final LF keeps the last line.
            lines = block.split(b"\n")
            if not lines[-1]:
                lines.pop()
            steps += len(lines)
            yield from lines

    root = merkle_root(leaves())
    return digest_text(sha.digest()), root.hex(), steps
