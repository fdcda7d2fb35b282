"""The reference of preference training: log-probabilities of the model before training.

They are computed once for every pair of the run's steps and cached in the run's folder, or come from a second model, or from
the model without its adapters. All three agree within 1e-4 and differ in memory use.
"""

import contextlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_models.adapters import lora_layers
from lazarus_models.backend import mx, nn
from lazarus_models.loading import load_hashed
from lazarus_models.tensor_files import save_tensors
from lazarus_models.trees import evaluate, replace_modules
from lazarus_plan import BatchPlan
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.data.batches import Batch, make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import CorruptCheckpoint, SetupError
from lazarus_train.objectives.base import Group
from lazarus_train.objectives.forward import label_log_probabilities, part_log_probabilities
from lazarus_train.objectives.surveys import count_mismatched, mismatched_batches
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed, seal_damage
from lazarus_train.run_dir.sealed_write import seal, write_json

TABLE, SOURCE = "reference.safetensors", "source.json"
STEPS = "steps"
"""Key of the source: the number of computed steps, if they are not all steps of the plan."""
CHOSEN, REJECTED, MISMATCHED = "chosen", "rejected", "mismatched"


@dataclass(frozen=True)
class CachedReference:
    """Cached log-probabilities.

    Args:
        chosen: Log-probability of the first answer of each sample.
        rejected: Log-probability of the second answer; 0 if a sample has one.
        mismatched_by_group: Log-probabilities of the examples of `mismatched`, by group index; empty unless the
            loss is kto.
    """

    chosen: mx.array
    rejected: mx.array
    mismatched_by_group: tuple[mx.array, ...] = ()

    def __call__(self, model: Any, batch: Batch) -> mx.array:
        """Log-probabilities from the cache, float32 (P,).

        Args:
            model: Not used.
            batch: Any rows of the data.
        """
        samples = mx.array([part.sample for part in batch.parts])
        is_rejected = mx.array([part.side for part in batch.parts]) > 0
        return mx.where(is_rejected, self.rejected[samples], self.chosen[samples])

    def mismatched(self, model: Any, batch: Batch, group: Group) -> mx.array:
        """Log-probabilities of mismatched examples from the cache, float32 (P,).

        Args:
            model: Not used.
            batch: A batch of `mismatched_batches`.
            group: The group of the examples.
        """
        return self.mismatched_by_group[group.number][mx.array([part.sample for part in batch.parts])]


@dataclass(frozen=True)
class ModelReference:
    """A second, frozen model."""

    reference: nn.Module

    def __call__(self, model: Any, batch: Batch) -> mx.array:
        """Log-probabilities under the second model, float32 (P,).

        Args:
            model: Not used.
            batch: Any rows of the data.
        """
        return mx.stop_gradient(part_log_probabilities(self.reference, batch))

    def of_labels(self, model: Any, batch: Batch, temperature: float) -> mx.array:
        """Log-probability of every label under the second model, float32 (L,).

        Args:
            model: Not used.
            batch: Any rows.
            temperature: Divisor of the logits, above 0.
        """
        return label_log_probabilities(self.reference, batch, temperature)

    def mismatched(self, model: Any, batch: Batch, group: Group) -> mx.array:
        """Log-probabilities of mismatched examples under the second model, float32 (P,).

        Args:
            model: Not used.
            batch: A batch of `mismatched_batches`.
            group: The group of the examples.
        """
        return self(model, batch)


@dataclass(frozen=True)
class WithoutAdapters:
    """The model in training with its adapters disabled."""

    def __call__(self, model: Any, batch: Batch) -> mx.array:
        """Log-probabilities without adapters, float32 (P,).

        Args:
            model: The model in training.
            batch: Any rows of the data.
        """
        with _adapters_off(model):
            return mx.stop_gradient(part_log_probabilities(model, batch))

    def of_labels(self, model: Any, batch: Batch, temperature: float) -> mx.array:
        """Log-probability of every label without adapters, float32 (L,).

        Args:
            model: The model in training.
            batch: Any rows.
            temperature: Divisor of the logits, above 0.
        """
        with _adapters_off(model):
            found = label_log_probabilities(model, batch, temperature)
            evaluate(found)  # before the adapters are back
            return found

    def mismatched(self, model: Any, batch: Batch, group: Group) -> mx.array:
        """Log-probabilities of mismatched examples without adapters, float32 (P,).

        Args:
            model: The model in training.
            batch: A batch of `mismatched_batches`.
            group: The group of the examples.
        """
        return self(model, batch)


@dataclass(frozen=True)
class ReferenceSetup:
    """How the cached log-probabilities are computed.

    Args:
        micro_batch_rows: Rows per forward pass; None computes a whole step at once.
        tokens: Tokens per forward pass of mismatched examples.
        threads: Number of threads.
        steps: Steps of the plan whose answers are computed; None for all.
        on_samples: Called with the number of samples computed so far, and their total.
    """

    micro_batch_rows: int | None
    tokens: int
    threads: int = 1
    steps: int | None = None
    on_samples: Callable[[int, int], object] = lambda done, total: None


def compute_reference(
    folder: Path,
    load_model: Callable[[], nn.Module],
    plan: BatchPlan,
    dataset: Dataset,
    groups: Sequence[Group],
    made_from: Mapping[str, object],
    setup: ReferenceSetup,
) -> None:
    """Computes the log-probabilities of every answer of a plan's steps into a folder, unless they are already there.

    A folder that was computed for fewer steps of the same inputs is completed.

    Args:
        folder: Cache folder; written atomically.
        load_model: Loads the reference.
        plan: Every sample of its steps is computed once, in the first row that contains it.
        dataset: The answers.
        groups: Groups whose mismatched examples are computed too.
        made_from: Inputs of the values, such as digests of model and plan. If they changed, the values are
            recomputed.
        setup: How they are computed.
    """
    steps = len(plan) if setup.steps is None else min(setup.steps, len(plan))
    source = {**made_from, **({STEPS: steps} if steps < len(plan) else {})}
    found = json.loads((folder / SOURCE).read_bytes()) if seal_damage(folder) is None else None
    if found == source:
        return
    there = 0
    if found is not None and {name: value for name, value in found.items() if name != STEPS} == made_from:
        there = found.get(STEPS, len(plan))
        if there >= steps:
            return
    before = load_hashed(folder / TABLE)[0] if there else {}
    replicas = Replicas(load_model(), setup.threads)
    table = _answers(replicas, plan, dataset, setup, range(there, steps), before)
    if groups:
        table[MISMATCHED] = _mismatched(replicas, dataset, groups, setup.tokens)

    def write(beside: Path) -> None:
        save_tensors(table, beside / TABLE)
        write_json(beside / SOURCE, source)

    seal(folder, write)


def read_reference(folder: Path, dataset: Dataset, groups: Sequence[Group]) -> tuple[CachedReference, str]:
    """The cached log-probabilities of `compute_reference`, and the digest of the folder's manifest.

    Args:
        folder: The cache folder.
        dataset: The answers.
        groups: The groups that it was computed for.

    Raises:
        CorruptCheckpoint: The cache was changed after it was written.
        SetupError: The cache does not match the number of samples or groups.
    """
    try:
        sealed = Sealed.read(folder)
        table, digest = load_hashed(folder / TABLE)
        sealed.expect(TABLE, digest)
    except BrokenSeal as error:
        raise CorruptCheckpoint(f"{folder}: {error}; remove it, it is computed again", "LR-E206") from error
    mismatched = sum(count_mismatched(group, dataset) for group in groups)
    expected = {CHOSEN: len(dataset), REJECTED: len(dataset)} | ({MISMATCHED: mismatched} if groups else {})
    if any(name not in table or table[name].shape != (count,) for name, count in expected.items()):
        raise SetupError(
            f"{folder / TABLE}: not the log-probabilities of {len(dataset)} samples; remove the folder", "LR-E142"
        )
    ends = np.cumsum([count_mismatched(group, dataset) for group in groups]).tolist()
    by_group = tuple(mx.split(table[MISMATCHED], ends[:-1])) if groups else ()
    evaluate(by_group)  # before threads read them
    return CachedReference(table[CHOSEN], table[REJECTED], by_group), sealed.digest


def _answers(
    replicas: Replicas,
    plan: BatchPlan,
    dataset: Dataset,
    setup: ReferenceSetup,
    steps: range,
    before: Mapping[str, mx.array],
) -> dict[str, mx.array]:
    """Log-probabilities of the answers of the steps, in the batches of training, so that the first step has a zero log-ratio.

    Args:
        replicas: The reference.
        plan: The plan.
        dataset: The answers.
        setup: How they are computed.
        steps: The steps to compute.
        before: Table of all earlier steps; empty if `steps` begins with the first.
    """
    found = np.zeros((2, len(dataset)), dtype=np.float32)
    if before:
        found[0], found[1] = np.array(before[CHOSEN]), np.array(before[REJECTED])
    known: set[int] = _samples(plan, range(steps.start))
    total = len(known | _samples(plan, steps))
    for index in steps:
        if len(known) == total:
            break
        step = plan.step(index)
        rows = [row for row in step.rows if not known.issuperset(segment.sample for segment in row.segments)]
        size = setup.micro_batch_rows or max(1, len(rows))
        for first in range(0, len(rows), size):
            shares = share_rows(rows[first : first + size], replicas.threads)
            batches = [make_batch(share, dataset, step.row_len) for share in shares]
            for batch, values in zip(batches, replicas.map(part_log_probabilities, batches), strict=True):
                samples = [part.sample for part in batch.parts]
                found[[part.side for part in batch.parts], samples] = np.array(values)
                known.update(samples)
            setup.on_samples(len(known), total)
    return {CHOSEN: mx.array(found[0]), REJECTED: mx.array(found[1])}


def _samples(plan: BatchPlan, steps: range) -> set[int]:
    return {segment.sample for index in steps for row in plan.step(index).rows for segment in row.segments}


def _mismatched(replicas: Replicas, dataset: Dataset, groups: Sequence[Group], tokens: int) -> mx.array:
    """Log-probabilities of the mismatched examples, group by group."""
    values = list[Any]()
    for group in groups:
        batches = list(mismatched_batches(group, dataset, tokens))
        of_group = np.zeros(count_mismatched(group, dataset), dtype=np.float32)
        for batch, found in zip(batches, replicas.map(part_log_probabilities, batches), strict=True):
            of_group[[part.sample for part in batch.parts]] = np.array(found)
        values.append(of_group)
    return mx.array(np.concatenate(values))


@contextlib.contextmanager
def _adapters_off(model: nn.Module) -> Generator[None]:
    """Context manager: replaces adapted layers by their original layers."""
    adapted = lora_layers(model)
    replace_modules(model, {name: layer.linear for name, layer in adapted.items()})
    try:
        yield
    finally:
        replace_modules(model, adapted)
