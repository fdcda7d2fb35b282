"""Gradients of a loss function for one model and one batch, computed directly or by a compiled graph.

`LossFn` is built once per run (`engine.loss`) and passed as an argument. This module never calls the run or the
registry.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate, flatten, unflatten
from lazarus_train.data.batches import Batch

LossFn = Callable[[Any, Batch], tuple[mx.array, Mapping[str, mx.array]]]
"""Loss and metrics of a model on a batch, summed over its units."""
Found = dict[str, mx.array]
"""Gradients by parameter, and loss and metrics by name behind `MEANS`."""
MEANS = "means/"
"""Name prefix of the loss and the metrics in the tree of gradients; no parameter name starts with it."""
_ValueAndGrad = Callable[[Batch], tuple[tuple[mx.array, Found], Any]]


class GradientFn(Protocol):
    """Computes gradients of one batch."""

    @property
    def means(self) -> tuple[str, ...]:
        """Names of the loss and the metrics, without prefix."""
        ...

    def __call__(self, model: nn.Module, batch: Batch, units: mx.array) -> Found:
        """Gradients, loss and metrics, each divided by the units.

        Args:
            model: Its trainable parameters are differentiated.
            batch: Some rows of a step.
            units: Units of the whole step, float32 ().
        """
        ...


class LossGradients:
    """Gradients by MLX's automatic differentiation.

    Args:
        loss_fn: The loss.
        metrics: Names of the metrics that it returns.
    """

    def __init__(self, loss_fn: LossFn, metrics: tuple[str, ...] = ()) -> None:
        self._loss_fn = loss_fn
        self._metrics = metrics

    @property
    def means(self) -> tuple[str, ...]:
        """Names of the loss and the metrics."""
        return ("loss", *self._metrics)

    def __call__(self, model: nn.Module, batch: Batch, units: mx.array) -> Found:
        """Gradients, loss and metrics; arguments as in `GradientFn`."""
        found = self.traced(model, batch, units)
        evaluate(found)  # an array that is not computed belongs to the thread that made it
        return found

    def traced(self, model: nn.Module, batch: Batch, units: mx.array) -> Found:
        """Gradients, loss and metrics as arrays that are not computed yet. Use it inside a graph that is compiled or joined.

        Args:
            model: Its trainable parameters are differentiated.
            batch: Some rows of a step.
            units: Units of the whole step, above 0, float32 ().

        Returns:
            Gradients by parameter name; loss and metrics by name with the prefix `MEANS`.
        """

        def mean_loss(batch: Batch) -> tuple[mx.array, Found]:
            loss, metrics = self._loss_fn(model, batch)
            # Units of the whole step, so gradients of micro-batches and ranks add up to the gradient of the mean.
            mean = loss / units
            return mean, {f"{MEANS}loss": mean} | {MEANS + name: metrics[name] / units for name in self._metrics}

        # Metrics are auxiliary outputs: they are returned without gradient.
        value_and_grad = cast("_ValueAndGrad", nn.value_and_grad(model, mean_loss))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
        (_, means), tree = value_and_grad(batch)
        return {**flatten(tree), **means}


class CompiledGradients:
    """Gradients of one model by compiled graphs, one for each batch shape: fewer and larger kernels on a GPU.

    Everything that differs between batches of one shape enters the graph as an array: ids, labels, random inputs, the
    units of the step, the weights and the state of MLX's random generator. Parts of rows are Python objects. An
    objective that reads them cannot be compiled (`Objective.is_static`).

    Args:
        gradients: The gradients to compile.
        model: The only model that these gradients are called with.
    """

    def __init__(self, gradients: LossGradients, model: nn.Module) -> None:
        self._gradients = gradients
        self._model = model
        compile_function: Any = mx.compile  # the stub has no type for captured trees
        # Captured as input and output: a compiled graph would otherwise repeat the same random numbers.
        chance = mx.random.state
        self._graph = compile_function(self._write_down, inputs=[model.state, chance], outputs=[chance])

    @property
    def means(self) -> tuple[str, ...]:
        """Names of the loss and the metrics."""
        return self._gradients.means

    def __call__(self, model: nn.Module, batch: Batch, units: mx.array) -> Found:
        """Gradients, loss and metrics; arguments as in `GradientFn`."""
        assert model is self._model, "the graph is compiled for one model"
        # The graph is traced again when a shape changes.
        found = cast("Found", self._graph(arrays_of(batch), batch.random_inputs, units))
        evaluate(found)
        return found

    def _write_down(
        self, arrays: Mapping[str, mx.array], random_inputs: Mapping[str, mx.array], units: mx.array
    ) -> Found:
        """Traces the graph once per shape, then restores the model's own arrays: tracing replaces them by
        placeholders.
        """
        # Tracing stores placeholders in the model, so keep the arrays to restore them.
        kept = flatten(self._model.trainable_parameters())
        found = self._gradients.traced(self._model, batch_of(arrays, random_inputs), units)
        self._model.update(unflatten(kept))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
        return found


def arrays_of(batch: Batch) -> dict[str, mx.array]:
    """The arrays of a batch that enter a compiled graph, without its random inputs."""
    return {"ids": batch.ids, "segment_ids": batch.segment_ids, "is_label": batch.is_label}


def batch_of(arrays: Mapping[str, mx.array], random_inputs: Mapping[str, mx.array]) -> Batch:
    """A batch within a compiled graph. It has no parts, and no places: there are as many as labels, no fixed shape.

    Args:
        arrays: Result of `arrays_of`.
        random_inputs: Random inputs of the batch.
    """
    return Batch(**arrays, places=mx.zeros(0, mx.int32), parts=(), numbers=(), step_rows=0, random_inputs=random_inputs)
