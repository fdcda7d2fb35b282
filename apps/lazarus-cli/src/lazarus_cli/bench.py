"""`lazarus bench`: measures the pipeline on the user's rows, from reading them to training steps.

It calls the packages' public functions, and each figure is the measurement of one call.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from lazarus_cli.bench_rows import MAX_SYNTHETIC_ROWS
from lazarus_cli.bench_stages import BENCH_VERSION, JSON, Bench, BenchFailed, measure
from lazarus_core.canonical import MAX_INTEGER
from lazarus_core.commands import Force
from lazarus_core.console import say, show
from lazarus_core.errors import LazarusError
from lazarus_core.strict_json import MalformedJson, read_object

REPORT = "bench.json"
COMPARABLE = ("data", "tokenizer", "model", "token_budget", "samples", "tokens")
"""Settings and environment that must be equal in two compared reports."""


class Slower(LazarusError):
    """A speed fell below the baseline by more than the tolerance."""

    exit_code = 1


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
