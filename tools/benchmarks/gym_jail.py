"""Time of a verdict in the jail, warm, by what the verdict does; and the time to start a worker.

    uv run python tools/benchmarks/gym_jail.py [CALLS]

Ends with 1 where the median of a verdict is 1 ms or more.
"""

import statistics
import sys
import time
from pathlib import Path

from lazarus_gym.jail import Jail, JailConfig
from lazarus_gym.rewards import Answer, ComposedReward, RewardFile

LIMIT_MS = 1.0
TEXT = "Let me think. " * 100 + "#### 42"


def times(work, calls: int) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds."""
    work()
    spent: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        spent.append((time.perf_counter() - start) * 1e3)
    return statistics.median(spent), statistics.quantiles(spent, n=100)[98]


def main() -> int:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    parts = {"form": {"type": "regex", "pattern": r"#### [0-9]+$"}, "right": {"type": "gsm8k"}}
    reward = ComposedReward(RewardFile.model_validate({"rewards": parts}))
    answer = Answer("?", TEXT, {"answer": 42})
    targets = {"length": "builtins:len", "evaluate": "builtins:eval", "sleep": "time:sleep"}
    with Jail(targets, JailConfig(wall_s=0.2)) as jail, reward:
        print(f"protections: {jail.protections}")
        works = {
            "a call with 1,400 characters": lambda: jail.call("length", TEXT),
            "evaluated arithmetic": lambda: jail.call("evaluate", "(1 + 2) * 3", answer="(1 + 2) * 3"),
            "refused code": lambda: jail.call("evaluate", "open('x', 'w')", answer="open('x', 'w')"),
            "regex and gsm8k of a file": lambda: reward.score([answer]),
        }
        print(f"{'verdict':<32}{'median ms':>10}{'99 % ms':>10}")
        worst = 0.0
        for name, work in works.items():
            median, high = times(work, calls)
            worst = max(worst, median)
            print(f"{name:<32}{median:>10.3f}{high:>10.3f}")
        starts: list[float] = []
        for _ in range(5):
            jail.call("sleep", 10)  # ends the worker
            start = time.perf_counter()
            jail.call("length", "")
            starts.append((time.perf_counter() - start) * 1e3)
        print(f"{'a call that starts a worker':<32}{statistics.median(starts):>10.1f}")
    print(f"worker: {Path(sys.executable).name}, {calls} calls each")
    return int(worst >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
