"""Whether a model can learn what a run asks of it: said before the first step, not behind hours of work."""

from collections.abc import Callable
from typing import Any

from lazarus_models import LoadedModel, supports_packing
from lazarus_models.backend import mx
from lazarus_models.config.architecture import MoEConfig
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import Dataset
from lazarus_train.engine.sample_generations import prepare
from lazarus_train.errors import SetupError
from lazarus_train.objectives.sequence import Head
from lazarus_train.objectives.settings import ClassificationSettings, DiffusionSettings, MntpSettings
from lazarus_train.preflight import Enforced


def check_suitable(
    lm: LoadedModel, enforced: Enforced, config: TrainConfig, head: Head | None, on_warning: Callable[[str], Any]
) -> None:
    """Refuses what a model cannot do, and warns of what it may not be meant to.

    Args:
        lm: The model.
        enforced: Data and plan.
        config: What is asked for.
        head: What scores stand for, if any.
        on_warning: Is told in words.

    Raises:
        SetupError: The device cannot compute the model in the precision asked for, the plan puts several samples in a row and the model cannot tell them apart, the data holds ids that it does
            not know, or a prompt is longer than it reads.
    """
    dataset, plan, objective = enforced.dataset, enforced.plan.metadata.config, config.objective
    if (plan.shares_rows or dataset.parts) and not supports_packing(lm):
        raise SetupError(
            f"a {lm.family} model lets the samples of a row see each other, by a state, positions or chunks of attention, so it "
            "cannot train on rows of several samples or answers; plan single ones with --mode padded",
            "LR-E101",
        )
    check_ids(lm, dataset, config, "the data")
    if config.mixed_precision and _has_experts(lm) and mx.default_device().type == mx.cpu:
        raise SetupError(
            f"`mixed_precision` with a {lm.family} model on a CPU: MLX multiplies stacks of experts in float32 only there; set "
            "`mixed_precision` to false, which is faster on a CPU too",
            "LR-E124",
        )
    for prompt in config.sample_prompts:
        prepare(lm, enforced.encoder, prompt, is_text=enforced.is_text)
    longest, context = dataset.longest, lm.config.max_position_embeddings
    if context is not None and min(longest, plan.row_len or longest) > context:
        on_warning(
            f"warning: the longest sample has {longest} tokens, the model was made for {context}: it has never seen the "
            "positions beyond; plan with a shorter --row-len"
        )
    if isinstance(objective, ClassificationSettings) and head is not None and 2 * len(head.outputs) > len(dataset):
        on_warning(
            f"warning: the {len(dataset)} answers are {len(head.outputs)} classes, so most stand once; if they are texts to "
            "write, `sft` learns that"
        )


def check_ids(lm: LoadedModel, dataset: Dataset, config: TrainConfig, name: str) -> None:
    """Refuses token ids that a model does not have: MLX would read beyond the embedding.

    Args:
        lm: The model.
        dataset: Training or held-out data.
        config: Its objective may have a `mask_id`.
        name: Of the data, for the message.

    Raises:
        SetupError: An id of the data, or the `mask_id`, lies outside the vocabulary.
    """
    objective, size = config.objective, lm.config.vocab_size
    mask_id = objective.mask_id if isinstance(objective, DiffusionSettings | MntpSettings) else 0
    lowest, highest = (int(dataset.ids.min()), int(dataset.ids.max())) if len(dataset.ids) else (0, 0)
    if lowest < 0 or max(highest, mask_id) >= size:
        wrong = lowest if lowest < 0 else max(highest, mask_id)
        raise SetupError(
            f"{name}, or its mask, has token id {wrong}, the model knows {size}: tokenizer and model do not belong together",
            "LR-E102",
        )


def _has_experts(lm: LoadedModel) -> bool:
    return any(isinstance(feed, MoEConfig) for block in lm.model.config.blocks for feed in block.feed_forward)
