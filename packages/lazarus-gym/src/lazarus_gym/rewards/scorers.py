"""Rewards of one part, by the names that `lazarus train grpo --reward` accepts."""

from lazarus_gym.rewards.composed import ComposedReward
from lazarus_gym.rewards.settings import RewardFile


def number_scorer() -> ComposedReward:
    """1 where the last number of the completion is the row's `answer`, compared as exact fractions."""
    return _of_part("number")


def gsm8k_scorer() -> ComposedReward:
    """1 where the number after the last `####` of the completion is that of the row's `answer`."""
    return _of_part("gsm8k")


def _of_part(kind: str) -> ComposedReward:
    return ComposedReward(RewardFile.model_validate({"rewards": {kind: {"type": kind}}}))
