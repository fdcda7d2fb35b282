"""What the commands of copies share: hashing with a progress bar, the lock of a run, and the lines of the result."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from lazarus_cli.operations.errors import OperationError
from lazarus_cli.operations.file_list import FileList, list_files
from lazarus_core.console import progress, say, show

JSON = dict[str, Any]
Expect = Annotated[
    str | None,
    typer.Option("--expect", help="Digest that the list of files must have, as printed before (16 digits or more)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def hashed(source: Path) -> Generator[FileList]:
    """Context manager: the files of an artifact with their digests. A run cannot be trained on during the block.

    Args:
        source: The artifact.

    Raises:
        OperationError: It is no artifact.
        SetupError: A process trains in the run.
    """
    from lazarus_train.run_dir import RunFolder, is_run

    with RunFolder(source).unchanged() if is_run(source) else nullcontext():
        with megabytes("hashing", None) as advance:
            found = list_files(source, advance)
        yield found


@contextmanager
def megabytes(title: str, total: int | None) -> Generator[Callable[[int], None]]:
    """A progress bar of bytes.

    Args:
        title: What is done.
        total: Bytes of all; None if they are not known.
    """
    with progress(title, total=None if total is None else total >> 20, unit="MiB") as advance:
        rest = 0

        def on_bytes(size: int) -> None:
            nonlocal rest
            rest += size
            if rest >> 20:
                advance(rest >> 20)
                rest &= (1 << 20) - 1

        yield on_bytes


def check_expect(expect: str | None) -> str | None:
    """The digits of `--expect`.

    Raises:
        typer.BadParameter: They are no 16 to 64 hexadecimal digits.
    """
    if expect is None:
        return None
    digits = expect.strip().lower().removeprefix("sha256:")
    if not 16 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
        raise typer.BadParameter(f"--expect {expect[:80]}: give 16 to 64 hexadecimal digits")
    return digits


def check_apart(source: Path, output: Path) -> None:
    """Refuses a copy into the artifact itself, or one that contains it.

    Args:
        source: The artifact.
        output: The copy.

    Raises:
        OperationError: One lies in the other.
    """
    source, output = source.resolve(), output.resolve()
    if output.is_relative_to(source) or source.is_relative_to(output):
        raise OperationError(f"{output} and {source} lie in each other: choose another name for the copy", "LC-E273")


def has_files(path: Path) -> bool:
    """Whether a folder has files. A command that restores then compares it and writes nothing."""
    return path.is_dir() and any(path.iterdir())


def show_result(listed: FileList, place: str, what: str, *, as_json: bool) -> None:
    """Prints the result of a command.

    Args:
        listed: Files of the copy.
        place: Where the copy is.
        what: What was done, such as "wrote and read again".
        as_json: Whether to print JSON.
    """
    if as_json:
        members: JSON = {"place": place, "kind": listed.kind, "files": len(listed.files), "links": len(listed.links)}
        show(
            json.dumps({**members, "bytes": listed.total_bytes, "digest": listed.digest}, indent=2, ensure_ascii=False)
        )
        return
    size = f"{listed.total_bytes / 2**20:,.1f} MiB"
    say(f"{what}: {listed.kind}, {len(listed.files):,} files, {size}; digest of the list of files {listed.digest}")
    show(place)
