"""What the training stages share: settings of `TrainConfig`, with names for the model, the plan and held-out rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.settings_of import members_of, stage_settings
from lazarus_cli.recipes.stage import Context, Inputs, Reads, Stage, StageSettings
from lazarus_cli.recipes.stages.plan import source_files
from lazarus_core.canonical import canonical_digest
from lazarus_train import StepReport, TrainConfig, Watcher, train
from lazarus_train.callbacks import LoggerName, telling

_FIELDS = ("prompt_field", "completion_field", "messages_field", "text_field", "label_field")
"""Settings that the lengths of the plan decide."""
_GIVEN = ("data", "batch_plan", "output", "expect_plan", "template", *_FIELDS)
"""Settings of `TrainConfig` that other stages give."""


class TrainingSettings(StageSettings, frozen=True):
    """Inputs of a training stage."""

    model: Annotated[str, Reads("model")]
    """Model to start from."""
    plan: Annotated[str, Reads("plan")]
    """Plan to follow; the data are those that its lengths were measured on."""
    eval_data: Annotated[dict[str, str], Reads("rows")] = Field(default_factory=dict)
    """Held-out rows by name: losses are measured before the first step and after the last."""
    log_to: tuple[LoggerName, ...] = ()
    """Send the figures to tensorboard, wandb or both as well. They do not change what the stage makes."""


class TrainingStage(Stage[Any]):
    """A model and a plan to a trained model."""

    kind = "model"
    packages = ("lazarus-models", "lazarus-plan", "lazarus-tokenkit", "lazarus-train", "mlx", "tokenizers")
    is_resumable = True
    base: ClassVar[type[TrainingSettings]]
    """Settings of this type of stage, such as its objective."""

    @classmethod
    def settings_type(cls) -> type[Any]:
        """The settings of `lazarus_train.TrainConfig`, without those that other stages give."""
        return stage_settings(cls.__name__.removesuffix("Stage").lower(), cls.base, TrainConfig, without=_GIVEN)

    def check(self, settings: Any) -> None:
        """Refuses what `TrainConfig` refuses."""
        eval_data = dict.fromkeys(settings.eval_data, Path())
        _config(settings, model=Path(), data=Path(), batch_plan=Path(), output=Path(), eval_data=eval_data)

    def run(self, settings: Any, inputs: Inputs, folder: Path, context: Context) -> None:
        """Trains, or resumes from the newest checkpoint."""
        plan = inputs["plan"][0]
        sources = source_files(plan)
        lengths = _same_reading([each for _, each in sources])
        names = {name: f"{name}_field" for name in ("prompt", "completion", "messages", "text", "label")}
        config = _config(
            settings,
            model=inputs["model"][0].path,
            data=tuple(path for path, _ in sources),
            batch_plan=plan.path,
            output=folder,
            eval_data=_held_out(settings, inputs),
            template=lengths.template,
            **{field: getattr(lengths, field) for field in names.values()},
        )
        with telling(_watcher(context), settings.log_to, config) as watcher:
            train(config, watcher=watcher, time_box=context.time_box)

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """The trained model."""
        return (folder / "final",)

    def files(self, folder: Path) -> Sequence[Path]:
        """The trained model and the audit log of the run."""
        final = sorted(each for each in (folder / "final").rglob("*") if each.is_file())
        return [*final, folder / "audit.jsonl"]

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """Digest of the trained model; the audit log names the machine."""
        return canonical_digest({name: digest for name, digest in digests.items() if name.startswith("final/")})

    def summary(self, folder: Path) -> str:
        """Steps and losses."""
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
        losses = [each["loss"] for line in lines if "loss" in (each := json.loads(line))]
        return f"{len(losses):,} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}" if losses else ""


def _config(settings: Any, **given: Any) -> TrainConfig:
    members = members_of(settings, TrainConfig)
    return TrainConfig.model_validate({**members, **given})


def _same_reading(lengths: Sequence[Any]) -> Any:
    """Settings of lengths that all sources of a plan share: a run has one template, and one name for each field."""
    first = lengths[0]
    for each in lengths:
        for name in ("template", *_FIELDS):
            if getattr(each, name) != getattr(first, name):
                raise RecipeError(
                    f"`{name}` of the lengths of a plan differ: {getattr(first, name)!r} and {getattr(each, name)!r}; give "
                    "all of them the same one",
                    "LC-E209",
                )
    return first


def _held_out(settings: Any, inputs: Inputs) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in settings.eval_data:
        (rows,) = inputs[f"eval_data.{name}"]
        if not rows.paths:
            raise RecipeError(f"`eval_data.{name}`: {rows.name} has no rows: raise `split.validation`", "LC-E217")
        for number, path in enumerate(rows.paths):
            found[name if len(rows.paths) == 1 else f"{name}-{number}"] = path
    return found


def _watcher(context: Context) -> Watcher:
    done, total = 0, 0

    def start(_: Any, first: int, last: int) -> None:
        nonlocal done, total
        done, total = first, last

    def step(report: StepReport) -> None:
        nonlocal done
        done += 1
        note = f"loss {report.loss:.3f}, {report.tokens / report.seconds:,.0f} tokens/s, epoch {report.epochs:.2f}"
        context.report(done, total, "steps", note)

    return Watcher(on_start=start, on_step=step, on_warning=context.warn, should_stop=context.should_stop)
