"""Commands about data files: inspect, prepare, curriculum."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.atomic import whole_file
from lazarus_core.cli_options import Force
from lazarus_core.console import say, show
from lazarus_tokenkit.cli.options import AsJson, Template, load, with_fields

if TYPE_CHECKING:
    from lazarus_tokenkit.samples.schemas import FieldNames


@with_fields
def inspect(
    data: Annotated[list[Path], typer.Argument(help="Data files or directories; several are joined.")],
    tokenizer: Annotated[str | None, typer.Option("-t", "--tokenizer", help="Count tokens with it, too.")] = None,
    template: Template = None,
    *,
    fields: "FieldNames",
    rows: Annotated[int, typer.Option("--rows", help="Rows to show as a model sees them.", min=0)] = 2,
    as_json: AsJson = False,
) -> None:
    """Say what data files hold; exit 1 if they cannot be read whole.

    Form, counts, lengths, problems, and the first rows as a model sees them.
    """
    from lazarus_tokenkit.encoding.encoder import Encoder
    from lazarus_tokenkit.inspection import inspect_samples

    encoder = Encoder(load(tokenizer or "byte"), template)
    found = inspect_samples(data, fields, encoder, rows, with_tokens=tokenizer is not None)
    show(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else found.text())
    raise typer.Exit(1 if found.error is not None else 0)


@with_fields
def prepare(
    data: Annotated[list[Path], typer.Argument(help="Data files or directories; several are joined.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new file of JSON Lines.")],
    numbers: Annotated[
        Literal["plain", "spaced"] | None,
        typer.Option("--numbers", help="One spelling: without separators, or also a space between digits."),
    ] = None,
    structures: Annotated[
        str, typer.Option("--structures", help="What becomes one token each, such as url,email,date; or `all`.")
    ] = "",
    *,
    fields: "FieldNames",
    force: Force = False,
) -> None:
    """Write samples with numbers or structures in one spelling."""
    from lazarus_core.outputs import check_output
    from lazarus_tokenkit.outputs import SAMPLES
    from lazarus_tokenkit.preparation.rewriting import prepare_samples
    from lazarus_tokenkit.preparation.structures import PATTERNS, structure_tokens
    from lazarus_tokenkit.samples.read import read_rows

    names = tuple(PATTERNS) if structures == "all" else tuple(structures.split(",")) if structures else ()
    if unknown := [name for name in names if name not in PATTERNS]:
        raise typer.BadParameter(f"no structure `{unknown[0]}`; known are {', '.join(PATTERNS)}")
    check_output(output, SAMPLES, inputs=data, force=force)
    rows = read_rows(data, fields)
    samples = texts = values = 0
    with whole_file(output) as stream:
        for each in prepare_samples(rows, numbers, names):
            stream.write((json.dumps(each.to_json(), ensure_ascii=False) + "\n").encode())
            samples, texts, values = samples + 1, texts + each.texts, values + len(each.structures)
    counted = ((samples, "sample", ""), (texts, "text", " changed"), (values, "structure", ""))
    say(", ".join(f"{count:,} {word}{'' if count == 1 else 's'}{more}" for count, word, more in counted))
    if names:
        say(f"special tokens to train or add: {' '.join(structure_tokens(names))}")
    say(f"wrote {output}; next: lazarus-tokenkit samples inspect {output}")


@with_fields
def curriculum(
    data: Annotated[list[Path], typer.Argument(help="Data files or directories; several are joined.")],
    by: Annotated[Literal["length", "reasoning"], typer.Option("--by", help="What to go by.")] = "length",
    tokenizer: Annotated[str | None, typer.Option("-t", "--tokenizer", help="Counts lengths; else characters.")] = None,
    stages: Annotated[int, typer.Option("--stages", help="How many stages to mark.", min=1)] = 4,
    *,
    fields: "FieldNames",
) -> None:
    """Print the samples from easy to hard, as JSON lines.

    Members: id, position, score, stage.
    """
    from lazarus_tokenkit.preparation.curriculum import make_curriculum
    from lazarus_tokenkit.samples.read import read_samples

    samples = list(read_samples(data, fields))
    found = make_curriculum(samples, by, None if tokenizer is None else load(tokenizer), stages)
    for rank, position in enumerate(found.order):
        stage = sum(rank >= start for start in found.stages) - 1
        row = {"id": samples[position].id, "position": position, "score": found.scores[position], "stage": stage}
        show(json.dumps(row, ensure_ascii=False))
