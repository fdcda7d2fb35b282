"""Learning rates by optimizer step."""

import math

from lazarus_train.config import OptimizerSettings

DECAY_SHARE = 0.1
"""Default decay of `wsd` as a fraction of the plan: one tenth (arXiv 2404.06395)."""
LEAST_DECAY = 2
"""Smallest default number of decay steps. The first step of a decay still has the peak rate, so one step would be
no decay. Without this minimum, plans of up to ten steps would have one.
"""


def learning_rate(settings: OptimizerSettings, step: int, total: int) -> float:
    """The learning rate of one step.

    Linear warm-up reaches the peak at step `warmup_steps` - 1, so the first update is not zero. Then the rate follows
    a cosine (Loshchilov and Hutter 2017), a line, a constant, or a constant with a final decay by 1 - sqrt (arXiv
    2405.18392).

    >>> settings = OptimizerSettings(learning_rate=1.0, warmup_steps=2)
    >>> [round(learning_rate(settings, step, 6), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]

    Args:
        settings: Peak, floor, warm-up and shape.
        step: Optimizer step, from 0.
        total: Steps of the whole plan.
    """
    peak, floor, warmup = settings.learning_rate, settings.min_learning_rate, settings.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    match settings.schedule:
        case "cosine":
            return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * done))
        case "linear":
            return floor + (peak - floor) * (1 - done)
        case "constant":
            return peak
        case "wsd":
            decay = settings.decay_steps or min(
                max(LEAST_DECAY, math.ceil(total * DECAY_SHARE)), max(1, total - warmup)
            )
            decayed = min(1.0, max(0.0, (step - (total - decay)) / decay))
            return floor + (peak - floor) * (1 - math.sqrt(decayed))


def beyond_plan(settings: OptimizerSettings, total: int) -> list[str]:
    """A description of the part of the schedule that does not fit into a plan of `total` steps.

    Args:
        settings: Warm-up and decay.
        total: Steps of the whole plan.
    """
    found: list[str] = []
    if settings.warmup_steps > total:
        found.append(
            f"`warmup_steps` {settings.warmup_steps} are more than the plan's {total}: the rate never reaches its peak"
        )
    if settings.decay_steps is not None and settings.warmup_steps + settings.decay_steps > total:
        found.append(
            f"`warmup_steps` {settings.warmup_steps} and `decay_steps` {settings.decay_steps} are more than the plan's "
            f"{total}: the decay has begun before the peak"
        )
    if settings.decay_steps == 1:
        found.append(
            "`decay_steps` 1 leaves every step at the peak: the first step of a decay is still at it; give 2 or more"
        )
    return found
