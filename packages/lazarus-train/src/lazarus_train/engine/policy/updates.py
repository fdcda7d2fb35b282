"""The updates of the weights that one step of reinforcement learning makes: rows, the pass without gradients, inputs of the loss.

L = drawn tokens of a batch
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_plan.shard import assign
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.data.batches import Batch, make_batch
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.precision import in_bfloat16
from lazarus_train.objectives.forward import survey_labels
from lazarus_train.objectives.policy.base import ADVANTAGE, OLD, OLD_VALUE, REFERENCE, RETURN, SHARE, WEIGHT
from lazarus_train.rollouts.advantages import Advantage
from lazarus_train.rollouts.collect import Lines
from lazarus_train.rollouts.record import Rollout
from lazarus_train.rollouts.rows import sequences

MICRO_TOKENS = 8192
"""Tokens of a forward and backward pass, unless `micro_rows` says otherwise."""
ROW_TOKENS = 1024
"""Tokens of a row that several answers share, unless one is longer."""
OfLabels = Callable[[Any, Batch, float], mx.array]
"""Log-probability of every label of a batch under the reference, at a temperature."""


class Surveyed(NamedTuple):
    """A batch with the results of the pass without gradients, as NumPy arrays.

    Args:
        batch: The rows.
        members: Index of the roll-out of each part of the batch, among those of the update.
        old: Log-probabilities of its labels, (L,).
        reference: Log-probabilities under the reference, (L,); None without a reference.
        value: Values, (L,); None without a value head.
        entropy: Sum of the entropies of its labels, in nats.
        gap: Largest difference of a log-probability between the generating pass and this one, over whole distributions.
        divergence: Sum over the compared labels of KL(generating pass || this one), in nats.
        compared: Number of compared labels.
    """

    batch: Batch
    members: tuple[int, ...]
    old: NDArray[np.float32]
    reference: NDArray[np.float32] | None
    value: NDArray[np.float32] | None
    entropy: float
    gap: float
    divergence: float
    compared: int

    def penalties(self, beta: float) -> NDArray[np.float32]:
        """-beta times log pi - log pi_ref of each label, (L,); 0 without a reference."""
        return np.zeros_like(self.old) if self.reference is None else beta * (self.reference - self.old)

    def spans(self) -> Iterator[tuple[int, slice]]:
        """Each roll-out's index, and the positions of its labels."""
        first = 0
        for member, part in zip(self.members, self.batch.parts, strict=True):
            yield member, slice(first, first + part.labels)
            first += part.labels


class Update(NamedTuple):
    """One update of the weights.

    Args:
        rollouts: The roll-outs that it has a loss of.
        micro: This process's micro-batches, each with one batch a thread. They lack roll-outs whose gradient is 0.
        labels: Drawn tokens in the micro-batches of all processes.
        weights: Weight of a token of each roll-out.
        units: Divisor of the loss.
    """

    rollouts: list[Rollout]
    micro: list[list[Surveyed]]
    labels: int
    weights: list[float]
    units: int

    @property
    def batches(self) -> Iterator[Surveyed]:
        """Batches of this process."""
        return (each for shares in self.micro for each in shares)


@dataclass(frozen=True)
class UpdateMaker:
    """Makes updates from roll-outs.

    Args:
        replicas: The model in training and its copies.
        processes: The processes of the run.
        prompt_ids: Gives the token ids of a prompt, by sample id.
        of_labels: Log-probabilities under the reference; None without one.
        temperature: Divisor of the logits.
        micro_rows: Rows of a micro-batch of all threads; None for `MICRO_TOKENS` tokens.
        is_packed: Whether answers may share a row.
        mixed_precision: Whether the model computes in bfloat16.
    """

    replicas: Replicas
    processes: ProcessGroup
    prompt_ids: Callable[[int], Sequence[int]]
    of_labels: OfLabels | None
    temperature: float
    micro_rows: int | None
    is_packed: bool
    mixed_precision: bool = False

    def make(
        self,
        rollouts: Sequence[Rollout],
        moving: Sequence[int],
        lines: Mapping[tuple[int, int], Lines],
        weights: tuple[list[float], int],
    ) -> Update:
        """The rows of an update, and the results of a pass over them with the present weights.

        Args:
            rollouts: Roll-outs of the update.
            moving: Indices of those whose gradient is not 0.
            lines: Distributions that this process drew from, by sample id and copy.
            weights: Weight of a token of each roll-out, and the divisor.
        """
        labels = sum(rollouts[index].length for index in moving)
        if not moving:
            return Update(list(rollouts), [], 0, *weights)
        answers = [rollouts[index] for index in moving]
        made = sequences(
            [self.prompt_ids(each.sample) for each in answers],
            [each.ids for each in answers],
            [each.is_drawn for each in answers],
            is_packed=self.is_packed,
            row_len=ROW_TOKENS,
        )
        places = assign(made.rows, self.processes.size, "snake")[self.processes.rank]
        mine = [made.rows[place] for place in places]
        size = self.micro_rows or max(1, MICRO_TOKENS // made.row_len)
        self.replicas.refresh()
        micro: list[list[Surveyed]] = []
        for first in range(0, len(mine), size):
            shares = share_rows(mine[first : first + size], self.replicas.threads)
            batches = [make_batch(share, made.dataset, made.row_len, len(made.rows)) for share in shares]
            items = [(batch, _compared(batch, answers, lines)) for batch in batches]
            found = self.replicas.each(in_bfloat16(self._survey) if self.mixed_precision else self._survey, items)
            micro.append(
                [each._replace(members=tuple(moving[part.sample] for part in each.batch.parts)) for each in found]
            )
        return Update(list(rollouts), micro, labels, *weights)

    def _survey(self, model: Any, item: tuple[Batch, Mapping[int, NDArray[np.float32]]]) -> Surveyed:
        batch, compared = item
        found = survey_labels(model, batch, self.temperature, list(compared))
        gap, divergence = _distance(_floats(found.lines), list(compared.values()))
        reference: NDArray[np.float32] | None = None
        if self.of_labels is not None:
            log_probabilities = self.of_labels(model, batch, self.temperature)
            evaluate(log_probabilities)
            reference = _floats(log_probabilities)
        return Surveyed(
            batch=batch,
            members=(),
            old=_floats(found.log_probability),
            reference=reference,
            value=None if found.value is None else _floats(found.value),
            entropy=float(_floats(found.entropy).sum(dtype=np.float64)),
            gap=gap,
            divergence=divergence,
            compared=len(compared),
        )


def with_inputs(surveyed: Surveyed, update: Update, advantages: Sequence[Advantage]) -> Batch:
    """A batch with the arrays that the loss reads.

    Args:
        surveyed: A batch of the update.
        update: The update.
        advantages: Of each roll-out of the update.
    """
    spans = list(surveyed.spans())
    count = len(surveyed.old)
    weights = [np.full(labels.stop - labels.start, update.weights[member]) for member, labels in spans]
    columns: dict[str, Any] = {
        OLD: surveyed.old,
        ADVANTAGE: np.concatenate([advantages[member].tokens for member, _ in spans]),
        WEIGHT: np.concatenate(weights),
        SHARE: np.full(count, update.units / max(1, update.labels)),
    }
    if surveyed.reference is not None:
        columns[REFERENCE] = surveyed.reference
    if surveyed.value is not None:
        columns[OLD_VALUE] = surveyed.value
        columns[RETURN] = np.concatenate([cast("Any", advantages[member].returns) for member, _ in spans])
    inputs = {name: mx.array(np.asarray(column, dtype=np.float32)) for name, column in columns.items()}
    evaluate(inputs)  # before another thread reads it
    return replace(surveyed.batch, random_inputs=inputs)


def _compared(
    batch: Batch, answers: Sequence[Rollout], lines: Mapping[tuple[int, int], Lines]
) -> dict[int, NDArray[np.float32]]:
    """Distributions that this process drew from, by label of the batch."""
    found: dict[int, NDArray[np.float32]] = {}
    first = 0
    for part in batch.parts:
        answer = answers[part.sample]
        drawn = lines.get((answer.sample, answer.copy), {})
        found |= {first + place: line for place, line in drawn.items()}
        first += part.labels
    return found


def _floats(array: mx.array) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", np.array(array))


def _distance(trained: NDArray[np.float32], drawn: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Largest difference of log-probabilities that matter, and the sum of KL(drawn || trained)."""
    if not drawn:
        return 0.0, 0.0
    generated = np.stack(drawn).astype(np.float64)
    difference = generated - trained
    probability = np.exp(generated)
    return float(np.abs(difference).max()), float((probability * difference).sum())


def reference_divergence(updates: Sequence[Update]) -> float:
    """Sum over this process's labels of log pi - log pi_ref, in nats."""
    found = [each for update in updates for each in update.batches if each.reference is not None]
    return float(sum((each.old - cast("Any", each.reference)).sum(dtype=np.float64) for each in found))
