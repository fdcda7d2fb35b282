"""A moving average of the weights (Polyak and Juditsky 1992), often better than where the last step left them."""

from collections.abc import Mapping

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate, flatten
from lazarus_train.errors import CorruptCheckpoint


class Ema:
    """mean <- d mean + (1 - d) weights after each step, with d = min(decay, (1 + n) / (10 + n)) at step n.

    The early d, TensorFlow's, keeps the mean from remembering the first weights for long. Only trainable parameters are
    averaged: the others stay what they are.

    Args:
        decay: Of the mean, below 1; 1 / (1 - decay) steps are remembered.
        model: The mean begins at its weights.
    """

    def __init__(self, decay: float, model: nn.Module) -> None:
        self._decay = decay
        self._model = model
        self._mean = flatten(model.trainable_parameters())

    def update(self, step: int) -> None:
        """Moves the mean after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        now = flatten(self._model.trainable_parameters())
        self._mean = {name: decay * mean + (1 - decay) * now[name] for name, mean in self._mean.items()}
        evaluate(self._mean)

    def state(self) -> dict[str, mx.array]:
        """The mean by parameter."""
        return dict(self._mean)

    def load_state(self, tensors: Mapping[str, mx.array]) -> None:
        """Puts a stored mean back.

        Raises:
            CorruptCheckpoint: Not of this model.
        """
        if {name: mean.shape for name, mean in self._mean.items()} != {
            name: tensor.shape for name, tensor in tensors.items()
        }:
            raise CorruptCheckpoint("the mean of weights is of another model", "LR-E205")
        self._mean = dict(tensors)
