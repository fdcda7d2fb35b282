"""`lazarus push`: copies an artifact to a folder or to the Hugging Face hub, and compares what arrived."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_cli.operations.copying import AsJson, check_apart, hashed, megabytes, show_result


def push(
    source: Annotated[Path, typer.Argument(metavar="WHAT", help="A model, run, plan, tokenizer, corpus or recipe.")],
    place: Annotated[
        str, typer.Argument(metavar="TO", help="A folder, file:///FOLDER, or hf://OWNER/NAME[@BRANCH] on the hub.")
    ],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository on the hub public.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy an artifact to a folder or the Hugging Face hub with the SHA-256 of every file, and compare what arrived.

    An earlier copy there is replaced. The token of the hub is read from HF_TOKEN or from `hf auth login`, never from the
    command line.

    Example: run/final /mnt/models/tiny
    Example: run/final hf://OWNER/NAME
    """
    from lazarus_cli.operations.copies import copy_out
    from lazarus_cli.operations.places import read_place

    to = read_place(place)
    if public and isinstance(to, Path):
        raise typer.BadParameter("--public has no effect on a folder")
    if isinstance(to, Path):
        check_apart(source, to)
    with hashed(source) as listed, megabytes("copying", listed.total_bytes) as advance:
        if isinstance(to, Path):
            copy_out(source, listed, to, advance, replaces=True)
        else:
            from lazarus_cli.operations.hub import push_to_hub

            place = f"{place} at commit {push_to_hub(source, listed, to, is_private=not public)}"
    show_result(listed, place, "copied and compared", as_json=as_json)
