"""The command `lazarus gym prompts`."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import say


def prompts(
    environment: Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="A game, maths or tool_calls.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON Lines to write.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1_000_000, help="Number of episodes.")] = 1000,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Kind of task, such as easy; repeat it for several.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31, help="Seed of the first episode.")] = 0,
    force: Force = False,
) -> None:
    """Write the first observations of an environment as prompts for `lazarus train grpo --environment`.

    Each row has `prompt`, `seed` and `task`. Kinds of tasks alternate.

    Example: lights_out -n 500 --task easy --task medium -o prompts.jsonl
    """
    from lazarus_core.atomic import whole_file
    from lazarus_core.outputs import OutputKind, begins_with, check_output
    from lazarus_gym.environments import make_environment
    from lazarus_gym.errors import EnvironmentUseError

    made = make_environment(environment)
    kinds = tuple(task or made.tasks[:1])
    for kind in kinds:
        if kind not in made.tasks:
            raise EnvironmentUseError(
                f"`task` {kind!r}: {environment} has {', '.join(made.tasks)}; give one of them", "LG-E130"
            )
    is_ours = begins_with(r'\{"prompt": .{0,100000}"environment": "')
    check_output(output, OutputKind("prompts of an environment", is_ours, code="LG-E118"), force=force)
    with whole_file(output) as file:
        for number in range(count):
            kind = kinds[number % len(kinds)]
            observation = made.reset(seed=seed + number, task=kind)
            row = {"prompt": observation.text, "seed": seed + number, "task": kind, "environment": environment}
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    say(f"{count} prompts of {environment}: {output}")
    words = f"--environment {shlex.quote(f'gym:{environment}')} --data {shlex.quote(str(output))}"
    say(f"next: lazarus train grpo {words} --build-plan -o run --model MODEL")
