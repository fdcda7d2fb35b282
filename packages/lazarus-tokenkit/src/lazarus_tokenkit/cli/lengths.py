"""The commands of `lengths`: build, stats, waste."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import progress, say, show
from lazarus_tokenkit.cli.options import AsJson, Data, EngineOption, Template, TokenizerName, load, with_fields

if TYPE_CHECKING:
    from lazarus_plan import LengthCache, LengthsHeader
    from lazarus_tokenkit.lengths.stats import LengthStats
    from lazarus_tokenkit.samples.schemas import FieldNames


WASTE = {
    "in order": "padding in batches in the order of the data",
    "sorted": "padding in batches of samples sorted by length",
    "to the longest": "padding if every sample is padded to the longest sample",
}


@with_fields
def build(
    data: Data,
    tokenizer: TokenizerName,
    output: Annotated[Path, typer.Option("-o", "--output", help="Length cache to write.")],
    fields: "FieldNames",
    template: Template = None,
    engine: EngineOption = "huggingface",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Encode a data set and write the length of every sample.

    Example: -d train.jsonl -t gpt2 -o lengths.jsonl
    """
    from lazarus_tokenkit.encoding.encoder import Encoder
    from lazarus_tokenkit.lengths.cache import build_lengths
    from lazarus_tokenkit.lengths.stats import LengthTally
    from lazarus_tokenkit.samples.read import count_lines

    encoder = Encoder(load(tokenizer), template)
    tally = LengthTally()
    with progress("encoding", total=count_lines(data), unit="samples") as advance:
        header = build_lengths(data, encoder, output, fields, advance, engine, tally, force)
    stats = tally.stats
    show_receipt(stats, header, encoder.chat_template.name, as_json)
    if as_json:
        return
    say(
        f"wrote {output}; next: lazarus data batchplan build -l {shlex.quote(str(output))} -e 1 -b {_budget(stats.max)} -o PLAN"
    )


def show_receipt(stats: "LengthStats", header: "LengthsHeader", template_name: str, as_json: bool) -> None:
    """Prints the counts and the fingerprints of an encoded data set.

    Args:
        stats: Statistics of the lengths.
        header: Fingerprints of data, template and tokenizer.
        template_name: Name of the chat template.
        as_json: Whether to print one JSON object instead of lines.
    """
    digests = {"data": header.data, "template": header.template, "tokenizer": header.tokenizer}
    if as_json:
        receipt = {name: value for name, value in stats.to_json().items() if name != "histogram"}
        show(json.dumps(receipt | digests | {"encoding": header.encoding}, indent=2))
        return
    show(f"{stats.headline()}, longest {stats.max:,}, template `{template_name}`")
    show("  ".join(f"{name} {digest.removeprefix('sha256:')[:16]}" for name, digest in digests.items()))


def stats(
    lengths: Annotated[Path, typer.Option("-l", "--lengths", help="Length cache to read.")], as_json: AsJson = False
) -> None:
    """Print quantiles and a histogram of a length cache.

    Example: -l lengths.jsonl
    """
    found = _stats(lengths)
    show(json.dumps(found.to_json(), indent=2) if as_json else found.text())


def waste(
    lengths: Annotated[Path, typer.Option("-l", "--lengths", help="Length cache to read.")],
    batch_size: Annotated[int, typer.Option("-b", "--batch-size", help="Number of samples in a batch.", min=1)] = 8,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Truncate longer samples to this length.", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the share of padding in padded batches.

    Example: -l lengths.jsonl --batch-size 16
    """
    from lazarus_tokenkit.analysis.waste import padding_waste

    found = padding_waste(_read(lengths).length, batch_size, max_length)
    show(
        json.dumps(found, indent=2)
        if as_json
        else "\n".join(f"{way:<15} {100 * share:5.1f} %  {WASTE[way]}" for way, share in found.items())
    )


def _stats(path: Path) -> "LengthStats":
    from lazarus_tokenkit.lengths.stats import LengthStats

    return LengthStats.of(_read(path))


def _read(path: Path) -> "LengthCache":
    from lazarus_plan import read_lengths
    from lazarus_plan.command_names import errors_with_commands

    with errors_with_commands():
        return read_lengths(path)


def _budget(longest: int) -> int:
    """Suggests a token budget: 8,192, or the longest sample rounded up to a multiple of 64."""
    return max(8192, -(-longest // 64) * 64)
