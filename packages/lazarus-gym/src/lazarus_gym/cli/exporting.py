"""The command `lazarus gym export`."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from lazarus_core.commands import Force
from lazarus_core.console import say
from lazarus_core.reasons import plain_reason


def export(
    name: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A game, maths, tool_calls, or a family: math, algebra, word, tools."),
    ],
    to: Annotated[Literal["trl", "verifiers", "openenv"], typer.Option("--to", help="What loads the file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Python file to write.")],
    count: Annotated[int, typer.Option("-n", "--count", help="Number of tasks.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the questions, or of the first puzzle.")] = 0,
    level: Annotated[
        Literal["easy", "medium", "hard"] | None,
        typer.Option("--level", help="Of a game: easy, medium or hard [default: easy]."),
    ] = None,
    digits: Annotated[
        int | None,
        typer.Option("--digits", help="Of questions: largest number of digits of the numbers, 1 to 7 [default: 2]."),
    ] = None,
    force: Force = False,
) -> None:
    """Write an environment and its tasks as a Python file with exact verifiers, which works without lazarus-gym.

    trl: a class for `environment_factory` of `GRPOTrainer`. verifiers: a taskset. openenv: a server, which needs openenv. The head of the
    file shows how to use it.

    Example: sudoku --to trl -n 1000 -o sudoku_trl.py
    Example: word --to verifiers --digits 1 -o word_problems.py
    """
    from pydantic import ValidationError

    from lazarus_core.atomic import whole_file
    from lazarus_core.outputs import check_output
    from lazarus_gym.environments import GAMES
    from lazarus_gym.errors import TaskError
    from lazarus_gym.exports import EXPORT, ExportConfig, export_tasks

    if output.suffix != ".py":
        raise typer.BadParameter(f"-o {output}: the name of a Python file ends with .py")
    try:
        config = ExportConfig(count=count, seed=seed, level=level or "easy", digits=2 if digits is None else digits)
    except ValidationError as error:
        first = error.errors()[0]
        raise TaskError(f"`{first['loc'][0]}`: {plain_reason(first['msg'])}", "LG-E101") from error
    content = export_tasks(name, to, config)  # an unknown name is its error
    is_game = name in GAMES
    if (digits if is_game else level) is not None:
        raise typer.BadParameter(
            "--digits has no effect on a game" if is_game else "--level has no effect on questions"
        )
    check_output(output, EXPORT, force=force)
    with whole_file(output) as file:
        file.write(content.encode())
    say(f"{count} tasks of {name} for {to}: {output}")
    usage = {
        "trl": "the head of the file shows a call of GRPOTrainer",
        "verifiers": f"next: PYTHONPATH={shlex.quote(str(output.parent))} vf-validate {shlex.quote(output.stem)}",
        "openenv": f"next: python {shlex.quote(str(output))} --port 8000",
    }
    say(usage[to])
