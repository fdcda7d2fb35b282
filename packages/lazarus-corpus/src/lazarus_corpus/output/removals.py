"""`removed.jsonl` and `flagged.jsonl`: sorted by id, whatever task removed a document, with a bounded number in memory."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lazarus_corpus.documents import Removal
from lazarus_corpus.engine.work import read_removals, removal_line

FLAG = "flag"
"""Rule of documents that are kept and listed in `flagged.jsonl`."""
EXAMPLES = 3
"""Examples of each rule."""
_RUN = 10_000
"""Removals that are sorted in memory: about 7 MB."""
_MERGED = 100
"""Files that are merged at a time."""


class Removals(NamedTuple):
    """A summary for the card.

    Args:
        counts: Documents by rule, without `FLAG`, sorted by rule.
        examples: The first documents of each rule.
    """

    counts: dict[str, int]
    examples: dict[str, list[Removal]]


def write_removed(removals: Iterable[Removal], folder: Path, scratch: Path) -> Removals:
    """Writes `removed.jsonl`, and `flagged.jsonl` if a document is flagged.

    Args:
        removals: In any order.
        folder: The corpus.
        scratch: A folder for temporary files.
    """
    counts: dict[str, int] = defaultdict(int)
    examples: dict[str, list[Removal]] = defaultdict(list)
    flagged = folder / "flagged.jsonl"
    with (folder / "removed.jsonl").open("wb") as removed, flagged.open("wb") as flags:
        for each in _sorted(removals, scratch):
            if each.rule == FLAG:
                flags.write(removal_line(each))
                continue
            removed.write(removal_line(each))
            counts[each.rule] += 1
            if len(examples[each.rule]) < EXAMPLES:
                examples[each.rule].append(each)
    if not flagged.stat().st_size:
        flagged.unlink()
    return Removals(dict(sorted(counts.items())), dict(sorted(examples.items())))


def _sorted(removals: Iterable[Removal], scratch: Path) -> Iterator[Removal]:
    """Removals in ascending order: sorted runs in files, then merged."""
    runs: list[Path] = []
    waiting = iter(removals)
    while run := sorted(islice(waiting, _RUN)):
        if not runs and len(run) < _RUN:
            yield from run
            return
        runs.append(_write(run, scratch / f"run-{len(runs)}.jsonl"))
    while len(runs) > _MERGED:
        first, runs = runs[:_MERGED], runs[_MERGED:]
        runs.append(_write(_merged(first), first[0].with_suffix(".merged.jsonl")))
        for path in first:
            path.unlink()
    yield from _merged(runs)


def _merged(runs: list[Path]) -> Iterator[Removal]:
    return heapq.merge(*map(read_removals, runs))


def _write(removals: Iterable[Removal], path: Path) -> Path:
    with path.open("wb") as stream:
        stream.writelines(map(removal_line, removals))
    return path
