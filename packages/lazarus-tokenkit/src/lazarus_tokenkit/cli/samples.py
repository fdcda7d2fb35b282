"""The commands of `samples`: inspect, prepare, curriculum."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.atomic import whole_file
from lazarus_core.commands import Force
from lazarus_core.console import say, show
from lazarus_tokenkit.cli.options import AsJson, Template, load, with_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazarus_tokenkit.samples.read import Row
    from lazarus_tokenkit.samples.schemas import FieldNames


@with_fields
def inspect(
    data: Annotated[
        list[Path], typer.Argument(help="Data files or directories. Several are read one after the other.")
    ],
    tokenizer: Annotated[
        str | None, typer.Option("-t", "--tokenizer", help="Measure lengths in tokens of this tokenizer.")
    ] = None,
    template: Template = None,
    *,
    fields: "FieldNames",
    rows: Annotated[int, typer.Option("--rows", help="Number of rows to show as a model receives them.", min=0)] = 2,
    as_json: AsJson = False,
) -> None:
    """Inspect data files. An invalid row ends the reading with an error, as in every command.

    Prints form, counts, lengths, problems, and the first rows as a model receives them.

    Example: train.jsonl -t gpt2 --rows 3
    """
    from lazarus_tokenkit.encoding.encoder import Encoder
    from lazarus_tokenkit.errors import SampleError
    from lazarus_tokenkit.inspection import inspect_samples

    encoder = Encoder(load(tokenizer or "byte"), template)
    if template is not None:
        _ = encoder.chat_template  # an unknown one is refused before anything is read
    found = inspect_samples(data, fields, encoder, rows, with_tokens=tokenizer is not None)
    if found.samples or as_json:
        show(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else found.text())
    if found.error is not None and found.code is not None:
        raise SampleError(found.error, found.code)


@with_fields
def prepare(
    data: Annotated[
        list[Path], typer.Argument(help="Data files or directories. Several are read one after the other.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON Lines file to write.")],
    numbers: Annotated[
        Literal["plain", "spaced"] | None,
        typer.Option("--numbers", help="Number format: `plain` removes separators, `spaced` also separates digits."),
    ] = None,
    structures: Annotated[
        str,
        typer.Option("--structures", help="Structures to replace by one token each, such as url,email,date; or `all`."),
    ] = "",
    system_file: Annotated[
        Path | None,
        typer.Option(
            "--system-file", help="Text file whose content becomes the system message of samples without one."
        ),
    ] = None,
    *,
    fields: "FieldNames",
    force: Force = False,
) -> None:
    """Rewrite numbers and structures of samples, and add a system message. Preferences of two equal answers are left out.

    Example: train.jsonl --numbers spaced --structures url,email -o prepared.jsonl
    Example: train.jsonl --system-file system.txt -o prepared.jsonl
    """
    from lazarus_core.outputs import check_output
    from lazarus_tokenkit.outputs import SAMPLES
    from lazarus_tokenkit.preparation.rewriting import prepare_samples
    from lazarus_tokenkit.preparation.structures import PATTERNS, structure_tokens
    from lazarus_tokenkit.preparation.system_message import read_system_message
    from lazarus_tokenkit.samples.read import read_rows

    names = tuple(PATTERNS) if structures == "all" else tuple(structures.split(",")) if structures else ()
    if unknown := [name for name in names if name not in PATTERNS]:
        raise typer.BadParameter(f"unknown structure `{unknown[0]}`: choose from {', '.join(PATTERNS)}")
    given = data if system_file is None else [*data, system_file]
    check_output(output, SAMPLES, inputs=given, force=force)
    system = None if system_file is None else read_system_message(system_file)
    rows = samples = texts = values = systems = 0

    def counted_rows() -> "Iterator[Row]":
        nonlocal rows
        for row in read_rows(data, fields):
            rows += 1
            yield row

    with whole_file(output) as stream:
        for each in prepare_samples(counted_rows(), numbers, names, system):
            stream.write((json.dumps(each.to_json(), ensure_ascii=False) + "\n").encode())
            samples, texts, values = samples + 1, texts + each.texts, values + len(each.structures)
            systems += each.has_new_system
    counted = [(samples, "sample", ""), (texts, "text", " changed"), (values, "structure", "")]
    counted += [] if system is None else [(systems, "system message", " added")]
    say(", ".join(f"{count:,} {word}{'' if count == 1 else 's'}{more}" for count, word, more in counted))
    if equal := rows - samples:
        say(f"left out: {equal:,} {'row' if equal == 1 else 'rows'} with equal chosen and rejected answers")
    if names:
        say(f"special tokens to train or add: {' '.join(structure_tokens(names))}")
    say(f"wrote {output}; next: lazarus data samples inspect {shlex.quote(str(output))}")


@with_fields
def curriculum(
    data: Annotated[
        list[Path], typer.Argument(help="Data files or directories. Several are read one after the other.")
    ],
    by: Annotated[
        Literal["length", "reasoning"], typer.Option("--by", help="Sort by length, or by signs of reasoning.")
    ] = "length",
    tokenizer: Annotated[
        str | None, typer.Option("-t", "--tokenizer", help="Measure lengths in tokens, not characters.")
    ] = None,
    stages: Annotated[int, typer.Option("--stages", help="Number of stages.", min=1)] = 4,
    *,
    fields: "FieldNames",
) -> None:
    """Print the samples from easy to hard as JSON Lines.

    Each line has the members id, position, score and stage.

    Example: train.jsonl --by length --stages 4
    """
    from lazarus_tokenkit.preparation.curriculum import make_curriculum
    from lazarus_tokenkit.samples.read import read_samples

    samples = list(read_samples(data, fields))
    found = make_curriculum(samples, by, None if tokenizer is None else load(tokenizer), stages)
    for rank, position in enumerate(found.order):
        stage = sum(rank >= start for start in found.stages) - 1
        row = {"id": samples[position].id, "position": position, "score": found.scores[position], "stage": stage}
        show(json.dumps(row, ensure_ascii=False))
