"""The cost of looking inside: capturing activations against a plain pass in time and memory, and a batched patch sweep against a loop.

    uv run python tools/benchmarks/introspect_overhead.py [MODEL]

Without a model, one of the preset `small` (17 million parameters over bytes) is made. Rounds alternate, also in who goes
first, and the best CPU seconds of each side count, which tell more than seconds on a busy machine. The last line says
whether the bounds of the project hold: capturing every site under 25 % of a pass, a peak of memory above that of a pass of at
most what was asked for, and a batched sweep of 70 sites at least 1.5 times as fast as a loop. The exit code is 1 if one does not
hold.
"""

import sys
import time
from collections.abc import Callable, Sequence

from lazarus_introspect import patch_sweep, run_with_cache, run_with_hooks, sites
from lazarus_models import init_model, load
from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_tokenkit import load_tokenizer

ROUNDS = 12
ROWS, TOKENS = 4, 128
SHORT = 10
"""Tokens of the prompts of the sweep: with 7 layers and the final stream, 70 patches of positions and more."""
MOST_OVERHEAD, LEAST_SPEEDUP = 0.25, 1.5
MOST_MEMORY = 1.1
"""Peak of memory above a plain pass, as a share of the bytes of what is captured."""


def best(sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The best CPU seconds of each side."""
    found = dict.fromkeys(sides, float("inf"))
    for _ in range(2):
        for run in sides.values():
            run()
    for number in range(ROUNDS):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            sides[name]()
            found[name] = min(found[name], time.process_time() - start)
    return found


def peak_bytes(run: Callable[[], object]) -> tuple[object, int]:
    """What a function returns, and the most memory that it had at once, beyond what was there before."""
    run()
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    made = run()
    return made, mx.get_peak_memory() - before


def main() -> int:
    lm = load(sys.argv[1]) if len(sys.argv) > 1 else init_model("small", load_tokenizer("byte"), seed=0)
    ids = mx.random.randint(0, 255, (ROWS, TOKENS), key=mx.random.key(0))
    streams = [name for name in sites(lm).present if name.endswith(("resid_pre", "attn_out", "mlp_out"))]
    names: dict[str, Sequence[str] | None] = {
        "capture streams": streams,
        "capture patterns": ["blocks.*.attn.pattern"],
        "capture every site": None,
    }
    sides: dict[str, Callable[[], object]] = {
        "plain": lambda: evaluate(lm.model(ids)),
        "hooks that change nothing": lambda: evaluate(
            run_with_hooks(lm, ids, [(name, lambda x: None) for name in streams])
        ),
        **{title: lambda chosen=chosen: run_with_cache(lm, ids, chosen) for title, chosen in names.items()},
    }
    seconds = best(sides)
    print(f"{lm.summary}; {ROWS} rows of {TOKENS} tokens; {len(sites(lm).present)} sites")
    for title, value in seconds.items():
        print(f"{title:<28}{1000 * value:>9.1f} ms{value / seconds['plain'] - 1:>+9.1%}")
    overhead = seconds["capture every site"] / seconds["plain"] - 1
    _, plain_peak = peak_bytes(sides["plain"])
    worst = 0.0
    for title, chosen in {"capture one site": ["blocks.0.resid_pre"], **names}.items():
        made, peak = peak_bytes(lambda chosen=chosen: run_with_cache(lm, ids, chosen))
        asked = sum(each.nbytes for each in made[1].values())
        more = (peak - plain_peak) / asked
        worst = max(worst, more)
        print(f"{title:<28}{peak / 1e6:>9.1f} MB at most, a plain pass {plain_peak / 1e6:.1f}; asked {asked / 1e6:.1f}")
    clean = [list(range(1, SHORT + 1))]
    corrupt = [[1, 2, 3, 99, *range(5, SHORT + 1)]]
    sweeps: dict[str, Callable[[], object]] = {
        title: lambda batch=batch: patch_sweep(lm, clean, corrupt, 7, 8, batch=batch)
        for title, batch in (("loop", 1), ("batched", 32))
    }
    swept = best(sweeps)
    patches = (sites(lm).layers + 1) * SHORT
    for title, value in swept.items():
        print(f"{patches} patches, {title:<16}{1000 * value:>9.1f} ms")
    speedup = swept["loop"] / swept["batched"]
    holds = overhead < MOST_OVERHEAD and speedup >= LEAST_SPEEDUP and worst <= MOST_MEMORY
    print(
        f"overhead {overhead:.1%} (bound {MOST_OVERHEAD:.0%}), memory {worst:.2f} of what was asked (bound {MOST_MEMORY}),"
        f" speed-up {speedup:.1f} (bound {LEAST_SPEEDUP}): {holds}"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
