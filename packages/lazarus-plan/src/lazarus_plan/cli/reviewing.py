"""The command for continuous integration: `ci`. Exit 0 if the lock agrees with its inputs, whatever changed since the base."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.commands import Force
from lazarus_core.console import show
from lazarus_plan.cli.option_names import finding_with_options
from lazarus_plan.cli.options import AsJson, choose_format, reported

if TYPE_CHECKING:
    from collections.abc import Callable

    from lazarus_plan.ci import Review

DEFAULT_LOCK = Path("batch_plan.lock")


def ci(
    lock: Annotated[Path, typer.Option("-k", "--lock", help="Folder of the lock, or of a whole plan.")] = DEFAULT_LOCK,
    base: Annotated[
        str | None,
        typer.Option("--base", help="What to compare with: a git commit, branch or tag, or the folder of a lock."),
    ] = None,
    lengths: Annotated[
        list[Path] | None,
        typer.Option("-l", "--lengths", help="Length caches in the order of the sources [default: next to the lock]."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("-d", "--data", help="Data files in the order of the lengths [default: next to these]."),
    ] = None,
    parent: Annotated[
        Path | None, typer.Option("--parent", help="The parent's plan or lock, for a rebased plan [default: the base].")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if data was not compared.")] = False,
    output_format: Annotated[
        Literal["text", "markdown", "json", "github", "sarif"], typer.Option("--format", help="Format of the review.")
    ] = "text",
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", help="Write the review to this file too: .txt, .md, .json or .sarif."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Check a committed lock against its lengths and data, and show what changed since a base.

    Example: -k batch_plan.lock --base origin/main --format markdown
    """
    from lazarus_core.atomic import whole_file
    from lazarus_core.outputs import check_output
    from lazarus_plan.ci import review_lock
    from lazarus_plan.ci.words import REPORT

    chosen = choose_format(output_format, as_json)
    for path in report or []:
        if path.suffix not in _BY_SUFFIX:
            raise typer.BadParameter(f"--report {path}: the suffix is one of {', '.join(_BY_SUFFIX)}")
        check_output(path, REPORT, inputs=[lock, *(lengths or []), *(data or [])], force=force)
    if force and not report:
        raise typer.BadParameter("--force has no effect without --report")
    with reported(chosen, lock):
        found = review_lock(lock, base=base, lengths=lengths or [], data=data or [], parent=parent)
    found = replace(found, findings=tuple(map(finding_with_options, found.findings)))
    for path in report or []:
        with whole_file(path) as stream:
            stream.write(_WRITERS[_BY_SUFFIX[path.suffix]](found, strict).encode("utf-8", "backslashreplace") + b"\n")
    text = _WRITERS[chosen](found, strict)
    if text:
        show(text)
    raise typer.Exit(0 if found.is_ok(strict) else 1)


def _text(review: "Review", strict: bool) -> str:
    from lazarus_plan.ci.words import to_text

    return to_text(review, strict)


def _markdown(review: "Review", strict: bool) -> str:
    from lazarus_plan.ci.words import to_markdown

    return to_markdown(review, strict)


def _json(review: "Review", strict: bool) -> str:
    from lazarus_plan.ci.words import to_json

    return to_json(review, strict)


def _github(review: "Review", strict: bool) -> str:
    from lazarus_plan.report.formats import as_github

    return as_github(review.lock, review.findings, strict)


def _sarif(review: "Review", strict: bool) -> str:
    from lazarus_plan.report.formats import as_sarif

    return as_sarif(review.lock, review.findings, strict)


_WRITERS: "dict[str, Callable[[Review, bool], str]]" = {
    "text": _text,
    "markdown": _markdown,
    "json": _json,
    "github": _github,
    "sarif": _sarif,
}
_BY_SUFFIX = {".txt": "text", ".md": "markdown", ".json": "json", ".sarif": "sarif"}
