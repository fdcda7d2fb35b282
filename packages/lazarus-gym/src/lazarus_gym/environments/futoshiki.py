"""Futoshiki: every row and column holds every digit once, and signs between neighbours order them."""

from collections.abc import Sequence
from functools import lru_cache

from typing_extensions import override

from lazarus_gym.environments.boards import Board, Less, UnitBoard, index_units, lines
from lazarus_gym.environments.cell_game import CellGame, CellPuzzle, Shape
from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Level


class Futoshiki(CellGame):
    """Futoshiki of 4 x 4 to 6 x 6 cells."""

    name = "futoshiki"
    title = "Futoshiki"
    commands = ("place ROW COLUMN DIGIT", "clear ROW COLUMN")
    shapes = {"easy": Shape(4, 11), "medium": Shape(5, 19), "hard": Shape(6, 30)}  # noqa: RUF012 # a constant

    @override
    def board(self, size: int, less: Less = ()) -> Board:
        units, units_of = _units(size)
        return UnitBoard(size, units, less, units_of)

    @override
    def order(self, draw: Draw, level: Level, solution: Sequence[int], size: int) -> Less:
        pairs = [(i, i + 1) for i in range(size * size) if (i + 1) % size]
        pairs += [(i, i + size) for i in range(size * size - size)]
        kept = draw.shuffled(pairs)[: len(pairs) // 3]
        return tuple(sorted((a, b) if solution[a] < solution[b] else (b, a) for a, b in kept))

    @override
    def rules(self, puzzle: CellPuzzle) -> tuple[str, ...]:
        return (
            f"Fill the grid with the digits 1 to {puzzle.size}.",
            "Every row and every column holds each digit once.",
            "A sign between two cells says which is smaller: < and > in a row, ^ (smaller above) and v (smaller below) in a column.",
            "The puzzle has exactly one solution.",
        )

    @override
    def render(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> str:
        size, less = puzzle.size, set(puzzle.less)
        lines_of = ["    " + "   ".join(str(column) for column in range(1, size + 1))]
        for row in range(size):
            parts = [f"{row + 1} | {self.shown(position[row * size])}"]
            for cell in range(row * size + 1, row * size + size):
                parts.append(f"{_sign(less, cell - 1, cell, '<', '>')} {self.shown(position[cell])}")
            lines_of.append(" ".join(parts))
            if row + 1 < size:
                below = (_sign(less, cell, cell + size, "^", "v") for cell in range(row * size, row * size + size))
                lines_of.append(("  | " + "   ".join(below)).rstrip())
        return "\n".join(lines_of)


def _sign(less: set[tuple[int, int]], first: int, second: int, smaller: str, greater: str) -> str:
    return smaller if (first, second) in less else greater if (second, first) in less else " "


@lru_cache(maxsize=8)
def _units(size: int) -> tuple[list[tuple[str, tuple[int, ...]]], list[tuple[int, ...]]]:
    units = lines(size)
    return units, index_units(units)
