"""Draws a second and memory of a replay buffer, by kind of sampling.

    uv run python tools/benchmarks/gym_replay.py [SAMPLES] [TOKENS]

Without numbers, a million samples of 64 tokens. Draws come in batches of 256; with and without the samples themselves.
"""

import resource
import sys
import time

import numpy as np

from lazarus_gym.replay import ReplayBuffer, ReplayBufferConfig, SampleSource, StreamSample

BATCH = 256
LEAST = 100_000


def rate(work, seconds: float = 1.0) -> float:
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        work()
        count += BATCH
    return count / spent


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    kinds = [
        StreamSample.model_construct(
            input_ids=tuple(range(tokens)),
            loss_mask=(0, 1) * (tokens // 2) + (0,) * (tokens % 2),
            source=SampleSource.GYM,
            difficulty=number / 10,
            group=f"g{number}",
            success=number % 2 == 0,
        )
        for number in range(10)
    ]
    worst = float("inf")
    print(f"{'sampling':<14}{'adds/s':>10}{'draws/s':>12}{'with samples/s':>16}{'updates/s':>12}")
    for mode in ("uniform", "curriculum", "prioritized"):
        worst = min(worst, measure(mode, count, kinds))
    return int(worst < LEAST)


def measure(mode, count: int, kinds: list[StreamSample]) -> float:
    """Prints the line of a kind of sampling and returns the draws a second of whole samples."""
    buffer = ReplayBuffer(ReplayBufferConfig(max_size=count, sampling=mode))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for number in range(count):
        buffer.add(kinds[number % 10])
    adds = count / (time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    draws, whole = rate(lambda: buffer.draw(BATCH)), rate(lambda: buffer.sample(BATCH))
    updates = 0.0
    if mode == "prioritized":
        ids = np.arange(0, count, max(1, count // BATCH))[:BATCH]
        updates = rate(lambda: buffer.update_priorities(ids, np.linspace(0.1, 2.0, len(ids))))
    print(f"{mode:<14}{adds:>10,.0f}{draws:>12,.0f}{whole:>16,.0f}{updates:>12,.0f}")
    if mode == "uniform":
        print(f"{count:,} samples of {len(kinds[0].input_ids)} tokens: {grown:,.0f} MB more at the peak")
    return whole


if __name__ == "__main__":
    sys.exit(main())
