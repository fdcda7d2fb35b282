"""Held-out loss on fixed rows, in a fixed order, with fixed random inputs. Means are weighted by units."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_plan import BatchPlan, PlanConfig, build_plan
from lazarus_tokenkit import Tokenizer
from lazarus_train.callbacks.reports import HeldOut
from lazarus_train.data.batches import Batch, make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import Objective, OwnBatches, Sums, held_out_group
from lazarus_train.objectives.surveys import settle

ROWS_AT_ONCE = 8
"""Rows per forward pass. More rows are no faster on a CPU and need more memory for logits."""
_SEED = 0
"""Seed of the random inputs of held-out samples, the same for every measurement."""


class HeldOutData(NamedTuple):
    """Held-out rows with their plan.

    Args:
        dataset: The rows.
        plan: Plan of the evaluation batches.
        units: Units of each step of that plan, int64 (S,).
        label_bytes: UTF-8 bytes of the text that the labels encode.
    """

    dataset: Dataset
    plan: BatchPlan
    units: tuple[int, ...]
    label_bytes: int


def plan_held_out(dataset: Dataset, objective: Objective[Any], tokenizer: Tokenizer, name: str) -> HeldOutData:
    """Plans the evaluation batches of held-out samples. No sample is dropped.

    Args:
        dataset: The rows.
        objective: The objective to measure; it decides whether samples share rows.
        tokenizer: Used to count the bytes of the labels.
        name: Name of the held-out set, for messages.

    Raises:
        SetupError: No token carries loss, or a sample does not fit the objective.
    """
    row_len = max(1, int(dataset.lengths.length.max()))
    budget, mode = ROWS_AT_ONCE * row_len, objective.held_out_mode
    config = PlanConfig(token_budget=budget, row_len=row_len, mode=mode, zero_length="exclude")
    if not dataset.loss_mask.any() and not objective.is_on_policy:  # an answer that is drawn needs no label
        raise SetupError(f"{name}: no row has a token that carries loss; give rows with completions", "LR-E110")
    plan = build_plan(dataset.lengths, config)
    units = objective.loss_normalizer(plan, dataset, may_be_empty=True)
    if not units.any():
        raise SetupError(f"{name}: no row has a token that carries loss; give rows with completions", "LR-E110")
    return HeldOutData(dataset, plan, tuple(units.tolist()), _label_bytes(dataset, tokenizer))


def held_out(
    model: Any,
    objective: Objective[Any],
    data: HeldOutData,
    goes_on: Callable[[int], bool] = lambda _: True,
) -> HeldOut | None:
    """Measures a model on every held-out sample.

    Args:
        model: The model; its mode is restored afterwards.
        objective: The objective, bound to these rows.
        data: Result of `plan_held_out`.
        goes_on: Called before each step with the number of steps measured; returning false cancels.

    Returns:
        The result, or None if it was cancelled.
    """
    was_training = model.training
    model.eval()
    sums = np.zeros(1 + len(objective.metrics))
    try:
        surveyed = _survey(model, objective, data, goes_on)
        if surveyed is None:
            return None
        for index in range(len(data.plan)):
            if not goes_on(index):
                return None
            batch = _batch(data, index)
            loss, metrics = objective.measure(model, replace(batch, random_inputs=surveyed), seed=_SEED)
            found = [loss, *(metrics[name] for name in objective.metrics)]
            evaluate(found)
            sums += [cast("float", each.item()) for each in found]
    finally:
        model.train(was_training)
    units = sum(data.units)
    metrics = {name: total / units for name, total in zip(objective.metrics, sums[1:].tolist(), strict=True)}
    return HeldOut(objective.unit, units, float(sums[0]), metrics, data.label_bytes, objective.baseline)


def _survey(
    model: Any, objective: Objective[Any], data: HeldOutData, goes_on: Callable[[int], bool]
) -> Mapping[str, mx.array] | None:
    """Statistics over all held-out samples that the loss needs; None if cancelled."""
    survey = objective.survey
    if survey is None:
        return {}
    group, found = held_out_group(data.plan), list[Sums]()
    own = OwnBatches(
        lambda: map(partial(_batch, data), range(len(data.plan))), data.plan.step(0).row_len * ROWS_AT_ONCE
    )
    for batch in survey.batches(group, own):
        if not goes_on(0):
            return None
        found.append(survey.sums(group, model, batch))
        evaluate(found[-1])
    return settle(survey, group, found)


def _batch(data: HeldOutData, index: int) -> Batch:
    step = data.plan.step(index)
    return make_batch(step.rows, data.dataset, step.row_len)


def _label_bytes(dataset: Dataset, tokenizer: Tokenizer) -> int:
    """Bytes of the predicted text. The first token of a sample is excluded: without a BOS token it is not
    predicted.

    Decoding the labels would give another number: it drops the space that SentencePiece puts before a text.
    """
    firsts = dataset.splits[:-1][np.diff(dataset.splits) > 0]
    unpredicted = dataset.ids[firsts[dataset.loss_mask[firsts]]]
    texts = [tokenizer.decode([token], skip_special=True) for token in unpredicted.tolist()]
    return dataset.loss_bytes - sum(len(text.encode()) for text in texts if "\ufffd" not in text)
