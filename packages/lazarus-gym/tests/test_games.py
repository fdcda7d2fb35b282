"""Laws of the games, held against independent brute force: one solution, true hints, right solvers."""

import itertools
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

import suite
from lazarus_gym.environments import GAMES, LEVELS, Draw, Game
from lazarus_gym.environments.binary import Binary
from lazarus_gym.environments.futoshiki import Futoshiki
from lazarus_gym.environments.knapsack import Knapsack, best_selection
from lazarus_gym.environments.lights_out import LightsOut, LightsPuzzle
from lazarus_gym.environments.mastermind import feedback
from lazarus_gym.environments.mine_analysis import chances, neighbours
from lazarus_gym.environments.minesweeper import Minesweeper
from lazarus_gym.environments.nonogram import Nonogram
from lazarus_gym.environments.sudoku import Sudoku

SEEDS = suite.repeats(1000, 30)
LATIN = [
    rows
    for rows in itertools.product(list(itertools.permutations((1, 2, 3, 4))), repeat=4)
    if all(len(set(column)) == 4 for column in zip(*rows, strict=True))
]
"""All 576 Latin squares of 4 x 4."""


def boxed(rows: Any) -> bool:
    return all(len({rows[r + a][c + b] for a in (0, 1) for b in (0, 1)}) == 4 for r in (0, 2) for c in (0, 2))


SUDOKUS = [sum(rows, ()) for rows in LATIN if boxed(rows)]
"""All 288 Sudokus of 4 x 4."""


def balanced(line: Any) -> bool:
    return sum(line) == 2 and all(len(set(line[i : i + 3])) > 1 for i in (0, 1))


BINARIES = [
    sum(rows, ())
    for rows in itertools.product([line for line in itertools.product((0, 1), repeat=4) if balanced(line)], repeat=4)
    if all(map(balanced, zip(*rows, strict=True)))
]


def fits(givens: Any, full: Any) -> bool:
    return all(given in (0, value) for given, value in zip(givens, full, strict=True))


def test_there_are_576_latin_squares_288_sudokus_and_90_binary_boards_of_4_x_4():
    assert (len(LATIN), len(SUDOKUS), len(BINARIES)) == (576, 288, 90)


@pytest.mark.parametrize("level", LEVELS)
def test_small_cell_puzzles_have_one_solution(level: Any):
    for seed in range(SEEDS):
        sudoku = Sudoku().make(Draw("s", seed), level, 4, 16)
        assert [full for full in SUDOKUS if fits(sudoku.givens, full)] == [sudoku.solution]
        binary = Binary().make(Draw("b", seed), level, 4, 16)
        found = [full for full in BINARIES if fits(binary.givens, [digit + 1 for digit in full])]
        assert [tuple(digit + 1 for digit in full) for full in found] == [binary.solution]
        futoshiki = Futoshiki().make(Draw("f", seed), level, 4, 16)
        fitting = [
            full
            for full in (sum(rows, ()) for rows in LATIN)
            if fits(futoshiki.givens, full) and all(full[a] < full[b] for a, b in futoshiki.less)
        ]
        assert fitting == [futoshiki.solution]
        assert 0 in sudoku.givens and 0 in binary.givens and 0 in futoshiki.givens


def completions(grid: list[int]) -> Iterator[list[int]]:
    """All completions of a 9 x 9 Sudoku, by a plain search that shares nothing with the package."""

    def allowed(cell: int) -> list[int]:
        r, c = divmod(cell, 9)
        seen = {grid[r * 9 + k] for k in range(9)} | {grid[k * 9 + c] for k in range(9)}
        seen |= {grid[(r // 3 * 3 + a) * 9 + c // 3 * 3 + b] for a in range(3) for b in range(3)}
        return [digit for digit in range(1, 10) if digit not in seen]

    choices = {cell: allowed(cell) for cell in range(81) if not grid[cell]}
    if not choices:
        yield grid[:]
        return
    cell = min(choices, key=lambda each: len(choices[each]))
    for digit in choices[cell]:
        grid[cell] = digit
        yield from completions(grid)
        grid[cell] = 0


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_sudokus_have_one_solution(level: Any):
    for seed in range(suite.repeats(60, 3)):
        puzzle = Sudoku().generate(Draw("sudoku", level, seed), level)
        assert list(completions(list(puzzle.givens))) == [list(puzzle.solution)]


def runs(line: Any) -> tuple[int, ...]:
    return tuple(len(list(group)) for key, group in itertools.groupby(line) if key) or (0,)


def test_small_nonograms_have_one_picture():
    by_clues: dict[Any, list[Any]] = {}
    for cells in itertools.product((0, 1), repeat=9):
        rows = [cells[r : r + 3] for r in (0, 3, 6)]
        clues = (tuple(map(runs, rows)), tuple(map(runs, zip(*rows, strict=True))))
        by_clues.setdefault(clues, []).append(cells)
    assert any(len(each) > 1 for each in by_clues.values())
    for seed in range(SEEDS):
        puzzle = Nonogram().make(Draw("n", seed), 3, can_guess=bool(seed % 2))
        pictures = by_clues[puzzle.rows, puzzle.columns]
        assert [tuple(2 - cell for cell in each) for each in pictures] == [puzzle.picture]


def test_lights_have_one_solution():
    game = LightsOut()
    for lights in range(0, 512, 1 if suite.is_thorough() else 13):
        puzzle = LightsPuzzle(3, lights)
        solving: list[set[int]] = []
        for presses in range(512):
            left = {cell for cell in range(9) if lights >> cell & 1}
            for cell in range(9):
                if presses >> cell & 1:
                    r, c = divmod(cell, 3)
                    left ^= {r * 3 + c} | {
                        a * 3 + b
                        for a, b in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
                        if 0 <= a < 3 and 0 <= b < 3
                    }
            if not left:
                solving.append({cell for cell in range(9) if presses >> cell & 1})
        moves = game.solution(puzzle, lights)
        assert [{(int(m.split()[1]) - 1) * 3 + int(m.split()[2]) - 1 for m in moves}] == solving


def test_knapsacks_have_one_best_selection():
    for seed in range(SEEDS):
        puzzle = Knapsack().make(Draw("k", seed), 3 + seed % 6, misses_greedy=bool(seed % 2))
        count = len(puzzle.weights)
        values: dict[int, int] = {}
        for selection in range(1 << count):
            chosen = [i for i in range(count) if selection >> i & 1]
            if sum(puzzle.weights[i] for i in chosen) <= puzzle.capacity:
                values[selection] = sum(puzzle.values[i] for i in chosen)
        top = max(values.values())
        assert [selection for selection, value in values.items() if value == top] == [puzzle.best]


def test_best_selections_are_counted():
    rng = random.Random(1)
    for _ in range(100):
        weights = tuple(rng.randint(1, 4) for _ in range(6))
        values = tuple(rng.randint(1, 4) for _ in range(6))
        capacity = rng.randint(1, 12)
        totals = [
            sum(v for i, v in enumerate(values) if s >> i & 1)
            for s in range(64)
            if sum(w for i, w in enumerate(weights) if s >> i & 1) <= capacity
        ]
        assert best_selection(weights, values, capacity)[1] == totals.count(max(totals))


def test_chances_of_mines_are_those_of_all_arrangements():
    rng = random.Random(0)
    for _ in range(suite.repeats(300, 30)):
        mines = set(rng.sample(range(16), rng.randint(1, 4)))
        opened = rng.sample([cell for cell in range(16) if cell not in mines], rng.randint(1, 8))
        seen = [sum(other in mines for other in neighbours(4)[cell]) if cell in opened else -1 for cell in range(16)]
        fitting = [
            set(each)
            for each in itertools.combinations(range(16), len(mines))
            if not set(each) & set(opened)
            and all(len(set(each) & set(neighbours(4)[cell])) == seen[cell] for cell in opened)
        ]
        expected = {
            cell: Fraction(sum(cell in each for each in fitting), len(fitting))
            for cell in range(16)
            if cell not in opened
        }
        assert chances(4, seen, len(mines)) == expected


def test_boards_of_mines_need_no_guess():
    game = Minesweeper()
    for seed in range(suite.repeats(100, 6)):
        for level in LEVELS:
            puzzle = game.generate(Draw("minesweeper", level, seed), level)
            position = game.start(puzzle)
            while (hint := game.hint(puzzle, position)) is not None:
                assert hint.reason == "only_candidate"
                position = game.play(puzzle, position, hint.move.split()).position
            assert game.is_solved(puzzle, position)


def test_feedback_of_mastermind_is_that_of_the_definition():
    for code in itertools.product((1, 2, 3), repeat=3):
        for guess in itertools.product((1, 2, 3), repeat=3):
            black = sum(code[i] == guess[i] for i in range(3))
            both = sum(min(code.count(colour), guess.count(colour)) for colour in (1, 2, 3))
            assert feedback(code, guess) == (black, both - black)


def wander(game: Game[Any, Any], puzzle: Any, rng: random.Random) -> Iterator[Any]:
    """Positions of a player who follows hints, makes random moves and errs."""
    position = game.start(puzzle)
    size = 9
    for _ in range(40):
        yield position
        if game.is_solved(puzzle, position) or game.is_lost(puzzle, position):
            return
        if rng.random() < 0.5:
            hint = game.hint(puzzle, position)
            assert hint is not None
            words = hint.move.split()
        else:
            form = rng.choice(game.commands).split()
            words = [form[0], *(str(rng.randint(0, size)) for _ in form[1:])][: 4 if form[0] == "place" else 6]
        position = game.play(puzzle, position, words).position


@pytest.mark.parametrize("name", GAMES)
def test_hints_are_true_and_lead_on(name: str):
    game = GAMES[name]
    rng = random.Random(name)
    for seed in range(suite.repeats(100, 6)):
        level = LEVELS[seed % 3]
        puzzle = game.generate(Draw(name, level, seed), level)
        for position in wander(game, puzzle, rng):
            hint = game.hint(puzzle, position)
            if hint is None:
                assert game.is_solved(puzzle, position) or game.is_lost(puzzle, position)
                continue
            played = game.play(puzzle, position, hint.move.split())
            assert played.is_valid, (hint, game.render(puzzle, position))
            assert (
                game.is_lost(puzzle, position) or hint.reason == "likeliest" or is_true(name, puzzle, position, hint)
            ), hint


def is_true(name: str, puzzle: Any, position: Any, hint: Any) -> bool:
    """Whether the claim of a hint holds, by rules written here."""
    verb, *words = hint.move.split()
    numbers = [int(word) for word in words]
    if name in ("sudoku", "futoshiki", "binary"):
        size = puzzle.size
        cell = (numbers[0] - 1) * size + numbers[1] - 1
        if hint.reason == "contradiction":
            return verb == "clear" and position[cell] not in (0, puzzle.solution[cell])
        value = numbers[2] + (name == "binary")
        if puzzle.solution[cell] != value:
            return False
        digits = range(1, 3 if name == "binary" else size + 1)
        if hint.reason == "only_candidate":
            return [digit for digit in digits if obeys(name, puzzle, position, cell, digit)] == [value]
        if hint.reason == "only_place":
            return any(
                [other for other in unit if not position[other] and obeys(name, puzzle, position, other, value)]
                == [cell]
                and f"of {label} can" in hint.text
                for label, unit in units(name, size)
            )
        return hint.reason == "solution"
    if name == "nonogram":
        cell = (numbers[0] - 1) * puzzle.size + numbers[1] - 1
        if hint.reason == "contradiction":
            return position[cell] not in (0, puzzle.picture[cell])
        return puzzle.picture[cell] == 1 and numbers[2] == 1
    if name == "minesweeper":
        cell = (numbers[0] - 1) * puzzle.size + numbers[1] - 1
        return cell not in puzzle.mines and (verb == "reveal") == (cell not in position.flags)
    if name == "mastermind":
        return all(feedback(tuple(numbers), guess) == feedback(puzzle.code, guess) for guess in position)
    if name == "knapsack":
        return (puzzle.best >> (numbers[0] - 1) & 1) == (verb == "select")
    return hint.move in LightsOut().solution(puzzle, position)


def units(name: str, size: int) -> list[tuple[str, list[int]]]:
    found = [(f"row {r + 1}", [r * size + c for c in range(size)]) for r in range(size)]
    found += [(f"column {c + 1}", [r * size + c for r in range(size)]) for c in range(size)]
    if name == "sudoku":
        for r in (0, 3, 6):
            for c in (0, 3, 6):
                cells = [(r + a) * 9 + c + b for a in range(3) for b in range(3)]
                found.append((f"the box of row {r + 1} and column {c + 1}", cells))
    return found


def obeys(name: str, puzzle: Any, position: Any, cell: int, digit: int) -> bool:
    """Whether a digit breaks no rule in a cell."""
    values = [*position[:cell], digit, *position[cell + 1 :]]
    size = puzzle.size
    for _, unit in units(name, size):
        line = [values[i] for i in unit]
        if name == "binary":
            if any(line.count(each) > size // 2 for each in (1, 2)):
                return False
            if any(line[i] and line[i] == line[i + 1] == line[i + 2] for i in range(size - 2)):
                return False
        elif any(line.count(each) > 1 for each in range(1, size + 1)):
            return False
    for a, b in puzzle.less:
        # An empty neighbour must still find a digit.
        low, high = values[a] or 1, values[b] or size
        if low >= high:
            return False
    return True
