"""Held-out loss: fixed rows, fixed order, fixed draws; means weighted by units."""

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
"""Rows computed together; more is no faster on a CPU and takes memory for the logits."""
_SEED = 0
"""Of draws for held-out samples: the same at every measurement."""


class HeldOutData(NamedTuple):
    """Rows that are not trained on.

    Args:
        dataset: The rows.
        plan: In which they are measured.
        units: Of each of its steps.
        label_bytes: UTF-8 bytes of the texts that the labels stand for.
    """

    dataset: Dataset
    plan: BatchPlan
    units: tuple[int, ...]
    label_bytes: int


def plan_held_out(dataset: Dataset, objective: Objective[Any], tokenizer: Tokenizer, name: str) -> HeldOutData:
    """The fixed rows that held-out samples are measured in; none is left out.

    Args:
        dataset: The rows.
        objective: What is measured; it says whether samples share rows.
        tokenizer: Tells how many bytes the labels spell.
        name: Of the data, for messages.

    Raises:
        SetupError: No token carries loss, or a sample is not what the objective learns from.
    """
    row_len = max(1, int(dataset.lengths.length.max()))
    budget, mode = ROWS_AT_ONCE * row_len, objective.held_out_mode
    config = PlanConfig(token_budget=budget, row_len=row_len, mode=mode, zero_length="exclude")
    if not dataset.loss_mask.any():
        raise SetupError(f"{name}: no row has a token that carries loss; nothing to measure", "LR-E110")
    plan = build_plan(dataset.lengths, config)
    units = objective.loss_normalizer(plan, dataset, may_be_empty=True)
    if not units.any():
        raise SetupError(f"{name}: no row has a token that carries loss; nothing to measure", "LR-E110")
    return HeldOutData(dataset, plan, tuple(units.tolist()), _label_bytes(dataset, tokenizer))


def held_out(
    model: Any,
    objective: Objective[Any],
    data: HeldOutData,
    goes_on: Callable[[int], bool] = lambda _: True,
) -> HeldOut | None:
    """Measures a model on every held-out sample, each by itself.

    Args:
        model: In the mode it is left in.
        objective: What is measured, bound to these rows.
        data: `plan_held_out` of the rows.
        goes_on: Given the plan's steps measured so far, before each; false gives up.

    Returns:
        What was found, or None where it was given up.
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
            loss, told = objective.measure(model, replace(batch, random_inputs=surveyed), seed=_SEED)
            found = [loss, *(told[name] for name in objective.metrics)]
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
    """What the loss takes over all held-out samples, or None where it was given up."""
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
    """Bytes of the texts that are predicted: all that carry loss but first tokens, which nothing predicts without a bos.

    Not those of the decoded labels: decoding drops the space that SentencePiece tokenizers put in front of a text.
    """
    firsts = dataset.splits[:-1][np.diff(dataset.splits) > 0]
    unpredicted = dataset.ids[firsts[dataset.loss_mask[firsts]]]
    texts = [tokenizer.decode([token], skip_special=True) for token in unpredicted.tolist()]
    return dataset.loss_bytes - sum(len(text.encode()) for text in texts if "\ufffd" not in text)
