"""Settings of a run file: `TrainConfig`, and settings for planning, the initial model, resuming and logging."""

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from lazarus_core.reasons import plain_reason
from lazarus_core.time_box import Clock, TimeBox, read_duration, read_stop_time
from lazarus_train.config import TrainConfig
from lazarus_train.errors import SetupError
from lazarus_train.objective_registry import BUILT_IN, settings_type

_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
LoggerName = Literal["tensorboard", "wandb"]


class BuildPlanSettings(BaseModel):
    """Settings of a plan that is built into the run's folder."""

    model_config = _STRICT

    token_budget: PositiveInt | None = None
    """Tokens a step, padding included. Default: suggested from the lengths of the samples."""
    row_len: PositiveInt | None = None
    """Tokens a row. Default: the longest sample's, rounded up to a multiple of 64."""
    epochs: PositiveInt | None = None
    """Passes over the data. Default: 1."""
    mode: Literal["packed", "padded"] | None = None
    """Whether samples share rows. Default: packed."""
    oversize: Literal["error", "exclude", "truncate", "split"] | None = None
    """What to do with samples longer than a row. Default: error."""
    weights: tuple[PositiveInt, ...] | None = None
    """Rows of each data file as ratios: 3,1. Default: in proportion to the rows."""
    seed: NonNegativeInt | None = None
    """Random seed of the order. Default: drawn at random."""

    @model_validator(mode="after")
    def _makes_a_plan(self) -> "BuildPlanSettings":
        from lazarus_plan.config import PlanConfig

        try:
            PlanConfig.model_validate({"token_budget": self.row_len or 1, **self.planning()})
        except ValidationError as error:
            raise ValueError(plain_reason(error.errors()[0]["msg"])) from error
        return self

    def planning(self) -> dict[str, Any]:
        """Members of a plan's configuration; `seed` or `token_budget` is missing if it is to be chosen."""
        from lazarus_plan.config import Stage

        members = {name: value for name, value in self if value is not None and name != "weights"}
        if self.weights is not None:
            members["stages"] = (Stage(sources=tuple(range(len(self.weights))), weights=self.weights),)
        return members


class InitModelSettings(BaseModel):
    """Settings of a model with random weights, created in the run's folder."""

    model_config = _STRICT

    preset: str | None = None
    """Shape by name: nano, tiny-test, micro, tiny, small, medium or base."""
    config: Path | None = None
    """Shape by a model's `config.json`, or a directory with one."""
    tokenizer: str
    """Directory or file of a tokenizer, or `byte`."""
    vocab_size: PositiveInt | None = None
    """Rows of the embedding. Default: the tokenizer's."""

    @model_validator(mode="after")
    def _has_one_shape(self) -> "InitModelSettings":
        if (self.preset is None) == (self.config is None):
            raise ValueError("give one of `preset` and `config`")
        return self


class RunSettings(TrainConfig):
    """All settings of a training command."""

    build_plan: BuildPlanSettings | None = None
    """Build a plan into the run's folder, and follow it."""
    init_model: InitModelSettings | None = None
    """Begin with a model of fresh weights."""
    resume: str = "auto"
    """Checkpoint to resume: auto (the newest), none (replace the run), or a checkpoint's folder."""
    run_for: str | None = None
    """Stop by itself before so much time has passed, with a verified checkpoint: 90s, 30m or 2h30m. The same command continues.
    Default: no limit."""
    stop_at: str | None = None
    """Stop by itself before the next such time, with a verified checkpoint: 07:00, or a date with a time (2026-01-31T07:00).
    Default: no limit."""
    log_to: tuple[LoggerName, ...] = ()
    """Send the figures to tensorboard, wandb or both as well."""
    profile: PositiveInt | None = None
    """Steps to profile, after the first one: where their time and memory go. Default: none; 10 without a number."""

    control: bool = False
    """Train a second run with random rewards into the folder `control` of this run, to compare their curves."""

    @field_validator("run_for")
    @classmethod
    def _is_a_duration(cls, text: str | None) -> str | None:
        if text is not None:
            read_duration(text)
        return text

    @field_validator("stop_at")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        if text is not None:
            read_stop_time(text)
        return text

    def time_box(self, clock: Clock | None = None) -> TimeBox | None:
        """The time box of the run, which begins now; None without a limit.

        Args:
            clock: The clocks; None takes those of the machine.

        Raises:
            SetupError: `stop_at` is a date in the past, or more than a year ahead.
        """
        if self.run_for is None and self.stop_at is None:
            return None
        try:
            return TimeBox.start(self.run_for, self.stop_at, clock)
        except ValueError as error:
            raise SetupError(f"`stop_at`: {error}", "LR-E281") from error

    def train_config(self) -> TrainConfig:
        """The settings for `train`."""
        return TrainConfig.model_validate({name: getattr(self, name) for name in TrainConfig.model_fields})


def settings_of(kind: str) -> type[RunSettings]:
    """The settings of a run with one objective, which may be from another package.

    Args:
        kind: Kind of the objective.

    Raises:
        SetupError: No package provides it.
    """
    objective = (settings_type(kind), Field(default_factory=lambda: settings_type(kind).model_validate({})))
    # pydantic would search all modules for a source with docstrings, which this model does not have
    source: dict[str, Any] = {"use_attribute_docstrings": False}
    found: Any = create_model("RunSettings", __base__=RunSettings, __cls_kwargs__=source, objective=objective)
    return found


def objective_kinds() -> dict[str, type[BaseModel]]:
    """The settings of every objective of this package, by its kind."""
    return {kind: settings_type(kind) for kind in BUILT_IN}
