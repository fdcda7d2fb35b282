"""The command `regression run`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.console import say, show
from lazarus_tokenkit.cli.options import AsJson, load
from lazarus_tokenkit.errors import TokenkitError


def run(
    suite: Annotated[
        Path, typer.Argument(help="YAML, JSON or TOML file with `tests`, a list of texts and expected results.")
    ],
    tokenizer: Annotated[
        str | None, typer.Option("-t", "--tokenizer", help="Use this tokenizer instead of the one in the suite.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a tokenizer against a suite; exit 1 if a case fails.

    Example: tests.yaml -t my-tokenizer
    """
    from lazarus_tokenkit.regression import read_suite, run_suite

    read = read_suite(suite)
    name = tokenizer or read.tokenizer
    if name is None:
        raise TokenkitError(f"{suite} names no tokenizer; give --tokenizer", "LT-E902")
    outcomes = run_suite(read, load(name))
    failed = [outcome for outcome in outcomes if outcome.failures]
    if as_json:
        show(json.dumps([{"name": each.name, "failures": list(each.failures)} for each in outcomes], indent=2))
    else:
        for outcome in failed:
            show(f"FAILED {outcome.name}: {'; '.join(outcome.failures)}")
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed")
    raise typer.Exit(1 if failed else 0)
