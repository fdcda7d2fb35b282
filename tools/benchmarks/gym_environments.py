"""Puzzles a second of every embedded game and level, generated, solved and measured, in one process.

    uv run python tools/benchmarks/gym_environments.py [SECONDS]

Without a number, every game and level gets 0.5 s of CPU time. Easy puzzles have to exceed 200 a second.
"""

import sys
import time

from lazarus_gym.environments import GAMES, LEVELS, Draw, Play

LEAST = 200


def rate(name: str, level: str, seconds: float, *, whole: bool) -> float:
    game, count, start = GAMES[name], 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        if whole:
            Play(game, level, count)
        else:
            game.generate(Draw(name, level, count), level)
        count += 1
    return count / spent


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    print(f"{'game':<14}{'level':<10}{'generated/s':>12}{'with solution and difficulty/s':>34}")
    worst = float("inf")
    for name in GAMES:
        for level in LEVELS:
            alone, whole = (rate(name, level, seconds, whole=each) for each in (False, True))
            worst = min(worst, whole) if level == "easy" else worst
            print(f"{name:<14}{level:<10}{alone:>12,.0f}{whole:>34,.0f}")
    print(f"slowest easy game: {worst:,.0f} a second")
    return int(worst < LEAST)


if __name__ == "__main__":
    sys.exit(main())
