"""Lights Out: a press toggles a light and its neighbours; all lights shall be off.

Order and repetition of presses do not matter, so a solution is a set of lights: a system of linear equations over {0, 1},
solved by elimination. The sizes used have an invertible matrix, so exactly one set is a solution.
"""

from dataclasses import dataclass
from functools import lru_cache

from typing_extensions import override

from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Game, Hint, Level, Measure, Played, numbers, table, usage

SIZES: dict[Level, int] = {"easy": 3, "medium": 6, "hard": 7}
"""Of the sizes to 8, those of 1, 2, 3, 6, 7 and 8 have one solution for every pattern; 4 x 4 has 16 and 5 x 5 has 4."""
PRESSES: dict[Level, tuple[int, int]] = {"easy": (2, 5), "medium": (6, 12), "hard": (12, 24)}


@dataclass(frozen=True)
class LightsPuzzle:
    """Lights of a square as an integer; bit `row * size + column` is on."""

    size: int
    lights: int


class LightsOut(Game[LightsPuzzle, int]):
    """Lights Out of 3 x 3 to 7 x 7 lights. A position is an integer of lights."""

    name = "lights_out"
    title = "Lights Out"
    commands = ("press ROW COLUMN",)

    @override
    def generate(self, draw: Draw, level: Level) -> LightsPuzzle:
        size = SIZES[level]
        presses = draw.shuffled(range(size * size))[: draw.between(*PRESSES[level])]
        lights = 0
        for cell in presses:
            lights ^= _effects(size)[cell]
        return LightsPuzzle(size, lights)

    @override
    def rules(self, puzzle: LightsPuzzle) -> tuple[str, ...]:
        return (
            "Pressing a light toggles it and the lights above, below, left and right of it.",
            "Turn all lights off. # is on, . is off.",
            "Exactly one set of presses does it.",
        )

    @override
    def start(self, puzzle: LightsPuzzle) -> int:
        return puzzle.lights

    @override
    def render(self, puzzle: LightsPuzzle, position: int) -> str:
        size = puzzle.size
        return table([["#" if position >> (r * size + c) & 1 else "." for c in range(size)] for r in range(size)])

    @override
    def grid(self, puzzle: LightsPuzzle, position: int) -> tuple[tuple[int, ...], ...]:
        size = puzzle.size
        return tuple(tuple(position >> (r * size + c) & 1 for c in range(size)) for r in range(size))

    @override
    def play(self, puzzle: LightsPuzzle, position: int, words: list[str]) -> Played:
        size = puzzle.size
        found = numbers(words[1:], [(1, size)] * 2) if words[:1] == ["press"] else None
        if found is None:
            return usage(position, f"press ROW COLUMN; rows and columns 1 to {size}")
        after = position ^ _effects(size)[(found[0] - 1) * size + found[1] - 1]
        return Played(after, True, "PRESSED", f"{after.bit_count()} lights are on.")

    @override
    def hint(self, puzzle: LightsPuzzle, position: int) -> Hint | None:
        moves = self.solution(puzzle, position)
        if not moves:
            return None
        row, column = moves[0].split()[1:]
        text = f"Try pressing the light at row {row}, column {column}: the only set of presses that remains has it"
        return Hint(moves[0], "solution", text)

    @override
    def is_solved(self, puzzle: LightsPuzzle, position: int) -> bool:
        return position == 0

    @override
    def solution(self, puzzle: LightsPuzzle, position: int) -> tuple[str, ...]:
        size = puzzle.size
        presses = 0
        for cell, mask in enumerate(_inverse(size)):
            presses |= ((position & mask).bit_count() & 1) << cell
        return tuple(f"press {i // size + 1} {i % size + 1}" for i in range(size * size) if presses >> i & 1)

    @override
    def measure(self, puzzle: LightsPuzzle) -> Measure:
        presses = len(self.solution(puzzle, puzzle.lights))
        return Measure(presses / puzzle.size**2, {"presses": presses})


@lru_cache(maxsize=8)
def _effects(size: int) -> tuple[int, ...]:
    """The lights that each press toggles."""
    masks: list[int] = []
    for row in range(size):
        for column in range(size):
            near = [(row, column), (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            masks.append(sum(1 << (r * size + c) for r, c in near if 0 <= r < size and 0 <= c < size))
    return tuple(masks)


@lru_cache(maxsize=8)
def _inverse(size: int) -> tuple[int, ...]:
    """Rows of the inverse matrix: light sets whose parity decides each press (Gauss and Jordan over {0, 1})."""
    count = size * size
    rows = [mask | 1 << (count + index) for index, mask in enumerate(_effects(size))]  # the right half is the identity
    for column in range(count):
        pivot = next(r for r in range(column, count) if rows[r] >> column & 1)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for r in range(count):
            if r != column and rows[r] >> column & 1:
                rows[r] ^= rows[column]
    return tuple(row >> count for row in rows)
