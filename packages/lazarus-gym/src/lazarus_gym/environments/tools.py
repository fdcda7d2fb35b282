"""Games as classes of typed tool methods, as `environment_factory` of TRL takes them.

A class has no constructor arguments. `reset(**row)` begins the puzzle of a row with `seed` and `level` and returns its
first text. Every other public method is a tool: its docstring and types are its schema. A reward function reads `reward`
of the instances after the episode.
"""

from typing import Any

from lazarus_gym.environments.puzzle import PuzzleEnvironment
from lazarus_gym.environments.registry import find_game
from lazarus_gym.errors import EnvironmentUseError


class _Tools:
    _game: str

    def __init__(self) -> None:
        self._environment = PuzzleEnvironment(find_game(self._game))
        self._total = 0.0

    @property
    def reward(self) -> float:
        """Sum of the rewards of the episode."""
        return self._total

    @property
    def components(self) -> dict[str, Any]:
        """The counters of the episode."""
        return self._environment.state().model_dump()

    def reset(self, **row: Any) -> str | None:
        """Begins the puzzle of a row.

        Args:
            row: Fields of the data set; `seed` (default 0) and `level` (default easy) are used.
        """
        self._total = 0.0
        seed, level = row.get("seed", 0), row.get("level", "easy")
        if not isinstance(seed, int) or not isinstance(level, str):
            raise EnvironmentUseError("`seed` must be a whole number and `level` a text", "LG-E131")
        return self._environment.reset(seed=seed, task=level).text

    def hint(self) -> str:
        """Asks for a true hint. Hints lower the reward.

        Returns:
            A next move and the reason for it.
        """
        return self._act("hint")

    def _act(self, *words: object) -> str:
        state = self._environment.state()
        if state.done or state.truncated:
            return "The game is over."
        step = self._environment.step(" ".join(map(str, words)))
        self._total += step.reward
        return step.observation.text


class _CellTools(_Tools):
    def place(self, row: int, column: int, digit: int) -> str:
        """Writes a digit into a cell.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.
            digit: The digit.

        Returns:
            Whether the digit was placed, and the grid.
        """
        return self._act("place", row, column, digit)

    def clear(self, row: int, column: int) -> str:
        """Empties a cell that was filled before.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.

        Returns:
            Whether the cell was emptied, and the grid.
        """
        return self._act("clear", row, column)


class SudokuTools(_CellTools):
    """Sudoku."""

    _game = "sudoku"


class FutoshikiTools(_CellTools):
    """Futoshiki."""

    _game = "futoshiki"


class BinaryTools(_CellTools):
    """Binary puzzle; the digits are 0 and 1."""

    _game = "binary"


class NonogramTools(_CellTools):
    """Nonogram; the digit 1 fills a cell, 0 marks it as blank."""

    _game = "nonogram"


class LightsOutTools(_Tools):
    """Lights Out."""

    _game = "lights_out"

    def press(self, row: int, column: int) -> str:
        """Toggles a light and its neighbours.

        Args:
            row: Row of the light, from 1.
            column: Column of the light, from 1.

        Returns:
            The number of lights that are on, and the grid.
        """
        return self._act("press", row, column)


class MastermindTools(_Tools):
    """Mastermind."""

    _game = "mastermind"

    def guess(self, colours: list[int]) -> str:
        """Guesses the secret code.

        Args:
            colours: Numbers of the colours, from the left.

        Returns:
            The black and white pegs of all guesses.
        """
        return self._act("guess", *colours)


class KnapsackTools(_Tools):
    """Knapsack."""

    _game = "knapsack"

    def select(self, item: int) -> str:
        """Puts an item into the knapsack.

        Args:
            item: Number of the item, from 1.

        Returns:
            Whether it fits, and the table of items.
        """
        return self._act("select", item)

    def deselect(self, item: int) -> str:
        """Takes an item out of the knapsack.

        Args:
            item: Number of the item, from 1.

        Returns:
            Whether it was in the knapsack, and the table of items.
        """
        return self._act("deselect", item)


class MinesweeperTools(_Tools):
    """Minesweeper."""

    _game = "minesweeper"

    def reveal(self, row: int, column: int) -> str:
        """Reveals a cell; a mine ends the game.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.

        Returns:
            What the cell is, and the grid.
        """
        return self._act("reveal", row, column)

    def flag(self, row: int, column: int) -> str:
        """Puts a flag on a hidden cell, or removes it.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.

        Returns:
            What was done, and the grid.
        """
        return self._act("flag", row, column)
