"""Samples to the rows of a step, with the labels that the data state."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lazarus_plan.exports.steps import PlanRefused, PlanSteps, Share

LossOn = Literal["data", "completion", "assistant", "all"]
"""Which tokens are predicted.

data: those that the labels and masks of the sample name; a sample without any is refused.
completion, assistant: the same, but the sample must name the tokens of its completion or of the assistant's turns.
all: every token but the first of a sample; labels and masks are ignored."""
MASKS: dict[LossOn, tuple[str, ...]] = {
    "data": ("labels", "mask", "completion_mask", "assistant_masks"),
    "completion": ("labels", "mask", "completion_mask"),
    "assistant": ("labels", "mask", "assistant_masks"),
    "all": (),
}
"""Members of a sample of which one is needed. `labels` are token ids, -100 where nothing is predicted; the others are 1
where the token is predicted, else 0. A token is predicted where all that are there agree."""
IGNORED = -100
"""Label of a token that is not predicted."""


def is_predicted(number: int, sample: Mapping[str, Any], loss_on: LossOn) -> list[bool]:
    """Whether each token of a sample is predicted.

    Args:
        number: Of the sample, for messages.
        sample: `input_ids` and, unless `loss_on` is all, labels or masks.
        loss_on: Which tokens are predicted.

    Raises:
        PlanRefused: The sample names no such tokens (LP-E190), or labels or masks do not fit its tokens (LP-E191).
    """
    ids = [int(token) for token in sample["input_ids"]]
    predicted = [True] * len(ids)
    if loss_on == "all":
        return predicted
    if not any(sample.get(name) is not None for name in MASKS[loss_on]):
        raise PlanRefused(
            "LP-E190",
            f"sample {number} has none of {', '.join(MASKS[loss_on])}, and `loss_on` is {loss_on!r}: give one of them "
            "(`lazarus-tokenkit encode -d DATA -t TOKENIZER -o ENCODED` writes `mask`), or `loss_on='all'` to train on "
            "prompts too",
        )
    for name in MASKS["data"]:
        if sample.get(name) is None:
            continue
        values = [int(value) for value in sample[name]]
        if len(values) != len(ids):
            raise PlanRefused("LP-E191", f"sample {number}: {len(values)} `{name}` for {len(ids)} `input_ids`")
        for place, (value, token) in enumerate(zip(values, ids, strict=True)):
            if value not in ((IGNORED, token) if name == "labels" else (0, 1)):
                allowed = "the token's id or -100; labels must not be shifted" if name == "labels" else "0 or 1"
                raise PlanRefused("LP-E191", f"sample {number}: `{name}` is {value} at token {place}: give {allowed}")
            predicted[place] &= value != IGNORED if name == "labels" else bool(value)
    return predicted


def fill_rows(
    plan: PlanSteps, share: Share, samples: Sequence[Mapping[str, Any]], loss_on: LossOn = "data"
) -> dict[str, Any]:
    """The arrays of a share, as nested lists of R rows and T tokens.

    - `input_ids`; padding is 0.
    - `position_ids`: from 0 in every segment. A segment is a sample or a piece of it; attention must stay inside.
    - `segment_ids`: from 1 in every row; padding is 0.
    - `labels`: the token's own id where it is predicted from the tokens before it in its segment, else -100. Models of
      transformers shift them by one place themselves.
    - `row_numbers`: of each row in the step; `step`: the number of the step.

    A share without rows is one row of padding, number -1: without labels, for processes that must take part in a step.

    Args:
        plan: Its steps.
        share: Of one step.
        samples: The sample of each place of the share, in their order.
        loss_on: Which tokens are predicted.

    Raises:
        PlanRefused: A sample has other tokens than the plan (LP-E193), no labels (LP-E190) or wrong ones (LP-E191), or
            is a pair (LP-E198).
    """
    rows = max(1, len(share.rows))
    start_values = {"input_ids": 0, "position_ids": 0, "segment_ids": 0, "labels": IGNORED}
    batch: dict[str, Any] = {
        name: [[value] * share.row_len for _ in range(rows)] for name, value in start_values.items()
    }
    segments = [0] * rows
    for place, sample in zip(share.places, samples, strict=True):
        ids = _whole_ids(plan, place.sample, sample)
        size = place.end - place.start
        piece = slice(place.first, place.first + size)
        if len(ids[piece]) != size or (place.is_whole and len(ids) != size):
            raise PlanRefused(
                "LP-E193",
                f"sample {place.sample} has {len(ids)} tokens, the plan places {place.first + size} of them: encode the "
                "data as the length cache did",
            )
        predicted = is_predicted(place.sample, sample, loss_on)[piece]
        predicted[0] = False  # nothing of its own segment stands before it
        segments[place.row] += 1
        where = slice(place.start, place.end)
        batch["input_ids"][place.row][where] = ids[piece]
        batch["position_ids"][place.row][where] = range(size)
        batch["segment_ids"][place.row][where] = [segments[place.row]] * size
        batch["labels"][place.row][where] = [
            token if is_label else IGNORED for token, is_label in zip(ids[piece], predicted, strict=True)
        ]
    return {**batch, "row_numbers": list(share.rows) or [-1], "step": share.step}


class PlannedBatches:
    """The batches of a process: element i is share `i % micro_batches` of step `i // micro_batches`, by `fill_rows`.

    Args:
        plan: The steps.
        data: Sample i of the plan is `data[i]`: `input_ids` with `labels`, `mask`, `completion_mask` or
            `assistant_masks`. All data sources of the plan, one after the other.
        loss_on: Which tokens are predicted.

    Raises:
        PlanRefused: The data have another number of samples than the plan (LP-E193).
    """

    def __init__(self, plan: PlanSteps, data: Any, loss_on: LossOn = "data") -> None:
        if loss_on not in MASKS:
            raise PlanRefused("LP-E190", f"`loss_on` is {loss_on!r}; known are {', '.join(MASKS)}")
        plan.check_count(len(data))
        self.plan, self.data = plan, data
        self.loss_on: LossOn = loss_on

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self.plan):  # a negative number must not start again at the end
            raise IndexError(f"batch {index} of {len(self.plan)}: the plan has no other steps")
        share = self.plan.share(index)
        return fill_rows(self.plan, share, [self.data[place.sample] for place in share.places], self.loss_on)


def _whole_ids(plan: PlanSteps, number: int, sample: Mapping[str, Any]) -> list[int]:
    """The token ids of a sample, checked against the plan."""
    if "input_ids" not in sample:
        raise PlanRefused(
            "LP-E198", f"sample {number} has no `input_ids` but {', '.join(sample)}: encode the data before"
        )
    if sample.get("parts") is not None:
        raise PlanRefused(
            "LP-E198",
            f"sample {number} has several `parts`, such as chosen and rejected: exports feed one text a sample",
        )
    ids = [int(token) for token in sample["input_ids"]]
    plan.check_sample(number, ids)
    return ids
