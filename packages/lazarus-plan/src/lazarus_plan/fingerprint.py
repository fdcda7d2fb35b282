"""The chain of digests, from the rows of the data to the identity of the plan.

```
data ─┐
template ─┼─> lengths ─┐
tokenizer ┘            ├─> plan
               config ─┘
```
Each link has `digest`, `inputs` (the links it depends on) and `count`; the first four also `sources`, one digest a
length cache, and `parts`, the component digests that let a mismatch be named. A link's digest is SHA-256 over the
canonical JSON of its `sources`. `plan_id` is SHA-256 over the canonical JSON of
`{"config":{..},"lengths":digest,"merkle_root":hex,"steps":n}`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.canonical import JSON, canonical_digest, digest_text
from lazarus_plan.config import PlanConfig
from lazarus_plan.lengths import ABSENT, LengthCache
from lazarus_plan.merkle import merkle_root

UPSTREAM = ("data", "template", "tokenizer")
SHORT = 16
"""Hexadecimal digits of a digest shown to people; stored digests are whole."""


def short(digest: str) -> str:
    """A digest as people see it: `sha256:` is dropped, 16 hexadecimal digits stay."""
    return digest.removeprefix("sha256:")[:SHORT]


def plan_id(config: PlanConfig, lengths: str, root: str, steps: int) -> str:
    """The identity of a plan."""
    return canonical_digest({"config": config.canonical(), "lengths": lengths, "merkle_root": root, "steps": steps})


def fingerprint_plan(caches: Sequence[LengthCache], config: PlanConfig, blocks: Iterable[bytes]) -> JSON:
    """The content of `fingerprints.json`.

    Args:
        caches: What the plan was made from.
        config: Resolved configuration.
        blocks: The bytes of `plan.jsonl`, in pieces of whole lines.
    """
    chain: JSON = {}
    for link in UPSTREAM:
        sources = [str(getattr(cache.header, link)) for cache in caches]
        parts = [cache.header.parts.get(link, {}) for cache in caches]
        is_absent = ABSENT in sources
        chain[link] = {
            "digest": ABSENT if is_absent else canonical_digest(sources),
            "inputs": [],
            "count": sum(map(len, caches)) if link == "data" else len(caches),
            "sources": sources,
            "parts": parts,
        }
    sources = [cache.digest for cache in caches]
    lengths = canonical_digest(sources)
    chain["lengths"] = {
        "digest": lengths,
        "inputs": list(UPSTREAM),
        "count": sum(map(len, caches)),
        "sources": sources,
        "parts": [_lengths_parts(cache) for cache in caches],
    }
    canonical = config.canonical()
    chain["config"] = {"digest": canonical_digest(canonical), "inputs": [], "count": len(canonical)}
    sha, root, steps = digest_lines(blocks)
    identity = plan_id(config, lengths, root, steps)
    chain["plan"] = {"digest": identity, "inputs": ["lengths", "config"], "count": steps}
    return {**chain, "plan_sha256": sha, "merkle_root": root, "plan_id": identity}


def prefixes_digest(prefixes: NDArray[np.uint32]) -> str:
    """What binds a source's part of `plan.rows` to the plan: SHA-256 of its bytes.

    Args:
        prefixes: Of its rows and tokens, (samples, 2).
    """
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
            sha.update(block)
            lines = block.split(b"\n")
            if not lines[-1]:
                lines.pop()
            steps += len(lines)
            yield from lines

    root = merkle_root(leaves())
    return digest_text(sha.digest()), root.hex(), steps
