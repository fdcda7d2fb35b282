"""Objectives by kind: the settings that `TrainConfig.objective` accepts, and the class of each objective.

A module is imported only when its kind is used. An objective of this package has one line in `BUILT_IN`. An
objective of
another package is an entry point of the group `lazarus.objectives`, named by its kind:

    [project.entry-points."lazarus.objectives"]
    toy = "toy_package:ToyObjective"
"""

import difflib
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, ClassVar, Protocol, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

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


class ObjectiveSettings(BaseModel, frozen=True):
    """Base of the settings of an objective. A subclass declares `kind` as a `Literal` with that default."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    kind: str
    """Selects the objective."""

    @classmethod
    def variants(cls) -> tuple[type["ObjectiveSettings"], ...]:
        """The settings of this package's objectives: what `TrainConfig.objective` may be (see `lazarus_core.settings.schema`)."""
        return tuple(settings_type(kind) for kind in BUILT_IN)

    allows_generation: ClassVar[bool] = False
    """Whether the trained model generates text from left to right, so that `sample_prompts` make sense."""

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
        SetupError: No package provides this kind, or the package that provides it cannot be imported.
    """
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        return getattr(import_module(module), name)
    outside = entry_points(group=GROUP)
    found = [each for each in outside if each.name == kind]
    if not found:
        known = sorted({*BUILT_IN, *(each.name for each in outside)})
        near = difflib.get_close_matches(kind, known, n=1)
        raise SetupError(
            f"there is no objective of kind {kind!r}{f'; did you mean {near[0]!r}?' if near else ''} Known are "
            f"{', '.join(known)}. Install the package that provides it, or give a known kind",
            "LR-E171",
        )
    if len(found) > 1:
        packages = ", ".join(sorted(map(_package, found)))
        raise SetupError(f"the objective {kind!r} is provided by {packages}: uninstall all but one", "LR-E172")
    return _load(found[0])


def settings_type(kind: str) -> type[ObjectiveSettings]:
    """The class of the settings of an objective; raises as `objective_type` does."""
    return objective_type(kind).settings_type


def _load(entry: EntryPoint) -> Any:
    """The class that an entry point names. Its settings are checked."""
    try:
        found = entry.load()
        settings = found.settings_type
        is_right = (
            issubclass(settings, ObjectiveSettings)
            and settings.model_fields["kind"].default == entry.name
            and all(callable(getattr(found, name, None)) for name in _METHODS)
        )
    except Exception as error:
        raise SetupError(
            f"the objective {entry.name!r} of the package {_package(entry)} cannot be loaded ({type(error).__name__}: {error}): "
            "update or uninstall that package",
            "LR-E172",
        ) from error
    if not is_right:
        raise SetupError(
            f"the objective {entry.name!r} of the package {_package(entry)} is not an objective of that kind: it must "
            f"be a subclass of lazarus_train.Objective, and `kind` of its `settings_type` must default to {entry.name!r}",
            "LR-E172",
        )
    return found


def _package(entry: EntryPoint) -> str:
    """Name and version of the package that an entry point is from."""
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


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
