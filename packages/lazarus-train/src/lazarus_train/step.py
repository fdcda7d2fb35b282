"""One optimizer step: loss and gradients over micro-batches, as if they were one batch."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from lazarus_models import segment_caches
from lazarus_models.backend import mx, nn
from lazarus_models.parameters import evaluate, flatten, unflatten
from lazarus_train.batches import Batch
from lazarus_train.objectives.causal import causal_nll
from lazarus_train.ranks import Ranks

_ALONE = Ranks()
_LOSS = "loss"
"""Travels among the gradients; no parameter is called so."""
_ValueAndGrad = Callable[[Batch], tuple[mx.array, Any]]


class Gradients(NamedTuple):
    """What one step found.

    Args:
        loss: Mean negative log-likelihood of the step's labels, in nats.
        norm: Global norm of the gradients, before clipping.
        tree: Gradients of the trainable parameters, clipped.
    """

    loss: float
    norm: float
    tree: Any


def packed_nll(model: nn.Module, batch: Batch) -> mx.array:
    """Sum of the labels' negative log-likelihoods, every segment by itself."""
    logits = cast("mx.array", model(batch.ids, cache=segment_caches(model, batch.segment_ids)))
    return causal_nll(logits, batch.ids, batch.is_label)


def compute_gradients(
    model: nn.Module, batches: Iterable[Batch], labels: int, max_norm: float, ranks: Ranks = _ALONE
) -> Gradients:
    """Loss and gradients of a step.

    Every micro-batch is divided by the labels of the whole step, so their sum is what one large batch gives.

    Args:
        model: Changed in nothing.
        batches: This process's micro-batches, possibly none; one is held in memory at a time.
        labels: Label tokens of the whole step, over all micro-batches and ranks.
        max_norm: Gradients of a larger global norm are scaled down to it.
        ranks: Processes that compute the rest of the step.
    """

    def objective(batch: Batch) -> mx.array:
        return packed_nll(model, batch) / labels

    value_and_grad = cast("_ValueAndGrad", nn.value_and_grad(model, objective))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    loss = mx.array(0.0)
    total: dict[str, mx.array] = {}
    for batch in batches:
        part, tree = value_and_grad(batch)
        loss = loss + part
        gradients = flatten(tree)
        total = {name: total[name] + gradient if total else gradient for name, gradient in gradients.items()}
        evaluate([loss, total])
    if not total:
        total = {name: mx.zeros_like(parameter) for name, parameter in flatten(model.trainable_parameters()).items()}
    shared = ranks.sum({**total, _LOSS: loss})
    loss = shared.pop(_LOSS)
    clipped, norm = _clip(shared, max_norm)
    return Gradients(cast("float", loss.item()), cast("float", norm.item()), unflatten(clipped))


def _clip(gradients: dict[str, mx.array], max_norm: float) -> tuple[dict[str, mx.array], mx.array]:
    import mlx.optimizers as optimizers

    clip = cast("Callable[..., tuple[dict[str, mx.array], mx.array]]", optimizers.clip_grad_norm)  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    return clip(gradients, max_norm)
