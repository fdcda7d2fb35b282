"""`pack`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import show, show_line
from lazarus_corpus.cli.options import Json


def pack(
    plan: Annotated[Path, typer.Option("-p", "--plan", help="The plan.")],
    data: Annotated[
        list[Path], typer.Option("-d", "--data", help="A data file for each source of the plan, in its order.")
    ],
    tokenizer: Annotated[str, typer.Option("-t", "--tokenizer", help="The tokenizer of the plan's lengths.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="NAME.parquet, NAME.idx for Megatron's two files, or a folder of numpy arrays."
        ),
    ],
    template: Annotated[
        str | None, typer.Option("--template", help="Chat template [default: that of the plan's lengths].")
    ] = None,
    text_field: Annotated[str | None, typer.Option("--text-field", help="Field of a document.")] = None,
    messages_field: Annotated[str | None, typer.Option("--messages-field", help="Field of a conversation.")] = None,
    prompt_field: Annotated[str | None, typer.Option("--prompt-field", help="Field of the prompt.")] = None,
    completion_field: Annotated[str | None, typer.Option("--completion-field", help="Field of the answer.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the packed rows of a plan for other trainers: ids, segments, positions and loss masks.

    Example: -p plan -d documents.jsonl -t byte -o packed.parquet
    """
    from lazarus_corpus.packed import export_packed, planned_encoder
    from lazarus_plan import load_plan
    from lazarus_tokenkit import FieldNames

    loaded = load_plan(plan)
    fields = FieldNames(text_field, messages_field, prompt_field, completion_field)
    count = export_packed(loaded, data, planned_encoder(loaded, tokenizer, template), output, fields, force=force)
    if as_json:
        show(json.dumps({"output": str(output), "rows": count, "plan_id": loaded.plan_id}))
    else:
        show_line(f"{count:,} rows of {len(loaded):,} steps: {output}")
