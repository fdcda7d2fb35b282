"""Nonogram: numbers of every row and column are the lengths of its runs of filled cells, in order.

The solver narrows each line to the arrangements that fit. Cells that all of them fill, or all leave blank, are certain;
where no line gives more, it guesses. Easy and medium puzzles need no guess.
"""

from dataclasses import dataclass
from functools import lru_cache

from typing_extensions import override

from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Game, Hint, Level, Measure, Played, numbers, usage

Clue = tuple[int, ...]
SIZES: dict[Level, int] = {"easy": 5, "medium": 8, "hard": 10}
FILLED, BLANK = 1, 2
_SHOWN = (".", "#", "x")


@dataclass(frozen=True)
class NonogramPuzzle:
    """Clues and the only picture, as a tuple of cells (1 filled, 2 blank), row by row."""

    size: int
    rows: tuple[Clue, ...]
    columns: tuple[Clue, ...]
    picture: tuple[int, ...]


class Nonogram(Game[NonogramPuzzle, tuple[int, ...]]):
    """Nonogram of 5 x 5 to 10 x 10 cells."""

    name = "nonogram"
    title = "Nonogram"
    commands = ("place ROW COLUMN 1 (fill) or 0 (mark as blank)", "clear ROW COLUMN")

    @override
    def generate(self, draw: Draw, level: Level) -> NonogramPuzzle:
        return self.make(draw, SIZES[level], can_guess=level == "hard")

    def make(self, draw: Draw, size: int, *, can_guess: bool) -> NonogramPuzzle:
        """Makes a puzzle of any size.

        Args:
            draw: Draws of the key.
            size: Rows and columns, 2 to 15.
            can_guess: Whether single lines need not suffice.
        """
        while True:
            picture = tuple(FILLED if draw.below(100) < 58 else BLANK for _ in range(size * size))
            if FILLED not in picture:
                continue
            rows = tuple(_clue(picture[r * size : r * size + size]) for r in range(size))
            columns = tuple(_clue(picture[c::size]) for c in range(size))
            cells, _ = narrowed(size, rows, columns, [0] * (size * size))
            assert cells is not None
            if 0 in cells and not (can_guess and len(pictures(size, rows, columns, limit=2)) == 1):
                continue
            return NonogramPuzzle(size, rows, columns, picture)

    @override
    def rules(self, puzzle: NonogramPuzzle) -> tuple[str, ...]:
        return (
            f"Fill cells of the {puzzle.size}x{puzzle.size} grid to reveal a picture.",
            "The numbers of a row or column are the lengths of its runs of filled cells, in order; 0 means none.",
            "# is filled, x is marked as blank, . is open. Only filled cells count at the end.",
            "The puzzle has exactly one solution.",
        )

    @override
    def start(self, puzzle: NonogramPuzzle) -> tuple[int, ...]:
        return (0,) * puzzle.size**2

    @override
    def render(self, puzzle: NonogramPuzzle, position: tuple[int, ...]) -> str:
        size = puzzle.size
        lines = [
            "columns: " + " | ".join(" ".join(map(str, clue)) for clue in puzzle.columns),
            "     " + " ".join(str(c % 10) for c in range(1, size + 1)),
        ]
        for row in range(size):
            cells = " ".join(_SHOWN[value] for value in position[row * size : row * size + size])
            lines.append(f"{row + 1:>2} | {cells} | {' '.join(map(str, puzzle.rows[row]))}")
        return "\n".join(lines)

    @override
    def grid(self, puzzle: NonogramPuzzle, position: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """-1 is an open cell, 1 a filled one, 0 a blank one."""
        size, words = puzzle.size, (-1, 1, 0)
        return tuple(tuple(words[value] for value in position[at : at + size]) for at in range(0, size * size, size))

    @override
    def play(self, puzzle: NonogramPuzzle, position: tuple[int, ...], words: list[str]) -> Played:
        size = puzzle.size
        match words:
            case ["place", *rest]:
                found = numbers(rest, [(1, size), (1, size), (0, 1)])
            case ["clear", *rest]:
                found = numbers(rest, [(1, size), (1, size)])
            case _:
                found = None
        if found is None:
            return usage(
                position, f"place ROW COLUMN 1 to fill, 0 to mark; clear ROW COLUMN; rows and columns 1 to {size}"
            )
        cell = (found[0] - 1) * size + found[1] - 1
        value = 0 if len(found) == 2 else FILLED if found[2] else BLANK
        if position[cell] == value:
            return Played(position, False, "INVALID_MOVE", "The cell is so already.")
        after = (*position[:cell], value, *position[cell + 1 :])
        return Played(after, True, ("CLEARED", "FILLED", "MARKED")[value], ("Cleared.", "Filled.", "Marked.")[value])

    @override
    def hint(self, puzzle: NonogramPuzzle, position: tuple[int, ...]) -> Hint | None:
        if self.is_solved(puzzle, position):
            return None
        size = puzzle.size
        for cell, (value, right) in enumerate(zip(position, puzzle.picture, strict=True)):
            if value and value != right:
                row, column = divmod(cell, size)
                text = f"Try clearing row {row + 1}, column {column + 1}: the only solution does not have it so"
                return Hint(f"clear {row + 1} {column + 1}", "contradiction", text)
        for kind, place, cells in _lines(size):
            clue = (puzzle.rows if kind == "row" else puzzle.columns)[place]
            line = _narrow(clue, tuple(position[cell] for cell in cells))
            assert line is not None, "a position without contradiction"
            for cell, value in zip(cells, line, strict=True):
                if value == FILLED and not position[cell]:
                    return _fill(cell, size, "only_candidate", f"every arrangement of {kind} {place + 1} fills it")
        cell = next(i for i, value in enumerate(puzzle.picture) if value == FILLED and not position[i])
        return _fill(cell, size, "solution", "the only solution fills it")

    @override
    def is_solved(self, puzzle: NonogramPuzzle, position: tuple[int, ...]) -> bool:
        size = puzzle.size
        return all(_clue(position[r * size : r * size + size]) == puzzle.rows[r] for r in range(size)) and all(
            _clue(position[c::size]) == puzzle.columns[c] for c in range(size)
        )

    @override
    def solution(self, puzzle: NonogramPuzzle, position: tuple[int, ...]) -> tuple[str, ...]:
        moves: list[str] = []
        for cell, (value, right) in enumerate(zip(position, puzzle.picture, strict=True)):
            place = f"{cell // puzzle.size + 1} {cell % puzzle.size + 1}"
            if right == FILLED and value != FILLED:
                moves.append(f"place {place} 1")
            elif right == BLANK and value == FILLED:
                moves.append(f"clear {place}")
        return tuple(moves)

    @override
    def measure(self, puzzle: NonogramPuzzle) -> Measure:
        cells, passes = narrowed(puzzle.size, puzzle.rows, puzzle.columns, [0] * puzzle.size**2)
        assert cells is not None
        left = cells.count(0)
        score = 0.5 * (1 - 1 / max(1, passes)) + 0.5 * left / len(cells)
        return Measure(score, {"passes": passes, "cells_by_search": left})


def _fill(cell: int, size: int, reason: str, because: str) -> Hint:
    row, column = cell // size + 1, cell % size + 1
    text = f"Try marking row {row}, column {column} as filled: {because}"
    return Hint(f"place {row} {column} 1", "only_candidate" if reason == "only_candidate" else "solution", text)


def _clue(cells: tuple[int, ...]) -> Clue:
    runs: list[int] = []
    length = 0
    for value in (*cells, BLANK):
        if value == FILLED:
            length += 1
        elif length:
            runs.append(length)
            length = 0
    return tuple(runs) or (0,)


@lru_cache(maxsize=4096)
def arrangements(clue: Clue, size: int) -> tuple[tuple[int, ...], ...]:
    """All lines with a clue.

    >>> arrangements((2, 1), 4)
    ((1, 1, 2, 1),)

    Args:
        clue: Lengths of the runs.
        size: Cells of the line.
    """
    if clue in ((), (0,)):
        return ((BLANK,) * size,)
    first, rest = clue[0], clue[1:]
    found: list[tuple[int, ...]] = []
    needed = sum(rest) + len(rest)
    for start in range(size - first - needed + 1):
        head = (BLANK,) * start + (FILLED,) * first
        if rest:
            found += [(*head, BLANK, *tail) for tail in arrangements(rest, size - len(head) - 1)]
        else:
            found.append((*head, *(BLANK,) * (size - len(head))))
    return tuple(found)


@lru_cache(maxsize=1 << 16)
def _narrow(clue: Clue, line: tuple[int, ...]) -> tuple[int, ...] | None:
    """Cells that all fitting arrangements share; None where none fits."""
    fitting = [
        each for each in arrangements(clue, len(line)) if all(a in (0, b) for a, b in zip(line, each, strict=True))
    ]
    if not fitting:
        return None
    return tuple(first if all(each[i] == first for each in fitting) else 0 for i, first in enumerate(fitting[0]))


@lru_cache(maxsize=32)
def _lines(size: int) -> list[tuple[str, int, tuple[int, ...]]]:
    rows = [("row", r, tuple(range(r * size, r * size + size))) for r in range(size)]
    return rows + [("column", c, tuple(range(c, size * size, size))) for c in range(size)]


def narrowed(
    size: int, rows: tuple[Clue, ...], columns: tuple[Clue, ...], cells: list[int]
) -> tuple[list[int] | None, int]:
    """Cells that single lines decide, and the number of passes; None for the cells where some line has no arrangement.

    Args:
        size: Rows and columns.
        rows: Clues of the rows.
        columns: Clues of the columns.
        cells: Cells that are known; changed in place.
    """
    passes, is_changed = 0, True
    while is_changed:
        passes, is_changed = passes + 1, False
        for kind, place, members in _lines(size):
            before = tuple(cells[cell] for cell in members)
            if 0 not in before and passes > 1:
                continue
            after = _narrow((rows if kind == "row" else columns)[place], before)
            if after is None:
                return None, passes
            if after != before:
                is_changed = True
                for cell, value in zip(members, after, strict=True):
                    cells[cell] = value
    return cells, passes


def pictures(size: int, rows: tuple[Clue, ...], columns: tuple[Clue, ...], *, limit: int) -> list[tuple[int, ...]]:
    """Pictures with these clues.

    Args:
        size: Rows and columns.
        rows: Clues of the rows.
        columns: Clues of the columns.
        limit: Number after which the search ends.
    """
    found: list[tuple[int, ...]] = []
    open_boards = [[0] * (size * size)]
    while open_boards and len(found) < limit:
        cells, _ = narrowed(size, rows, columns, open_boards.pop())
        if cells is None:
            continue
        if 0 not in cells:
            found.append(tuple(cells))
            continue
        guess = cells.index(0)
        for value in (FILLED, BLANK):
            open_boards.append([*cells[:guess], value, *cells[guess + 1 :]])
    return found
