"""Early stopping: the held-out loss no longer improves while the training loss still falls.

The decision reads only the metrics of the run, so a resumed run decides like an uninterrupted one.
"""

from collections.abc import Iterable
from typing import Any

from lazarus_train.config import EarlyStopSettings

SMOOTHING = 0.9
"""Smoothing factor of the training loss in this comparison: a mean over about ten steps."""


def is_overfitting(metrics: Iterable[dict[str, Any]], decides: str, settings: EarlyStopSettings) -> bool:
    """Whether to stop the run because of overfitting.

    Args:
        metrics: Lines of `metrics.jsonl` so far, in order.
        decides: Name of the held-out set whose loss decides.
        settings: Patience and minimum gap.
    """
    train: float | None = None
    measured: list[tuple[float, float | None]] = []
    for line in metrics:
        if "loss" in line:
            train = line["loss"] if train is None else SMOOTHING * train + (1 - SMOOTHING) * line["loss"]
        elif line.get("eval_set") == decides and line["eval_loss"] is not None:
            measured.append((line["eval_loss"], train))
    if not measured:
        return False
    best = min(range(len(measured)), key=lambda place: measured[place][0])
    (_, train_then), (held_out, train_now) = measured[best], measured[-1]
    if len(measured) - 1 - best < settings.patience or train_now is None:
        return False
    fell = train_then is None or train_now < train_then
    return fell and held_out - train_now >= settings.min_gap
