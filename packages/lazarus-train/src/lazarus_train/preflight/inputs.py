"""Pre-flight check: refuses to train unless data, tokenizer, template and lengths match the plan.

Reads no weights, so a run that does not fit its plan is refused early.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazarus_models import read_config
from lazarus_plan import BatchPlan, load_plan
from lazarus_plan.checks import ChainCheck, check_lengths, check_pin
from lazarus_plan.errors import StalePlan
from lazarus_plan.lengths import ABSENT
from lazarus_tokenkit import Encoder, Tokenizer, load_tokenizer
from lazarus_tokenkit.errors import TemplateError, TokenizerNotFound
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import Dataset, field_names, read_dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import make_objective


@dataclass(frozen=True)
class RunInputs:
    """A plan and the rows that match it.

    Args:
        plan: The plan, validated.
        dataset: Data whose rows, template, tokenizer, parameters and lengths match the plan.
        encoder: The encoder of the data; evaluation and prompts use the same.
        units: Denominator of each step's loss, int64 (S,).
        template: Source of the chat template, if the rows are conversations and it is not the tokenizer's own.
        is_text: Whether the rows are texts instead of conversations.
        checked: Links of the plan's chain that are valid, and links that could not be checked.
    """

    plan: BatchPlan
    dataset: Dataset
    encoder: Encoder
    units: NDArray[np.int64]
    template: str | None
    is_text: bool
    checked: ChainCheck


def check_run(config: TrainConfig, on_progress: Callable[[int], object] = lambda _: None) -> RunInputs:
    """Reads plan, tokenizer and data, and refuses a run whose inputs do not match.

    Args:
        config: Settings of the run.
        on_progress: Called with the number of rows encoded since the last call.

    Raises:
        CorruptPlan: The plan is inconsistent.
        StalePlan: A link of the chain is broken; the message names it, and the row, component or sample.
        SetupError: The number of data files differs from the plan's sources, or the samples do not fit the
            objective.
    """
    plan = load_plan(config.batch_plan)
    if config.expect_plan is not None:
        check_pin(plan.plan_id, config.expect_plan, str(config.batch_plan))
    sources = plan.metadata.sources
    if len(sources) != len(config.data_files):
        raise SetupError(
            f"{config.batch_plan} has {len(sources)} sources ({', '.join(source.name for source in sources)}): give "
            f"`data` once for each, in this order; {len(config.data_files)} given",
            "LR-E105",
        )
    encoder = planned_encoder(plan, config)
    try:
        datasets = [read_dataset(path, encoder, field_names(config), on_progress) for path in config.data_files]
    except TemplateError:
        _check_tokenizer(plan, encoder)  # a template fails on a tokenizer that it was not planned with
        raise
    checks = [
        check_lengths(plan, each.lengths, number, first_line=1, is_measured=True)
        for number, each in enumerate(datasets)
    ]
    dataset = Dataset.joined(datasets, plan.metadata.numbering)
    units = make_objective(config.objective).loss_normalizer(plan, dataset)
    is_own = encoder.chat_template.source == encoder.tokenizer.chat_template
    is_text = all(each.is_text for each in datasets)
    template = None if is_own or is_text else encoder.chat_template.source
    return RunInputs(plan, dataset, encoder, units, template, is_text, _together(checks))


def _together(checks: Sequence[ChainCheck]) -> ChainCheck:
    """The links that are valid for every source, and the reasons why others could not be checked."""
    unchecked = {name: why for check in checks for name, why in check.unchecked.items()}
    return ChainCheck(tuple(link for link in checks[0].checked if link not in unchecked), unchecked)


def tokenizer_of(model: Path | str) -> Tokenizer:
    """The tokenizer of a model's folder.

    Args:
        model: The folder.

    Raises:
        TokenizerNotFound: The folder is a model without a tokenizer.
        ConfigError: It is not a model.
    """
    try:
        return load_tokenizer(str(model))
    except TokenizerNotFound:
        read_config(model)
        raise


def planned_encoder(plan: BatchPlan, config: TrainConfig) -> Encoder:
    """The model's tokenizer with the template and date of the plan's lengths.

    Args:
        plan: Plan that names the template and the date.
        config: Settings with the model, and possibly another template.
    """
    tokenizer = tokenizer_of(config.model)
    encoding = plan.encoding
    template = config.template or encoding.get("template")
    if "pinned_date" in encoding:
        return Encoder(tokenizer, template=template, pinned_date=encoding["pinned_date"])
    return Encoder(tokenizer, template=template)


def _check_tokenizer(plan: BatchPlan, encoder: Encoder) -> None:
    planned, found = plan.fingerprints["tokenizer"]["sources"][0], encoder.fingerprint.fingerprint
    if planned not in (ABSENT, f"sha256:{found}"):
        raise StalePlan(
            f"tokenizer: the plan was measured with tokenizer {planned[:19]}, the model has sha256:{found[:12]}; build "
            "lengths and plan again with the model's tokenizer",
            "LP-E147",
        )
