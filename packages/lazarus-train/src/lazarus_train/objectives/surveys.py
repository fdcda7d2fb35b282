"""Statistics of a whole step that preference losses need, over all micro-batches, threads and processes. P = parts.

For held-out data the statistics cover the whole set.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_train.data.batches import PADDING, Batch, Part
from lazarus_train.data.dataset import Dataset
from lazarus_train.distributed import SINGLE, ProcessGroup
from lazarus_train.objectives.base import Group, OwnBatches, Reference, Sums, Survey
from lazarus_train.objectives.forward import part_log_probabilities
from lazarus_train.objectives.losses.preference_losses import (
    DESIRABLE_SCALE,
    LIKELIHOOD_SCALE,
    POINT,
    POINT_CHOSEN,
    POINT_REJECTED,
    UNDESIRABLE_SCALE,
)


class Example(NamedTuple):
    """A prompt with an answer.

    Args:
        ids: Token ids, int32.
        is_label: Whether each token belongs to the answer and carries loss.
    """

    ids: NDArray[np.int32]
    is_label: NDArray[np.bool_]


@dataclass(frozen=True)
class KtoPoint:
    """KTO's reference point (Ethayarajh et al. 2024, eq. 8): the KL on mismatched prompts and answers."""

    dataset: Dataset
    reference: Reference
    names: tuple[str, ...] = ("ratio", "examples")

    def batches(self, group: Group, own: OwnBatches) -> Iterable[Batch]:
        """The mismatched examples that this process computes.

        Args:
            group: The samples of all processes; every prompt gets another sample's answer.
            own: Rank, number of processes and tokens per forward pass. Its rows are not used.
        """
        return mismatched_batches(group, self.dataset, own.tokens, own.rank, own.size)

    def sums(self, group: Group, model: Any, batch: Batch) -> Sums:
        """Log-ratios of mismatched answers and their number.

        Args:
            group: The samples of all processes.
            model: The model, in evaluation mode.
            batch: A batch of `mismatched_batches`.

        Returns:
            `ratio`, the sum of log pi - log pi_ref in nats, and `examples`, the number of summed ratios.
        """
        ratios = part_log_probabilities(model, batch) - self.reference.mismatched(model, batch, group)
        return {"ratio": ratios.sum(), "examples": mx.array(float(len(batch.parts)))}

    def settle(self, group: Group, sums: Sums) -> Mapping[str, mx.array]:
        """The mean log-ratio, at least zero. For single answers also the factors that turn means over all into
        means by label.

        Args:
            group: The samples of all processes.
            sums: Sums over the whole group.
        """
        settled = {POINT: _mean(sums["ratio"], sums["examples"])}
        labels = [self.dataset.labels[sample] for sample in group.samples if self.dataset.labels]
        for name, count in ((DESIRABLE_SCALE, labels.count(True)), (UNDESIRABLE_SCALE, labels.count(False))):
            settled |= {name: mx.array(len(labels) / count if count else 0.0)} if labels else {}
        return settled


@dataclass(frozen=True)
class PairMeans:
    """`kto_pair`'s reference points: mean log-ratios of the chosen and of the rejected answers."""

    reference: Reference
    names: tuple[str, ...] = ("chosen", "rejected", "pairs")

    def batches(self, group: Group, own: OwnBatches) -> Iterable[Batch]:
        """The rows of this process.

        Args:
            group: Not used: the rows of all processes contain its samples.
            own: Makes the batches of this process's rows.
        """
        return own.rows()

    def sums(self, group: Group, model: Any, batch: Batch) -> Sums:
        """Log-ratios of either side and the number of pairs.

        Args:
            group: Not used: the sums need the batch alone.
            model: The model, in evaluation mode.
            batch: Whole pairs; parts alternate between chosen and rejected.

        Returns:
            `chosen` and `rejected`, sums of log pi - log pi_ref in nats, and `pairs`, the number of pairs.
        """
        ratios = part_log_probabilities(model, batch) - self.reference(model, batch)
        # Two parts per pair, alternately chosen and rejected.
        pairs = mx.array(float(len(batch.parts) // 2))
        return {"chosen": ratios[0::2].sum(), "rejected": ratios[1::2].sum(), "pairs": pairs}

    def settle(self, group: Group, sums: Sums) -> Mapping[str, mx.array]:
        """The mean log-ratio of each side, at least zero.

        Args:
            group: Not used: the sums contain the number of pairs.
            sums: Sums over the whole group.
        """
        points = {POINT_CHOSEN: "chosen", POINT_REJECTED: "rejected"}
        return {point: _mean(sums[side], sums["pairs"]) for point, side in points.items()}


@dataclass(frozen=True)
class PromptTokens:
    """The token count of ORPO's likelihood, if it includes prompts. Computed from lengths alone."""

    dataset: Dataset
    names: tuple[str, ...] = ()

    def batches(self, group: Group, own: OwnBatches) -> Iterable[Batch]:
        """No batches: lengths are known without a forward pass.

        Args:
            group: The samples of all processes.
            own: Not used.
        """
        return ()

    def sums(self, group: Group, model: Any, batch: Batch) -> Sums:
        """No sums. It is never called, because there are no batches.

        Args:
            group: Not used.
            model: Not used.
            batch: Not used.
        """
        return {}

    def settle(self, group: Group, sums: Sums) -> Mapping[str, mx.array]:
        """Ratio of pairs to tokens of prompts and chosen answers, without the first token of each, which is not
        predicted.

        Args:
            group: The samples of all processes.
            sums: Empty.
        """
        lengths = [cast("tuple[int, ...]", self.dataset.part_lengths(sample))[0] for sample in group.samples]
        return {LIKELIHOOD_SCALE: mx.array(len(lengths) / sum(length - 1 for length in lengths))}


def mismatched(group: Group, dataset: Dataset) -> list[Example]:
    """Each prompt of a group with another sample's answer.

    First answers (the chosen of pairs, or single answers) precede second ones. Each prompt gets the previous answer
    in this order, cyclically, as TRL rotates a batch. Answers of the same sample are skipped.

    Args:
        group: The samples.
        dataset: Token ids of the samples.
    """
    parts = [
        (sample, side)
        for side in (0, 1)
        for sample in group.samples
        if side < len(dataset.part_lengths(sample) or (0,))
    ]
    return [_joined(dataset, part, _answer_for(number, parts, group.lender)) for number, part in enumerate(parts)]


def mismatched_batches(group: Group, dataset: Dataset, tokens: int, rank: int = 0, size: int = 1) -> Iterator[Batch]:
    """`mismatched` as batches, one example per row, with rows of similar length together.

    A part's `sample` is the example's index in the group.

    Args:
        group: The samples.
        dataset: Token ids of the samples.
        tokens: Largest number of tokens of a batch, padding included, unless one example is longer.
        rank: Rank of this process.
        size: Number of processes; each takes every `size`-th example.
    """
    examples = mismatched(group, dataset)
    # Ascending length: the example to add is the longest, so its length times the rows is the padded size.
    order = sorted(range(rank, len(examples), size), key=lambda number: len(examples[number].ids))
    rows: list[int] = []
    for number in order:
        if rows and len(examples[number].ids) * (len(rows) + 1) > tokens:
            yield _batch(rows, examples)
            rows = []
        rows.append(number)
    if rows:
        yield _batch(rows, examples)


def count_mismatched(group: Group, dataset: Dataset) -> int:
    """Number of examples that `mismatched` gives, computed from lengths alone.

    Args:
        group: The samples.
        dataset: Lengths of the answers: two for a pair, one for a single answer.
    """
    return sum(len(dataset.part_lengths(sample) or (0,)) for sample in group.samples)


def _answer_for(number: int, parts: Sequence[tuple[int, int]], lender: int | None) -> tuple[int, int]:
    """The sample and side whose answer is combined with a prompt."""
    sample, side = parts[number]
    if lender is not None:
        return lender, side
    # Negative indices count from the end, which makes the rotation cyclic.
    before = number - 1
    while parts[before][0] == sample:
        before -= 1
    return parts[before]


def _joined(dataset: Dataset, prompt: tuple[int, int], answer: tuple[int, int]) -> Example:
    question, answered = _part(dataset, *prompt), _part(dataset, *answer)
    # argmax of booleans is the first label: the end of the prompt.
    end, start = (int(np.argmax(each.is_label)) for each in (question, answered))
    return Example(
        np.concatenate([question.ids[:end], answered.ids[start:]]),
        np.concatenate([np.zeros(end, dtype=np.bool_), answered.is_label[start:]]),
    )


def _part(dataset: Dataset, sample: int, side: int) -> Example:
    """One answer of a sample with its prompt. The prompt has at least one token, because the first token is not a
    label.
    """
    ids, loss_mask = dataset.sample(sample)
    lengths = dataset.part_lengths(sample) or (len(ids),)
    side = min(side, len(lengths) - 1)
    # Parts of a sample are adjacent: skip the earlier ones.
    start = sum(lengths[:side])
    # A copy, because the data set's mask must not change.
    mask = loss_mask[start : start + lengths[side]].copy()
    mask[0] = False
    return Example(ids[start : start + lengths[side]], mask)


def _batch(numbers: Sequence[int], examples: Sequence[Example]) -> Batch:
    """Examples as a batch, one a row."""
    shape = len(numbers), max(len(examples[number].ids) for number in numbers)
    ids, segment_ids = np.zeros(shape, dtype=np.int32), np.full(shape, PADDING, dtype=np.int32)
    is_label = np.zeros(shape, dtype=np.bool_)
    parts: list[Part] = []
    for row, number in enumerate(numbers):
        example = examples[number]
        end = len(example.ids)
        ids[row, :end], segment_ids[row, :end], is_label[row, :end] = example.ids, 1, example.is_label
        labels = int(np.count_nonzero(example.is_label))
        parts.append(Part(number, row, 0, end, labels, int(np.argmax(example.is_label))))
    return Batch(
        ids=mx.array(ids),
        segment_ids=mx.array(segment_ids),
        is_label=mx.array(cast("Any", is_label)),  # the stub knows no numpy booleans
        places=mx.array(np.flatnonzero(is_label).astype(np.int32)),
        parts=tuple(parts),
        numbers=tuple(range(len(numbers))),
        step_rows=len(numbers),
    )


def settle(
    survey: Survey, group: Group, found: Iterable[Sums], processes: ProcessGroup = SINGLE
) -> dict[str, mx.array]:
    """The statistics from the sums of all batches, equal on every process of a run.

    Args:
        survey: Names the sums and turns them into statistics.
        group: The samples of all processes.
        found: Sums of this process's batches.
        processes: The processes that computed the other batches.
    """
    # Add up sums and counts first and divide once: the mean is over all batches and processes.
    total = {name: mx.array(0.0) for name in survey.names}
    for sums in found:
        total = {name: each + sums[name] for name, each in total.items()}
    settled = dict(survey.settle(group, processes.sum(total)))
    evaluate(settled)  # before a thread reads it
    return settled


def _mean(total: mx.array, count: mx.array) -> mx.array:
    # The estimate of a KL can be negative, the KL cannot.
    return mx.stop_gradient(mx.maximum(total / count, 0.0))
