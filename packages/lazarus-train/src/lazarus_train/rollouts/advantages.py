"""Advantages of answers: relative to their group (GRPO and its variants), or by a value function (PPO).

G = answers to one prompt, T = tokens of an answer
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scale = Literal["group", "batch", "none"]
GROUP_EPSILON = 1e-4
"""Added to the standard deviation of rewards, as in TRL."""
WHITEN_EPSILON = 1e-8
"""Added to the variance of advantages, as in TRL's PPO."""


class Scored(NamedTuple):
    """An answer whose advantages are wanted.

    Args:
        prompt: Sample id of its prompt; answers to one prompt are next to each other.
        reward: Its reward.
        tokens: Tokens T that the model drew.
        penalties: Rewards of the tokens beside it, (T,); None for none.
        values: Value before each token, (T,); None without a value head.
    """

    prompt: int
    reward: float
    tokens: int
    penalties: NDArray[Any] | None = None
    values: NDArray[Any] | None = None


class Advantage(NamedTuple):
    """Advantages of the tokens of an answer, (T,), and its returns, (T,), if there is a value head."""

    tokens: NDArray[Any]
    returns: NDArray[Any] | None = None


def group_advantages(groups: Sequence[Sequence[float]], scale: Scale) -> list[list[float]]:
    """Rewards minus the mean of their group, divided by a standard deviation (arXiv 2402.03300, eq. 3 and section 4.1.2).

    A group of fewer than two rewards has advantages of 0.

    >>> group_advantages([[1.0, 0.0]], "none")
    [[0.5, -0.5]]

    Args:
        groups: Rewards of the answers to each prompt.
        scale: Divide by the sample standard deviation of the `group`, of all rewards (`batch`, arXiv 2508.08221), or not at all
            (`none`, Dr. GRPO, arXiv 2503.20783).
    """
    rewards = [np.asarray(group, dtype=np.float64) for group in groups]
    everything = np.concatenate(rewards) if rewards else np.zeros(0)
    whole = float(everything.std(ddof=1)) if len(everything) > 1 else 0.0
    found: list[list[float]] = []
    for group in rewards:
        if len(group) < 2:
            found.append([0.0] * len(group))
            continue
        centred = group - group.mean()
        deviation = float(group.std(ddof=1)) if scale == "group" else whole
        found.append((centred if scale == "none" else centred / (deviation + GROUP_EPSILON)).tolist())
    return found


def has_signal(rewards: Sequence[float]) -> bool:
    """Whether the rewards of a group differ, so that its advantages are not all 0."""
    return len(rewards) > 1 and max(rewards) > min(rewards)


def overlong_penalty(length: int, limit: int, buffer: int) -> float:
    """Soft punishment of long answers (DAPO, arXiv 2503.14476, eq. 13): 0 up to `limit - buffer`, then linear down to -1.

    >>> overlong_penalty(90, 100, 20), overlong_penalty(80, 100, 20), overlong_penalty(100, 100, 0)
    (-0.5, 0.0, 0.0)

    Args:
        length: Tokens of the answer.
        limit: Largest number of tokens.
        buffer: Tokens before the limit over which the punishment grows; 0 for none.
    """
    return -max(0, length - (limit - buffer)) / buffer if buffer else 0.0


def generalized_advantages(
    rewards: NDArray[Any], values: NDArray[Any], *, discount: float, decay: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Advantages and returns of the tokens of one answer (GAE, arXiv 1506.02438, eq. 16). The value after the end is 0.

    Args:
        rewards: Reward of each token, (T,).
        values: Value of the state before each token, (T,).
        discount: Discount of a token's reward, gamma, in [0, 1].
        decay: Weight of later temporal differences, lambda, in [0, 1].

    Returns:
        Advantages (T,), and returns (T,), which are advantages plus values.
    """
    rewards, values = np.asarray(rewards, dtype=np.float64), np.asarray(values, dtype=np.float64)
    advantages = np.zeros(len(rewards))
    later, value_after = 0.0, 0.0
    for place in reversed(range(len(rewards))):
        difference = rewards[place] + discount * value_after - values[place]
        later = difference + discount * decay * later
        advantages[place], value_after = later, values[place]
    return advantages, advantages + values


def whitened(advantages: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """Advantages of all answers with mean 0 and variance 1 over their tokens.

    Args:
        advantages: Advantages of the tokens of each answer, each (T,).
    """
    if not advantages:
        return []
    everything = np.concatenate(advantages)
    mean = float(everything.mean())
    spread = float(np.sqrt(everything.var() + WHITEN_EPSILON))
    return [(each - mean) / spread for each in advantages]
