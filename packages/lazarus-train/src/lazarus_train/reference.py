"""The reference of preference training: what the model said before it was trained.

Its log-probabilities are computed once for every pair of the plan and kept in the run's folder, or come from a second model,
or from the model without its adapters. All three give the same numbers (1e-4): which is best is a matter of memory.
"""

import contextlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_models import load, save_tensors
from lazarus_models.backend import mx, nn
from lazarus_models.lora import lora_layers
from lazarus_models.parameters import evaluate, replace_modules
from lazarus_models.reading import load_hashed
from lazarus_plan import BatchPlan
from lazarus_tokenkit import Tokenizer
from lazarus_train.base import Base
from lazarus_train.batches import Batch, make_batch
from lazarus_train.dataset import Dataset
from lazarus_train.errors import CorruptCheckpoint
from lazarus_train.forward import part_log_probabilities
from lazarus_train.objectives.preference import Answers
from lazarus_train.objectives.settings import PreferenceSettings
from lazarus_train.precision import cast_weights
from lazarus_train.seal import seal, write_json
from lazarus_train.sealed import BrokenSeal, Sealed, seal_damage
from lazarus_train.tasks import Reference, as_pairs

TABLE, SOURCE = "reference.safetensors", "source.json"


@dataclass(frozen=True)
class CachedReference:
    """Log-probabilities by sample."""

    chosen: mx.array
    rejected: mx.array

    def __call__(self, model: Any, batch: Batch) -> Answers:
        """Looked up; the model is not asked."""
        samples = mx.array([part.sample for part in batch.parts[0::2]])
        return Answers(self.chosen[samples], self.rejected[samples])


@dataclass(frozen=True)
class ModelReference:
    """A second model, which never learns."""

    reference: nn.Module

    def __call__(self, model: Any, batch: Batch) -> Answers:
        """Computed anew."""
        return as_pairs(mx.stop_gradient(part_log_probabilities(self.reference, batch)))


def frozen_model(directory: Path, tokenizer: Tokenizer, base: Base, *, mixed: bool) -> nn.Module:
    """A reference that is asked.

    Args:
        directory: Of the model.
        tokenizer: That the rows were encoded with.
        base: The model that the run began with, which it must be.
        mixed: Whether it computes in bfloat16, as a policy in mixed precision does.

    Raises:
        ForeignCheckpoint: It is another model.
    """
    lm = load(directory, hashed=True)
    Base.of(lm, tokenizer).check(base, directory)
    model = lm.model
    model.eval()
    if mixed:
        cast_weights(model, mx.bfloat16)
        evaluate(model.parameters())  # before a thread asks it
    return model


def make_reference(
    settings: PreferenceSettings, load_model: Callable[[], nn.Module], table: Callable[[], CachedReference]
) -> Reference | None:
    """Where the log-probabilities of the reference come from; None where the loss has none.

    Args:
        settings: Say which.
        load_model: Loads the reference.
        table: Computes or reads what is kept.
    """
    if not settings.needs_reference:
        return None
    match settings.reference:
        case "cached":
            return table()
        case "copy":
            return ModelReference(load_model())
        case "adapters-off":
            return without_adapters


def without_adapters(model: Any, batch: Batch) -> Answers:
    """The reference of a model with adapters: itself without them."""
    with _adapters_off(model):
        return as_pairs(mx.stop_gradient(part_log_probabilities(model, batch)))


def compute_reference(
    folder: Path,
    load_model: Callable[[], nn.Module],
    plan: BatchPlan,
    dataset: Dataset,
    made_from: dict[str, str],
    micro_rows: int | None,
    on_pairs: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Keeps the log-probabilities of every pair of a plan in a folder, unless they lie there.

    Args:
        folder: For them; written whole or not at all.
        load_model: Loads the reference.
        plan: Every sample of it is computed once, in the rows that it first stands in.
        dataset: The pairs.
        made_from: What the numbers hang on, such as digests of model and plan; others are computed anew.
        micro_rows: Rows computed at once.
        on_pairs: Given the pairs computed so far and all of them.
    """
    if seal_damage(folder) is None and json.loads((folder / SOURCE).read_bytes()) == made_from:
        return
    table = _compute(load_model(), plan, dataset, micro_rows, on_pairs)

    def write(beside: Path) -> None:
        save_tensors(table, beside / TABLE)
        write_json(beside / SOURCE, made_from)

    seal(folder, write)


def read_reference(folder: Path) -> tuple[CachedReference, str]:
    """What `compute_reference` kept, and the digest of the folder's manifest.

    Raises:
        CorruptCheckpoint: It was changed since it was written.
    """
    try:
        sealed = Sealed.read(folder)
        table, digest = load_hashed(folder / TABLE)
        sealed.expect(TABLE, digest)
    except BrokenSeal as error:
        raise CorruptCheckpoint(f"{folder}: {error}; remove it, it is computed again", "LR-E206") from error
    return CachedReference(table["chosen"], table["rejected"]), sealed.digest


def _compute(
    model: nn.Module,
    plan: BatchPlan,
    dataset: Dataset,
    micro_rows: int | None,
    on_pairs: Callable[[int, int], object],
) -> dict[str, mx.array]:
    total = len(np.unique(plan.sample))
    chosen, rejected = (np.zeros(len(dataset), dtype=np.float32) for _ in range(2))
    known: set[int] = set()
    for index in range(len(plan)):
        if len(known) == total:
            break
        step = plan.step(index)
        rows = [row for row in step.rows if not known.issuperset(segment.sample for segment in row.segments)]
        size = micro_rows or max(1, len(rows))
        for first in range(0, len(rows), size):
            batch = make_batch(rows[first : first + size], dataset, step.row_len)
            found = as_pairs(part_log_probabilities(model, batch))
            evaluate(found)
            samples = [part.sample for part in batch.parts[0::2]]
            chosen[samples], rejected[samples] = np.array(found.chosen), np.array(found.rejected)
            known.update(samples)
            on_pairs(len(known), total)
    return {"chosen": mx.array(chosen), "rejected": mx.array(rejected)}


@contextlib.contextmanager
def _adapters_off(model: nn.Module) -> Generator[None]:
    """The layers that adapters stand around, in their places for a while."""
    adapted = lora_layers(model)
    replace_modules(model, {name: layer.linear for name, layer in adapted.items()})
    try:
        yield
    finally:
        replace_modules(model, adapted)
