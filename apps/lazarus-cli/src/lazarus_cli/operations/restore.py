"""`lazarus restore`: puts a backup back, after every file was compared with its digest."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_cli.operations.copying import AsJson, Expect, check_apart, check_expect, has_files, megabytes, show_result


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder or archive that `backup` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder.")],
    expect: Expect = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup: every file is compared with its SHA-256 before the folder gets its name.

    After a kill the same command continues.

    Example: backups/run.tar.gz -o run
    """
    from lazarus_cli.operations.archives import is_archive, restore_archive
    from lazarus_cli.operations.copies import copy_in

    digits = check_expect(expect)
    check_apart(source, output)
    was_there = has_files(output)
    with megabytes("restoring", None) as advance:
        put = restore_archive if is_archive(source) and not source.is_dir() else copy_in
        listed = put(source, output, advance, expect=digits)
    show_result(listed, str(output), "was there, compared" if was_there else "restored and compared", as_json=as_json)
