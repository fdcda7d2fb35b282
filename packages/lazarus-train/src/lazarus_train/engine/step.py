"""One optimizer step: loss and gradients over micro-batches, as if they were one batch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate, flatten, unflatten
from lazarus_train.cpu.thread_parallel import MEANS, LossSum, Replicas
from lazarus_train.data.batches import Batch
from lazarus_train.distributed import Ranks

_ALONE = Ranks()


class Gradients(NamedTuple):
    """What one step found.

    Args:
        loss: Mean over the step's units.
        metrics: Means of what the objective tells beside it.
        norm: Global norm of the gradients, before clipping.
        tree: Gradients of the trainable parameters, clipped.
    """

    loss: float
    metrics: Mapping[str, float]
    norm: float
    tree: Any


def compute_gradients(
    model: nn.Module | Replicas,
    loss_sum: LossSum,
    batches: Iterable[Batch | Sequence[Batch]],
    units: int,
    max_norm: float,
    *,
    metrics: tuple[str, ...] = (),
    ranks: Ranks = _ALONE,
) -> Gradients:
    """Loss and gradients of a step.

    Every micro-batch is divided by the units of the whole step, so their sum is what one large batch gives.

    Args:
        model: Changed in nothing; or with its replicas.
        loss_sum: What is minimised.
        batches: This process's micro-batches, possibly none, each whole or as shares of threads; one is held in memory at
            a time.
        units: Labels, pairs or samples of the whole step, over all micro-batches and ranks.
        max_norm: Gradients of a larger global norm are scaled down to it.
        metrics: Names of what `loss_sum` tells beside the loss.
        ranks: Processes that compute the rest of the step.
    """
    replicas = model if isinstance(model, Replicas) else Replicas(model, 1)
    replicas.refresh()
    divisor = mx.array(units, mx.float32)
    evaluate(divisor)  # before threads divide by it
    total: dict[str, mx.array] = {}
    for batch in batches:
        part = replicas.gradients(loss_sum, metrics, [batch] if isinstance(batch, Batch) else batch, divisor)
        total = {name: total[name] + tensor for name, tensor in part.items()} if total else part
        evaluate(total)
    if not total:
        total = {name: mx.zeros_like(each) for name, each in flatten(replicas.model.trainable_parameters()).items()}
        total |= {name: mx.array(0.0) for name in (MEANS + name for name in ("loss", *metrics))}
    shared = ranks.sum(total)
    means = {name: cast("float", shared.pop(MEANS + name).item()) for name in ("loss", *metrics)}
    clipped, norm = _clip(shared, max_norm)
    return Gradients(means.pop("loss"), means, cast("float", norm.item()), unflatten(clipped))


def _clip(gradients: dict[str, mx.array], max_norm: float) -> tuple[dict[str, mx.array], mx.array]:
    import mlx.optimizers as optimizers

    clip = cast("Callable[..., tuple[dict[str, mx.array], mx.array]]", optimizers.clip_grad_norm)  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    return clip(gradients, max_norm)
