"""Scores of replies by a composed reward: the mean of the reward and of each part."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_gym.rewards.composed import ComposedReward
from lazarus_gym.rewards.verdicts import Answer
from lazarus_gym.samples import check_pairs, read_replies, read_rows


@dataclass(frozen=True)
class PartMean:
    """The mean of the reward, or of a part.

    Args:
        mean: The mean of the values; None where there is none.
        n: Number of values. Aborted verdicts have none.
        weight: Weight of the part; 1 for the reward itself.
    """

    mean: float | None
    n: int
    weight: float


@dataclass(frozen=True)
class RewardScores:
    """Scores of replies.

    Args:
        means: By name of the part, and of the whole reward (`"reward"`, last).
        n: Number of replies.
        aborted: Ids of replies without a reward, with the reasons.
    """

    means: dict[str, PartMean]
    n: int
    aborted: dict[str, str]


def score_file(rows: Path, replies: Path, reward: ComposedReward) -> RewardScores:
    """Scores one reply to every row.

    Args:
        rows: JSON lines with `id`, `prompt` or `messages`, and what the reward compares with.
        replies: JSON lines with `id` and `reply`, one for each row.
        reward: The reward.

    Raises:
        SamplesError: A file cannot be read, or a row has no reply (LG-E110 to LG-E117).
        RewardError: A row lacks the right answer (LG-E124).
    """
    known, said = read_rows(rows), read_replies(replies)
    check_pairs(known, said)
    verdicts = reward.score([Answer(_prompt(row), said[key], row) for key, row in known.items()])
    values: dict[str, list[float]] = {name: [] for name in reward.parts}
    totals: list[float] = []
    for verdict in verdicts:
        for name, value in verdict.parts.items():
            values[name].append(value)
        if verdict.reward is not None:
            totals.append(verdict.reward)
    means = {name: _mean(found, reward.parts[name].weight) for name, found in values.items()}
    aborted = {key: each.reason for key, each in zip(known, verdicts, strict=True) if each.status == "aborted"}
    return RewardScores(means | {"reward": _mean(totals, 1.0)}, len(verdicts), aborted)


def _mean(values: list[float], weight: float) -> PartMean:
    return PartMean(sum(values) / len(values) if values else None, len(values), weight)


def _prompt(row: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    """The question: `prompt`, or the messages before the last reply of the assistant."""
    match row:
        case {"prompt": str(text)}:
            return text
        case {"prompt": [*messages]} | {"messages": [*messages, {"role": "assistant"}]} | {"messages": [*messages]}:
            return cast("list[dict[str, Any]]", messages)
        case _:
            return ""
