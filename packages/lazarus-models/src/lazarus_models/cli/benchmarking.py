"""The command `bench`; also `lazarus bench infer`."""

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.commands import Force
from lazarus_core.console import progress, say, show, show_line
from lazarus_models.cli.diffusing import Masks, diffusion_config, with_masks
from lazarus_models.cli.options import Adapter, AnyBase, AsJson, load_model

if TYPE_CHECKING:
    from lazarus_models.benchmark import Case, InferenceBenchmark, Spread

_HEAD = (
    "texts",
    "prompt",
    "answer",
    "first token",
    "prompt tok/s",
    "answer tok/s",
    "wait p50, p90, p99",
    "peak memory",
)
_BATCH_SIZES, _PROMPT_TOKENS, _NEW_TOKENS = "1,4", "32,256", 64


@with_masks
def bench(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            envvar="LAZARUS_MODEL",
            help="Measure the model in this directory, owner/name[@revision], or a name of `infer --list`.",
        ),
    ],
    adapter: Adapter = None,
    any_base: AnyBase = False,
    batch_sizes: Annotated[
        str | None, typer.Option("--batch-sizes", metavar="N,...", help=f"Texts at once [default: {_BATCH_SIZES}].")
    ] = None,
    prompt_tokens: Annotated[
        str, typer.Option("--prompt-tokens", metavar="N,...", help="Tokens of the prompts.")
    ] = _PROMPT_TOKENS,
    new_tokens: Annotated[
        int | None, typer.Option("--new-tokens", min=1, help=f"Tokens of an answer [default: {_NEW_TOKENS}].")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measured runs of each combination.")] = 5,
    warm_up: Annotated[int, typer.Option("--warm-up", min=0, help="Unmeasured runs before them.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the prompts.")] = 0,
    *,
    masks: Masks,
    html: Annotated[Path | None, typer.Option("--html", help="Write the result as an HTML page.")] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Measure the latency of a model: first token, tokens a second of prompt and answer, memory.

    Each combination of batch size and prompt length is run with random prompts, and each answer has the full length. The table
    has the median and the range of the runs, and percentiles of the wait for each next token. --mask-token measures a model of masked diffusion, with one text at once.

    Example: smollm2-360m --batch-sizes 1,8 --prompt-tokens 64,512
    """
    from lazarus_core.html import PAGE
    from lazarus_core.outputs import check_output
    from lazarus_models.benchmark import VERSION, benchmark_inference, describe_model
    from lazarus_models.errors import GenerationError

    if masks.total_length is not None:
        raise GenerationError("`--total-length` has no effect here; give --prompt-tokens and --new-tokens", "LM-E144")
    settings = _settings(
        batch_sizes=_numbers("--batch-sizes", batch_sizes or ("1" if masks.is_given else _BATCH_SIZES)),
        prompt_tokens=_numbers("--prompt-tokens", prompt_tokens),
        new_tokens=new_tokens or _NEW_TOKENS,
        repeats=repeats,
        warm_up=warm_up,
        seed=seed,
    )
    if html is not None:
        check_output(html, PAGE, inputs=[], force=force)
    lm = load_model(model, adapter, any_base=any_base)
    diffusion = diffusion_config(lm, settings.new_tokens, masks) if masks.is_given else None
    runs = len(settings.batch_sizes) * len(settings.prompt_tokens) * (settings.warm_up + settings.repeats)
    try:
        with progress("measuring", total=runs, unit="runs") as advance:
            cases = list(benchmark_inference(lm, settings, diffusion=diffusion, on_run=lambda: advance()))
    except GenerationError as error:
        words = error.message
        for field in ("batch_sizes", "prompt_tokens", "new_tokens"):
            words = words.replace(f"`{field}`", f"`--{field.replace('_', '-')}`")
        raise GenerationError(words, error.code) from error
    about = describe_model(lm)
    if as_json:
        report = {"bench_infer_version": VERSION, **about, "settings": settings.model_dump(mode="json")}
        show(json.dumps({**report, "cases": [case.to_json() for case in cases]}, indent=2, ensure_ascii=False))
    else:
        _show_table(about, settings, cases)
    if html is not None:
        from lazarus_core.atomic import whole_file

        with whole_file(html) as file:
            file.write(_page(about, settings, cases).encode())
        say(f"wrote {html}")


def _settings(**given: Any) -> "InferenceBenchmark":
    from pydantic import ValidationError

    from lazarus_core.reasons import plain_reason
    from lazarus_models.benchmark import InferenceBenchmark

    try:
        return InferenceBenchmark(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise typer.BadParameter(f"{option}: {plain_reason(first['msg'])}") from error


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise typer.BadParameter(f"{option} {text[:60]}: give whole numbers with commas, as 1,4")
    return tuple(dict.fromkeys(map(int, parts)))


def _about(about: dict[str, Any], settings: "InferenceBenchmark") -> str:
    bits = f", {about['quantization']} bits" if about["quantization"] else ""
    threads = f", {about['threads']} threads" if about["threads"] else ""
    return (
        f"{about['model']}: {about['family']}, {about['parameters']:,} parameters{bits}; MLX {about['mlx']}, {about['device']}, "
        f"BLAS {about['blas']}{threads}; median of {settings.repeats} runs (lowest to highest)"
    )


def _show_table(about: dict[str, Any], settings: "InferenceBenchmark", cases: "list[Case]") -> None:
    show_line(_about(about, settings))
    rows = [_HEAD, *map(_cells, cases)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        show_line("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _cells(case: "Case") -> tuple[str, ...]:
    return (
        f"{case.batch_size:,}",
        f"{case.prompt_tokens:,}",
        f"{case.new_tokens:,}" if case.steps is None else f"{case.new_tokens:,} in {case.steps:,} passes",
        _spread(case.first_token_s, 1000, "ms"),
        _spread(case.read_tokens_per_s, 1, ""),
        _spread(case.write_tokens_per_s, 1, ""),
        "-" if case.wait_s is None else f"{', '.join(f'{1000 * each:,.1f}' for each in case.wait_s)} ms",
        f"{case.peak_bytes / 1e6:,.0f} MB",
    )


def _spread(spread: "Spread | None", factor: float, unit: str) -> str:
    if spread is None:
        return "-"
    middle, low, high = (f"{factor * each:,.1f}" for each in spread)
    return f"{middle}{f' {unit}' if unit else ''} ({low} to {high})"


def _page(about: dict[str, Any], settings: "InferenceBenchmark", cases: "list[Case]") -> str:
    from lazarus_core.html import Bar, bars, page, section, table, this_command

    def chart(title: str, text: str, unit: str, values: list[float | None]) -> str:
        most = max((value for value in values if value is not None), default=0.0)
        found = [
            Bar(
                f"{case.batch_size} x {case.prompt_tokens:,}",
                value / most,
                f"{value:,.1f} {unit}".strip(),
                value == most,
            )
            for case, value in zip(cases, values, strict=True)
            if value is not None and most
        ]
        return section(title, text, bars(found)) if found else ""

    title = f"Latency of {about['model']}"
    names = "Texts at once x tokens of a prompt; median of the runs."
    writing = [case.write_tokens_per_s for case in cases]
    reading = [case.read_tokens_per_s for case in cases]
    content = (
        f"<header><h1>{escape(title)}</h1><p>{escape(_about(about, settings))}</p></header>"
        + section("Runs", "Median and range.", table(_HEAD, map(_cells, cases), numbers=range(len(_HEAD))))
        + chart("First token", names, "ms", [1000 * case.first_token_s.median for case in cases])
        + chart("Reading", f"Tokens of prompts a second. {names}", "tok/s", [each and each.median for each in reading])
        + chart("Writing", f"Tokens of answers a second. {names}", "tok/s", [each and each.median for each in writing])
    )
    return page(title, content, "lazarus-models", origin=this_command())
