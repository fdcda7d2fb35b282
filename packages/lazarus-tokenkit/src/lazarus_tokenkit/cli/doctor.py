"""The command `doctor`: checks and repairs a tokenizer."""

import json
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.cli_app import bare_option
from lazarus_core.console import say, show
from lazarus_tokenkit.cli.options import AsJson, TokenizerName

BESIDE = "//beside"
"""Value of `--fix` without a directory."""


@bare_option("--fix", BESIDE)
def doctor(
    context: typer.Context,
    tokenizer: TokenizerName,
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix",
            metavar="[PATH]",
            help="Write a copy with all safe repairs into this new directory [default: NAME-fixed, next to a local"
            " tokenizer, else here].",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            help="With --fix: chat template to add, a name in `templates list`; missing special tokens are added too"
            " [default: the only one that matches the special tokens].",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors and warnings only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a tokenizer; exit 1 on errors.

    Example: -t my-tokenizer
    Example: -t my-tokenizer --fix repaired --template chatml
    """
    from lazarus_core.outputs import check_folder
    from lazarus_tokenkit.checks.fix import FIXABLE, repair, write_repair
    from lazarus_tokenkit.checks.run import validate_tokenizer
    from lazarus_tokenkit.checks.tokenizer_files import TokenizerFiles

    if template is not None and fix is None:
        raise typer.BadParameter("--template needs --fix")
    fix = _beside(tokenizer) if fix == Path(BESIDE) else fix
    if fix is not None:
        check_folder(fix, "a repaired copy", code="LT-E118")
    files = TokenizerFiles.read(tokenizer)
    found = [each for each in validate_tokenizer(files) if not (quiet and each.severity == "information")]
    if as_json:
        show(json.dumps([vars(each) for each in found], indent=2, ensure_ascii=False))
    elif found:
        show("\n".join(each.line for each in found))
    counts = {severity: sum(each.severity == severity for each in found) for severity in ("error", "warning")}
    say(f"{files.name}: {counts['error']} error(s), {counts['warning']} warning(s)")
    if fix is None and any(each.check in FIXABLE for each in found) and files.engine is not None:
        fixable = ", ".join(dict.fromkeys(step.partition(":")[0] for step in repair(files).steps))
        if fixable:
            say(f"next: {context.command_path} -t {shlex.quote(tokenizer)} --fix repairs {fixable} in a copy")
    if fix is not None:
        done = repair(files, template)
        write_repair(done, fix)
        show(done.diff)
        for step in done.steps:
            say(step)
        if done.new_rows is not None:
            say(f"the model's embedding needs {done.new_rows:,} rows")
        say(f"wrote {fix}" + ("" if done.steps else "; there was no safe repair"))
        if not done.has_template:
            say(
                "it has no chat template: none is the only one that matches its special tokens; --template NAME adds one"
            )
    raise typer.Exit(1 if counts["error"] else 0)


def _beside(tokenizer: str) -> Path:
    """The directory of a repaired copy: next to a local tokenizer, else in the current directory."""
    path = Path(tokenizer)
    if path.is_dir():
        path = path.resolve()
        return path.parent / f"{path.name or 'tokenizer'}-fixed"
    if path.is_file():
        return path.with_name(f"{path.stem}-fixed")
    name = re.sub(r"[^\w.-]+", "-", tokenizer.rpartition("/")[2]).strip("-.")
    return Path(f"{name[:64] or 'tokenizer'}-fixed")
