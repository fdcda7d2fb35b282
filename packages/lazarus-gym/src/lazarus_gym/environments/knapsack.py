"""Knapsack: choose items of the greatest value within a capacity.

Exact: dynamic programming over the capacity, in O(items * capacity), also counts the best selections. Only puzzles
with one best selection that the greedy order misses are given out.
"""

from dataclasses import dataclass

from typing_extensions import override

from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Game, Hint, Level, Measure, Played, numbers, usage

NUM_ITEMS: dict[Level, int] = {"easy": 5, "medium": 8, "hard": 12}


@dataclass(frozen=True)
class KnapsackPuzzle:
    """Items and a capacity.

    Args:
        weights: Weight of each item.
        values: Value of each item.
        capacity: Largest weight of a selection.
        best: The only best selection, as bits.
    """

    weights: tuple[int, ...]
    values: tuple[int, ...]
    capacity: int
    best: int

    def total(self, amounts: tuple[int, ...], selection: int) -> int:
        """Sum over the selected items.

        Args:
            amounts: `weights` or `values`.
            selection: Items as bits.
        """
        return sum(amount for i, amount in enumerate(amounts) if selection >> i & 1)


class Knapsack(Game[KnapsackPuzzle, int]):
    """0/1 knapsack. A position is the selected items as bits."""

    name = "knapsack"
    title = "Knapsack"
    commands = ("select ITEM", "deselect ITEM")

    @override
    def generate(self, draw: Draw, level: Level) -> KnapsackPuzzle:
        return self.make(draw, NUM_ITEMS[level], misses_greedy=level != "easy")

    def make(self, draw: Draw, num_items: int, *, misses_greedy: bool) -> KnapsackPuzzle:
        """Makes a puzzle with any number of items.

        Args:
            draw: Draws of the key.
            num_items: Number of items, at least 3.
            misses_greedy: Whether taking items by value per weight must not be best.
        """
        while True:
            weights = tuple(draw.between(1, 12) for _ in range(num_items))
            values = tuple(weight * draw.between(4, 9) + draw.between(0, 6) for weight in weights)
            capacity = sum(weights) * draw.between(35, 60) // 100
            if capacity < min(weights):
                continue
            best, count = best_selection(weights, values, capacity)
            if count != 1 or (misses_greedy and _greedy(weights, values, capacity) == best):
                continue
            return KnapsackPuzzle(weights, values, capacity, best)

    @override
    def rules(self, puzzle: KnapsackPuzzle) -> tuple[str, ...]:
        return (
            f"Select items of the greatest total value. Their total weight is at most {puzzle.capacity}.",
            "Each item can be selected once. Exactly one selection is best; the game ends when you have it.",
        )

    @override
    def start(self, puzzle: KnapsackPuzzle) -> int:
        return 0

    @override
    def render(self, puzzle: KnapsackPuzzle, position: int) -> str:
        lines = ["item | weight | value | selected"]
        for i, (weight, value) in enumerate(zip(puzzle.weights, puzzle.values, strict=True)):
            lines.append(f"{i + 1:>4} | {weight:>6} | {value:>5} | {'yes' if position >> i & 1 else 'no'}")
        weight, value = puzzle.total(puzzle.weights, position), puzzle.total(puzzle.values, position)
        return "\n".join([*lines, f"Total weight {weight} of {puzzle.capacity}, total value {value}"])

    @override
    def play(self, puzzle: KnapsackPuzzle, position: int, words: list[str]) -> Played:
        count = len(puzzle.weights)
        found = numbers(words[1:], [(1, count)]) if words[:1] in (["select"], ["deselect"]) else None
        if found is None:
            return usage(position, f"select ITEM, or deselect ITEM; items 1 to {count}")
        after = position ^ 1 << (found[0] - 1)
        is_selected = bool(after & ~position)
        if is_selected != (words[0] == "select"):
            state = "not selected" if is_selected else "selected already"
            return Played(position, False, "INVALID_MOVE", f"Item {found[0]} is {state}.")
        weight = puzzle.total(puzzle.weights, after)
        if weight > puzzle.capacity:
            return Played(
                position, False, "INVALID_MOVE", f"Weight {weight} is more than the capacity of {puzzle.capacity}."
            )
        value = puzzle.total(puzzle.values, after)
        code = "SELECTED" if is_selected else "DESELECTED"
        return Played(after, True, code, f"Total weight {weight}, total value {value}.")

    @override
    def hint(self, puzzle: KnapsackPuzzle, position: int) -> Hint | None:
        moves = self.solution(puzzle, position)
        if not moves:
            return None
        verb, item = moves[0].split()
        if verb == "deselect":
            text = f"Try deselecting item {item}: the only best selection does not have it"
            return Hint(moves[0], "contradiction", text)
        return Hint(moves[0], "solution", f"Try selecting item {item}: the only best selection has it")

    @override
    def is_solved(self, puzzle: KnapsackPuzzle, position: int) -> bool:
        return position == puzzle.best

    @override
    def solution(self, puzzle: KnapsackPuzzle, position: int) -> tuple[str, ...]:
        items = range(len(puzzle.weights))
        wrong = [f"deselect {i + 1}" for i in items if position & ~puzzle.best & 1 << i]
        missing = [f"select {i + 1}" for i in items if puzzle.best & ~position & 1 << i]
        return (*wrong, *missing)

    @override
    def progress(self, puzzle: KnapsackPuzzle, position: int) -> float:
        """Share of the best value."""
        return puzzle.total(puzzle.values, position) / puzzle.total(puzzle.values, puzzle.best)

    @override
    def measure(self, puzzle: KnapsackPuzzle) -> Measure:
        greedy = puzzle.total(puzzle.values, _greedy(puzzle.weights, puzzle.values, puzzle.capacity))
        best = puzzle.total(puzzle.values, puzzle.best)
        count = len(puzzle.weights)
        return Measure(
            min(1.0, count / 16 * 0.5 + 5 * (best - greedy) / best * 0.5), {"items": count, "greedy_gap": best - greedy}
        )


def best_selection(weights: tuple[int, ...], values: tuple[int, ...], capacity: int) -> tuple[int, int]:
    """A best selection as bits, and the number of best selections.

    >>> best_selection((5, 4, 3), (10, 40, 50), 7)
    (6, 1)

    Args:
        weights: Weight of each item, at least 1.
        values: Value of each item, at least 1.
        capacity: Largest weight of a selection.
    """
    # By capacity: value, number and bits of the best selections of the items so far.
    rows: list[tuple[int, int, int]] = [(0, 1, 0)] * (capacity + 1)
    for item, (weight, value) in enumerate(zip(weights, values, strict=True)):
        for room in range(capacity, weight - 1, -1):
            kept = rows[room]
            with_item = rows[room - weight]
            gained = with_item[0] + value
            if gained > kept[0]:
                rows[room] = gained, with_item[1], with_item[2] | 1 << item
            elif gained == kept[0]:
                rows[room] = gained, kept[1] + with_item[1], kept[2]
    return rows[capacity][2], rows[capacity][1]


def _greedy(weights: tuple[int, ...], values: tuple[int, ...], capacity: int) -> int:
    """The selection by value per weight, best first."""
    chosen = 0
    for item in sorted(range(len(weights)), key=lambda i: (-values[i] * 1_000_000 // weights[i], i)):
        if weights[item] <= capacity:
            capacity -= weights[item]
            chosen |= 1 << item
    return chosen
