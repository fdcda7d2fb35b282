"""When to stop: the held-out loss has not improved for a while, though the training loss went on falling.

Decided from the metrics of a run alone, so that a resumed run decides as the uninterrupted one.
"""

from collections.abc import Iterable
from typing import Any

from lazarus_train.config import EarlyStopSettings

SMOOTHING = 0.9
"""Of the training loss that is compared: a mean over about ten steps."""


def is_overfitting(metrics: Iterable[dict[str, Any]], decides: str, settings: EarlyStopSettings) -> bool:
    """Whether a run is to stop.

    Args:
        metrics: Lines of `metrics.jsonl` so far, in order.
        decides: Name of the held-out rows that count.
        settings: Patience and gap.
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
