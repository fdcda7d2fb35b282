"""Which hidden cells of a Minesweeper board are certain, and the chance of a mine in the others.

Exact: all arrangements of mines that agree with the numbers are counted, component by component of cells that share a
number, and weighted by the ways to place the mines that are left elsewhere.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb
from typing import NamedTuple


class Constraint(NamedTuple):
    """A number on the board: among `cells` are `mines` mines."""

    cells: frozenset[int]
    mines: int


class _Component(NamedTuple):
    """Arrangements of a component by its number of mines: how many there are, and in how many each cell is a mine."""

    cells: tuple[int, ...]
    counts: dict[int, int]
    by_cell: dict[int, list[int]]


@lru_cache(maxsize=32)
def neighbours(size: int) -> tuple[tuple[int, ...], ...]:
    """The up to eight neighbours of every cell of a square."""
    near: list[tuple[int, ...]] = []
    for cell in range(size * size):
        row, column = divmod(cell, size)
        around = [(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
        near.append(tuple(r * size + c for r, c in around if 0 <= r < size and 0 <= c < size))
    return tuple(near)


def constraints(size: int, numbers: Sequence[int]) -> list[Constraint]:
    """The constraints of the open cells.

    Args:
        size: Rows and columns.
        numbers: The number of each open cell; -1 for a hidden one.
    """
    found: dict[frozenset[int], int] = {}
    for cell, number in enumerate(numbers):
        if number >= 0:
            hidden = frozenset(other for other in neighbours(size)[cell] if numbers[other] < 0)
            if hidden:
                found[hidden] = number
    return [Constraint(cells, mines) for cells, mines in found.items()]


def simple_deductions(given: Iterable[Constraint]) -> tuple[set[int], set[int]]:
    """Safe cells and mines that follow from one constraint, or from one that contains another.

    Args:
        given: Constraints of a board.
    """
    known = list(given)
    safe: set[int] = set()
    mines: set[int] = set()
    pairs = [
        Constraint(large.cells - small.cells, large.mines - small.mines)
        for large in known
        for small in known
        if small.cells < large.cells
    ]
    for cells, count in known + pairs:
        if count == 0:
            safe |= cells
        elif count == len(cells):
            mines |= cells
    return safe, mines


def chances(size: int, numbers: Sequence[int], num_mines: int) -> dict[int, Fraction]:
    """The chance of a mine in every hidden cell, exact.

    Args:
        size: Rows and columns.
        numbers: The number of each open cell; -1 for a hidden one.
        num_mines: Mines on the whole board.
    """
    hidden = [cell for cell, number in enumerate(numbers) if number < 0]
    components = [_arranged(part) for part in _components(constraints(size, numbers))]
    frontier = {cell for part in components for cell in part.cells}
    far = [cell for cell in hidden if cell not in frontier]
    whole = _joined(components)

    def weight(counts: dict[int, int]) -> int:
        return sum(ways * comb(len(far), num_mines - mines) for mines, ways in counts.items() if mines <= num_mines)

    total = weight(whole)
    result: dict[int, Fraction] = {}
    for number, part in enumerate(components):
        others = _joined(components[:number] + components[number + 1 :])
        for place, cell in enumerate(part.cells):
            with_mine = {mines: ways[place] for mines, ways in part.by_cell.items() if ways[place]}
            result[cell] = Fraction(weight(_product(with_mine, others)), total)
    if far:
        in_far = sum(
            ways * comb(len(far), num_mines - mines) * (num_mines - mines)
            for mines, ways in whole.items()
            if mines <= num_mines
        )
        result |= dict.fromkeys(far, Fraction(in_far, total * len(far)))
    return result


def _joined(parts: Iterable[_Component]) -> dict[int, int]:
    counts = {0: 1}
    for part in parts:
        counts = _product(counts, part.counts)
    return counts


def _product(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for a, ways in one.items():
        for b, more in other.items():
            counts[a + b] = counts.get(a + b, 0) + ways * more
    return counts


def _components(given: list[Constraint]) -> list[list[Constraint]]:
    """Constraints grouped by shared cells."""
    groups: list[list[Constraint]] = []
    cells: list[set[int]] = []
    for each in given:
        touching = [i for i, group in enumerate(cells) if group & each.cells]
        joined, members = [each], set(each.cells)
        for i in reversed(touching):
            joined = groups.pop(i) + joined
            members |= cells.pop(i)
        groups.append(joined)
        cells.append(members)
    return groups


def _arranged(group: list[Constraint]) -> _Component:
    """Counts the arrangements of a component by depth-first search over its cells."""
    order = tuple(dict.fromkeys(cell for each in group for cell in sorted(each.cells)))
    of = {cell: [i for i, each in enumerate(group) if cell in each.cells] for cell in order}
    need = [each.mines for each in group]
    room = [len(each.cells) for each in group]
    counts: dict[int, int] = {}
    by_cell: dict[int, list[int]] = {}
    chosen: list[int] = []

    def visit(place: int) -> None:
        if place == len(order):
            mines = len(chosen)
            counts[mines] = counts.get(mines, 0) + 1
            ways = by_cell.setdefault(mines, [0] * len(order))
            for each in chosen:
                ways[each] += 1
            return
        touched = of[order[place]]
        for mine in (0, 1):
            for i in touched:
                need[i] -= mine
                room[i] -= 1
            if all(0 <= need[i] <= room[i] for i in touched):
                if mine:
                    chosen.append(place)
                visit(place + 1)
                if mine:
                    chosen.pop()
            for i in touched:
                need[i] += mine
                room[i] += 1

    visit(0)
    return _Component(order, counts, by_cell)
