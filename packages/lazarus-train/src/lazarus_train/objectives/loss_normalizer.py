"""What the loss of a step is divided by, and what an objective asks of its samples. Loads no array library.

Text, answers and masked tokens are counted in labels; pairs and scores in samples. The denominator is the step's, whatever
is computed at once and by how many ranks. S = steps.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_plan import BatchPlan
from lazarus_tokenkit import Tokenizer
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.settings import DiffusionSettings, MntpSettings, ObjectiveSettings, PreferenceSettings

logger = logging.getLogger(__name__)

_MOST_NAMED = 8
"""Classes that a message names."""
LABELS = ("causal", "diffusion", "mntp")
PAIRS = ("preference", "reward")
"""Kinds of objectives that are counted in labels, and those of two answers; the others read one answer a sample."""


def units_by_step(
    plan: BatchPlan, dataset: Dataset, objective: ObjectiveSettings, *, may_be_empty: bool = False
) -> NDArray[np.int64]:
    """The denominator of each step, int64 (S,).

    Args:
        plan: The steps.
        dataset: Their samples.
        objective: What is learnt from them.
        may_be_empty: Whether a step may have nothing to learn: held-out steps are summed before they are divided.

    Raises:
        SetupError: A sample is not what the objective learns from, or a step has nothing to learn.
    """
    if objective.kind in LABELS:
        _check_texts(dataset, objective)
        labels = _labels_by_step(plan, dataset)
        _warn_of_lost_labels(plan, dataset)
        if not may_be_empty:
            _check_labels(plan, dataset, labels)
        return labels
    _check_whole(plan, dataset)
    if isinstance(objective, PreferenceSettings) and objective.loss == "kto" and len(np.unique(plan.sample)) < 2:
        raise SetupError(
            f"{dataset.place(int(plan.sample[0]))} is the only sample, and `loss` kto needs another one's answer for its "
            "reference point: give two or more",
            "LR-E139",
        )
    if dataset.labels:
        _check_labelled(dataset)
        return np.diff(plan.step_splits).astype(np.int64)
    for sample in np.unique(plan.sample).tolist():
        _check_answers(dataset, sample, pairs=objective.kind in PAIRS)
    return np.diff(plan.step_splits).astype(np.int64)


def epochs_by_step(plan: BatchPlan, dataset: Dataset) -> NDArray[np.float64]:
    """Tokens up to the end of each step as a multiple of the data's, float64 (S,): equivalent epochs."""
    tokens = np.add.reduceat(plan.end - plan.start, plan.step_splits[:-1])
    return np.cumsum(tokens) / dataset.lengths.length.sum()


def answers(dataset: Dataset, tokenizer: Tokenizer) -> list[str]:
    """What the labels of each sample spell: the class or the number that it stands for."""
    pairs = (dataset.sample(index) for index in range(len(dataset)))
    return [tokenizer.decode(ids[loss_mask].tolist(), skip_special=True).strip() for ids, loss_mask in pairs]


def numbers(dataset: Dataset, tokenizer: Tokenizer) -> NDArray[np.float32]:
    """Answers as numbers.

    Raises:
        SetupError: One is none.
    """
    found: list[float] = []
    for index, text in enumerate(answers(dataset, tokenizer)):
        number = _as_number(text)
        if number is None:
            raise SetupError(f"{dataset.place(index)}: {text!r} is no number to learn; regression needs one", "LR-E131")
        found.append(number)
    return np.array(found, dtype=np.float32)


def classes_of(dataset: Dataset, tokenizer: Tokenizer, classes: Sequence[str]) -> NDArray[np.int32]:
    """Answers as numbers of classes.

    Raises:
        SetupError: One is no class.
    """
    number = {name: place for place, name in enumerate(classes)}
    spelled = answers(dataset, tokenizer)
    for index, text in enumerate(spelled):
        if text not in number:
            known = ", ".join(map(repr, classes[:_MOST_NAMED])) + (", .." if len(classes) > _MOST_NAMED else "")
            raise SetupError(
                f"{dataset.place(index)}: {text!r} is none of the {len(classes)} classes {known}; leave this row out, or "
                "give all classes as `classes`",
                "LR-E137",
            )
    return np.array([number[text] for text in spelled], dtype=np.int32)


def _as_number(text: str) -> float | None:
    """A finite number in single precision, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= np.finfo(np.float32).max else None


def _check_texts(dataset: Dataset, objective: ObjectiveSettings) -> None:
    if dataset.parts:
        raise SetupError(
            f"{dataset.place(min(dataset.parts))} is a pair of answers, one to prefer: train it with `dpo` or `reward`",
            "LR-E132",
        )
    if isinstance(objective, DiffusionSettings | MntpSettings) and (dataset.ids == objective.mask_id).any():
        raise SetupError(
            f"`mask_id` {objective.mask_id} stands in the data: a mask is to be told from a token", "LR-E133"
        )


def _check_labels(plan: BatchPlan, dataset: Dataset, labels: NDArray[np.int64]) -> None:
    if not labels.all():
        step = int(np.argmin(labels))
        raise SetupError(
            f"step {step} has no token that carries loss ({dataset.place(plan.step(step).samples[0])} and what is with it): "
            "give these samples a completion, or a larger token budget",
            "LR-E104",
        )


def _check_whole(plan: BatchPlan, dataset: Dataset) -> None:
    planned, whole = plan.length, np.diff(dataset.splits)[plan.sample]
    if (planned != whole).any():
        sample = int(plan.sample[np.argmax(planned != whole)])
        raise SetupError(
            f"the plan cuts {dataset.place(sample)}, which is learnt as a whole: plan with `--oversize error` or `exclude`",
            "LR-E134",
        )


def _check_answers(dataset: Dataset, sample: int, *, pairs: bool) -> None:
    parts = dataset.part_lengths(sample)
    if (parts is not None and len(parts) == 2) is not pairs:
        wanted = "a chosen and a rejected answer" if pairs else "one question and its answer"
        raise SetupError(f"{dataset.place(sample)} is not {wanted}, as this objective learns from", "LR-E135")
    _, loss_mask = dataset.sample(sample)
    for mask in np.split(loss_mask, np.cumsum(parts)[:-1] if parts else []):
        if not mask[1:].any():
            raise SetupError(f"{dataset.place(sample)} has an answer without a token that carries loss", "LR-E136")
    if not pairs and (loss_mask[1:].all() or np.count_nonzero(np.diff(loss_mask.astype(np.int8)) == 1) > 1):
        raise SetupError(
            f"{dataset.place(sample)} is not one question and its answer, as this objective learns from, but a text or a "
            "conversation of several answers",
            "LR-E135",
        )


def _check_labelled(dataset: Dataset) -> None:
    for sample in sorted(dataset.labels):
        if not dataset.sample(sample)[1][1:].any():
            raise SetupError(f"{dataset.place(sample)} has an answer without a token that carries loss", "LR-E136")


def lost_labels(plan: BatchPlan, dataset: Dataset) -> NDArray[np.int64]:
    """Samples that carry loss, but none of it in the tokens that the plan uses; ascending."""
    labels_before = np.concatenate([[0], np.cumsum(dataset.loss_mask)])
    whole = labels_before[dataset.splits[1:]] - labels_before[np.minimum(dataset.splits[:-1] + 1, dataset.splits[1:])]
    used = np.zeros(len(dataset), dtype=np.int64)
    np.add.at(used, plan.sample, _labels_by_segment(plan, dataset))
    is_placed = np.zeros(len(dataset), dtype=np.bool_)
    is_placed[plan.sample] = True
    return np.flatnonzero(is_placed & (whole > 0) & (used == 0))


def _warn_of_lost_labels(plan: BatchPlan, dataset: Dataset) -> None:
    lost = lost_labels(plan, dataset)
    if len(lost):
        logger.warning(
            "the plan cuts off every token that carries loss of %d of %d samples, the first %s: nothing is learnt from"
            " them; build the plan with a larger `row_len`, or with `oversize` split or exclude",
            len(lost),
            len(np.unique(plan.sample)),
            dataset.place(int(lost[0])),
        )


def _labels_by_segment(plan: BatchPlan, dataset: Dataset) -> NDArray[np.int64]:
    """Label tokens of each piece: all but its first token."""
    labels_before = np.concatenate([[0], np.cumsum(dataset.loss_mask)])
    first = dataset.splits[plan.sample] + np.maximum(plan.span_start, 0)
    last = first + plan.length
    return labels_before[last] - labels_before[np.minimum(first + 1, last)]


def _labels_by_step(plan: BatchPlan, dataset: Dataset) -> NDArray[np.int64]:
    """Label tokens of each step."""
    return np.add.reduceat(_labels_by_segment(plan, dataset), plan.step_splits[:-1])
