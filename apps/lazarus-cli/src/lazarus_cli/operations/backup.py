"""`lazarus backup`: a complete and verified copy of a run or another artifact, as a folder or an archive."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from lazarus_cli.operations.copying import AsJson, check_apart, hashed, megabytes, show_result
from lazarus_core.console import say

JSON = dict[str, Any]


def backup(
    source: Annotated[Path, typer.Argument(help="A run, or a recipe, corpus, plan, model or tokenizer.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="New folder, or new archive (.tar, .tar.gz, .tar.zst).")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy a run or another artifact with the SHA-256 of every file, and read the copy again before it gets its name.

    After a kill the same command continues. A run's model, data and plan outside its folder are named and not copied.

    Example: run -o backups/run.tar.gz
    Example: run -o /mnt/disk/run
    """
    from lazarus_cli.operations.archives import is_archive, write_archive
    from lazarus_cli.operations.copies import copy_out, read_list
    from lazarus_cli.operations.file_list import LIST, check_files

    check_apart(source, output)
    was_there = False
    with hashed(source) as listed:
        if is_archive(output):
            was_there = _is_same_archive(output, listed.digest)
            if not was_there:
                with megabytes("writing", listed.total_bytes) as advance:
                    write_archive(source, listed, output, advance)
        elif (output / LIST).is_file() and read_list(output).digest == listed.digest:
            was_there = True
            check_files(output, listed)
        else:
            with megabytes("writing", listed.total_bytes) as advance:
                copy_out(source, listed, output, advance)
    for name, path in _inputs(source):
        say(f"not in the backup: `{name}` {path}")
    show_result(listed, str(output), "was there, read again" if was_there else "wrote and read again", as_json=as_json)


def _is_same_archive(path: Path, digest: str) -> bool:
    """Whether an archive of the same files is there. It is read to its end."""
    from lazarus_cli.operations.archives import check_archive
    from lazarus_cli.operations.errors import OperationError

    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        return check_archive(path).digest == digest
    except OperationError:
        return False  # it is refused as a file that is in the way


def _inputs(source: Path) -> list[tuple[str, str]]:
    """The inputs of a run that lie outside its folder, as its settings name them."""
    from lazarus_train.run_dir import is_run, run_record

    if not is_run(source):
        return []
    record = run_record(source)
    began_in, config = Path(str(record["folder"])), record["config"]
    own = (began_in / str(config.get("output"))).resolve()
    found: list[tuple[str, str]] = []
    for name in ("model", "batch_plan", "data", "eval_data"):
        texts = _texts(config.get(name))
        found += [(name, text) for text in texts if not (began_in / text).resolve().is_relative_to(own)]
    return found


def _texts(value: object) -> list[str]:
    """The paths in a setting: one, a list of them, or a table of them by name."""
    match value:
        case str():
            return [value]
        case dict():
            return [str(each) for each in cast("JSON", value).values()]
        case list():
            return [str(each) for each in cast("list[object]", value)]
        case _:
            return []
