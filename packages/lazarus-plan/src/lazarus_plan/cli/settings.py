"""Options of `build` that make a plan's configuration."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.reasons import plain_reason
from lazarus_plan.cli.options import make_config, numbers

if TYPE_CHECKING:
    from lazarus_plan.config import PlanConfig, Stage

PREDICTABLE_SEED = 0
"""Seed of `--predictable`."""
MODE_HELP = (
    "packed: samples share rows. stable: the same, and an edited sample changes few steps. padded, bucketed: one row each. "
    "[default: packed]"
)
STAGE_HELP = "Sources of one stage, counted from 0, with weights or not: 0=3,1=1."

Mode = Literal["packed", "stable", "padded", "bucketed"]
Until = Literal["all", "first"]
TokenBudget = Annotated[int, typer.Option("-b", "--token-budget", help="Tokens per step, padding included.")]
Epochs = Annotated[int, typer.Option("-e", "--epochs", help="Passes over the data.")]
RowLen = Annotated[int | None, typer.Option("--row-len", help="Tokens per row [default: fits the longest sample].")]
Seed = Annotated[int | None, typer.Option("--seed", help="Random seed of all shuffles [default: drawn and recorded].")]
Predictable = Annotated[bool, typer.Option("--predictable", help="Seed 0: the same plan on every build.")]
ModeOption = Annotated[Mode | None, typer.Option("--mode", help=MODE_HELP)]
Align = Annotated[int, typer.Option("--align", help="Segments start at multiples of this.")]
Window = Annotated[int | None, typer.Option("--window", help="Samples packed or sorted at a time.")]
Edges = Annotated[str, typer.Option("--bucket-edges", help="Row lengths of mode bucketed: 128,256,512.")]
Weights = Annotated[str, typer.Option("--weights", help="Rows of each source as ratios: 3,1.")]
Repeats = Annotated[str, typer.Option("--repeats", help="Passes over each source per epoch: 1,4.")]
Stages = Annotated[list[str] | None, typer.Option("--stage", help=STAGE_HELP)]
UntilOption = Annotated[
    Until, typer.Option("--until", help="Weighted epochs end when all sources are exhausted, or the first one is.")
]
Oversize = Annotated[
    Literal["error", "exclude", "truncate", "split"],
    typer.Option("--oversize", help="Policy for samples longer than a row."),
]
ZeroLength = Annotated[
    Literal["error", "exclude"], typer.Option("--zero-length", help="Policy for samples without tokens.")
]


def plan_settings(
    token_budget: TokenBudget,
    epochs: Epochs = 1,
    row_len: RowLen = None,
    seed: Seed = None,
    predictable: Predictable = False,
    mode: ModeOption = None,
    align: Align = 1,
    window: Window = None,
    bucket_edges: Edges = "",
    weights: Weights = "",
    repeats: Repeats = "",
    stage: Stages = None,
    until: UntilOption = "all",
    oversize: Oversize = "error",
    zero_length: ZeroLength = "error",
) -> "PlanConfig":
    """The configuration that the options ask for. The options are the parameters.

    Raises:
        typer.BadParameter: Options contradict each other.
    """
    if predictable and seed not in (None, PREDICTABLE_SEED):
        raise typer.BadParameter("--predictable means seed 0; give one of --predictable and --seed")
    if weights and stage:
        raise typer.BadParameter("--weights is one stage of all sources; with --stage write 0=3,1=1")
    return make_config(
        token_budget=token_budget,
        epochs=epochs,
        row_len=row_len,
        seed=PREDICTABLE_SEED if predictable else fresh_seed() if seed is None else seed,
        mode=mode or ("bucketed" if bucket_edges else "packed"),
        align=align,
        window=window,
        bucket_edges=numbers(bucket_edges, "--bucket-edges"),
        repeats=numbers(repeats, "--repeats"),
        stages=_stages(stage or [], numbers(weights, "--weights"), until),
        oversize=oversize,
        zero_length=zero_length,
    )


def _stages(stages: list[str], weights: tuple[int, ...], until: str) -> "tuple[Stage, ...]":
    from pydantic import ValidationError

    from lazarus_plan.config import Stage

    asked = [{"sources": tuple(range(len(weights))), "weights": weights}] if weights else []
    for text in stages:
        pairs = [numbers(pair.replace("=", ","), "--stage") for pair in text.split(",")]
        asked.append(
            {
                "sources": tuple(pair[0] for pair in pairs if pair),
                "weights": tuple(pair[1] for pair in pairs if len(pair) > 1),
            }
        )
    try:
        return tuple(Stage.model_validate({**each, "until": until}) for each in asked)
    except ValidationError as error:
        raise typer.BadParameter(f"--stage: {plain_reason(error.errors()[0]['msg'])}") from error


def fresh_seed() -> int:
    """A random seed, for plans without a given one."""
    import secrets

    return secrets.randbits(48)
