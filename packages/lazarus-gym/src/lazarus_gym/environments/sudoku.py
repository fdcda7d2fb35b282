"""Sudoku: every row, column and box holds every digit once."""

from functools import lru_cache
from math import isqrt

from typing_extensions import override

from lazarus_gym.environments.boards import Board, Less, UnitBoard, index_units, lines
from lazarus_gym.environments.cell_game import CellGame, CellPuzzle, Shape


class Sudoku(CellGame):
    """Sudoku of 9 x 9 cells; `make` also makes 4 x 4 and 16 x 16."""

    name = "sudoku"
    title = "Sudoku"
    commands = ("place ROW COLUMN DIGIT", "clear ROW COLUMN")
    shapes = {"easy": Shape(9, 38), "medium": Shape(9, 50), "hard": Shape(9, 56)}  # noqa: RUF012 # a constant

    @override
    def board(self, size: int, less: Less = ()) -> Board:
        units, units_of = _units(size)
        return UnitBoard(size, units, units_of=units_of)

    @override
    def box(self, size: int) -> tuple[int, int]:
        return isqrt(size), isqrt(size)

    @override
    def rules(self, puzzle: CellPuzzle) -> tuple[str, ...]:
        size, side = puzzle.size, isqrt(puzzle.size)
        return (
            f"Fill the {size}x{size} grid with the digits 1 to {size}.",
            f"Every row, every column and every {side}x{side} box holds each digit once.",
            "The puzzle has exactly one solution.",
        )


@lru_cache(maxsize=4)
def _units(size: int) -> tuple[list[tuple[str, tuple[int, ...]]], list[tuple[int, ...]]]:
    side = isqrt(size)
    boxes: list[tuple[str, tuple[int, ...]]] = []
    for number in range(size):
        top, left = number // side * side, number % side * side
        cells = tuple((top + r) * size + left + c for r in range(side) for c in range(side))
        boxes.append((f"the box of row {top + 1} and column {left + 1}", cells))
    units = lines(size) + boxes
    return units, index_units(units)
