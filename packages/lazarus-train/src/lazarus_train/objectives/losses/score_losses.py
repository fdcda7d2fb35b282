"""Losses of one vector of scores per sample: reward models, classifiers, regressions.

P = pairs, B = samples, C = classes. Losses and metrics are sums; the caller divides by the units of the whole optimizer step.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from jaxtyping import Float, Int

from lazarus_models.backend import mx, nn
from lazarus_train.objectives.losses.preference_losses import Metrics, log_sigmoid, wins


def bradley_terry(
    chosen: Float[mx.array, " P"], rejected: Float[mx.array, " P"], center: float = 0.0
) -> tuple[Float[mx.array, ""], Metrics]:
    """-log s(chosen - rejected), s the logistic function (Bradley and Terry 1952; Ouyang et al. 2022, eq. 1).

    Args:
        chosen: Rewards of the chosen answers, (P,).
        rejected: Rewards of the rejected answers, (P,).
        center: Weight of (chosen + rejected)^2, which keeps rewards near zero (Eisenstein et al. 2023).

    Returns:
        The loss, and `reward_margin` and `reward_accuracy` (a tie counts one half).
    """
    # The loss depends on the difference only; the second term fixes the level of the rewards.
    losses = -log_sigmoid(chosen - rejected) + center * mx.square(chosen + rejected)
    metrics = {"reward_margin": (chosen - rejected).sum(), "reward_accuracy": wins(chosen, rejected).sum()}
    return losses.sum(), {name: mx.stop_gradient(metric) for name, metric in metrics.items()}


def classification(scores: Float[mx.array, "B C"], labels: Int[mx.array, " B"]) -> tuple[Float[mx.array, ""], Metrics]:
    """Cross-entropy in nats, and `accuracy`.

    >>> loss, metrics = classification(mx.zeros((2, 4)), mx.array([0, 3]))
    >>> round(loss.item(), 4), metrics["accuracy"].item()
    (2.7726, 1.0)

    Args:
        scores: Scores, (B, C).
        labels: Class indices, int (B,).
    """
    hits = (mx.argmax(scores, axis=-1) == labels).astype(mx.float32)
    return nn.losses.cross_entropy(scores, labels, reduction="sum"), {"accuracy": hits.sum()}


def regression(scores: Float[mx.array, "B 1"], targets: Float[mx.array, " B"]) -> tuple[Float[mx.array, ""], Metrics]:
    """Squared error, and `absolute_error`.

    >>> loss, metrics = regression(mx.array([[1.0], [3.0]]), mx.array([2.0, 3.0]))
    >>> loss.item(), metrics["absolute_error"].item()
    (1.0, 1.0)

    Args:
        scores: Predicted numbers, (B, 1).
        targets: True numbers, (B,).
    """
    error = scores[:, 0] - targets
    return mx.square(error).sum(), {"absolute_error": mx.stop_gradient(mx.abs(error).sum())}
