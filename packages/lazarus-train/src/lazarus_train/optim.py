"""AdamW on MLX, with weight decay where it belongs and a state that files can hold."""

from collections.abc import Mapping
from typing import Any

from lazarus_models.backend import mx, nn
from lazarus_models.parameters import evaluate, flatten, unflatten
from lazarus_train.config import OptimizerSettings
from lazarus_train.errors import CorruptCheckpoint

SPARED = ("norm", "embed", "bias")
"""Parts of parameter names that weight decay spares; vectors are spared whatever their name."""


def is_decayed(name: str, parameter: mx.array) -> bool:
    """Whether weight decay pulls a parameter: matrices that are no embedding."""
    return parameter.ndim >= 2 and not any(part in name for part in SPARED)


class AdamW:
    """Decoupled weight decay (Loshchilov and Hutter 2019), bias-corrected (Kingma and Ba 2015).

    Args:
        settings: Rates and decays.
        model: Whose trainable parameters to move.
    """

    def __init__(self, settings: OptimizerSettings, model: nn.Module) -> None:
        import mlx.optimizers as optimizers

        def adamw(weight_decay: float) -> Any:
            return optimizers.AdamW(
                learning_rate=settings.learning_rate,
                betas=[settings.beta1, settings.beta2],
                eps=settings.epsilon,
                weight_decay=weight_decay,
                bias_correction=True,
            )

        decayed = {is_decayed(name, parameter) for name, parameter in flatten(model.trainable_parameters()).items()}
        groups = [adamw(settings.weight_decay if each else 0.0) for each in sorted(decayed, reverse=True)]
        self._model = model
        # Only groups that have parameters: MLX 0.30 cannot hold an empty one.
        self._groups: Any = optimizers.MultiOptimizer(groups, [is_decayed][: len(groups) - 1])
        self._groups.init(model.trainable_parameters())

    def update(self, gradients: Any, learning_rate: float) -> None:
        """Moves the model one step; call `evaluate` to compute it."""
        self._groups.learning_rate = learning_rate
        self._groups.update(self._model, gradients)

    def state(self) -> dict[str, mx.array]:
        """Moments and step counts by name."""
        return flatten(self._groups.state)

    def load_state(self, tensors: Mapping[str, mx.array]) -> None:
        """Puts a stored state back.

        Raises:
            CorruptCheckpoint: Not the state of this model and optimizer.
        """
        expected = {name: tensor.shape for name, tensor in self.state().items()}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            raise CorruptCheckpoint("the optimizer state is of another model or optimizer", "LR-E203")
        self._groups.state = unflatten(tensors)

    def evaluate(self) -> None:
        """Computes parameters and moments now."""
        evaluate([self._model.parameters(), self._groups.state])
