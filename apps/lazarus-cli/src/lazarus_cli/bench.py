"""`lazarus bench`: measures the pipeline on the user's rows, from reading them to training steps.

It calls the packages' public functions, and each figure is the measurement of one call.
"""

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
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lazarus_cli.bench_rows import MAX_SYNTHETIC_ROWS, synthetic_rows
from lazarus_core.bounded import open_file
from lazarus_core.canonical import MAX_INTEGER
from lazarus_core.commands import Force
from lazarus_core.console import say, show
from lazarus_core.errors import LazarusError, reworded
from lazarus_core.strict_json import MalformedJson, read_object

if TYPE_CHECKING:
    from lazarus_plan import BatchPlan, LengthCache, PlanConfig

JSON = dict[str, Any]
T = TypeVar("T")
BENCH_VERSION = 1
WARM_UP = 1
"""Unmeasured first steps of each training run. They include one-time costs such as compilation."""
REPORT = "bench.json"
COMPARABLE = ("data", "tokenizer", "model", "token_budget", "samples", "tokens")
"""Settings and environment that must be equal in two compared reports."""


class BenchFailed(LazarusError):
    """The benchmark has no data to measure, or its settings are not supported."""


class Slower(LazarusError):
    """A speed fell below the baseline by more than the tolerance."""

    exit_code = 1


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


Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for bench.json, .md and .html.")]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance", min=0.0, help="Exit 1 if a speed is lower than the baseline's by more than this share."
    ),
]


def bench(
    data: Annotated[
        Path | None, typer.Option("-d", "--data", help="Rows (.jsonl) [default: synthetic ones, the same each time].")
    ] = None,
    tokenizer: Annotated[str, typer.Option("-t", "--tokenizer", help="Tokenizer: a name or directory.")] = "byte",
    output: Output = Path("bench"),
    model: Annotated[
        str | None, typer.Option("--model", help="Directory or preset to train [default: the tokenizer's, else nano].")
    ] = None,
    bucket_edges: Annotated[
        str | None, typer.Option("--bucket-edges", help="Row lengths of buckets, as 128,256,512 [default: the best].")
    ] = None,
    num_samples: Annotated[
        int, typer.Option("--num-samples", help="Maximum number of rows to read or to make.", min=1)
    ] = 1000,
    token_budget: Annotated[
        int, typer.Option("-b", "--token-budget", help="Maximum tokens per step.", min=1, max=MAX_INTEGER)
    ] = 4096,
    steps: Annotated[int, typer.Option("--steps", help="Training steps measured per mode.", min=1)] = 5,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="An earlier bench.json to compare with.")] = None,
    tolerance: Tolerance = 0.2,
    prompt_field: Annotated[str | None, typer.Option("--prompt-field", help="Field of the question.")] = None,
    completion_field: Annotated[str | None, typer.Option("--completion-field", help="Field of the answer.")] = None,
    messages_field: Annotated[str | None, typer.Option("--messages-field", help="Field of the conversation.")] = None,
    text_field: Annotated[str | None, typer.Option("--text-field", help="Field of the document.")] = None,
    force: Force = False,
) -> None:
    """Measure your data from rows to training steps: lengths, packing compared with padding, speed, memory.

    `lazarus bench infer MODEL` measures generation.

    Example: --data train.jsonl --tokenizer gpt2 --token-budget 8192
    """
    from lazarus_cli.bench_report import compare, to_html, to_markdown
    from lazarus_core.atomic import parents_made, whole_file
    from lazarus_core.html import this_command

    fields = {"prompt": prompt_field, "completion": completion_field, "messages": messages_field, "text": text_field}
    if data is None and any(fields.values()):
        raise typer.BadParameter("the options of fields have no effect without --data")
    if data is None and num_samples > MAX_SYNTHETIC_ROWS:
        raise typer.BadParameter(f"--num-samples {num_samples}: at most {MAX_SYNTHETIC_ROWS:,} without --data")
    _check_outputs(output, data, force=force)
    before = _read_report(baseline) if baseline else None
    has_weights = (Path(tokenizer) / "config.json").is_file()
    asked = Bench(
        data,
        tokenizer,
        model or (tokenizer if has_weights else "nano"),
        _edges(bucket_edges),
        num_samples,
        token_budget,
        steps,
        fields,
    )
    with parents_made(output / REPORT):
        found = measure(asked)
    changes = compare(before, found) if before else []
    other = [name for name in COMPARABLE if before and before.get(name) != found[name]]
    if other:
        listed = ", ".join(f"{name} was {before.get(name)!r}, is {found[name]!r}" for name in other if before)
        raise BenchFailed(
            f"{baseline} measured other work: {listed}; nothing was written: give the same data and settings", "LC-E125"
        )
    texts = {
        REPORT: json.dumps(found, indent=2) + "\n",
        "bench.md": to_markdown(found, changes),
        "bench.html": to_html(found, changes, this_command()),
    }
    for name, text in texts.items():
        with whole_file(output / name) as file:
            file.write(text.encode())
    show(to_markdown(found, changes).rstrip())
    say(f"wrote {output / REPORT}, bench.md and bench.html; later: --baseline {output / REPORT}")
    fallen = [change for change in changes if change.ratio < 1 - tolerance]
    if fallen:
        names = ", ".join(f"{change.name} to {change.ratio:.2f}x" for change in fallen)
        raise Slower(f"slower than the baseline by more than {tolerance:.0%}: {names}", "LC-E120")


def _check_outputs(output: Path, data: Path | None, *, force: bool) -> None:
    """Checks before the work that the reports would not replace other files in the folder."""
    from lazarus_core.errors import OutputTaken
    from lazarus_core.html import PAGE
    from lazarus_core.outputs import OutputKind, begins_with, check_output

    if output.exists() and not output.is_dir():
        raise OutputTaken(f"{output} is a file: give the name of a folder for the reports", "LC-E126")
    kinds = {
        REPORT: OutputKind("a report of a bench", begins_with(r'\{\s*"bench_version":'), "LC-E126"),
        "bench.md": OutputKind(
            "a report of a bench", begins_with(r"# [^\n]*\n\n[^\n]*\n\n\| mode \| row length \|"), "LC-E126"
        ),
        "bench.html": PAGE,
    }
    for name, kind in kinds.items():
        check_output(output / name, kind, inputs=[] if data is None else [data], force=force)


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


def _edges(text: str | None) -> tuple[int, ...]:
    try:
        edges = tuple(int(edge) for edge in text.split(",")) if text else ()
    except ValueError:
        edges = (0,)
    if list(edges) != sorted(set(edges)) or 0 in edges:
        raise typer.BadParameter(f"--bucket-edges {text}: give whole numbers, ascending, with commas, as 128,256,512")
    return edges


def _read_report(path: Path) -> JSON:
    try:
        report: JSON = read_object(path)
        assert report["bench_version"] == BENCH_VERSION
    except (MalformedJson, KeyError, TypeError, AssertionError) as error:
        raise BenchFailed(f"{path} is not a {REPORT} of this version: measure it again", "LC-E124") from error
    return report
