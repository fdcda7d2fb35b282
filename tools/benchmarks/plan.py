"""lazarus-plan at 100 thousand, 1 and 10 million samples: times, memory, ratios to other packers in the same process.

    uv run python tools/benchmarks/plan.py                       # all sizes, all distributions; 10 minutes, 2 GB of disk
    uv run python tools/benchmarks/plan.py --sizes 1e5 --kinds chat

Other packers are no dependency of ours. In a scratch environment their rows are filled too:

    uv venv /tmp/others && uv pip install -p /tmp/others ./packages/lazarus-plan datasets transformers torch
    uv pip install -p /tmp/others --no-deps trl ai2-olmo-core
    uv pip install -p /tmp/others dataclass-extensions bettermap importlib_resources cached_path omegaconf
    /tmp/others/bin/python tools/benchmarks/plan.py --sizes 1e6

Each case runs in a process of its own, of which memory is the peak. Seconds are its processor time or the clock's, whichever
is less: a busy machine stretches the clock, a second thread the processor time. Files lie in a temporary folder and are removed.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROW_LEN = 2048
TOKEN_BUDGET = 64 * ROW_LEN
KINDS = ("chat", "web", "code")
GB = 1e6  # ru_maxrss counts kB


def lengths_of(kind: str, size: int) -> np.ndarray:
    """Sample lengths: chat and web fit the row, of code 39 % do not."""
    rng = np.random.default_rng(7)
    if kind == "chat":  # the shape of GSM8K's answers, in tokens of a small vocabulary
        return np.clip(rng.gamma(4.2, 55, size), 8, ROW_LEN).astype(np.int64)
    mean, deviation = {"web": (6.0, 1.0), "code": (7.3, 1.2)}[kind]
    lengths = np.maximum(rng.lognormal(mean, deviation, size), 1).astype(np.int64)
    return np.minimum(lengths, ROW_LEN if kind == "web" else 32 * ROW_LEN)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time(), time.perf_counter()
    result = work()
    return min(time.process_time() - start[0], time.perf_counter() - start[1]), result


def write_lengths(kind: str, size: int, folder: Path) -> Path:
    path = folder / f"{kind}-{size}.jsonl"
    if not path.exists():
        with path.open("w", encoding="ascii") as lines:
            lines.writelines(
                f'{{"id":"s{n:08d}","length":{length}}}\n' for n, length in enumerate(lengths_of(kind, size).tolist())
            )
    return path


def config() -> Any:
    from lazarus_plan import PlanConfig

    return PlanConfig(token_budget=TOKEN_BUDGET, row_len=ROW_LEN, oversize="split")


def case_read(kind: str, size: int, folder: Path) -> dict[str, Any]:
    from lazarus_plan.lengths.scan import scan
    from lazarus_plan.lengths.sidecar import read_lengths, read_sidecar

    path = write_lengths(kind, size, folder)
    lines_s, _ = timed(lambda: scan(path))
    read_lengths(path, remember=True)
    sidecar_s, _ = timed(lambda: read_sidecar(path))
    return {"read jsonl s": lines_s, "read sidecar s": sidecar_s}


def case_build(kind: str, size: int, folder: Path) -> dict[str, Any]:
    from lazarus_plan import build_plan, read_lengths
    from lazarus_plan.packing.stats import plan_stats

    cache = read_lengths(write_lengths(kind, size, folder))
    seconds, plan = timed(lambda: build_plan(cache, config(), folder / "plan"))
    stats = plan_stats(plan)
    tokens, room = stats["efficiency"]
    return {
        "build s": seconds,
        "placed": len(plan.sample),
        "rows over L2": stats["packing"][0]["gap"],
        "fill %": 100 * tokens / room,
        "cost sd %": 100 * _spread(plan),
    }


def _spread(plan: Any) -> float:
    from lazarus_plan.packing.stats import step_costs

    cost = step_costs(plan)[:-1]
    return float(cost.std() / cost.mean()) if len(cost) else 0.0


def case_verify(_kind: str, _size: int, folder: Path) -> dict[str, Any]:
    from lazarus_plan import load_plan

    seconds, _ = timed(lambda: load_plan(folder / "plan"))
    return {"verify s": seconds}


def case_diff(_kind: str, _size: int, folder: Path) -> dict[str, Any]:
    from lazarus_plan import load_plan
    from lazarus_plan.checks.diff import diff_plans

    plan = load_plan(folder / "plan")
    seconds, _ = timed(lambda: diff_plans(plan, plan))
    return {"diff s": seconds}


def case_seek(_kind: str, _size: int, folder: Path) -> dict[str, Any]:
    from lazarus_plan.format.reader import PlanReader

    with PlanReader(folder / "plan") as reader:
        chosen = random.Random(0).choices(range(len(reader)), k=500)
        lines = list(map(reader.line, chosen))  # the pages of the file are in memory now
        seek_s, _ = timed(lambda: deque(map(reader.line, chosen), maxlen=0))
        step_s, _ = timed(lambda: deque(map(reader.step, chosen), maxlen=0))
        json_s, _ = timed(lambda: deque(map(json.loads, lines), maxlen=0))
    return {
        "seek us": 1e6 * seek_s / 500,
        "step us": 1e6 * step_s / 500,
        "json.loads/step": json_s / step_s,
    }


def case_pack(kind: str, size: int, _folder: Path) -> dict[str, Any]:
    from lazarus_plan.packing.best_fit import best_fit_decreasing, histogram
    from lazarus_plan.packing.rows import pack

    lengths = np.minimum(lengths_of(kind, size), ROW_LEN)
    ours_s, patterns = timed(lambda: best_fit_decreasing(histogram(lengths), ROW_LEN))
    chosen_s, chosen = timed(lambda: pack(tuple(histogram(lengths).items()), ROW_LEN))
    found: dict[str, Any] = {"best fit s": ours_s, "plan's s": chosen_s, "plan's rows": sum(rows for _, rows in chosen)}
    try:
        from trl.data_utils import _SegmentTree
    except ImportError:
        pass
    else:
        theirs_s, bins = timed(lambda: trl_bins(lengths, _SegmentTree(ROW_LEN)))
        rows = sorted(sum(n * c for n, c in content) for content, count in patterns for _ in range(count))
        found |= {"TRL s": theirs_s, "TRL/ours": theirs_s / ours_s, "same bins": sorted(bins) == rows}
    try:
        from olmo_core.data.utils import InstancePacker
    except ImportError:
        pass
    else:
        ends = np.cumsum(lengths)
        documents = np.stack([ends - lengths, ends], axis=1)
        theirs_s, packed = timed(lambda: InstancePacker(ROW_LEN).pack_documents(documents))
        found |= {"OLMo-core s": theirs_s, "OLMo-core/ours": theirs_s / ours_s, "OLMo-core's rows": len(packed[0])}
    return found


def trl_bins(lengths: np.ndarray, tree: Any) -> list[int]:
    """The binning loop of `trl.data_utils._pack_bfd`, with its own segment tree; tokens of each bin."""
    order = np.argsort(-lengths, kind="stable")
    tree.add(ROW_LEN)
    space_to_bin: dict[int, deque[dict[str, Any]]] = defaultdict(deque)
    bins: list[dict[str, Any]] = []
    for length, index in zip(lengths[order], order, strict=True):
        space = tree.search(length)
        if space < ROW_LEN:
            bin_ = space_to_bin[space].popleft()
        else:
            bin_ = {"ids": [], "length": 0}
            bins.append(bin_)
        bin_["ids"].append(index)
        bin_["length"] += length
        if space < ROW_LEN and not space_to_bin[space]:
            tree.remove(space)
        space = space - length
        space_to_bin[space].append(bin_)
        if space > 0:
            tree.add(space)
    return [int(bin_["length"]) for bin_ in bins]


def case_shuffle(_kind: str, size: int, _folder: Path) -> dict[str, Any]:
    from lazarus_plan.packing.permutation import keyed_permutation

    ours_s, _ = timed(lambda: keyed_permutation(size, 42))
    values = list(range(size))
    theirs_s, _ = timed(lambda: random.Random(42).shuffle(values))
    return {"permutation s": ours_s, "random.shuffle/ours": theirs_s / ours_s}


def case_samples(kind: str, size: int, _folder: Path) -> dict[str, Any]:
    """How much samples a step vary: strata against a plain shuffle of the same rows."""
    from lazarus_plan import LengthCache, LengthsHeader, build_plan
    from lazarus_plan.packing.stats import rows_a_step

    lengths = lengths_of(kind, size)
    plan = build_plan(LengthCache(kind, LengthsHeader(size), "sha256:00", range(size), lengths), config())  # pyright: ignore[reportArgumentType] # ids are not asked for
    step = np.repeat(np.arange(len(plan)), np.diff(plan.step_splits))
    row = step * plan.metadata.config.rows_per_step + plan.start // ROW_LEN
    per_row = np.unique(row, return_counts=True)[1]
    rows = plan.metadata.config.rows_per_step
    strata = np.diff(plan.step_splits)[rows_a_step(plan) == rows].std()  # equally many rows, as in the shuffle
    shuffled = np.random.default_rng(0).permutation(per_row)
    plain = shuffled[: len(shuffled) // rows * rows].reshape(-1, rows).sum(axis=1).std()
    return {"samples sd, plain/strata": plain / strata}


CASES = ("read", "build", "verify", "diff", "seek", "pack", "shuffle", "samples")
BARS = "bars at 1M / 10M: build 1.0 / 8 s, 0.25 / 0.6 GB; verify 0.8 / 6 s, 0.4 GB; read - / 3 s, sidecar - / 0.05 s; rows over L2 <= 3 at 1M; TRL >= 100x; shuffle >= 10x; samples sd >= 3x; seek and parse <= 50 us"


def measure(case: str, kind: str, size: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--case", case, "--kinds", kind, "--sizes", str(size), "--folder", str(folder)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e5, 1e6, 1e7])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        found = globals()[f"case_{asked.case}"](asked.kinds[0], int(asked.sizes[0]), asked.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (GB if sys.platform == "linux" else GB * 1000)
        print(json.dumps({**found, "peak GB": peak}))
        return
    print(BARS)
    for size in map(int, asked.sizes):
        for kind in asked.kinds:
            with tempfile.TemporaryDirectory() as folder:
                for case in CASES:
                    found = measure(case, kind, size, Path(folder))
                    figures = ", ".join(f"{name} {_figure(value)}" for name, value in found.items())
                    print(f"{size:>10,} {kind:<5} {case:<8} {figures}", flush=True)


def _figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
