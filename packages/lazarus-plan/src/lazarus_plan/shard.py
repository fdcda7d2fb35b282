"""Assign the rows of a step to ranks. Stateless: any worker computes it from the plan alone."""

from collections.abc import Sequence
from typing import Literal

from lazarus_plan.plan import Row

Policy = Literal["contiguous", "stride", "snake", "lpt"]


def assign(rows: Sequence[Row], shares: int, policy: Policy = "snake") -> list[list[int]]:
    """Assign the rows of one step to shares: one share per rank, or per rank and micro-batch.

    Every row belongs to exactly one share. The rows of a share are in ascending order.

    - contiguous: blocks, the first ones larger by one.
    - stride: row i goes to share i mod shares.
    - snake: back and forth; rows are sorted by descending cost, so each share gets expensive and cheap rows.
    - lpt: the most expensive remaining row goes to the cheapest share (longest processing time first, Graham 1969).

    Args:
        rows: Rows of the step, in the plan's order.
        shares: Number of shares, at least 1.
        policy: Policy of the assignment.

    Returns:
        For each share, positions in `rows`; some are empty if there are fewer rows than shares.
    """
    assert shares >= 1, f"shares is {shares}"
    owners = _owners(rows, shares, policy)
    return [[row for row, owner in enumerate(owners) if owner == share] for share in range(shares)]


def _owners(rows: Sequence[Row], shares: int, policy: Policy) -> list[int]:
    match policy:
        case "contiguous":
            size, larger = divmod(len(rows), shares)
            return [share for share in range(shares) for _ in range(size + (share < larger))]
        case "stride":
            return [row % shares for row in range(len(rows))]
        case "snake":
            lap = [*range(shares), *reversed(range(shares))]
            return [lap[row % len(lap)] for row in range(len(rows))]
        case "lpt":
            return _longest_first(rows, shares)


def _longest_first(rows: Sequence[Row], shares: int) -> list[int]:
    load = [0] * shares
    owners = [0] * len(rows)
    for row in sorted(range(len(rows)), key=lambda row: -rows[row].cost):
        owner = min(range(shares), key=lambda share: (load[share], share))
        owners[row] = owner
        load[owner] += rows[row].cost
    return owners
