"""The stages of a benchmark: lengths, a plan of each mode, and steps of training on it."""

import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from lazarus_cli.bench_rows import synthetic_rows
from lazarus_core.bounded import open_file
from lazarus_core.console import say
from lazarus_core.errors import LazarusError, reworded

if TYPE_CHECKING:
    from lazarus_plan import BatchPlan, LengthCache, PlanConfig


JSON = dict[str, Any]
T = TypeVar("T")
BENCH_VERSION = 1
WARM_UP = 1
"""Unmeasured first steps of each training run. They include one-time costs such as compilation."""


class BenchFailed(LazarusError):
    """The benchmark has no data to measure, or its settings are not supported."""


@dataclass(frozen=True)
class Bench:
    """Settings of a benchmark.

    Args:
        data: Rows, JSON Lines; None for synthetic rows.
        tokenizer: Name or path, as `load_tokenizer` takes it.
        model: Directory or preset.
        edges: Row lengths of mode bucketed; empty selects those with the least padding.
        num_samples: Largest number of rows to read.
        token_budget: Tokens per step.
        steps: Measured training steps of each mode.
        fields: Names of fields, as `FieldNames` takes them.
    """

    data: Path | None
    tokenizer: str
    model: str
    edges: tuple[int, ...]
    num_samples: int
    token_budget: int
    steps: int
    fields: dict[str, str | None]


def measure(asked: Bench) -> JSON:
    """Runs every stage and returns its figures; times are in seconds, memory in bytes."""
    with tempfile.TemporaryDirectory(prefix="lazarus-bench-") as name:
        folder = Path(name)
        if asked.data is None:
            (folder / "rows.jsonl").write_bytes(synthetic_rows(asked.num_samples, longest=asked.token_budget))
            say(
                f"no --data: {asked.num_samples} synthetic rows, the same each time; give --data for figures of your own"
            )
        else:
            rows = _first_rows(asked.data, asked.num_samples, folder / "rows.jsonl")
            say(f"{rows} rows of {asked.data}")
        with _named_as_given(folder / "rows.jsonl", asked.data or Path("the synthetic rows")):
            return _measure(asked, folder)


def _measure(asked: Bench, folder: Path) -> JSON:
    lengths, seconds = _lengths(asked, folder)
    _make_model(asked, folder / "model")
    tokens = int(lengths.length.sum())
    return {
        "bench_version": BENCH_VERSION,
        "data": "synthetic" if asked.data is None else asked.data.name,
        "tokenizer": asked.tokenizer,
        "model": asked.model,
        "token_budget": asked.token_budget,
        "samples": len(lengths),
        "tokens": tokens,
        "lengths": {"seconds": seconds, "tokens_per_s": tokens / seconds, "histogram": _histogram(lengths)},
        "modes": [_mode(asked, folder, lengths, name, config) for name, config in _ways(asked, lengths)],
        "advice": _advice(asked, lengths),
        "machine": _machine(),
    }


@contextlib.contextmanager
def _named_as_given(copy: Path, given: Path) -> Generator[None]:
    """Context manager: errors and warnings name the user's file, not the copy of its first rows.

    Args:
        copy: The copy. Its lines are those of the user's file.
        given: The user's file.
    """

    def rename(text: str) -> str:
        return text.replace(str(copy), str(given))

    def rename_record(record: logging.LogRecord) -> bool:
        record.msg, record.args = rename(record.getMessage()), ()
        return True

    handler = logging.lastResort
    if handler is not None:
        handler.addFilter(rename_record)
    try:
        with reworded(rename):
            yield
    finally:
        if handler is not None:
            handler.removeFilter(rename_record)


def _first_rows(data: Path, count: int, path: Path) -> int:
    """Copies the first rows, with the blank lines between them, so that the numbers of lines stay."""
    rows, kept = 0, list[bytes]()
    with open_file(data) as lines:
        for line in lines:
            kept.append(line)
            rows += bool(line.strip())
            if rows == count:
                break
    if not rows:
        raise BenchFailed(f"{data} has no rows: give a file with rows", "LC-E121")
    path.write_bytes(b"".join(kept) + (b"" if kept[-1].endswith(b"\n") else b"\n"))
    return rows


def _lengths(asked: Bench, folder: Path) -> "tuple[LengthCache, float]":
    from lazarus_plan import read_lengths
    from lazarus_tokenkit import Encoder, FieldNames, build_lengths, load_tokenizer

    encoder = Encoder(load_tokenizer(asked.tokenizer))
    _, seconds = _timed(
        lambda: build_lengths(folder / "rows.jsonl", encoder, folder / "lengths.jsonl", FieldNames(**asked.fields))
    )
    return read_lengths(folder / "lengths.jsonl"), seconds


def _make_model(asked: Bench, path: Path) -> None:
    from lazarus_models import init_model, save
    from lazarus_tokenkit import load_tokenizer

    if Path(asked.model).is_dir():
        shutil.copytree(asked.model, path)
    else:
        save(init_model(asked.model, load_tokenizer(asked.tokenizer), seed=0), path)


def _ways(asked: Bench, lengths: "LengthCache") -> "list[tuple[str, PlanConfig]]":
    """The best plan of each mode, with the requested bucket edges."""
    from lazarus_plan import PlanConfig
    from lazarus_plan.report import candidates

    longest = int(lengths.length.max())
    if longest > asked.token_budget:
        raise BenchFailed(
            f"the longest sample has {longest} tokens, the budget is {asked.token_budget}: raise -b", "LC-E122"
        )
    best = {each.mode: each.config for each in reversed(candidates(lengths.length, asked.token_budget))}
    if asked.edges:
        if asked.edges[-1] < longest:
            raise BenchFailed(
                f"--bucket-edges end at {asked.edges[-1]}, the longest sample has {longest} tokens: add a longer edge",
                "LC-E123",
            )
        best["bucketed"] = PlanConfig(token_budget=asked.token_budget, mode="bucketed", bucket_edges=asked.edges)
    return [(mode, best[mode]) for mode in ("packed", "bucketed", "padded")]


def _mode(asked: Bench, folder: Path, lengths: "LengthCache", name: str, config: "PlanConfig") -> JSON:
    """A plan of one mode, and the cost of training on it."""
    from lazarus_plan import build_plan, save_plan

    say(f"{name}: planning, then training {asked.steps + WARM_UP} steps")
    plan, seconds = _timed(lambda: build_plan(lengths, config))
    save_plan(plan, folder / f"plan-{name}")
    return {
        "mode": name,
        "row_len": plan.row_len,
        "bucket_edges": list(config.bucket_edges),
        "steps": len(plan),
        "plan_seconds": seconds,
        "padding_share": 1 - int(plan.tokens.sum()) / _room(plan),
        **_train(asked, folder, name, len(plan)),
    }


def _room(plan: "BatchPlan") -> int:
    """Number of tokens in the rows, padding included."""
    from lazarus_plan.packing import rows_a_step

    return int((rows_a_step(plan) * plan.row_lens).sum())


def _train(asked: Bench, folder: Path, name: str, steps: int) -> JSON:
    from lazarus_models.backend import mx
    from lazarus_train import TrainConfig, train

    run = folder / f"run-{name}"
    settings: JSON = {
        "model": folder / "model",
        "data": folder / "rows.jsonl",
        "batch_plan": folder / f"plan-{name}",
        "output": run,
        "max_steps": min(steps, asked.steps + WARM_UP),
        **{f"{field}_field": value for field, value in asked.fields.items()},
    }
    config = TrainConfig.model_validate(settings)
    mx.reset_peak_memory()
    train(config)
    lines = [json.loads(line) for line in (run / "throughput.jsonl").read_text().splitlines()]
    measured = lines[WARM_UP:] or lines
    return {
        "train_tokens_per_s": median(line["tokens_per_s"] for line in measured),
        "step_seconds": median(line["seconds"] for line in measured),
        "peak_memory_bytes": mx.get_peak_memory(),
    }


def _advice(asked: Bench, lengths: "LengthCache") -> str:
    from lazarus_plan.report import candidates, reason

    best, *others = candidates(lengths.length, asked.token_budget)
    edges = ",".join(map(str, best.bucket_edges))
    how = f"--bucket-edges {edges}" if edges else f"--row-len {best.row_len}"
    return f"-b {best.token_budget} --mode {best.mode} {how}: {reason(best, others)}"


def _histogram(lengths: "LengthCache", bins: int = 20) -> list[tuple[int, int, int]]:
    """First length, end (exclusive) and number of samples of each bar."""
    low, high = int(lengths.length.min()), int(lengths.length.max())
    width = -(-(high - low + 1) // bins)
    counts = Counter((int(length) - low) // width for length in lengths.length)
    return [(low + at * width, low + (at + 1) * width, counts[at]) for at in range(max(counts) + 1)]


def _machine() -> JSON:
    import platform

    from lazarus_models.backend import BLAS, mx

    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "device": str(mx.default_device()),
        "blas": BLAS.library,
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began
