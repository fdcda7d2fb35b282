"""Settings of `build`, and its options. Options, a file and `--set` all give the same settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from lazarus_core.reasons import plain_reason
from lazarus_core.settings import Option
from lazarus_plan.cli.options import numbers
from lazarus_plan.config import Mode, OversizePolicy, PlanConfig, Stage, Until, ZeroLengthPolicy

if TYPE_CHECKING:
    from lazarus_core.settings import Read

PREDICTABLE_SEED = 0
"""Seed of `predictable`."""
MODE_HELP = "packed: samples share rows. stable: the same, and an edited sample changes few steps. padded, bucketed: one row each"
STAGE_HELP = "Sources of one stage, from 0, with weights or not: 0=3,1=1"
_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StageSettings(BaseModel):
    """One stage of an epoch."""

    model_config = _STRICT

    sources: tuple[NonNegativeInt, ...]
    """Positions of the length caches, from 0."""
    weights: tuple[PositiveInt, ...] = ()
    """Rows of each source as ratios; empty mixes in proportion to the rows."""
    until: Until = "all"
    """With weights: until all sources are exhausted, or the first one is."""


class BuildSettings(BaseModel):
    """Settings of `build`."""

    model_config = _STRICT

    lengths: Annotated[tuple[Path, ...], Field(min_length=1)]
    """Length cache: JSON lines of id and length. Again for each source."""
    output: Path
    """Folder for the plan."""
    token_budget: PositiveInt
    """Tokens per step, padding included."""
    epochs: PositiveInt = 1
    """Passes over the data."""
    row_len: PositiveInt | None = None
    """Tokens per row. Default: fits the longest sample."""
    seed: NonNegativeInt | None = None
    """Random seed of all shuffles. Default: drawn and recorded."""
    predictable: bool = False
    """Seed 0: the same plan on every build."""
    mode: Mode | None = None
    """Whether and how samples share rows. Default: packed, or bucketed with `bucket_edges`."""
    align: PositiveInt = 1
    """Segments start at multiples of this."""
    window: PositiveInt | None = None
    """Samples packed or sorted at a time."""
    bucket_edges: tuple[PositiveInt, ...] = ()
    """Row lengths of mode bucketed: 128,256,512."""
    weights: tuple[PositiveInt, ...] = ()
    """Rows of each source as ratios: 3,1."""
    repeats: tuple[PositiveInt, ...] = ()
    """Passes over each source per epoch: 1,4."""
    stages: tuple[StageSettings, ...] = ()
    """Stages of an epoch, each with its sources."""
    until: Until = "all"
    """Weighted epochs end when all sources are exhausted, or the first one is."""
    oversize: OversizePolicy = "error"
    """Policy for samples longer than a row."""
    zero_length: ZeroLengthPolicy = "error"
    """Policy for samples without tokens."""

    @model_validator(mode="before")
    @classmethod
    def _stages_end_as_asked(cls, given: Any) -> Any:
        """Stages without `until` have that of the epoch."""
        members = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        stages = members.get("stages")
        if not isinstance(stages, list | tuple):
            return cast("Any", given)
        until = members.get("until", "all")
        listed = cast("list[Any]", stages)
        filled = [{"until": until, **cast("dict[str, Any]", one)} if isinstance(one, dict) else one for one in listed]
        return {**members, "stages": filled}

    @model_validator(mode="after")
    def _makes_a_plan(self) -> "BuildSettings":
        if self.predictable and self.seed not in (None, PREDICTABLE_SEED):
            raise ValueError("`predictable` means seed 0; give one of `predictable` and `seed`")
        if self.weights and self.stages:
            raise ValueError("`weights` is one stage of all sources; with `stages` give each stage its weights")
        if self.mode == "bucketed" and not self.bucket_edges:
            raise ValueError(
                "`mode` bucketed needs `bucket_edges`, such as 128,256,512; `lazarus data batching suggest` finds good ones"
            )
        if self.bucket_edges and self.mode not in (None, "bucketed"):
            raise ValueError(f"`bucket_edges` are of `mode` bucketed, and have no effect with {self.mode}")
        for name, values in (("weights", self.weights), ("repeats", self.repeats)):
            if values and len(values) != len(self.lengths):
                raise ValueError(
                    f"`{name}` has {len(values)} numbers for {len(self.lengths)} length caches: give one for each"
                )
        try:
            self.plan_config(seed=PREDICTABLE_SEED)
        except ValidationError as error:
            first = error.errors()[0]
            place = f"`{first['loc'][0]}`: " if first["loc"] else ""
            raise ValueError(f"{place}{plain_reason(first['msg'])}") from error
        return self

    def plan_config(self, seed: int | None = None) -> PlanConfig:
        """The configuration of the plan.

        Args:
            seed: Replaces the seed; None takes that of the settings, or draws one.
        """
        if seed is None:
            seed = PREDICTABLE_SEED if self.predictable else fresh_seed() if self.seed is None else self.seed
        stages = tuple(Stage.model_validate(stage.model_dump()) for stage in self.stages)
        if self.weights:
            sources = tuple(range(len(self.weights)))
            stages = (Stage(sources=sources, weights=self.weights, until=self.until),)
        same = (
            "token_budget",
            "epochs",
            "row_len",
            "align",
            "window",
            "bucket_edges",
            "repeats",
            "oversize",
            "zero_length",
        )
        return PlanConfig(
            **{name: getattr(self, name) for name in same},
            seed=seed,
            mode=self.mode or ("bucketed" if self.bucket_edges else "packed"),
            stages=stages,
        )


def fresh_seed() -> int:
    """A random seed, for plans without a given one."""
    import secrets

    return secrets.randbits(48)


def options() -> list[Option]:
    """The options of `build`, in the order of the help."""

    def listed(name: str, option: str) -> Option:
        return Option((name,), (option,), read=lambda text: numbers(text, option), metavar="N,...")

    return [
        Option(("lengths",), ("-l", "--lengths"), is_repeated=True),
        Option(("output",), ("-o", "--output")),
        Option(("token_budget",), ("-b", "--token-budget")),
        Option(("epochs",), ("-e", "--epochs")),
        Option(("row_len",), ("--row-len",)),
        Option(("seed",), ("--seed",)),
        Option(("predictable",), ("--predictable",), is_flag=True),
        Option(("mode",), ("--mode",), help=MODE_HELP, default="packed"),
        Option(("align",), ("--align",)),
        Option(("window",), ("--window",)),
        listed("bucket_edges", "--bucket-edges"),
        listed("weights", "--weights"),
        listed("repeats", "--repeats"),
        Option(("stages",), ("--stage",), is_repeated=True, read=_read_stages, metavar="TEXT", help=STAGE_HELP),
        Option(("until",), ("--until",)),
        Option(("oversize",), ("--oversize",)),
        Option(("zero_length",), ("--zero-length",)),
    ]


def settings_of_plan(read: "Read") -> "Read":
    """The settings in a plan's `metadata.json`: those that it was built with, and its seed.

    Raises:
        PlanningError: The plan was rebased, which settings alone do not give.
    """
    from lazarus_plan.errors import PlanningError

    config = read.tree.get("config")
    if "plan_format_version" not in read.tree or not isinstance(config, dict):
        return read
    if read.tree.get("parent") is not None:
        raise PlanningError(
            f"{read.folder} is a rebased plan, which its settings alone do not give: rebase its parent again", "LP-E230"
        )
    return read._replace(tree=cast("dict[str, Any]", config))


def _read_stages(given: list[str]) -> tuple[dict[str, Any], ...]:
    stages: list[dict[str, Any]] = []
    for text in given:
        pairs = [numbers(pair.replace("=", ","), "--stage") for pair in text.split(",")]
        if not all(len(pair) in (1, 2) for pair in pairs):
            raise typer.BadParameter(
                f"--stage {text!r}: give sources, each with a weight or none of them, such as 0=3,1=1 or 0,1"
            )
        sources, weights = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs if len(pair) > 1)
        stages.append({"sources": sources, **({"weights": weights} if weights else {})})
    return tuple(stages)
