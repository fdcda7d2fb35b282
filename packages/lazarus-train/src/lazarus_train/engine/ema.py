"""Exponential moving average of the weights (Polyak and Juditsky 1992). It often scores better than the last step."""

from collections.abc import Mapping

from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate, flatten
from lazarus_train.errors import CorruptCheckpoint


class Ema:
    """Update rule: mean <- d mean + (1 - d) weights after each step, with d = min(decay, (1 + n) / (10 + n)) at
    step n.

    The smaller d of early steps, taken from TensorFlow, shortens the influence of the first weights. Only trainable
    parameters are averaged.

    Args:
        decay: Decay of the mean, in (0, 1); the mean covers about 1 / (1 - decay) steps.
        model: The mean starts from this model's weights.
    """

    def __init__(self, decay: float, model: nn.Module) -> None:
        self._decay = decay
        self._model = model
        self._mean = flatten(model.trainable_parameters())

    def update(self, step: int, *, waits: bool = True) -> None:
        """Updates the mean after a step.

        Args:
            step: Steps done, from 1.
            waits: Compute it at once. If false, the caller evaluates `state` before the next step.
        """
        # At step 1 the decay is 2/11; it reaches 0.99 near step 900.
        decay = min(self._decay, (1 + step) / (10 + step))
        now = flatten(self._model.trainable_parameters())
        # New arrays: the first mean consists of the model's own arrays, which must not change.
        self._mean = {name: decay * mean + (1 - decay) * now[name] for name, mean in self._mean.items()}
        if waits:  # otherwise the graph of all earlier steps would stay in memory
            evaluate(self._mean)

    def state(self) -> dict[str, mx.array]:
        """The mean, by parameter name."""
        return dict(self._mean)

    def load_state(self, tensors: Mapping[str, mx.array]) -> None:
        """Restores a stored mean.

        Raises:
            CorruptCheckpoint: The tensors do not match the model.
        """
        if {name: mean.shape for name, mean in self._mean.items()} != {
            name: tensor.shape for name, tensor in tensors.items()
        }:
            raise CorruptCheckpoint("the averaged weights (EMA) belong to another model", "LR-E205")
        self._mean = dict(tensors)
