"""Forgetting: how a tuned model changes on its new data and on the old data, against its base model.

| metric | definition | baseline |
|---|---|---|
| `new_bits_per_byte`, `old_bits_per_byte` | of the tuned model | of the base model |
| `new_change`, `old_change` | bits per byte of the tuned model minus those of the base model, by the same items | 0: the base model |

The interval of a change is paired: items are resampled with the losses of both models. An `old_change` above 0 is forgetting.
"""

from math import log
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from lazarus_models.evaluation.pairing import paired
from lazarus_models.evaluation.task import Item, Metric, Subject, Task, TaskResult, TaskSettings
from lazarus_models.evaluation.tasks.perplexity import (
    PerplexitySettings,
    document_losses,
    loss_items,
    read_documents,
    window_of,
)
from lazarus_models.loading.loaded_model import LoadedModel

NEEDED = "`forgetting` compares with a base model"


class ForgettingSettings(TaskSettings, frozen=True):
    """Change on new and old texts against the base model."""

    kind: Literal["forgetting"] = "forgetting"
    data: Path
    """Validation texts of the new data, on which the model was tuned."""
    old_data: Path
    """Validation texts of the old data, which the base model knows."""
    window: Annotated[int, Field(ge=2, le=1 << 20)] | None = None
    """Tokens of a window [default: 2048, or the smaller context of the two models]."""
    stride: PositiveInt | None = None
    """Tokens that a window scores [default: half of the window]."""


def measure_forgetting(subject: Subject, settings: ForgettingSettings) -> TaskResult:
    """Measures the change on new and old texts.

    Args:
        subject: The tuned model, and the base model as its reference.
        settings: Both data sets.

    Raises:
        EvaluationError: A row is no text, or the window exceeds a context.
    """
    assert subject.reference is not None, NEEDED
    models = (subject.model, subject.reference)
    items: list[Item] = []
    metrics: list[Metric] = []
    notes: dict[str, int | float | str] = {}
    for name, path in (("new", settings.data), ("old", settings.old_data)):
        tuned, base = (_items(lm, path, _window(settings, models)) for lm in models)
        found = [_item(name, one, other) for one, other in paired(settings.label, tuned, base)]
        bits, size = (sum(each.values["bits_per_byte"][part] for each in base) for part in (0, 1))
        metrics += [
            Metric(f"{name}_bits_per_byte", "mean", "lower", bits / size, "reference"),
            Metric(f"{name}_change", "mean", "lower", 0.0, "reference"),
        ]
        items += found
        notes[f"{name}_items"], notes[f"{name}_bytes"] = len(found), int(size)
        subject.on_progress(1 if name == "new" else 2, 2)
    return TaskResult(metrics, items, "documents or blocks", notes)


def _window(settings: ForgettingSettings, models: tuple[LoadedModel, LoadedModel]) -> PerplexitySettings:
    """One window for both models: the shorter default, so that both have equal contexts."""
    given = PerplexitySettings(
        data=settings.data, limit=settings.limit, seed=settings.seed, window=settings.window, stride=settings.stride
    )
    return given.model_copy(update={"window": min(window_of(lm, given)[0] for lm in models)})


def _items(lm: LoadedModel, path: Path, window: PerplexitySettings) -> list[Item]:
    return loss_items(document_losses(lm, read_documents(lm, path, window), window))


def _item(name: str, tuned: Item, base: Item) -> Item:
    bits, size = tuned.values["bits_per_byte"]
    before, _ = base.values["bits_per_byte"]
    details = {"bits": bits, "reference_bits": before, "bytes": size, "nats": bits * log(2)}
    values = {f"{name}_bits_per_byte": (bits, size), f"{name}_change": (bits - before, size)}
    return Item(f"{name}:{tuned.id}", values, details)


TASK = Task(
    ForgettingSettings, measure_forgetting, "Change on new and old texts against the base model.", reference="needed"
)
