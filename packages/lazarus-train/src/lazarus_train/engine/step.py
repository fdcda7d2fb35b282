"""One optimizer step: loss and gradients accumulate over micro-batches as if they were one batch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate, flatten, unflatten
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.data.batches import Batch
from lazarus_train.distributed import SINGLE, ProcessGroup
from lazarus_train.engine.gradients import MEANS, Found, GradientFn


class Gradients(NamedTuple):
    """Result of one step.

    Args:
        loss: Mean over the step's units.
        metrics: Means of the objective's metrics, by name.
        norm: Global norm of the gradients before clipping.
        tree: Clipped gradients of the trainable parameters.
    """

    loss: float
    metrics: Mapping[str, float]
    norm: float
    tree: Any


def compute_gradients(
    model: nn.Module | Replicas,
    gradients: GradientFn,
    batches: Iterable[Batch | Sequence[Batch]],
    units: int,
    max_norm: float,
    *,
    processes: ProcessGroup = SINGLE,
) -> Gradients:
    """Loss and gradients of a step.

    Every micro-batch is divided by the units of the whole step, so their sum equals the result of one large batch.

    Args:
        model: The model, or a model with its replicas. Its parameters are not changed.
        gradients: Computes the gradients of one batch, for example `LossGradients(loss_fn)`.
        batches: Micro-batches of this process, possibly none; each is one batch, or one batch per thread. Only one
            micro-batch is in memory at a time.
        units: Labels, pairs or samples of the whole step, over all micro-batches and processes; at least 1.
        max_norm: Upper bound of the global norm; larger gradients are scaled down to it.
        processes: The processes that compute the rest of the step.
    """
    replicas = model if isinstance(model, Replicas) else Replicas(model, 1)
    replicas.refresh()
    divisor = mx.array(units, mx.float32)
    evaluate(divisor)  # before threads divide by it
    total: Found = {}
    for batch in batches:
        shares = [batch] if isinstance(batch, Batch) else batch
        part = _added(replicas.each(partial(_of_share, gradients, divisor), shares))
        total = {name: total[name] + tensor for name, tensor in part.items()} if total else part
        evaluate(total)
    if not total:
        total = {name: mx.zeros_like(each) for name, each in flatten(replicas.model.trainable_parameters()).items()}
        total |= {MEANS + name: mx.array(0.0) for name in gradients.means}
    shared = processes.sum(total)
    means = {name: cast("float", shared.pop(MEANS + name).item()) for name in gradients.means}
    clipped, norm = clip(shared, max_norm)
    return Gradients(means.pop("loss"), means, cast("float", norm.item()), unflatten(clipped))


def _of_share(gradients: GradientFn, units: mx.array, model: nn.Module, batch: Batch) -> Found:
    return gradients(model, batch, units)


def _added(parts: list[Found]) -> Found:
    """The sum of the threads' gradients, in thread order."""
    total = parts.pop(0)
    for part in parts:
        total = {name: total.pop(name) + part.pop(name) for name in list(part)}  # popped: the sum takes their memory
    return total


def clip(gradients: dict[str, mx.array], max_norm: float) -> tuple[dict[str, mx.array], mx.array]:
    """Gradients scaled to at most a global norm, and their norm before.

    Args:
        gradients: Gradients by parameter name.
        max_norm: Upper bound of the norm, above 0.
    """
    import mlx.optimizers as optimizers

    clip = cast("Callable[..., tuple[dict[str, mx.array], mx.array]]", optimizers.clip_grad_norm)  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    return clip(gradients, max_norm)
