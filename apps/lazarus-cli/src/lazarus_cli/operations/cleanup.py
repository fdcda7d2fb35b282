"""`lazarus cleanup`: lists what no resume, verification or other run needs, and removes it with `--yes`."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_cli.operations.errors import OperationError
from lazarus_core.console import say, show, show_line
from lazarus_core.reasons import absent_or

if TYPE_CHECKING:
    from lazarus_train.run_dir import SpareFile

JSON = dict[str, Any]


def cleanup(
    path: Annotated[Path, typer.Argument(help="A run, or a folder with runs.")],
    keep_checkpoints: Annotated[
        int | None,
        typer.Option(
            "--keep-checkpoints", min=1, help="Keep so many newest checkpoints [default: the run's own setting]."
        ),
    ] = None,
    used_in: Annotated[
        list[Path] | None,
        typer.Option(
            "--used-in", help="Folders with runs and links that may use these checkpoints [default: the parent]."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what a run no longer needs: old checkpoints, and leftovers of killed processes; --yes removes it.

    Checkpoints stay if they are the newest or the best, if `lazarus verify --replay` draws from them, or if a run, a
    rebased plan or a link uses them. Links are never followed.

    Example: runs --keep-checkpoints 2
    Example: runs --keep-checkpoints 2 --yes
    """
    from lazarus_cli.operations.artifacts import RUN, find_artifacts
    from lazarus_cli.operations.references import used_paths
    from lazarus_train.run_dir import Stage, list_spare_files, remove_spare_files, run_progress

    for folder in used_in or ():
        if not folder.is_dir():
            raise OperationError(f"{absent_or(folder, 'is a file')}: give a folder with runs", "LC-E270")
    artifacts = list(find_artifacts(path))
    runs = [each.path for each in artifacts if each.kind == RUN]
    used, rebased = used_paths([path, *(used_in or [path.resolve().parent])])
    busy = [each for each in runs if run_progress(each).stage == Stage.RUNNING]
    found: list[SpareFile] = []
    for run in runs:
        if run in busy:
            say(f"{run}: left out, a process trains in it")
        elif yes:
            found += remove_spare_files(run, keep=keep_checkpoints, used=used, rebased=rebased)
        else:
            found += list_spare_files(run, keep=keep_checkpoints, used=used, rebased=rebased)
    found += _outside(path, runs, yes=yes)
    total = sum(each.bytes for each in found)
    if as_json:
        listed = [{**each._asdict(), "path": str(each.path)} for each in found]
        show(json.dumps({"path": str(path), "removed": yes, "bytes": total, "files": listed}, indent=2))
        return
    for each in found:
        show_line(f"{each.bytes / 2**20:10,.1f} MiB  {each.path}  {each.reason}")
    if not found:
        say(f"nothing to remove in {len(runs)} run(s)" if runs else f"nothing to remove: {path} has no runs")
    elif yes:
        say(f"removed {total / 2**20:,.1f} MiB")
    else:
        say(f"{total / 2**20:,.1f} MiB; nothing was removed: the same command with --yes removes them")


def _outside(path: Path, runs: Iterable[Path], *, yes: bool) -> "Iterator[SpareFile]":
    """Leftovers of killed processes in the folder itself and beside the artifacts in it, but not in runs."""
    from lazarus_cli.operations.artifacts import walk_folders
    from lazarus_core.leftovers import abandoned, remove
    from lazarus_train.run_dir import SpareFile, tree_bytes

    inner = set(runs)
    for folder in walk_folders(path, lambda each: each in inner):
        for each in () if folder in inner else abandoned(folder):
            yield SpareFile(each, tree_bytes(each), "left by a process that was killed")
            if yes:
                remove(each)
