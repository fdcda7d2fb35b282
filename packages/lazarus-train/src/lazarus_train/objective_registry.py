"""Objectives by kind: the settings that `TrainConfig.objective` accepts, and the class of each objective.

A module is imported only when its kind is used. An objective of this package has one line in `BUILT_IN`. An objective
of another package is an entry point of the group `lazarus.objectives`, named by its kind:

    [project.entry-points."lazarus.objectives"]
    toy = "toy_package:ToyObjective"
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from lazarus_core.plugins import PluginGroup, near_name
from lazarus_train.errors import SetupError

GROUP = "lazarus.objectives"
"""Entry-point group of objectives from other packages."""
BUILT_IN = {
    "causal": "lazarus_train.objectives.causal:CausalObjective",
    "diffusion": "lazarus_train.objectives.diffusion:DiffusionObjective",
    "mntp": "lazarus_train.objectives.mntp:MntpObjective",
    "preference": "lazarus_train.objectives.preference:PreferenceObjective",
    "reward": "lazarus_train.objectives.reward:RewardObjective",
    "classification": "lazarus_train.objectives.classification:ClassificationObjective",
    "regression": "lazarus_train.objectives.regression:RegressionObjective",
    "grpo": "lazarus_train.objectives.policy.grpo:GrpoObjective",
    "ppo": "lazarus_train.objectives.policy.ppo:PpoObjective",
}
"""Objectives of this package: one line each, kind to `module:class`."""
_METHODS = ("bind", "loss", "loss_normalizer", "measure", "prepare", "sequence_head")
"""Methods that a subclass of `Objective` has; this module is below that class and cannot import it."""


@runtime_checkable
class RunFields(Protocol):
    """The fields of a run's settings that an objective may check against its own."""

    @property
    def label_field(self) -> str | None:
        """Field of the row that marks an answer as desirable."""
        ...

    @property
    def lora(self) -> Any:
        """Settings of adapters; None trains all weights."""
        ...

    @property
    def neftune_alpha(self) -> float | None:
        """Strength of noise on the embeddings; None for none."""
        ...

    @property
    def mixed_precision(self) -> bool:
        """Whether steps are computed in bfloat16."""
        ...

    @property
    def ema(self) -> float | None:
        """Decay of the moving average of the weights; None for none."""
        ...


class ObjectiveSettings(BaseModel, frozen=True):
    """Base of the settings of an objective. A subclass declares `kind` as a `Literal` with that default."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    kind: str
    """Selects the objective."""

    @classmethod
    def variants(cls) -> tuple[type["ObjectiveSettings"], ...]:
        """The settings of this package's objectives: what `TrainConfig.objective` may be (see `lazarus_core.settings.schema`)."""
        return tuple(settings_type(kind) for kind in BUILT_IN)

    needs_value: ClassVar[bool] = False
    """Whether the model in training gets a value head."""
    allows_generation: ClassVar[bool] = False
    """Whether the trained model generates text from left to right, so that `sample_prompts` make sense."""
    image_method: ClassVar[Literal["diffusion", "next-token"] | None] = None
    """How a model that was trained on images draws them; None if it does not."""

    @property
    def inference_settings(self) -> dict[str, int]:
        """Settings of inference for a model that generates in another way than from left to right; empty for none."""
        return {}

    def check_run(self, run: RunFields) -> None:
        """Compares these settings with the other settings of a run.

        Raises:
            ValueError: They do not fit together. The message names the fields.
        """
        if run.label_field is not None:
            raise ValueError("`label_field` has no effect but with `loss` kto")


def objective_type(kind: str) -> Any:
    """The class of an objective (see `lazarus_train.objectives.base.Objective`).

    Raises:
        SetupError: No package provides this kind, or the package that provides it cannot be used.
    """
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        return getattr(import_module(module), name)
    plugin = PluginGroup(
        GROUP,
        "objective",
        f"a subclass of lazarus_train.Objective, and `kind` of its `settings_type` must default to {kind!r}",
        lambda found: _is_objective(found, kind),
        SetupError,
        "LR-E172",
    ).load(kind)
    if plugin is None:
        known = sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})
        raise SetupError(
            f"there is no objective of kind {kind!r}{near_name(kind, known)}; there are {', '.join(known)}. Give one of "
            "them, or install the package that provides it",
            "LR-E171",
        )
    return plugin.value


def settings_type(kind: str) -> type[ObjectiveSettings]:
    """The class of the settings of an objective; raises as `objective_type` does."""
    return objective_type(kind).settings_type


def _is_objective(found: Any, kind: str) -> bool:
    settings = found.settings_type
    return (
        issubclass(settings, ObjectiveSettings)
        and settings.model_fields["kind"].default == kind
        and all(callable(getattr(found, name, None)) for name in _METHODS)
    )


def _validated(value: Any, _: Any) -> ObjectiveSettings:
    """Settings of a registered objective, from an instance or from their members; `kind` selects the class."""
    if isinstance(value, ObjectiveSettings):
        if type(value) is not settings_type(value.kind):
            raise PydanticCustomError(
                "objective_type", "`objective` is not of the class that is registered for its `kind`"
            )
        return value
    members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    kind = members.get("kind")
    if not isinstance(kind, str):
        raise PydanticCustomError("objective_kind", "`objective` needs a `kind`, such as causal")
    try:
        return settings_type(kind).model_validate(members)
    except ValidationError as error:
        details = [_detail(kind, cast("Any", each)) for each in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(error.title, details) from error


def _detail(kind: str, error: dict[str, Any]) -> InitErrorDetails:
    """An error of objective settings, with the kind at the start of its location."""
    detail = InitErrorDetails(type=error["type"], loc=(kind, *error["loc"]), input=error["input"])
    if "ctx" in error:
        detail["ctx"] = error["ctx"]
    return detail


AnyObjective = Annotated[SerializeAsAny[ObjectiveSettings], WrapValidator(_validated)]
"""Settings of any registered objective; `kind` selects which."""


def default_objective() -> ObjectiveSettings:
    """Next-token prediction."""
    return settings_type("causal")(kind="causal")
