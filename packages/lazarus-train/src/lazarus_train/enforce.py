"""The gate before the first step: nothing is trained on but what was planned.

Loads no array library: a run that is refused is refused at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lazarus_plan import BatchPlan, ChainCheck, StalePlan, check_lengths, load_plan
from lazarus_plan.lengths import ABSENT
from lazarus_tokenkit import Encoder, FieldNames, TextSample, compute_fingerprint, load_tokenizer, read_samples
from lazarus_tokenkit.errors import TemplateError
from lazarus_train.config import SftConfig
from lazarus_train.dataset import Dataset, read_dataset
from lazarus_train.errors import SetupError
from lazarus_train.units import units_by_step


@dataclass(frozen=True)
class Enforced:
    """A plan and the rows that it was proven to be of.

    Args:
        plan: Checked against itself.
        dataset: Checked against the plan: data, template, tokenizer, parameters, lengths.
        encoder: What encoded it; evaluation and chat use the same.
        units: What each step's loss is divided by, int64 (S,).
        template: Source of the chat template, where the rows are conversations and it is not the tokenizer's own.
        checked: Which links of the plan's chain hold, and which nobody could check.
    """

    plan: BatchPlan
    dataset: Dataset
    encoder: Encoder
    units: NDArray[np.int64]
    template: str | None
    checked: ChainCheck


def enforce(config: SftConfig, on_progress: Callable[[int], object] = lambda _: None) -> Enforced:
    """Reads plan, tokenizer and data, and refuses what does not fit.

    Args:
        config: Names them.
        on_progress: Called with the number of rows encoded since the last call.

    Raises:
        CorruptPlan: The plan contradicts itself.
        StalePlan: Names the first broken link of the chain, and the row, component or sample.
        SetupError: A plan of several sources, or samples that the objective cannot learn from.
    """
    plan = load_plan(config.batch_plan)
    if len(plan.metadata.sources) > 1:
        raise SetupError(
            f"{config.batch_plan} mixes {len(plan.metadata.sources)} sources; training reads one data file: plan them "
            "as one",
            "LR-E105",
        )
    encoder = planned_encoder(plan, config)
    try:
        dataset = read_dataset(config.data, encoder, fields(config), on_progress)
    except TemplateError:
        _check_tokenizer(plan, encoder)  # a template fails on a tokenizer that it was not planned with
        raise
    checked = check_lengths(plan, dataset.lengths, first_line=1)
    units = units_by_step(plan, dataset, config.objective)
    is_own = encoder.chat_template.source == encoder.tokenizer.chat_template
    is_text = isinstance(next(read_samples(config.data, fields(config))), TextSample)
    template = None if is_own or is_text else encoder.chat_template.source
    return Enforced(plan, dataset, encoder, units, template, checked)


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


def _check_tokenizer(plan: BatchPlan, encoder: Encoder) -> None:
    planned, found = plan.fingerprints["tokenizer"]["sources"][0], compute_fingerprint(encoder.tokenizer).fingerprint
    if planned not in (ABSENT, f"sha256:{found}"):
        raise StalePlan(
            f"tokenizer: the plan was measured with tokenizer {planned[:19]}, the model has sha256:{found[:12]}; build "
            "lengths and plan again with the model's tokenizer",
            "LP-E147",
        )
