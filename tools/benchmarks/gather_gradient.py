"""The gradient of an embedding look-up, four ways: time, peak memory, and whether six calls give equal bits.

    uv run python tools/benchmarks/gather_gradient.py [--small]

`plain` is MLX's scattered sum, in no fixed order on a GPU; `segments` is `lazarus_models.ops.gather`; `one-hot` multiplies
blocks of the vocabulary; `segmented` is MLX's product of segments with ones, whose order and precision are the library's.
Ids are drawn by Zipf's law, as words are. Works on MLX's default device.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from lazarus_models.backend import mx
from lazarus_models.ops import sum_rows_by_id

SHAPES = ((512, 16_384, 64), (8_192, 4_096, 256), (49_152, 2_048, 576))
"""Vocabulary, tokens, width: stories260k, a small pre-training, SmolLM2-135M."""
LARGE = ((49_152, 16_384, 576), (151_936, 16_384, 1_024))
"""The same on a GPU: a step of 16 x 1,024 tokens of SmolLM2-135M, and of Qwen3-0.6B."""
BLOCK = 4_096
REPEATS = 5  # with the first call, six
Gradient = Callable[[mx.array, mx.array, int], mx.array]


def plain(rows: mx.array, ids: mx.array, count: int) -> mx.array:
    return mx.zeros((count, rows.shape[1])).at[ids].add(rows)


def one_hot(rows: mx.array, ids: mx.array, count: int) -> mx.array:
    blocks = []
    for first in range(0, count, BLOCK):
        wanted = mx.arange(first, min(first + BLOCK, count))
        blocks.append((wanted[:, None] == ids).astype(rows.dtype) @ rows)
        mx.eval(blocks[-1])  # one block of the matrix in memory
    return mx.concatenate(blocks)


def segmented(rows: mx.array, ids: mx.array, count: int) -> mx.array:
    sizes = mx.zeros((count,), mx.uint32).at[ids].add(mx.array(1, mx.uint32))
    ends = mx.cumsum(sizes)
    return mx.segmented_mm(mx.ones((1, ids.size)), rows[mx.argsort(ids)], mx.stack([ends - sizes, ends], axis=1))[:, 0]


WAYS: dict[str, Gradient] = {"plain": plain, "segments": sum_rows_by_id, "one-hot": one_hot, "segmented": segmented}


def main() -> None:
    is_gpu = mx.default_device().type == mx.gpu
    shapes = ((64, 256, 8),) if "--small" in sys.argv else SHAPES + (LARGE if is_gpu else ())
    print(f"{mx.default_device()}, MLX {mx.__version__}")
    print(f"{'V':>8} {'tokens':>8} {'width':>6}  {'way':<10} {'ms':>9} {'MiB':>7}  six calls")
    for count, tokens, width in shapes:
        shares = 1 / np.arange(1, count + 1)
        random = np.random.default_rng(0)
        ids = mx.array(random.choice(count, tokens, p=shares / shares.sum()).astype(np.int32))
        rows = mx.array(random.normal(size=(tokens, width)).astype(np.float32))
        mx.eval(ids, rows)
        for name, way in WAYS.items():
            first = way(rows, ids, count)
            mx.eval(first)  # kernels are compiled
            before, times, is_equal = mx.get_active_memory(), [], True
            mx.reset_peak_memory()
            for _ in range(REPEATS):
                began = time.perf_counter()
                again = way(rows, ids, count)
                mx.eval(again)
                times.append(time.perf_counter() - began)
                is_equal = is_equal and bool(mx.array_equal(first, again))
            peak = (mx.get_peak_memory() - before) / 2**20
            words = "equal" if is_equal else "differ"
            print(f"{count:>8,} {tokens:>8,} {width:>6,}  {name:<10} {min(times) * 1e3:>9.1f} {peak:>7.0f}  {words}")


if __name__ == "__main__":
    main()
