"""The gate before the first step: nothing is trained on but what was planned.

Loads no array library: a run that is refused is refused at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lazarus_plan import BatchPlan, check_lengths, load_plan
from lazarus_tokenkit import Encoder, FieldNames, TextSample, load_tokenizer, read_samples
from lazarus_train.config import SftConfig
from lazarus_train.dataset import Dataset, read_dataset
from lazarus_train.errors import SetupError


@dataclass(frozen=True)
class Enforced:
    """A plan and the rows that it was proven to be of.

    Args:
        plan: Checked against itself.
        dataset: Checked against the plan: data, template, tokenizer, parameters, lengths.
        encoder: What encoded it; evaluation and chat use the same.
        labels: Tokens that carry loss in each step, int64 (S,).
        template: Source of the chat template, where the rows are conversations and it is not the tokenizer's own.
    """

    plan: BatchPlan
    dataset: Dataset
    encoder: Encoder
    labels: np.ndarray
    template: str | None


def enforce(config: SftConfig, on_progress: Callable[[int], object] = lambda _: None) -> Enforced:
    """Reads plan, tokenizer and data, and refuses what does not fit.

    Args:
        config: Names them.
        on_progress: Called with the number of rows encoded since the last call.

    Raises:
        CorruptPlan: The plan contradicts itself.
        StalePlan: Names the first broken link of the chain, and the row, component or sample.
        SetupError: A plan of several sources, or a step without a token that carries loss.
    """
    plan = load_plan(config.batch_plan)
    if len(plan.metadata.sources) > 1:
        raise SetupError(
            f"{config.batch_plan} mixes {len(plan.metadata.sources)} sources; training reads one data file: plan them "
            "as one",
            "LR-E105",
        )
    encoder = planned_encoder(plan, config)
    dataset = read_dataset(config.data, encoder, fields(config), on_progress)
    check_lengths(plan, dataset.lengths, first_line=1)
    labels = _labels_by_step(plan, dataset)
    if not labels.all():
        step = int(np.argmin(labels))
        raise SetupError(
            f"step {step} has no token that carries loss (samples {list(plan.step(step).samples)}): "
            "give these samples a completion, or a larger token budget",
            "LR-E104",
        )
    is_own = encoder.chat_template.source == encoder.tokenizer.chat_template
    is_text = isinstance(next(read_samples(config.data, fields(config))), TextSample)
    return Enforced(plan, dataset, encoder, labels, None if is_own or is_text else encoder.chat_template.source)


def planned_encoder(plan: BatchPlan, config: SftConfig) -> Encoder:
    """The model's tokenizer with the template and date that the lengths were measured with."""
    tokenizer = load_tokenizer(str(config.model))
    encoding = plan.encoding
    template = config.template or encoding.get("template")
    if "pinned_date" in encoding:
        return Encoder(tokenizer, template=template, pinned_date=encoding["pinned_date"])
    return Encoder(tokenizer, template=template)


def fields(config: SftConfig) -> FieldNames:
    """The fields of a row that a run reads."""
    return FieldNames(
        text=config.text_field,
        messages=config.messages_field,
        prompt=config.prompt_field,
        completion=config.completion_field,
    )


def _labels_by_step(plan: BatchPlan, dataset: Dataset) -> np.ndarray:
    """Label tokens of each step: those of its samples, but for the first token of each piece."""
    labels_before = np.concatenate([[0], np.cumsum(dataset.loss_mask)])
    first = dataset.splits[plan.sample] + np.maximum(plan.span_start, 0)
    last = first + plan.end - plan.start
    by_segment = labels_before[last] - labels_before[np.minimum(first + 1, last)]
    return np.add.reduceat(by_segment, plan.step_splits[:-1])
