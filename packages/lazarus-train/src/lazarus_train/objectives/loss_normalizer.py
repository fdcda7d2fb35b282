"""Denominators of a step's loss, and the checks of samples that several objectives share. Loads no array library.

Objectives over tokens count labels; objectives over pairs or scores count samples. The denominator belongs to the whole step,
however its rows are divided into micro-batches and processes. S = steps.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from lazarus_plan import BatchPlan
from lazarus_tokenkit import Tokenizer
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError

logger = logging.getLogger(__name__)


def labels_by_step(plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
    """Label tokens of each step, int64 (S,).

    Args:
        plan: The steps.
        dataset: Samples of the plan: texts, conversations or answers, not pairs.
        may_be_empty: Whether a step may have no label.

    Raises:
        SetupError: A sample is a pair of answers, or a step has no label.
    """
    if dataset.parts:
        raise SetupError(
            f"{dataset.place(min(dataset.parts))} is a pair of answers: train it with objective `preference` or `reward`",
            "LR-E132",
        )
    labels = _labels_by_step(plan, dataset)
    _warn_of_lost_labels(plan, dataset)
    if not may_be_empty:
        _check_labels(plan, dataset, labels)
    return labels


def samples_by_step(plan: BatchPlan, dataset: Dataset, *, pairs: bool) -> NDArray[np.int64]:
    """Samples of each step, int64 (S,), for objectives that need whole samples.

    Args:
        plan: The steps.
        dataset: Samples of the plan.
        pairs: Whether a sample is a chosen and a rejected answer; otherwise it is one question with one answer.

    Raises:
        SetupError: The plan truncates or splits a sample, or a sample is not of this type.
    """
    check_whole(plan, dataset)
    for sample in np.unique(plan.sample).tolist():
        _check_answers(dataset, sample, pairs=pairs)
    return np.diff(plan.step_splits).astype(np.int64)


def tokens_by_step(plan: BatchPlan) -> NDArray[np.int64]:
    """Real tokens of each step, int64 (S,)."""
    return np.add.reduceat(plan.end - plan.start, plan.step_splits[:-1])


def epochs_by_step(plan: BatchPlan, dataset: Dataset) -> NDArray[np.float64]:
    """Epochs completed at the end of each step: tokens so far divided by the data's tokens, float64 (S,).

    Args:
        plan: The steps.
        dataset: Samples of the plan.
    """
    return np.cumsum(tokens_by_step(plan)) / dataset.lengths.length.sum()


def answers(dataset: Dataset, tokenizer: Tokenizer) -> list[str]:
    """The text of each sample's labels, such as the name of a class or a number.

    Args:
        dataset: The samples.
        tokenizer: The tokenizer that encoded them.
    """
    pairs = (dataset.sample(index) for index in range(len(dataset)))
    return [tokenizer.decode(ids[loss_mask].tolist(), skip_special=True).strip() for ids, loss_mask in pairs]


def lost_labels(plan: BatchPlan, dataset: Dataset) -> NDArray[np.int64]:
    """Samples whose loss tokens are all outside the tokens that the plan uses; ascending.

    Args:
        plan: The steps.
        dataset: Samples of the plan.
    """
    # Prefix sum: tokens a..b (half-open) have labels_before[b] - labels_before[a] labels.
    labels_before = np.concatenate([[0], np.cumsum(dataset.loss_mask)])
    # The first token of a sample is no label; the minimum covers samples without tokens.
    whole = labels_before[dataset.splits[1:]] - labels_before[np.minimum(dataset.splits[:-1] + 1, dataset.splits[1:])]
    used = np.zeros(len(dataset), dtype=np.int64)
    # A split sample has several segments: add.at adds all of them, `used[..] +=` would keep one.
    np.add.at(used, plan.sample, _labels_by_segment(plan, dataset))
    is_placed = np.zeros(len(dataset), dtype=np.bool_)
    is_placed[plan.sample] = True
    return np.flatnonzero(is_placed & (whole > 0) & (used == 0))


def _warn_of_lost_labels(plan: BatchPlan, dataset: Dataset) -> None:
    lost = lost_labels(plan, dataset)
    if len(lost):
        logger.warning(
            "the plan cuts off every token that carries loss of %d of %d samples, the first %s: these samples are not trained on;"
            " build the plan with a larger `row_len`, or with `oversize` split or exclude",
            len(lost),
            len(np.unique(plan.sample)),
            dataset.place(int(lost[0])),
        )


def check_whole(plan: BatchPlan, dataset: Dataset) -> None:
    """Refuses a plan that truncates or splits samples.

    Args:
        plan: The steps.
        dataset: Samples of the plan.

    Raises:
        SetupError: Names the first sample that is not whole.
    """
    planned, whole = plan.length, np.diff(dataset.splits)[plan.sample]
    if (planned != whole).any():
        # argmax of booleans is the position of the first True.
        sample = int(plan.sample[np.argmax(planned != whole)])
        raise SetupError(
            f"the plan truncates or splits {dataset.place(sample)}, but the objective needs whole samples: rebuild the plan with `oversize=error` or "
            "`oversize=exclude`",
            "LR-E134",
        )


def check_labelled(dataset: Dataset) -> None:
    """Refuses labelled answers (KTO) without a token that carries loss.

    Raises:
        SetupError: Names the first such sample.
    """
    for sample in sorted(dataset.labels):
        if not dataset.sample(sample)[1][1:].any():
            raise SetupError(f"{dataset.place(sample)} has an answer without a token that carries loss", "LR-E136")


def _check_labels(plan: BatchPlan, dataset: Dataset, labels: NDArray[np.int64]) -> None:
    if not labels.all():
        step = int(np.argmin(labels))
        raise SetupError(
            f"step {step} has no token that carries loss (it starts with {dataset.place(plan.step(step).samples[0])}): "
            "give its samples a completion, or plan with a larger `token_budget`",
            "LR-E104",
        )


def _check_answers(dataset: Dataset, sample: int, *, pairs: bool) -> None:
    parts = dataset.part_lengths(sample)
    if (parts is not None and len(parts) == 2) is not pairs:
        wanted = "a chosen and a rejected answer" if pairs else "one question and its answer"
        raise SetupError(
            f"{dataset.place(sample)} is not {wanted}, as this objective requires; give other data or another objective",
            "LR-E135",
        )
    _, loss_mask = dataset.sample(sample)
    for mask in np.split(loss_mask, np.cumsum(parts)[:-1] if parts else []):
        if not mask[1:].any():
            raise SetupError(f"{dataset.place(sample)} has an answer without a token that carries loss", "LR-E136")
    # A rise from 0 to 1 starts a run of loss tokens; a second run means several answers.
    if not pairs and (loss_mask[1:].all() or np.count_nonzero(np.diff(loss_mask.astype(np.int8)) == 1) > 1):
        raise SetupError(
            f"{dataset.place(sample)} is not one question and its answer, as this objective requires, but a text or a "
            "conversation of several answers",
            "LR-E135",
        )


def _labels_by_segment(plan: BatchPlan, dataset: Dataset) -> NDArray[np.int64]:
    """Label tokens of each segment: all of its loss tokens but the first token."""
    labels_before = np.concatenate([[0], np.cumsum(dataset.loss_mask)])
    first = dataset.splits[plan.sample] + np.maximum(plan.span_start, 0)
    last = first + plan.length
    # Count from the second token of the segment, since no token precedes the first.
    return labels_before[last] - labels_before[np.minimum(first + 1, last)]


def _labels_by_step(plan: BatchPlan, dataset: Dataset) -> NDArray[np.int64]:
    """Label tokens of each step."""
    # Sums between step boundaries. No step is empty, as reduceat requires.
    return np.add.reduceat(_labels_by_segment(plan, dataset), plan.step_splits[:-1])
