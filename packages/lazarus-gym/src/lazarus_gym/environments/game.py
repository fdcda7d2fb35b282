"""A game as pure functions: a *puzzle* is what a seed determines, a *position* is what moves change. Both are immutable.

Rows, columns, digits and items in moves and messages count from 1.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar, get_args

from lazarus_gym.environments.draw import Draw

Level = Literal["easy", "medium", "hard"]
LEVELS: tuple[Level, ...] = get_args(Level)
Puzzle = TypeVar("Puzzle")
Position = TypeVar("Position")
Reason = Literal["only_candidate", "only_place", "solution", "contradiction", "consistent", "likeliest"]
"""What a hint claims.

only_candidate: every other value of the cell breaks a rule in the present position.
only_place: no other cell of the row, column, box or region can hold the value.
solution: the only solution has this move.
contradiction: the only solution does not have what stands there.
consistent: the move agrees with everything the player was told; it may be wrong.
likeliest: no move is certain, and none has a better chance.
"""
_NUMBER = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True)
class Hint:
    """A next move and a true reason for it.

    Args:
        move: The action.
        reason: What the text claims.
        text: A sentence that names the move and the reason.
    """

    move: str
    reason: Reason
    text: str


class Played(NamedTuple):
    """Result of a move; a refused one leaves the position as it was."""

    position: object
    is_valid: bool
    code: str
    message: str


class Measure(NamedTuple):
    """Difficulty of a puzzle, measured by solving it.

    Args:
        score: 0 to 1; comparable within a game.
        counts: What was counted, such as the steps of every technique.
    """

    score: float
    counts: dict[str, int]


class Game(ABC, Generic[Puzzle, Position]):
    """Rules, generator, solver and hints of one game."""

    name: ClassVar[str]
    title: ClassVar[str]
    commands: ClassVar[tuple[str, ...]]
    """Forms of the moves."""
    max_moves: ClassVar[int | None] = None
    """Moves that the rules allow; None for any number."""
    is_hidden: ClassVar[bool] = False
    """Whether moves reveal what the player must not know, so that a board which goes back to its start would give it away."""

    @abstractmethod
    def generate(self, draw: Draw, level: Level) -> Puzzle:
        """Makes the puzzle of a key.

        Args:
            draw: Draws of the key.
            level: How hard it shall be.
        """

    @abstractmethod
    def rules(self, puzzle: Puzzle) -> tuple[str, ...]:
        """Sentences that explain the game."""

    @abstractmethod
    def start(self, puzzle: Puzzle) -> Position:
        """The first position."""

    @abstractmethod
    def render(self, puzzle: Puzzle, position: Position) -> str:
        """The board as text, without anything that the player must not know.

        Args:
            puzzle: The puzzle.
            position: The position.
        """

    def grid(self, puzzle: Puzzle, position: Position) -> tuple[tuple[int, ...], ...] | None:
        """The numbers of the board, or None for a game without a board.

        Args:
            puzzle: The puzzle.
            position: The position.
        """
        return None

    @abstractmethod
    def play(self, puzzle: Puzzle, position: Position, words: list[str]) -> Played:
        """Executes a move.

        Args:
            puzzle: The puzzle.
            position: Position before the move.
            words: The move, split at blanks; the first word is in lower case.
        """

    @abstractmethod
    def hint(self, puzzle: Puzzle, position: Position) -> Hint | None:
        """A move towards the end with a true reason; None at the end.

        Args:
            puzzle: The puzzle.
            position: The position.
        """

    @abstractmethod
    def is_solved(self, puzzle: Puzzle, position: Position) -> bool:
        """Whether the goal is reached, by the rules alone.

        Args:
            puzzle: The puzzle.
            position: The position.
        """

    def is_lost(self, puzzle: Puzzle, position: Position) -> bool:
        """Whether the rules ended the game without a solution.

        Args:
            puzzle: The puzzle.
            position: The position.
        """
        return False

    @abstractmethod
    def solution(self, puzzle: Puzzle, position: Position) -> tuple[str, ...]:
        """Moves of the exact solver that solve the puzzle from a position which is not lost, as few as it knows.

        Args:
            puzzle: The puzzle.
            position: The position.
        """

    def progress(self, puzzle: Puzzle, position: Position) -> float:
        """Part of the moves that is done, 0 to 1.

        Args:
            puzzle: The puzzle.
            position: The position.
        """
        if self.is_solved(puzzle, position):
            return 1.0
        needed = max(1, len(self.solution(puzzle, self.start(puzzle))))
        return max(0.0, 1 - len(self.solution(puzzle, position)) / needed)

    @abstractmethod
    def measure(self, puzzle: Puzzle) -> Measure:
        """Measures the difficulty."""


def numbers(words: list[str], bounds: list[tuple[int, int]]) -> list[int] | None:
    """The numbers of a move, or None where one is missing, no plain number or out of range.

    >>> numbers(["1", "9"], [(1, 9), (1, 9)]), numbers(["1", "\u0669"], [(1, 9), (1, 9)]), numbers(["0"], [(1, 9)])
    ([1, 9], None, None)

    Args:
        words: The words after the name of the move.
        bounds: Smallest and largest value of each.
    """
    if len(words) != len(bounds) or not all(_NUMBER.fullmatch(word) for word in words):
        return None
    values = [int(word) for word in words]
    return values if all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True)) else None


def usage(position: object, form: str) -> Played:
    """The refusal of a move with wrong words.

    Args:
        position: The position, which stays.
        form: How the move is written.
    """
    return Played(position, False, "USAGE", f"Usage: {form}")


def table(cells: list[list[str]], *, box: tuple[int, int] | None = None) -> str:
    """A board with numbered rows and columns.

    Args:
        cells: One-character texts, row by row.
        box: Rows and columns of a box, where lines separate boxes.
    """
    tall, wide = box or (len(cells), len(cells[0]))
    width = len(str(len(cells)))

    def line(head: str, texts: list[str]) -> str:
        parts = [" ".join(texts[at : at + wide]) for at in range(0, len(texts), wide)]
        return f"{head:>{width}} | {' | '.join(parts)} |"

    rule = " " * width + " " + "-" * (len(line("", cells[0])) - width - 1)
    lines = [line("", [str(column % 10) for column in range(1, len(cells[0]) + 1)]), rule]
    for row, texts in enumerate(cells, 1):
        lines.append(line(str(row), texts))
        if row % tall == 0:
            lines.append(rule)
    return "\n".join(lines)
