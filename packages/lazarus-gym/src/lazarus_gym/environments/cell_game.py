"""What Sudoku, Futoshiki and Binary share: digits in cells, one solution, and techniques of a person.

Three techniques find the digit of a cell. *Only candidate*: every other digit breaks a rule. *Only place*: no other cell of
a row, column or box can hold the digit. *Search*: neither helps, so a guess has to be refuted.

A hole is dug only where a technique of the level gives the digit back. So an easy puzzle needs only candidates, a medium
one also places, and a hard one has a hole wherever the solution stays the only one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from typing_extensions import override

from lazarus_gym.environments.boards import Board, Less, first_solution, is_unique_without
from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Game, Hint, Level, Measure, Played, numbers, table, usage

WEIGHTS = {"only_candidate": 1, "only_place": 2, "search": 8}
"""Effort of a step by technique: an estimate, used for the order of puzzles alone."""


@dataclass(frozen=True)
class CellPuzzle:
    """A puzzle of digits in a square.

    Args:
        size: Rows and columns.
        givens: Digits at the start, row by row; 0 is an empty cell.
        solution: The digits of the only solution.
        less: Pairs of cells, of which the first holds the smaller digit.
    """

    size: int
    givens: tuple[int, ...]
    solution: tuple[int, ...]
    less: Less = ()


class Shape(NamedTuple):
    """Size of a level.

    Args:
        size: Rows and columns.
        holes: Empty cells at most.
    """

    size: int
    holes: int


class CellGame(Game[CellPuzzle, tuple[int, ...]]):
    """A game of digits in cells."""

    shapes: ClassVar[dict[Level, Shape]]
    lowest: ClassVar[int] = 1
    """What digit 1 of a board is called: 0 for Binary."""

    @abstractmethod
    def board(self, size: int, less: Less = ()) -> Board:
        """An empty board.

        Args:
            size: Rows and columns.
            less: Ordered pairs of cells.
        """

    def order(self, draw: Draw, level: Level, solution: Sequence[int], size: int) -> Less:
        """Ordered pairs that the puzzle shows; none for most games.

        Args:
            draw: Draws of the key.
            level: Level of the puzzle.
            solution: Digits of the solution.
            size: Rows and columns.
        """
        return ()

    @override
    def generate(self, draw: Draw, level: Level) -> CellPuzzle:
        return self.make(draw, level, *self.shapes[level])

    def make(self, draw: Draw, level: Level, size: int, holes: int) -> CellPuzzle:
        """Makes a puzzle of any size.

        Args:
            draw: Draws of the key.
            level: Techniques that suffice.
            size: Rows and columns.
            holes: Empty cells at most.
        """
        solution = first_solution(self.board(size), draw)
        assert solution is not None, "every size has a full board"
        less = self.order(draw, level, solution, size)
        board = self.board(size, less).fill(solution)
        for cell in draw.shuffled(range(size * size)):
            if not holes:
                break
            value = board.clear(cell)
            if self._returns(board, cell, value, level):
                holes -= 1
            else:
                board.put(cell, value)
        return CellPuzzle(size, tuple(board.values), solution, less)

    def _returns(self, board: Board, cell: int, value: int, level: Level) -> bool:
        """Whether a technique of the level gives the digit of a hole back."""
        if board.candidates(cell).bit_count() == 1:
            return True
        if level == "easy":
            return False
        if board.only_place(cell, value):
            return True
        return level == "hard" and is_unique_without(board, cell, value)

    @override
    def start(self, puzzle: CellPuzzle) -> tuple[int, ...]:
        return puzzle.givens

    @override
    def render(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> str:
        return table(self.rows_of(puzzle, position), box=self.box(puzzle.size))

    def box(self, size: int) -> tuple[int, int] | None:
        """Rows and columns of a box, for boards that have some."""
        return None

    def rows_of(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> list[list[str]]:
        """The texts of the cells.

        Args:
            puzzle: The puzzle.
            position: The position.
        """
        size = puzzle.size
        return [[self.shown(value) for value in position[at : at + size]] for at in range(0, size * size, size)]

    def shown(self, value: int) -> str:
        """A digit as it is printed."""
        return str(value + self.lowest - 1) if value else "."

    @override
    def grid(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Digits as they are printed; an empty cell is 0, or -1 where 0 is a digit."""
        size, shift = puzzle.size, self.lowest - 1
        return tuple(tuple(value + shift for value in position[at : at + size]) for at in range(0, size * size, size))

    @override
    def play(self, puzzle: CellPuzzle, position: tuple[int, ...], words: list[str]) -> Played:
        size = puzzle.size
        form = f"place ROW COLUMN DIGIT, or clear ROW COLUMN; rows and columns 1 to {size}"
        match words:
            case ["place" | "clear" as verb, *rest]:
                bounds = [(1, size), (1, size)] + [(self.lowest, self.lowest + self._num_digits(puzzle) - 1)] * (
                    verb == "place"
                )
                found = numbers(rest, bounds)
            case _:
                verb, found = "", None
        if found is None:
            return usage(position, form)
        cell = (found[0] - 1) * size + found[1] - 1
        if puzzle.givens[cell]:
            return Played(position, False, "INVALID_MOVE", "This cell is given and cannot change.")
        value = found[2] - self.lowest + 1 if verb == "place" else 0
        if verb == "clear" and not position[cell]:
            return Played(position, False, "INVALID_MOVE", "This cell is empty already.")
        if value:
            board = self._board_of(puzzle, (*position[:cell], 0, *position[cell + 1 :]))
            if not board.candidates(cell) >> (value - 1) & 1:
                return Played(position, False, "INVALID_MOVE", f"{found[2]} breaks a rule in this cell.")
        after = (*position[:cell], value, *position[cell + 1 :])
        return Played(after, True, "PLACED" if value else "CLEARED", f"{'Placed' if value else 'Cleared'}.")

    @override
    def hint(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> Hint | None:
        size = puzzle.size
        for cell, (value, right) in enumerate(zip(position, puzzle.solution, strict=True)):
            if value and value != right:
                row, column = divmod(cell, size)
                text = f"Try clearing row {row + 1}, column {column + 1}: the only solution does not have {self.shown(value)} there"
                return Hint(f"clear {row + 1} {column + 1}", "contradiction", text)
        found = _next_step(self._board_of(puzzle, position), puzzle.solution)
        if found is None:
            return None
        cell, technique, where = found
        row, column = divmod(cell, size)
        digit = self.shown(puzzle.solution[cell])
        because = {
            "only_candidate": "every other digit breaks a rule there",
            "only_place": f"no other cell of {where} can hold {digit}",
            "search": "the only solution has it there",
        }[technique]
        text = f"Try placing {digit} at row {row + 1}, column {column + 1}: {because}"
        reason = technique if technique in ("only_candidate", "only_place") else "solution"
        return Hint(f"place {row + 1} {column + 1} {digit}", reason, text)

    @override
    def is_solved(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> bool:
        # A move that breaks a rule is refused, so a full board is a solution.
        return all(position)

    @override
    def solution(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> tuple[str, ...]:
        wrong = [i for i, value in enumerate(position) if value and value != puzzle.solution[i]]
        empty = [i for i, value in enumerate(position) if not value]
        cleared = [f"clear {i // puzzle.size + 1} {i % puzzle.size + 1}" for i in wrong]
        placed = [
            f"place {i // puzzle.size + 1} {i % puzzle.size + 1} {self.shown(puzzle.solution[i])}"
            for i in sorted(wrong + empty)
        ]
        return (*cleared, *placed)

    @override
    def progress(self, puzzle: CellPuzzle, position: tuple[int, ...]) -> float:
        holes = [i for i, value in enumerate(puzzle.givens) if not value]
        right = sum(position[i] == puzzle.solution[i] for i in holes)
        wrong = sum(position[i] not in (0, puzzle.solution[i]) for i in holes)
        return max(0, right - wrong) / len(holes) if holes else 1.0

    @override
    def measure(self, puzzle: CellPuzzle) -> Measure:
        board = self._board_of(puzzle, puzzle.givens)
        counts = dict.fromkeys(WEIGHTS, 0)
        while (found := _next_step(board, puzzle.solution)) is not None:
            counts[found[1]] += 1
            board.put(found[0], puzzle.solution[found[0]])
        steps = sum(counts.values())
        effort = max(1, sum(WEIGHTS[name] * count for name, count in counts.items()))
        return Measure(0.25 * steps / len(puzzle.givens) + 0.75 * max(0.0, 1 - steps / effort), counts)

    def _board_of(self, puzzle: CellPuzzle, position: Sequence[int]) -> Board:
        return self.board(puzzle.size, puzzle.less).fill(position)

    def _num_digits(self, puzzle: CellPuzzle) -> int:
        return puzzle.size


def _next_step(board: Board, solution: Sequence[int]) -> tuple[int, str, str] | None:
    """Cell, technique and unit of the next step of a person on a board without wrong digits; None on a full one."""
    empty = [cell for cell, value in enumerate(board.values) if not value]
    for cell in empty:
        if board.candidates(cell).bit_count() == 1:
            return cell, "only_candidate", ""
    for cell in empty:
        if where := board.only_place(cell, solution[cell]):
            return cell, "only_place", where
    if not empty:
        return None
    return min(empty, key=lambda cell: (board.candidates(cell).bit_count(), cell)), "search", ""
