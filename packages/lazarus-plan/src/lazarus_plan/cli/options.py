"""Options that several commands share."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.command_names import as_called
from lazarus_core.console import say, show
from lazarus_core.errors import LazarusError
from lazarus_core.reasons import plain_reason
from lazarus_plan.cli.option_names import errors_with_options, name_options

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from lazarus_core.outputs import OutputKind
    from lazarus_plan.config import PlanConfig
    from lazarus_plan.findings import Finding
    from lazarus_plan.lengths.cache import LengthCache

PlanPath = Annotated[Path, typer.Option("-p", "--plan", help="Folder of the plan.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Lengths = Annotated[
    list[Path],
    typer.Option("-l", "--lengths", help="Length cache: JSON lines of id and length, one file for each source."),
]
MAX_WORLD = 1 << 20
"""Largest number of ranks: ten times the accelerators of the largest known runs."""
World = Annotated[int, typer.Option("--world", help="Number of ranks.", min=1, max=MAX_WORLD)]
Deal = Annotated[
    Literal["contiguous", "stride", "snake", "lpt"], typer.Option("--policy", help="Policy that assigns rows to ranks.")
]


Format = Annotated[Literal["text", "json", "github", "sarif"], typer.Option("--format", help="Format of the result.")]


def choose_format(output_format: str, as_json: bool) -> str:
    """The output format from `--format`, or from its short form `--json`."""
    if as_json and output_format not in ("text", "json"):
        raise typer.BadParameter(f"--json and --format {output_format} contradict each other: give one")
    return "json" if as_json else output_format


def show_findings(output_format: str, plan: Path, findings: "Sequence[Finding]") -> None:
    """Print findings for GitHub or as SARIF. The command itself prints other formats."""
    from lazarus_plan.report import formats

    if output_format == "sarif":
        show(formats.as_sarif(plan, findings))
    elif output_format == "github" and findings:
        show(formats.as_github(plan, findings))


@contextmanager
def reported(output_format: str, plan: Path) -> "Generator[None]":
    """Print the error that ends a command in the format of GitHub or SARIF, and raise it again."""
    from lazarus_plan.findings import Finding

    try:
        with errors_with_options():
            yield
    except LazarusError as error:
        found = Finding(error.code, as_called(error.message))
        show_findings(output_format, plan, [found])
        if output_format == "json":
            finding = {"code": found.code, "message": found.message}
            show(json.dumps({"plan": str(plan), "ok": False, "findings": [finding]}, indent=2))
        raise


def read_caches(paths: list[Path], *, trusts_sidecars: bool = True) -> "list[LengthCache]":
    """Read length caches. Large ones get a sidecar for faster repeated reads.

    Args:
        paths: The files.
        trusts_sidecars: False for a check, which reads and hashes every line.
    """
    from lazarus_plan.lengths.scan import scan
    from lazarus_plan.lengths.sidecar import read_lengths

    return [read_lengths(path, remember=True) if trusts_sidecars else scan(path) for path in paths]


def check_result(output: Path | None, kind: "OutputKind", inputs: list[Path], force: bool) -> None:
    """Refuse an output that must not be written, before any work is done.

    Raises:
        OutputTaken: The file belongs to a plan, or `check_output` refuses it.
    """
    from lazarus_core.errors import OutputTaken
    from lazarus_core.outputs import check_output
    from lazarus_plan.format.store import CACHES, FILES, holds_plan

    if output is None:
        if force:
            raise typer.BadParameter("--force has no effect without an output file")
        return
    if output.name in (*FILES, *CACHES) and holds_plan(output.parent):
        raise OutputTaken(f"{output} belongs to a plan: choose another file", "LP-E007")
    check_output(output, kind, inputs=inputs, force=force)


def write_result(text: str, output: Path | None) -> None:
    """Print a result, or write it to a file that `check_result` accepted."""
    from lazarus_core.atomic import whole_file

    if output is None:
        show(text)
        return
    with whole_file(output) as stream:
        stream.write(text.encode() + b"\n")
    say(f"wrote {output}")


def make_config(**settings: object) -> "PlanConfig":
    """Create a configuration. An error names the option."""
    from pydantic import ValidationError

    from lazarus_plan.config import PlanConfig

    try:
        return PlanConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") + ": " if first["loc"] else ""
        raise typer.BadParameter(f"{option}{name_options(plain_reason(first['msg']))}") from error


def numbers(text: str, option: str) -> tuple[int, ...]:
    """Parse a list of integers such as `1,2,3`."""
    try:
        return tuple(int(each) for each in text.split(",")) if text else ()
    except ValueError as error:
        raise typer.BadParameter(f"{option} takes integers separated by commas, such as 1,3; not {text!r}") from error
