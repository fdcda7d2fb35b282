"""What a task is: its settings, the function that runs it, and what it returns.

An item is the unit that is resampled: a question, a document, a pair of answers. Each metric of an item is a fraction, and a
score is the sum of numerators over the sum of denominators: accuracy has 1 or 0 over 1, bits per byte has bits over bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from lazarus_models.loading.loaded_model import LoadedModel

Better = Literal["higher", "lower", "neither"]
BaselineKind = Literal["random", "majority", "uniform", "reference", "empty answer", "none"]
Kind = Literal["proportion", "mean", "perplexity"]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/ -]*$")]
MAX_ITEMS = 10_000_000
Progress = Callable[[int, int], object]
"""Called with the numbers of finished and of all items."""


def no_progress(done: int, total: int) -> None:
    """Ignores the progress.

    Args:
        done: Number of finished items.
        total: Number of all items.
    """


class TaskSettings(BaseModel, frozen=True):
    """Settings that every task has. A task adds its own."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kind: str
    """Kind of the task, such as `choice`."""
    name: Name | None = None
    """Name of the task in the report [default: kind and name of the data file, such as `choice:arc`]."""
    data: Path
    """Data file or folder."""
    limit: Annotated[PositiveInt, Field(le=MAX_ITEMS)] | None = None
    """Evaluate a random sample of this many items; None evaluates all."""
    seed: NonNegativeInt = 0
    """Random seed of the sample and of the bootstrap."""

    @property
    def label(self) -> str:
        """Name of the task in the report."""
        return self.name or f"{self.kind}:{self.data.name.split('.')[0]}"


@dataclass(frozen=True)
class Metric:
    """A metric of a task.

    Args:
        name: Such as `acc`.
        kind: `proportion` has Wilson's interval; `mean` and `perplexity`, the exponential of a mean, have a bootstrap's.
        better: Direction of improvement.
        baseline: Value of a trivial predictor; None if there is none.
        baseline_kind: Which predictor.
    """

    name: str
    kind: Kind
    better: Better
    baseline: float | None = None
    baseline_kind: BaselineKind = "none"


@dataclass(frozen=True)
class Item:
    """The result of one item.

    Args:
        id: Unique in its task; items of two models are paired by it.
        values: Numerator and denominator of each metric that the item has.
        details: What the model did, for the file of items: JSON values by name.
    """

    id: str
    values: Mapping[str, tuple[float, float]]
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class TaskResult:
    """The result of a task.

    Args:
        metrics: The metrics, in the order of the report.
        items: The items, in the order of the data.
        unit: What an item is, in the plural, such as `questions`.
        notes: What a reader of the scores should know, such as the number of truncated texts.
    """

    metrics: Sequence[Metric]
    items: Sequence[Item]
    unit: str
    notes: Mapping[str, int | float | str] = field(default_factory=dict[str, int | float | str])


@dataclass(frozen=True)
class Subject:
    """What a task evaluates.

    Args:
        model: The model.
        reference: A model to compare with; None for none.
        batch_size: Largest number of answers that are generated together. Log-probabilities are computed text by text.
        on_progress: Called with the numbers of finished items and of all items.
    """

    model: LoadedModel
    reference: LoadedModel | None = None
    batch_size: int = 8
    on_progress: Progress = no_progress


Settings = TypeVar("Settings", bound=TaskSettings)


@dataclass(frozen=True)
class Task(Generic[Settings]):
    """A kind of task.

    Args:
        settings: Class of its settings.
        run: Evaluates a subject.
        summary: What it measures, in one sentence.
        reference: Whether it compares with a reference model: never, if there is one, or always.
    """

    settings: type[Settings]
    run: Callable[[Subject, Settings], TaskResult]
    summary: str
    reference: Literal["none", "optional", "needed"] = "none"
