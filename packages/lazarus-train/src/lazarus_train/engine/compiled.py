"""Gradients of a model by a compiled graph: what a GPU computes with fewer and larger kernels, and Python writes down once.

A graph is written down for the shapes of a batch and used for every other batch of these shapes. So all that differs from batch to
batch reaches it as arrays: ids, labels, what was drawn, the units of the step, the model's weights, the state of MLX's generator.
Parts of rows are Python's, and tasks that read them have no graph (`Task.is_static`).
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from lazarus_models.backend import mx, nn
from lazarus_models.trees import flatten, unflatten
from lazarus_train.data.batches import Batch

Gradients = Callable[[nn.Module, Batch, mx.array], dict[str, mx.array]]
"""Of a model, a batch and the units of its step."""


class CompiledGradients:
    """`gradients` of one model, by one graph for each shape of batch.

    Args:
        gradients: What is compiled.
        model: Whose weights are read anew each time.
    """

    def __init__(self, gradients: Gradients, model: nn.Module) -> None:
        self._gradients = gradients
        self._model = model
        compile_function: Any = mx.compile  # the stub knows no trees of captured arrays
        chance = mx.random.state
        self._graph = compile_function(self._write_down, inputs=[model.state, chance], outputs=[chance])

    def __call__(self, batch: Batch, units: mx.array) -> dict[str, mx.array]:
        """Gradients and what is told beside them."""
        arrays = {"ids": batch.ids, "segment_ids": batch.segment_ids, "is_label": batch.is_label}
        return cast("dict[str, mx.array]", self._graph(arrays, batch.drawn, units))

    def _write_down(
        self, arrays: Mapping[str, mx.array], drawn: Mapping[str, mx.array], units: mx.array
    ) -> dict[str, mx.array]:
        """Runs once for each shape; what it does to the model's own attributes would stay there as promises."""
        kept = flatten(self._model.trainable_parameters())
        batch = Batch(
            **arrays, places=mx.zeros(0, mx.int32), parts=(), numbers=(), step_rows=0, drawn=drawn
        )  # places are as many as labels: no fixed shape
        found = self._gradients(self._model, batch, units)
        self._model.update(unflatten(kept))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
        return found
