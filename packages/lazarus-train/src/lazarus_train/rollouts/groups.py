"""Groups of roll-outs, which are the answers to one prompt in one step, and the metrics of a step."""

import random
from collections.abc import Iterator, Sequence
from itertools import groupby

from lazarus_train.rollouts.advantages import has_signal
from lazarus_train.rollouts.record import TRUNCATED, Rollout


def groups_of(rollouts: Sequence[Rollout]) -> Iterator[list[Rollout]]:
    """Roll-outs of one prompt and step, which are next to each other."""
    return (list(group) for _, group in groupby(rollouts, key=lambda each: (each.step, each.sample)))


def is_useful(group: Sequence[Rollout]) -> bool:
    """Whether the rewards of a group's whole roll-outs differ."""
    return has_signal([each.reward for each in group if each.is_whole and each.reward is not None])


def trained_of(rollouts: Sequence[Rollout], *, alone: bool, only_useful: bool) -> list[Rollout]:
    """Roll-outs with a loss. They are whole; cut, rejected and aborted ones count nowhere.

    Args:
        rollouts: All roll-outs of a step.
        alone: Whether an answer has a loss without another one to the same prompt, as with a value head.
        only_useful: Leave out groups whose rewards are equal.
    """
    found: list[Rollout] = []
    for group in groups_of(rollouts):
        whole = [each for each in group if each.is_whole]
        if alone or (len(whole) > 1 and (is_useful(group) or not only_useful)):
            found += whole
    return found


def divide(trained: Sequence[Rollout], parts: int, seed: int, *, splits_groups: bool) -> list[list[Rollout]]:
    """The roll-outs of each update of a pass, in a seeded order of their groups. Every roll-out is in one update.

    Args:
        trained: Roll-outs with a loss.
        parts: Most updates.
        seed: Seed of the order.
        splits_groups: Whether groups may be split where there are fewer groups than updates; otherwise there are fewer updates.
    """
    groups = list(groups_of(trained))
    if parts == 1 or not groups:
        return [list(trained)] if trained else []
    random.Random(seed).shuffle(groups)
    if len(groups) < parts and splits_groups:
        groups = [[each] for group in groups for each in group]
    shares = [groups[part::parts] for part in range(min(parts, len(groups)))]
    return [[each for group in share for each in group] for share in shares]


def figures(rollouts: Sequence[Rollout], *, is_control: bool) -> dict[str, float]:
    """Metrics of the roll-outs of a step: rewards, lengths, signal.

    Args:
        rollouts: All roll-outs of the step.
        is_control: Whether the rewards were dealt at random; then their mean is a metric, too.
    """
    groups = list(groups_of(rollouts))
    whole = [each for each in rollouts if each.is_whole]
    tokens = sum(each.length for each in rollouts)
    signals = sum(map(is_useful, groups))
    names = sorted({name for each in rollouts for name in each.parts})
    count = max(1, len(rollouts))

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    return {
        "reward": mean([each.true_reward or 0.0 for each in whole]),
        **({"random_reward": mean([each.reward or 0.0 for each in whole])} if is_control else {}),
        **{f"reward_{name}": mean([each.parts.get(name, 0.0) for each in whole]) for name in names},
        "signal_share": signals / max(1, len(groups)),
        "signals_per_1k_tokens": 1000 * signals / max(1, tokens),
        "answers": float(len(rollouts)),
        "answer_tokens": tokens / count,
        "truncated_share": sum(each.status == TRUNCATED for each in rollouts) / count,
        "rejected_share": sum(not each.is_whole and each.status != TRUNCATED for each in rollouts) / count,
    }
