"""Settings of transformers' trainers that would train on something else than the plan: each is refused by name."""

from collections.abc import Collection
from typing import Any

from lazarus_plan.exports.rows import LossOn
from lazarus_plan.exports.steps import PlanRefused

_OTHER_ORDER = ("group_by_length", "batch_rebalance")


def check_settings(args: Any, steps: int, counts_tokens: bool) -> None:
    """Refuses settings that would skip, repeat, merge or reorder steps of the plan, or weigh their tokens otherwise.

    `gradient_accumulation_steps` may be any number: the rows of each step are cut into as many micro-batches.

    Args:
        args: `TrainingArguments` or `SFTConfig`.
        steps: Steps of the plan.
        counts_tokens: Whether the loss is divided by the predicted tokens of the whole step (`num_items_in_batch`).

    Raises:
        PlanRefused: LP-E194; the message names the setting.
    """

    def get(name: str) -> Any:
        return getattr(args, name, None)

    max_steps, epochs = args.max_steps, args.num_train_epochs
    strategy = get("train_sampling_strategy")
    is_split = get("world_size") not in (None, 1) or args.gradient_accumulation_steps > 1
    refused = {
        f"max_steps={max_steps} is beyond the plan's {steps} steps: set max_steps={steps}, or build a longer plan": (
            max_steps > steps
        ),
        f"num_train_epochs={epochs} would repeat the plan, which has epochs of its own: set num_train_epochs=1 or "
        f"max_steps={steps}": max_steps <= 0 and epochs > 1,
        "dataloader_drop_last=True drops rows: set it to False": bool(get("dataloader_drop_last")),
        f"train_sampling_strategy={strategy!r} reorders the samples: leave it out": strategy in _OTHER_ORDER,
        "group_by_length=True reorders the samples: leave it out": bool(get("group_by_length")),
        "packing=True packs samples again: the plan has packed them; set packing=False": bool(get("packing")),
        "shuffle_dataset=True renumbers the samples: set it to False": bool(get("shuffle_dataset")),
        "padding_free=True collates samples differently: set it to False": bool(get("padding_free")),
        "ignore_data_skip=True starts the plan again after a resume: set it to False": bool(get("ignore_data_skip")),
        "auto_find_batch_size=True repeats steps after running out of memory: raise gradient_accumulation_steps": bool(
            get("auto_find_batch_size")
        ),
        "several GPUs in one process split the rows again: start one process per GPU (torchrun)": (get("n_gpu") or 0)
        > 1,
        "average_tokens_across_devices=False gives tokens of different processes different weights: set it to True": (
            get("world_size") not in (None, 1) and get("average_tokens_across_devices") is False
        ),
        "the model takes no `num_items_in_batch`, so micro-batches and processes would weigh alike whatever they predict: "
        "pass `compute_loss_func`, or train with one process and gradient_accumulation_steps=1": (
            is_split and not counts_tokens
        ),
    }
    for problem, is_wrong in refused.items():
        if is_wrong:
            raise PlanRefused("LP-E194", problem)


def choose_loss(args: Any, columns: Collection[str], asked: LossOn | None) -> LossOn:
    """Which tokens are predicted, from what the trainer was asked for and what the data state.

    TRL gives labels of all tokens to data that state none, also where `completion_only_loss=True`. So the columns decide that
    the data had before TRL prepared them.

    Args:
        args: `TrainingArguments` or `SFTConfig`.
        columns: Names of the data's columns, as the trainer was given them.
        asked: `loss_on` of the trainer; None where it was not set.

    Raises:
        PlanRefused: A loss on completions was asked for and the data do not tell them, or nothing decides whether prompts
            are trained on (LP-E190).
    """
    if asked == "all":
        return "all"
    states_loss = not {"labels", "mask"}.isdisjoint(columns)
    states_completion = states_loss or "completion_mask" in columns or {"prompt", "completion"} <= set(columns)
    states_turns = states_loss or not {"assistant_masks", "messages", "conversations"}.isdisjoint(columns)
    completion_only = getattr(args, "completion_only_loss", None)
    assistant_only = bool(getattr(args, "assistant_only_loss", False))
    given = f"the data have the columns {', '.join(sorted(columns))}"
    way_out = "add `labels` or `completion_mask` (`lazarus-tokenkit encode` writes `mask`), or set loss_on='all'"
    if (completion_only or asked == "completion") and not states_completion:
        raise PlanRefused("LP-E190", f"the loss on completions alone was asked for, and {given}: {way_out}")
    if (assistant_only or asked == "assistant") and not states_turns:
        raise PlanRefused("LP-E190", f"the loss on the assistant's turns alone was asked for, and {given}: {way_out}")
    if completion_only is False and "completion_mask" in columns:
        raise PlanRefused(
            "LP-E190", f"completion_only_loss=False, and {given}: remove `completion_mask`, or leave the setting out"
        )
    has_prompts = "messages" in columns or "conversations" in columns
    is_text = not has_prompts and "input_ids" not in columns
    if not (states_completion or "assistant_masks" in columns or assistant_only or is_text):
        raise PlanRefused("LP-E190", f"it is unknown whether the loss includes prompts; {given}: {way_out}")
    return asked or ("completion" if completion_only else "data")
