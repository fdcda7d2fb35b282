"""Compare the rows of two sets of length caches.

Rows are matched by id first. Ids are often positions, so a row inserted in the middle changes the ids of all later rows.
Therefore unmatched rows are matched by content. The rest was added, removed or changed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazarus_core.canonical import JSON
from lazarus_plan.findings import SHOWN
from lazarus_plan.lengths.cache import LengthCache


@dataclass(frozen=True)
class RowChange:
    """One row that differs.

    Args:
        number: Position of its source.
        source: Name of its length cache.
        id: Its id.
        old: 0-based position in the old cache, None for an added row.
        new: 0-based position in the new cache, None for a removed row.
        tokens: Length before and after; 0 for an absent row.
    """

    number: int
    source: str
    id: str
    old: int | None
    new: int | None
    tokens: tuple[int, int]


@dataclass(frozen=True)
class RowChanges:
    """All rows of all sources that differ.

    Args:
        added: Rows of the new caches alone.
        removed: Rows of the old caches alone.
        changed: Rows with the same id and other content.
        num_moved: Rows with the same content and another id or position.
        num_encoded: Rows with the same content and id, but other lengths or token ids.
    """

    added: tuple[RowChange, ...] = ()
    removed: tuple[RowChange, ...] = ()
    changed: tuple[RowChange, ...] = ()
    num_moved: int = 0
    num_encoded: int = 0

    def to_json(self) -> JSON:
        """Ids by kind, and counts."""
        kinds = {"added": self.added, "removed": self.removed, "changed": self.changed}
        listed = {kind: [{"source": row.source, "id": row.id} for row in rows] for kind, rows in kinds.items()}
        return {**listed, "moved": self.num_moved, "encoded_otherwise": self.num_encoded}

    def names(self) -> list[str]:
        """The ids of the first rows of each kind, one line a kind."""
        kinds = {"added": self.added, "removed": self.removed, "changed": self.changed}
        return [
            f"{kind}: {', '.join(repr(row.id) for row in rows[:SHOWN])}"
            + (f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else "")
            for kind, rows in kinds.items()
            if rows
        ]

    def line(self) -> str:
        """The counts in words."""
        counts = f"{len(self.added):,} added, {len(self.removed):,} removed, {len(self.changed):,} changed"
        moved = f", {self.num_moved:,} in another place" if self.num_moved else ""
        encoded = f", {self.num_encoded:,} with other tokens" if self.num_encoded else ""
        return counts + moved + encoded


def compare_rows(old: Sequence[LengthCache], new: Sequence[LengthCache]) -> RowChanges:
    """Compare the rows of two sets of length caches, source by source.

    Args:
        old: The caches before.
        new: The caches after. A source that only one side has was added or removed whole.
    """
    parts: list[RowChanges] = []
    for number in range(max(len(old), len(new))):
        before = old[number] if number < len(old) else None
        after = new[number] if number < len(new) else None
        if before is None or after is None or before.digest != after.digest:
            parts.append(_compare_source(number, before, after))
    return RowChanges(
        added=tuple(row for part in parts for row in part.added),
        removed=tuple(row for part in parts for row in part.removed),
        changed=tuple(row for part in parts for row in part.changed),
        num_moved=sum(part.num_moved for part in parts),
        num_encoded=sum(part.num_encoded for part in parts),
    )


def _compare_source(number: int, old: LengthCache | None, new: LengthCache | None) -> RowChanges:
    contents, tokens = _columns(old, new)
    ids = [[] if cache is None else list(cache.ids) for cache in (old, new)]  # each may be a pass over its file
    places = [{each: at for at, each in enumerate(each_ids)} for each_ids in ids]
    both = [(at, places[1][each]) for each, at in places[0].items() if each in places[1]]
    same = [(before, after) for before, after in both if contents[0][before] == contents[1][after]]
    num_encoded = sum(tokens[0][before] != tokens[1][after] for before, after in same)
    left, right = ({pair[side] for pair in same} for side in (0, 1))
    num_reordered = _num_reordered(same)
    moved = _match_content(contents, left, right)
    left |= {before for before, _ in moved}
    right |= {after for _, after in moved}
    name = (new or old or _NOTHING).name
    changed = [pair for pair in both if pair[0] not in left and pair[1] not in right]
    left |= {before for before, _ in changed}
    right |= {after for _, after in changed}

    def row(before: int | None, after: int | None) -> RowChange:
        cache, at = (old, before) if after is None else (new, after)
        assert cache is not None and at is not None, "a row is of one of the caches"
        lengths = tuple(
            0 if each is None or where is None else int(each.length[where])
            for each, where in ((old, before), (new, after))
        )
        return RowChange(number, name, ids[cache is new][at], before, after, (lengths[0], lengths[1]))

    return RowChanges(
        added=tuple(row(None, at) for at in range(len(ids[1])) if at not in right),
        removed=tuple(row(at, None) for at in range(len(ids[0])) if at not in left),
        changed=tuple(row(*pair) for pair in changed),
        num_moved=len(moved) + num_reordered,
        num_encoded=int(num_encoded),
    )


_NOTHING = LengthCache.from_rows([])


def _columns(old: LengthCache | None, new: LengthCache | None) -> tuple[list[list[Any]], list[list[Any]]]:
    """Digests of content and of tokens of each row of both caches.

    Without digests of rows, the digests of tokens are used for the content.
    """
    caches = [cache for cache in (old, new) if cache is not None]
    shared = [
        name
        for name in ("length", "loss_tokens", "token_prefix")
        if all(getattr(cache, name) is not None for cache in caches)
    ]
    tokens = [[] if cache is None else _tuples(cache, shared) for cache in (old, new)]
    if any(cache.row_prefix is None for cache in caches):
        return tokens, tokens
    return [[] if cache is None else _tuples(cache, ["row_prefix"]) for cache in (old, new)], tokens


def _tuples(cache: LengthCache, names: Sequence[str]) -> list[Any]:
    return list(zip(*(getattr(cache, name).tolist() for name in names), strict=True))


def _num_reordered(same: Sequence[tuple[int, int]]) -> int:
    """Number of common rows whose rank among the common rows differs."""
    after = np.array([after for _, after in sorted(same)], dtype=np.int64)
    return int((np.argsort(after, kind="stable") != np.arange(len(after))).sum())


def _match_content(contents: list[list[Any]], left: set[int], right: set[int]) -> list[tuple[int, int]]:
    """Pairs of rows with equal content among the rows without a match by id."""
    waiting = defaultdict[Any, list[int]](list)
    for at in reversed(range(len(contents[0]))):
        if at not in left:
            waiting[contents[0][at]].append(at)
    rest = (at for at in range(len(contents[1])) if at not in right)
    return [(waiting[contents[1][at]].pop(), at) for at in rest if waiting[contents[1][at]]]
