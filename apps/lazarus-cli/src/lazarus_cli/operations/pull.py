"""`lazarus pull`: fetches a copy from a folder or the Hugging Face hub, compared before it gets its name."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_cli.operations.copying import AsJson, Expect, check_apart, check_expect, has_files, megabytes, show_result


def pull(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="A folder, file:///FOLDER, or hf://OWNER/NAME[@REVISION] on the hub.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder.")],
    expect: Expect = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a copy that `push` wrote. Every file is compared with its SHA-256 before the folder gets its name.

    The token of the hub is read from HF_TOKEN or from `hf auth login`, never from the command line. Of a repository
    that `push` did not write, files are compared with the digests of the hub.

    Example: /mnt/models/tiny -o tiny
    Example: hf://OWNER/NAME -o model
    """
    from lazarus_cli.operations.copies import copy_in
    from lazarus_cli.operations.places import read_place

    digits, place = check_expect(expect), read_place(source)
    if isinstance(place, Path):
        check_apart(place, output)
    was_there = has_files(output)
    with megabytes("copying", None) as advance:
        if isinstance(place, Path):
            listed = copy_in(place, output, advance, expect=digits)
        else:
            from lazarus_cli.operations.hub import pull_from_hub

            listed = pull_from_hub(place, output, expect=digits)
    show_result(listed, str(output), "was there, compared" if was_there else "copied and compared", as_json=as_json)
