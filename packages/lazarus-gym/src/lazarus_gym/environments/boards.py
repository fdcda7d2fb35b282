"""Boards of cells with digits: which digits the rules allow in a cell, search for solutions, and digging of holes.

A set of digits is an integer: bit `v` stands for the digit `v + 1`. A value of 0 is an empty cell. A board is mutable and
belongs to one computation.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import closing

from typing_extensions import override

from lazarus_gym.environments.draw import Draw

Less = tuple[tuple[int, int], ...]
"""Pairs of cells, of which the first holds the smaller digit."""


class Board(ABC):
    """Values of cells, of which no two break a rule."""

    values: list[int]
    units: Sequence[tuple[str, Sequence[int]]] = ()
    """Name and cells of each group that holds every digit exactly once."""
    units_of: Sequence[Sequence[int]] = ()
    """Numbers of the units of each cell."""

    @abstractmethod
    def candidates(self, cell: int) -> int:
        """Digits that break no rule in an empty cell."""

    @abstractmethod
    def put(self, cell: int, value: int) -> None:
        """Writes a digit into an empty cell.

        Args:
            cell: Number of the cell.
            value: One of its candidates.
        """

    @abstractmethod
    def clear(self, cell: int) -> int:
        """Empties a cell and returns its digit."""

    def fill(self, values: Sequence[int]) -> "Board":
        """Writes values that break no rule into an empty board."""
        for cell, value in enumerate(values):
            if value:
                self.put(cell, value)
        return self

    def only_place(self, cell: int, value: int) -> str | None:
        """Name of a unit in which no other empty cell can hold the digit, if there is one.

        Args:
            cell: An empty cell.
            value: One of its candidates.
        """
        bit = 1 << (value - 1)
        for number in self.units_of[cell] if self.units_of else ():
            name, cells = self.units[number]
            if not any(other != cell and not self.values[other] and self.candidates(other) & bit for other in cells):
                return name
        return None


class UnitBoard(Board):
    """Every unit holds every digit once; pairs of cells may be ordered.

    Args:
        size: Number of digits.
        units: Name and cells of each unit.
        less: Ordered pairs.
        units_of: Units of each cell, where they are known.
    """

    def __init__(
        self,
        size: int,
        units: Sequence[tuple[str, Sequence[int]]],
        less: Less = (),
        units_of: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.units = units
        self.units_of = units_of or index_units(units)
        self.values = [0] * len(self.units_of)
        self._full = (1 << size) - 1
        self._used = [0] * len(units)
        self._greater: dict[int, list[int]] = {}
        self._smaller: dict[int, list[int]] = {}
        for small, great in less:
            self._greater.setdefault(small, []).append(great)
            self._smaller.setdefault(great, []).append(small)
        self._has_order = bool(less)

    @override
    def candidates(self, cell: int) -> int:
        used = 0
        for unit in self.units_of[cell]:
            used |= self._used[unit]
        mask = self._full & ~used
        if self._has_order and mask:
            for other in self._greater.get(cell, ()):
                value = self.values[other]
                mask &= (1 << (value - 1)) - 1 if value else self._full >> 1
            for other in self._smaller.get(cell, ()):
                value = self.values[other]
                mask &= self._full & ~((1 << value) - 1) if value else self._full & ~1
        return mask

    @override
    def put(self, cell: int, value: int) -> None:
        self.values[cell] = value
        bit = 1 << (value - 1)
        for unit in self.units_of[cell]:
            self._used[unit] |= bit

    @override
    def clear(self, cell: int) -> int:
        value, self.values[cell] = self.values[cell], 0
        bit = ~(1 << (value - 1))
        for unit in self.units_of[cell]:
            self._used[unit] &= bit
        return value


class BinaryBoard(Board):
    """Two digits; no three equal ones in a line, and as many of each in every row and column.

    Args:
        size: Rows and columns; even.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.values = [0] * (size * size)
        self._counts = [[0] * 3 for _ in range(2 * size)]  # rows, then columns; by digit

    @override
    def candidates(self, cell: int) -> int:
        row, column = divmod(cell, self.size)
        mask = 0
        for value in (1, 2):
            if (
                self._counts[row][value] * 2 < self.size
                and self._counts[self.size + column][value] * 2 < self.size
                and not self._makes_three(cell, column, 1, value)
                and not self._makes_three(cell, row, self.size, value)
            ):
                mask |= value
        return mask

    def _makes_three(self, cell: int, place: int, stride: int, value: int) -> bool:
        """Whether the digit would be the third in a line; `place` is the cell's index in it, `stride` the distance of its cells."""
        run = 1
        for direction in (-1, 1):
            index, other = place + direction, cell + direction * stride
            while 0 <= index < self.size and self.values[other] == value and run < 3:
                run += 1
                index, other = index + direction, other + direction * stride
        return run >= 3

    @override
    def put(self, cell: int, value: int) -> None:
        row, column = divmod(cell, self.size)
        self.values[cell] = value
        self._counts[row][value] += 1
        self._counts[self.size + column][value] += 1

    @override
    def clear(self, cell: int) -> int:
        row, column = divmod(cell, self.size)
        value, self.values[cell] = self.values[cell], 0
        self._counts[row][value] -= 1
        self._counts[self.size + column][value] -= 1
        return value


def index_units(units: Sequence[tuple[str, Sequence[int]]]) -> list[tuple[int, ...]]:
    """The numbers of the units of every cell."""
    count = 1 + max(cell for _, cells in units for cell in cells)
    return [tuple(number for number, (_, cells) in enumerate(units) if cell in cells) for cell in range(count)]


def lines(size: int) -> list[tuple[str, tuple[int, ...]]]:
    """Rows and columns of a square board, with their names."""
    rows = [(f"row {r + 1}", tuple(range(r * size, r * size + size))) for r in range(size)]
    columns = [(f"column {c + 1}", tuple(range(c, size * size, size))) for c in range(size)]
    return rows + columns


def digits(mask: int) -> list[int]:
    """The digits of a set, in ascending order."""
    return [value + 1 for value in range(mask.bit_length()) if mask >> value & 1]


def solutions(board: Board, draw: Draw | None = None) -> Generator[tuple[int, ...]]:
    """All completions of a board: the cell with the fewest candidates first. The board is as before at the end.

    Args:
        board: The board; it changes while the iterator runs.
        draw: Gives the order in which digits are tried; None for the ascending order.
    """
    empty = [cell for cell, value in enumerate(board.values) if not value]
    yield from _complete(board, empty, draw)


def _complete(board: Board, empty: list[int], draw: Draw | None) -> Generator[tuple[int, ...]]:
    if not empty:
        yield tuple(board.values)
        return
    best, fewest, mask = 0, 99, 0
    candidates = board.candidates
    for index, cell in enumerate(empty):
        found = candidates(cell)
        count = found.bit_count()
        if count < fewest:
            best, fewest, mask = index, count, found
            if count <= 1:
                break
    if not mask:
        return
    cell = empty[best]
    rest = empty[:best] + empty[best + 1 :]
    for value in digits(mask) if draw is None or fewest == 1 else draw.shuffled(digits(mask)):
        board.put(cell, value)
        try:
            yield from _complete(board, rest, draw)
        finally:  # also where the iterator is closed early
            board.clear(cell)


def first_solution(board: Board, draw: Draw | None = None) -> tuple[int, ...] | None:
    """The first completion, or None; the board is as before.

    Args:
        board: The board.
        draw: As for `solutions`.
    """
    with closing(solutions(board, draw)) as found:
        return next(found, None)


def is_unique_without(board: Board, cell: int, value: int) -> bool:
    """Whether an empty cell has the digit in every solution: no other candidate leads to one.

    Args:
        board: A board with this solution; it is as before at the end.
        cell: An empty cell.
        value: Its digit in the known solution.
    """
    for other in digits(board.candidates(cell) & ~(1 << (value - 1))):
        board.put(cell, other)
        found = first_solution(board)
        board.clear(cell)
        if found is not None:
            return False
    return True
