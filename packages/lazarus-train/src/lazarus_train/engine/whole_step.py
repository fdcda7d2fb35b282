"""One optimizer step as one compiled graph: forward pass, gradients, clipping and update.

On a GPU many small kernels and every wait of the host cost more than their arithmetic. In one graph MLX fuses the
element-wise operations of clipping and update, and writes new weights and moments into the memory of the old ones, which
nothing else refers to. The host does not wait for a step before it prepares the next one: `StepArrays.begin` starts the
computation, and `StepArrays.read` waits for loss and norm when they are logged.

A step with several micro-batches, several processes, or an objective that reads parts of rows takes the separate graphs
of `engine.gradients` and `engine.optim` instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import begin, flatten, unflatten
from lazarus_plan.cursor import RankStep
from lazarus_plan.report import StepMixture
from lazarus_train.data.batches import Batch
from lazarus_train.engine.gradients import MEANS, Found, LossGradients, arrays_of, batch_of
from lazarus_train.engine.optim import Optimizer
from lazarus_train.engine.step import Gradients, clip


@dataclass(frozen=True)
class StepArrays:
    """Results of a step that may not be computed yet.

    Args:
        means: Loss and metrics by name.
        norm: Global norm of the gradients before clipping.
        state: Weights and moments after the step.
    """

    means: Mapping[str, mx.array]
    norm: mx.array
    state: Any

    def begin(self, more: Any = ()) -> None:
        """Starts the computation without waiting for it.

        Args:
            more: Further arrays that depend on the step, such as averaged weights.
        """
        begin([dict(self.means), self.norm, self.state, more])

    def read(self) -> Gradients:
        """Waits for loss, metrics and norm. The gradients themselves are not kept."""
        means = {name: cast("float", each.item()) for name, each in self.means.items()}
        return Gradients(means.pop("loss"), means, cast("float", self.norm.item()), {})


class WholeStep:
    """Steps of one model, as one graph for each batch shape.

    Args:
        gradients: Gradients of the run's loss function.
        model: The model; its trainable parameters are replaced by each step.
        optimizer: The optimizer of these parameters.
        max_norm: Upper bound of the global norm of the gradients.
    """

    def __init__(self, gradients: LossGradients, model: nn.Module, optimizer: Optimizer, max_norm: float) -> None:
        self._gradients, self._model, self._optimizer, self._max_norm = gradients, model, optimizer, max_norm
        compile_function: Any = mx.compile  # the stub has no type for captured trees
        # Captured as inputs and outputs: a graph must not hide side effects.
        changing = [optimizer.states, mx.random.state]
        self._graph = compile_function(self._write_down, inputs=[model.state, *changing], outputs=changing)

    def __call__(self, batch: Batch, units: int, learning_rate: float) -> StepArrays:
        """The step on one batch. The model and the optimizer have the new arrays at once; nothing is computed yet.

        Args:
            batch: All rows of the step.
            units: Units of the step, at least 1.
            learning_rate: Learning rate of the schedule.
        """
        kept = self._optimizer.set_rate(learning_rate)
        divisor = mx.array(units, mx.float32)
        means, norm, moved = self._graph(arrays_of(batch), batch.random_inputs, divisor, kept)
        self._model.update(unflatten(moved))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
        return StepArrays(means, norm, [moved, self._optimizer.states])

    def _write_down(
        self,
        arrays: Mapping[str, mx.array],
        random_inputs: Mapping[str, mx.array],
        units: mx.array,
        kept: list[mx.array],
    ) -> tuple[dict[str, mx.array], mx.array, dict[str, mx.array]]:
        """Traces the graph once per shape."""
        # Tracing stores placeholders in the model, so keep the arrays to restore them.
        parameters = flatten(self._model.trainable_parameters())
        found: Found = self._gradients.traced(self._model, batch_of(arrays, random_inputs), units)
        means = {name: found.pop(MEANS + name) for name in self._gradients.means}
        self._model.update(unflatten(parameters))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
        clipped, norm = clip(found, self._max_norm)
        return means, norm, self._optimizer.moved(clipped, parameters, kept)


@dataclass(frozen=True)
class BegunStep:
    """A step that the device computes while the host prepares the next one.

    Args:
        share: Rows of the step.
        mixture: Mixture of the step, if the plan has several sources.
        rate: Learning rate.
        arrays: Its results.
        began: Time of the start, by `time.perf_counter`.
    """

    share: RankStep
    mixture: StepMixture | None
    rate: float
    arrays: StepArrays
    began: float
