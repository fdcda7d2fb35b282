"""`lazarus remote`: a recipe on another machine by ssh, rsync and tmux. Without `--yes` it prints the commands alone.

Every word is quoted for the local shell, and once more for the remote shell. No option takes a secret, and no variable
of this machine is sent: put tokens into the environment of the remote machine.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from lazarus_cli.operations.artifacts import RECIPE, kind_of
from lazarus_cli.operations.errors import OperationError
from lazarus_core.bounded import read_bytes
from lazarus_core.console import say, show, show_line
from lazarus_core.errors import LazarusError
from lazarus_core.outputs import check_folder
from lazarus_core.reasons import absent_or

Step = Literal["setup", "start", "watch", "stop", "fetch"]
STEPS: tuple[Step, ...] = ("setup", "start", "watch", "stop", "fetch")
_HOST = re.compile(r"([A-Za-z0-9_][\w.-]{0,63}@)?[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_NAME = re.compile(r"[A-Za-z0-9_][\w-]{0,63}")  # tmux gives `.` and `:` a meaning
_FOLDER = re.compile(r"[^\0\n\r]{1,1000}")
MAX_RECIPE = 1 << 20
"""Largest recipe in bytes."""
OUTPUT, LOG = "out", "lazarus.log"
"""The recipe's folder and its log, in the folder on the remote machine."""


class RemoteRecipe(NamedTuple):
    """A recipe on another machine.

    Args:
        recipe: The recipe's file here.
        host: `HOST` or `USER@HOST`.
        folder: Folder there; relative to the home folder.
        session: Name of the tmux session.
        files: More files and folders that the recipe needs, copied beside it.
        program: Words that start `lazarus` there.
        output: Folder here for the results.
    """

    recipe: Path
    host: str
    folder: str
    session: str
    files: tuple[Path, ...]
    program: tuple[str, ...]
    output: Path


def remote(
    recipe: Annotated[Path, typer.Argument(help="Recipe (.toml).")],
    host: Annotated[str, typer.Option("--host", help="Machine, as `HOST` or `USER@HOST`; ssh has its key and port.")],
    folder: Annotated[
        str | None, typer.Option("--folder", help="Folder there [default: lazarus/NAME of the recipe].")
    ] = None,
    tmux: Annotated[str | None, typer.Option("--tmux", help="Session of tmux [default: the recipe's name].")] = None,
    files: Annotated[
        list[str] | None, typer.Option("--files", help="More files or folders that the recipe needs.")
    ] = None,
    program: Annotated[
        str, typer.Option("--program", help="How lazarus is started there, such as 'uv run lazarus'.")
    ] = "lazarus",
    results: Annotated[
        str | None, typer.Option("-o", "--output", help="Folder for the results [default: the recipe's name].")
    ] = None,
    step: Annotated[
        Step | None,
        typer.Option("--step", help="Only this step [default: all are printed; --yes runs setup and start]."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run the commands.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands; the same as without --yes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the ssh, rsync and tmux commands that run a recipe on another machine; --yes runs them.

    Example: recipe.toml --host ann@gpu1
    Example: recipe.toml --host ann@gpu1 --yes
    Example: recipe.toml --host ann@gpu1 --step fetch --yes
    """
    if yes and dry_run:
        raise typer.BadParameter("--dry-run has no effect with --yes")
    if yes and as_json:
        raise typer.BadParameter("--json has no effect with --yes, whose commands print their own lines")
    name = recipe.stem
    asked = check_remote(
        RemoteRecipe(
            recipe,
            host,
            folder or f"lazarus/{name}",
            tmux or (name if _NAME.fullmatch(name) else "lazarus"),
            tuple(map(Path, files or ())),
            tuple(_words(program)),
            Path(results or name),
        )
    )
    chosen = STEPS if step is None else (step,)
    if yes:
        run_steps(asked, ("setup", "start") if step is None else (step,))
        return
    if as_json:
        show(json.dumps({each: remote_commands(asked, each) for each in chosen}, indent=2))
        return
    for each in chosen:
        show_line(f"# {each}")
        for words in remote_commands(asked, each):
            show_line(shlex.join(words))


def check_remote(asked: RemoteRecipe) -> RemoteRecipe:
    """Checks what would become words of commands.

    Args:
        asked: The recipe and its places.

    Raises:
        OperationError: A file is absent, or a name could be read as an option or as several words.
    """
    for path in (asked.recipe, *asked.files):
        if not path.exists() or (path == asked.recipe and not path.is_file()):
            raise OperationError(f"{absent_or(path, 'is no file')}: correct the path", "LC-E290")
    try:
        content = tomllib.loads(read_bytes(asked.recipe, MAX_RECIPE).decode())
    except UnicodeDecodeError as error:
        raise OperationError(f"{asked.recipe} is no text in UTF-8: give the recipe", "LC-E290") from error
    except (LazarusError, ValueError) as error:
        raise OperationError(f"{asked.recipe} is no TOML file: {error}; give the recipe", "LC-E290") from error
    if not content:
        raise OperationError(f"{asked.recipe} is empty: give the recipe", "LC-E290")
    if not _has_stages(content):
        raise OperationError(
            f"{asked.recipe} has no stages, such as [corpus] or [pretrain]: give a recipe of `lazarus run`", "LC-E290"
        )
    if not _HOST.fullmatch(asked.host):
        raise OperationError(
            f"host {asked.host[:80]!r} is not HOST or USER@HOST: set other things in ~/.ssh/config", "LC-E290"
        )
    if not _FOLDER.fullmatch(asked.folder) or asked.folder.startswith(("-", "~")) or ".." in asked.folder.split("/"):
        raise OperationError(
            f"folder {asked.folder[:80]!r}: give an absolute path, or one below the home folder, without `..`",
            "LC-E290",
        )
    if not _NAME.fullmatch(asked.session):
        raise OperationError(f"session {asked.session[:80]!r}: use letters, digits, `_` and `-`", "LC-E290")
    return asked


def _has_stages(content: Mapping[str, Any]) -> bool:
    """Whether a TOML file has a table that can be a stage; the packages of its types may be installed there alone."""
    from lazarus_cli.recipes.registry import is_type

    return any(isinstance(table, dict) and ("type" in table or is_type(name)) for name, table in content.items())


def remote_commands(asked: RemoteRecipe, step: Step) -> list[list[str]]:
    """The commands of one step, as lists of words. A remote command is one word, quoted for the remote shell.

    Args:
        asked: The recipe and its places.
        step: setup copies files and looks for the programs, start begins the session, watch shows its log, stop sends
            Ctrl-C, fetch copies the results.
    """
    there, name = f"{asked.host}:{asked.folder}/", asked.recipe.name
    match step:
        case "setup":
            programs = [["command", "-v", "tmux"], ["command", "-v", "rsync"], [*asked.program, "--version"]]
            return [
                _ssh(asked, ["mkdir", "-p", asked.folder]),
                _ssh(asked, *programs, inside=True),
                ["rsync", "-az", "-s", "--partial", "--", *map(_local, (asked.recipe, *asked.files)), there],
            ]
        case "start":
            run = shlex.join([*asked.program, "run", _plain(name), "-o", OUTPUT])
            inner = f"{run} 2>&1 | tee -a {LOG}"
            return [_ssh(asked, ["tmux", "new-session", "-d", "-s", asked.session, inner], inside=True)]
        case "watch":
            return [
                _ssh(asked, ["tail", "-n", "30", LOG], [*asked.program, "status", OUTPUT], inside=True),
                ["ssh", "-t", asked.host, shlex.join(["tmux", "attach-session", "-t", f"={asked.session}"])],
            ]
        case "stop":
            return [_ssh(asked, ["tmux", "send-keys", "-t", f"={asked.session}:", "C-c"])]
        case "fetch":
            return [["rsync", "-az", "-s", "--partial", "--", f"{there}{OUTPUT}/", f"{_local(asked.output)}/"]]


def run_steps(asked: RemoteRecipe, steps: Sequence[Step]) -> None:
    """Runs the commands of steps, and stops at the first that fails.

    Args:
        asked: The recipe and its places.
        steps: In order.

    Raises:
        OperationError: A program is not installed here, or a command failed.
    """
    for step in steps:
        for words in remote_commands(asked, step):
            if shutil.which(words[0]) is None:
                raise OperationError(f"{words[0]} is not installed here: install it", "LC-E291")
            say(shlex.join(words))
            if step == "fetch":
                _check_results(asked.output)
                asked.output.mkdir(parents=True, exist_ok=True)
            code = subprocess.run(words, check=False).returncode
            if code:
                raise OperationError(
                    f"{step}: the command ended with {code}: {shlex.join(words)[:600]}; correct the problem that it named",
                    "LC-E291",
                )


def _check_results(path: Path) -> None:
    """Refuses a folder with other files than those of a recipe, which rsync would mix or replace."""
    if kind_of(path) != RECIPE:
        check_folder(path, "the results", code="LC-E290")


def _ssh(asked: RemoteRecipe, *commands: Sequence[str], inside: bool = False) -> list[str]:
    """An ssh command whose remote commands run one after the other, each only if the one before succeeded."""
    begin = [["cd", asked.folder]] if inside else []
    return ["ssh", asked.host, " && ".join(map(shlex.join, [*begin, *commands]))]


def _local(path: Path) -> str:
    """A path that rsync takes for one of this machine, not for HOST:PATH."""
    return str(path) if path.is_absolute() else f"./{path}"


def _plain(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name


def _words(program: str) -> list[str]:
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise typer.BadParameter(f"--program {program[:80]!r}: {error}") from error
    if not words or "\n" in program:
        raise typer.BadParameter(f"--program {program[:80]!r}: give the words that start lazarus")
    return words
