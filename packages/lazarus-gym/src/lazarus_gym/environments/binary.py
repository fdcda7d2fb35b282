"""Binary puzzle (Takuzu): zeros and ones, never three equal ones in a line, as many of each in every row and column."""

from typing_extensions import override

from lazarus_gym.environments.boards import BinaryBoard, Board, Less
from lazarus_gym.environments.cell_game import CellGame, CellPuzzle, Shape


class Binary(CellGame):
    """Binary puzzle of 6 x 6 to 10 x 10 cells. Two rows may be equal."""

    name = "binary"
    title = "Binary Puzzle"
    commands = ("place ROW COLUMN DIGIT", "clear ROW COLUMN")
    shapes = {"easy": Shape(6, 22), "medium": Shape(8, 44), "hard": Shape(10, 74)}  # noqa: RUF012 # a constant
    lowest = 0

    @override
    def board(self, size: int, less: Less = ()) -> Board:
        return BinaryBoard(size)

    @override
    def rules(self, puzzle: CellPuzzle) -> tuple[str, ...]:
        return (
            "Fill the grid with 0 and 1.",
            "No three equal digits are next to each other in a row or column.",
            f"Every row and every column has {puzzle.size // 2} zeros and {puzzle.size // 2} ones.",
            "The puzzle has exactly one solution.",
        )

    @override
    def _num_digits(self, puzzle: CellPuzzle) -> int:
        return 2
