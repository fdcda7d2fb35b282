"""Checks the model against the run before the first step: refuses or warns."""

from collections.abc import Callable
from typing import Any

from lazarus_models import LoadedModel
from lazarus_models.backend import mx
from lazarus_models.config import MoEConfig
from lazarus_models.loading import supports_packing
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import Objective
from lazarus_train.objectives.sequence_head import SequenceHead
from lazarus_train.preflight.inputs import RunInputs


def check_model(
    lm: LoadedModel,
    inputs: RunInputs,
    config: TrainConfig,
    objective: Objective[Any],
    head: SequenceHead | None,
    on_warning: Callable[[str], Any],
) -> None:
    """Refuses a run that the model does not support, and warns about probable mistakes.

    Args:
        lm: The loaded model, without adapters.
        inputs: Data and plan.
        config: Settings of the run.
        objective: The objective to train; its extra token ids are checked too.
        head: Result of the objective's `sequence_head`.
        on_warning: Called with each warning.

    Raises:
        SetupError: The device does not support the model in the precision of `config`. Or the plan packs samples
            and the model cannot separate them. Or the data has token ids outside the vocabulary.
    """
    dataset, plan = inputs.dataset, inputs.plan.metadata.config
    if (plan.shares_rows or dataset.parts) and not supports_packing(lm):
        raise SetupError(
            f"a {lm.family} model cannot separate the samples of a row (state, positions or attention chunks), so it "
            "cannot train on rows of several samples or answers; plan one sample per row with `mode=padded`",
            "LR-E101",
        )
    check_ids(lm, dataset, objective, "the data")
    if config.mixed_precision and _has_experts(lm) and mx.default_device().type == mx.cpu:
        raise SetupError(
            f"`mixed_precision` with a {lm.family} model on a CPU: MLX multiplies stacks of experts in float32 only there; set "
            "`mixed_precision` to false, which is faster on a CPU too",
            "LR-E124",
        )
    longest, context = dataset.longest, lm.config.max_position_embeddings
    if context is not None and min(longest, plan.row_len or longest) > context:
        on_warning(
            f"warning: the longest sample is {longest:,} tokens but the model's context is {context:,}: rebuild the plan with "
            f"`row_len={context}`"
        )
    for line in objective.warnings(dataset, head):
        on_warning(line)


def check_ids(lm: LoadedModel, dataset: Dataset, objective: Objective[Any], name: str) -> None:
    """Refuses token ids outside the vocabulary: MLX would read out of bounds.

    Args:
        lm: The model.
        dataset: Training or held-out data.
        objective: The objective; it may add token ids such as a mask.
        name: Name of the data, for the message.

    Raises:
        SetupError: A token id of the data or the objective is outside the vocabulary.
    """
    size = lm.config.vocab_size
    added = max(objective.token_ids, default=0)
    lowest, highest = (int(dataset.ids.min()), int(dataset.ids.max())) if len(dataset.ids) else (0, 0)
    if lowest < 0 or max(highest, added) >= size:
        wrong = lowest if lowest < 0 else max(highest, added)
        raise SetupError(
            f"{name}, or its mask, has token id {wrong}, but the model has ids below {size}: use the tokenizer of the model",
            "LR-E102",
        )


def _has_experts(lm: LoadedModel) -> bool:
    return any(isinstance(feed, MoEConfig) for block in lm.model.config.blocks for feed in block.feed_forward)
