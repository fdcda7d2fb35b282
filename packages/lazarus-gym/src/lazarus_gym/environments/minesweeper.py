"""Minesweeper: open all cells without a mine. Every board is solvable from its first opening without a guess."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from typing_extensions import override

from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Game, Hint, Level, Measure, Played, numbers, table, usage
from lazarus_gym.environments.mine_analysis import chances, constraints, neighbours, simple_deductions

WEIGHTS = {"simple": 1, "exact": 8}
"""Effort of a step: by one or two numbers, or by counting arrangements; an estimate, used for the order of boards alone."""


class Field(NamedTuple):
    """Rows and columns, and mines of a level."""

    size: int
    num_mines: int


FIELDS: dict[Level, Field] = {"easy": Field(6, 5), "medium": Field(8, 10), "hard": Field(9, 13)}


@dataclass(frozen=True)
class MinePuzzle:
    """A board.

    Args:
        size: Rows and columns.
        mines: Cells with mines.
        first: A cell without a mine around it; it is open at the start.
    """

    size: int
    mines: frozenset[int]
    first: int

    def number(self, cell: int) -> int:
        """Mines around a cell."""
        return sum(other in self.mines for other in neighbours(self.size)[cell])


@dataclass(frozen=True)
class MinePosition:
    """What the player has done: open cells, flags, and whether a mine was opened."""

    opened: frozenset[int]
    flags: frozenset[int] = frozenset()
    exploded: bool = False


class Minesweeper(Game[MinePuzzle, MinePosition]):
    """Minesweeper of 6 x 6 to 9 x 9 cells."""

    name = "minesweeper"
    title = "Minesweeper"
    commands = ("reveal ROW COLUMN", "flag ROW COLUMN")
    is_hidden = True

    @override
    def generate(self, draw: Draw, level: Level) -> MinePuzzle:
        return self.make(draw, *FIELDS[level], is_simple=level == "easy")

    def make(self, draw: Draw, size: int, num_mines: int, *, is_simple: bool) -> MinePuzzle:
        """Makes a board of any size.

        Args:
            draw: Draws of the key.
            size: Rows and columns.
            num_mines: Mines; at most a quarter of the cells, or it takes long.
            is_simple: Whether one or two numbers at a time must suffice.
        """
        while True:
            first = draw.below(size * size)
            free = [cell for cell in range(size * size) if cell != first and cell not in neighbours(size)[first]]
            puzzle = MinePuzzle(size, frozenset(draw.shuffled(free)[:num_mines]), first)
            counts = self._steps(puzzle, is_simple=is_simple)
            if counts is not None and sum(counts.values()):
                return puzzle

    def _steps(self, puzzle: MinePuzzle, *, is_simple: bool) -> dict[str, int] | None:
        """Steps of the solver by kind; None where it would have to guess, or needs more than simple steps."""
        opened = self.start(puzzle).opened
        counts = dict.fromkeys(WEIGHTS, 0)
        while len(opened) + len(puzzle.mines) < puzzle.size**2:
            seen = self._numbers(puzzle, opened)
            safe, _ = simple_deductions(constraints(puzzle.size, seen))
            kind = "simple"
            if not safe:
                if is_simple:
                    return None
                kind = "exact"
                found = chances(puzzle.size, seen, len(puzzle.mines))
                safe = {cell for cell, chance in found.items() if chance == 0}
                if not safe:
                    return None
            counts[kind] += 1
            for cell in safe:
                opened = _opened(puzzle, opened, cell)
        return counts

    def _numbers(self, puzzle: MinePuzzle, opened: frozenset[int]) -> list[int]:
        return [puzzle.number(cell) if cell in opened else -1 for cell in range(puzzle.size**2)]

    @override
    def rules(self, puzzle: MinePuzzle) -> tuple[str, ...]:
        return (
            f"The {puzzle.size}x{puzzle.size} grid hides {len(puzzle.mines)} mines. Reveal every cell without a mine.",
            "A number counts the mines in the eight cells around it. Revealing a mine ends the game.",
            "? is hidden, F is flagged. No guess is needed.",
        )

    @override
    def start(self, puzzle: MinePuzzle) -> MinePosition:
        return MinePosition(_opened(puzzle, frozenset(), puzzle.first))

    @override
    def render(self, puzzle: MinePuzzle, position: MinePosition) -> str:
        words = {-1: "?", -2: "F", -3: "*"}
        return table([[words.get(value, str(value)) for value in row] for row in self.grid(puzzle, position)])

    @override
    def grid(self, puzzle: MinePuzzle, position: MinePosition) -> tuple[tuple[int, ...], ...]:
        """-1 is hidden, -2 flagged, -3 an opened mine; other numbers count mines."""
        cells = [
            -3
            if cell in position.opened and cell in puzzle.mines
            else puzzle.number(cell)
            if cell in position.opened
            else -2
            if cell in position.flags
            else -1
            for cell in range(puzzle.size**2)
        ]
        return tuple(tuple(cells[at : at + puzzle.size]) for at in range(0, len(cells), puzzle.size))

    @override
    def play(self, puzzle: MinePuzzle, position: MinePosition, words: list[str]) -> Played:
        size = puzzle.size
        found = numbers(words[1:], [(1, size)] * 2) if words[:1] in (["reveal"], ["flag"]) else None
        if found is None:
            return usage(position, f"reveal ROW COLUMN, or flag ROW COLUMN; rows and columns 1 to {size}")
        cell = (found[0] - 1) * size + found[1] - 1
        if cell in position.opened:
            return Played(position, False, "INVALID_MOVE", "This cell is revealed already.")
        if words[0] == "flag":
            flags = position.flags ^ {cell}
            code, said = ("FLAGGED", "Flagged.") if cell in flags else ("UNFLAGGED", "Flag removed.")
            return Played(replace(position, flags=flags), True, code, said)
        if cell in position.flags:
            return Played(position, False, "INVALID_MOVE", "This cell is flagged; `flag` removes the flag.")
        if cell in puzzle.mines:
            after = replace(position, opened=position.opened | {cell}, exploded=True)
            return Played(after, True, "EXPLODED", "This was a mine. The game is over.")
        after = replace(position, opened=_opened(puzzle, position.opened, cell))
        return Played(after, True, "REVEALED", f"{puzzle.number(cell)} mines are around this cell.")

    @override
    def hint(self, puzzle: MinePuzzle, position: MinePosition) -> Hint | None:
        if position.exploded or self.is_solved(puzzle, position):
            return None
        seen = self._numbers(puzzle, position.opened)
        found = chances(puzzle.size, seen, len(puzzle.mines))
        cell = min(found, key=lambda cell: (found[cell], cell))
        place = f"{cell // puzzle.size + 1} {cell % puzzle.size + 1}"
        where = "row {}, column {}".format(*place.split())
        if cell in position.flags and not found[cell]:
            return Hint(f"flag {place}", "contradiction", f"Try removing the flag at {where}: no mine can be there")
        if not found[cell]:
            text = f"Try revealing {where}: a mine there contradicts the numbers"
            return Hint(f"reveal {place}", "only_candidate", text)
        verb = "flag" if cell in position.flags else "reveal"
        text = f"Try revealing {where}: no cell is certain, and this one has the lowest chance of a mine, {found[cell]}"
        return Hint(f"{verb} {place}", "likeliest", text)

    @override
    def is_solved(self, puzzle: MinePuzzle, position: MinePosition) -> bool:
        return not position.exploded and len(position.opened) + len(puzzle.mines) == puzzle.size**2

    @override
    def is_lost(self, puzzle: MinePuzzle, position: MinePosition) -> bool:
        return position.exploded

    @override
    def solution(self, puzzle: MinePuzzle, position: MinePosition) -> tuple[str, ...]:
        """One reveal for each area of zeros, and one for each other cell that is still hidden: the least possible."""
        wrong = sorted(position.flags - puzzle.mines)
        moves = [("flag", cell) for cell in wrong]
        opened = position.opened
        cells = [cell for cell in range(puzzle.size**2) if cell not in puzzle.mines]
        for cell in sorted(cells, key=lambda cell: puzzle.number(cell) > 0):  # zeros first
            if cell not in opened:
                moves.append(("reveal", cell))
                opened = _opened(puzzle, opened, cell)
        return tuple(f"{verb} {cell // puzzle.size + 1} {cell % puzzle.size + 1}" for verb, cell in moves)

    @override
    def measure(self, puzzle: MinePuzzle) -> Measure:
        counts = self._steps(puzzle, is_simple=False)
        assert counts is not None, "a board that needs no guess"
        steps = sum(counts.values())
        effort = max(1, sum(WEIGHTS[name] * count for name, count in counts.items()))
        density = len(puzzle.mines) / puzzle.size**2
        return Measure(0.25 * min(1.0, 4 * density) + 0.75 * max(0.0, 1 - steps / effort), counts)


def _opened(puzzle: MinePuzzle, opened: frozenset[int], cell: int) -> frozenset[int]:
    """The open cells after a safe cell is opened: around zeros, everything opens."""
    found = set(opened)
    waiting = [cell]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        if puzzle.number(each) == 0:
            waiting += neighbours(puzzle.size)[each]
    return frozenset(found)
