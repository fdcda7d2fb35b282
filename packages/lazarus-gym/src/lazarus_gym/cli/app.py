"""The command `lazarus-gym`; `lazarus generate` is `generate` of this module."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lazarus_core.cli_app import App
from lazarus_core.commands import Force
from lazarus_core.console import say, show, show_table, version_option
from lazarus_gym.cli.auditing import audit
from lazarus_gym.cli.exporting import export
from lazarus_gym.cli.play import info, run
from lazarus_gym.cli.prompts import prompts
from lazarus_gym.cli.reward_scores import show_parts, show_rewards
from lazarus_gym.cli.serving import serve
from lazarus_gym.errors import TaskError

if TYPE_CHECKING:
    from lazarus_gym.tasks.questions import Kind

app = App(no_args_is_help=True)


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-gym")] = False) -> None:  # pyright: ignore[reportUnusedFunction]: typer calls it
    """Puzzles and tasks with verifiers, for training and for scoring."""


app.command()(run)
app.command()(info)
app.command()(serve)
app.command()(audit)
app.command()(export)
app.command()(prompts)


@app.command()
def generate(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A file of chat samples, or a folder (a name without an ending).")
    ],
    family: Annotated[str, typer.Option("--type", help="Family of tasks: math, algebra, word or tools.")] = "math",
    count: Annotated[int, typer.Option("-n", "--count", help="Number of tasks.")] = 400,
    evaluation: Annotated[
        int | None,
        typer.Option("--eval", help="Of a folder: number of tasks for evaluation [default: a tenth of --count]."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed; the same seed gives the same file on every machine.")
    ] = 0,
    kinds: Annotated[str, typer.Option("--kinds", help="Kinds, comma-separated [default: every kind].")] = "",
    digits: Annotated[
        int, typer.Option("--digits", help="Largest number of digits of the numbers in questions, 1 to 7.")
    ] = 2,
    force: Force = False,
) -> None:
    """Writes synthetic tasks as chat samples with answers; into a folder also tasks for evaluation, and preferences.

    Example: --type math --count 1000 --digits 3 -o tasks.jsonl
    """
    from lazarus_core.outputs import check_output
    from lazarus_gym.samples import TASKS, write_samples
    from lazarus_gym.tasks.families import family_kinds, generate_set

    of_family = family_kinds(family)
    chosen = cast("list[Kind]", kinds.split(",")) if kinds else list(of_family)
    if unknown := [kind for kind in chosen if kind not in of_family]:
        raise TaskError(f"unknown kind {unknown[0]!r} of {family}; choose from {', '.join(of_family)}", "LG-E103")
    is_folder = output.is_dir() or (not output.suffix and not output.exists())
    if evaluation is not None and not is_folder:
        raise typer.BadParameter("--eval needs a folder as --output: a name without an ending")
    made = f"({', '.join(chosen[:count])}), up to {digits} digits, seed {seed}: {output}"
    if is_folder:
        from lazarus_gym.task_folder import TRAIN, check_task_folder, write_task_folder

        check_task_folder(output, force=force)
        tasks = generate_set(
            count, max(1, count // 10) if evaluation is None else evaluation, seed=seed, kinds=chosen, digits=digits
        )
        settings = {"type": family, "kinds": chosen, "digits": digits, "seed": seed}
        write_task_folder(tasks, output, settings)
        say(f"{len(tasks.train)} tasks to train, {len(tasks.evaluation)} to evaluate {made}")
        output /= TRAIN
    else:
        check_output(output, TASKS, force=force)
        train = generate_set(count, 0, seed=seed, kinds=chosen, digits=digits).train
        write_samples(train, output)
        say(f"{len(train)} tasks {made}")
    say(f"next: lazarus data lengths build -d {shlex.quote(str(output))} -t byte -o lengths.jsonl")


@app.command()
def verify(
    tasks: Annotated[Path, typer.Option("-d", "--data", help="Tasks written by `generate`.")],
    replies: Annotated[
        Path,
        typer.Option("--replies", help='JSON lines {"id":"...","reply":"..."}, one per task; also of `infer --json`.'),
    ],
    reward: Annotated[
        str | None,
        typer.Option("--reward", help="Print the mean of this reward: math, gsm8k, or one of another package."),
    ] = None,
    rewards: Annotated[
        Path | None,
        typer.Option("--rewards", help="Print the means of the parts of this TOML file; --data may be any JSON lines."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Scores replies: accuracy with its 95 % interval (Wilson), by kind and in total.

    Example: -d tasks.jsonl --replies replies.jsonl
    Example: -d rows.jsonl --replies replies.jsonl --rewards rewards.toml
    """
    if rewards is not None:
        if reward is not None:
            raise typer.BadParameter("--reward and --rewards contradict each other: give one")
        show_parts(tasks, replies, rewards, as_json=as_json)
        return
    from lazarus_gym.samples import read_replies, read_tasks
    from lazarus_gym.score import score_replies

    if reward is not None:
        show_rewards(tasks, replies, reward, as_json=as_json)
        return
    scores = score_replies(read_tasks(tasks), read_replies(replies))
    if as_json:
        rows = {
            of: {"correct": score.correct, "n": score.n, "accuracy": score.accuracy, "interval_95": score.interval}
            for of, score in scores.items()
        }
        show(json.dumps(rows))
        return
    show_table(f"{'kind':<16}{'correct':>8}{'n':>8}{'accuracy':>10}   95 % interval")
    for of, score in scores.items():
        low, high = score.interval
        show(f"{of:<16}{score.correct:>8}{score.n:>8}{score.accuracy:>10.1%}   {low:.1%} to {high:.1%}")
