"""MLX's optimizers by group of parameters, with decoupled weight decay and a state that can be saved.

A group has one update rule and one learning rate. Decay is decoupled for every optimizer, W <- (1 - rate * decay) W
before the update (Loshchilov and Hutter 2019). MLX adds decay to the gradient for SGD and Muon, and the update then
normalises it away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from lazarus_models.backend import mx, nn
from lazarus_models.components import ParameterRole, guessed_role, parameter_roles
from lazarus_models.trees import evaluate, flatten, unflatten
from lazarus_train.config import OptimizerSettings
from lazarus_train.cpu.adam import VectorAdam
from lazarus_train.devices import device_policy
from lazarus_train.distributed import SINGLE, ProcessGroup
from lazarus_train.errors import CorruptCheckpoint, SetupError

DECAYED: frozenset[ParameterRole] = frozenset(("linear", "experts", "adapter", "head"))
"""Roles with weight decay: linear maps. Embeddings, norms, biases, routers, convolutions and the state parameters
of
Mamba are not linear maps between activations, and their papers do not decay them.
"""
ORTHOGONALISED: frozenset[ParameterRole] = frozenset(("linear", "adapter"))
"""Roles that Muon updates: the linear maps of the blocks (Jordan 2024). A stack of experts has three axes, so AdamW
updates it.
"""


def is_decayed(name: str, parameter: mx.array, role: ParameterRole | None = None) -> bool:
    """Whether weight decay applies to a parameter.

    Args:
        name: Dotted name of the parameter.
        parameter: Its values; only the number of dimensions counts.
        role: Role from the model's description; by default guessed from the name.
    """
    return (role or guessed_role(name, parameter.ndim)) in DECAYED and parameter.ndim >= 2


def is_hidden_matrix(name: str, parameter: mx.array, role: ParameterRole | None = None) -> bool:
    """Whether Muon updates a parameter.

    Args:
        name: Dotted name of the parameter.
        parameter: Its values; only the number of dimensions counts.
        role: Role from the model's description; by default guessed from the name.
    """
    return (role or guessed_role(name, parameter.ndim)) in ORTHOGONALISED and parameter.ndim == 2


@dataclass(frozen=True)
class _Group:
    """Parameters with one optimizer and one rate.

    Args:
        names: Names of the parameters, ascending.
        factor: Learning rate of the group as a multiple of the schedule's.
        optimizer: MLX optimizer without weight decay.
    """

    names: tuple[str, ...]
    factor: float
    optimizer: Any


class Optimizer:
    """Updates the trainable parameters of a model.

    Args:
        settings: Optimizer, rates and decay.
        model: Its trainable parameters are grouped by name on construction.
        shards: Processes that each keep a part of the moments and update those parameters, with equal results
            (Rajbhandari et al. 2020, ZeRO stage 1). A single process keeps all of them.

    Raises:
        SetupError: A pattern of `rate_factors` matches no parameter.
    """

    def __init__(self, settings: OptimizerSettings, model: nn.Module, shards: ProcessGroup = SINGLE) -> None:
        parameters = flatten(model.trainable_parameters())
        self._model = model
        self._shards = shards
        # Names whose moments this process keeps and updates (ZeRO stage 1).
        self._mine = shares({name: parameter.size for name, parameter in parameters.items()}, shards.size)[shards.rank]
        self._weight_decay = settings.weight_decay
        roles = parameter_roles(model)
        self._decayed = {name for name, parameter in parameters.items() if is_decayed(name, parameter, roles[name])}
        self._groups = [
            _Group(tuple(names), factor, _make(rule, settings))
            for (rule, factor), names in _group(settings, parameters, roles).items()
        ]
        for group in self._groups:
            # All moments are created lazily to learn their shapes; those of other processes are deleted below.
            group.optimizer.init({name: parameters[name] for name in group.names})
        self._like = {  # own zeros that are never computed; those of the moments would stay in memory
            name: mx.zeros(tensor.shape, tensor.dtype) for name, tensor in self.kept().items()
        }
        for group in self._groups:
            for name in set(group.names) - self._mine:
                del group.optimizer.state[name]
        self._move = self.moved
        # The states are captured as inputs and outputs, because a compiled function must not hide side effects.
        if device_policy().compiles:
            compile_function: Any = mx.compile  # the stub has no type for captured trees
            self._move = compile_function(self.moved, inputs=self.states, outputs=self.states)

    @property
    def states(self) -> list[Any]:
        """MLX's state of each group: moments, step count, learning rate. Changed in place by each step."""
        return [group.optimizer.state for group in self._groups]

    def set_rate(self, learning_rate: float) -> list[mx.array]:
        """Sets the learning rate of every group, and returns what weight decay keeps of the weights of each.

        Args:
            learning_rate: Learning rate of the schedule; each group multiplies it by its factor.
        """
        kept: list[mx.array] = []
        for group in self._groups:
            rate = learning_rate * group.factor
            group.optimizer.learning_rate = rate
            # An array, not a Python number, which a compiled graph would take as a constant.
            kept.append(mx.array(1 - rate * self._weight_decay))
        return kept

    def update(self, gradients: Any, learning_rate: float) -> None:
        """Applies one optimizer step; call `evaluate` to compute it.

        Args:
            gradients: Gradient of every trainable parameter, by name.
            learning_rate: Learning rate of the schedule; each group multiplies it by its factor.
        """
        slopes, parameters = flatten(gradients), flatten(self._model.trainable_parameters())
        kept = self.set_rate(learning_rate)
        mine = {name: parameters[name] for name in parameters if name in self._mine}
        moved = self._move({name: slopes[name] for name in mine}, mine, kept)
        # Every process receives the parameters that the others updated.
        moved = self._shards.join(moved, parameters)
        self._model.update(unflatten(moved))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)

    def moved(
        self, slopes: Mapping[str, mx.array], parameters: Mapping[str, mx.array], kept: Sequence[mx.array]
    ) -> dict[str, mx.array]:
        """Parameters after a step: weight decay, then each group's update rule. Moments are updated too.

        Args:
            slopes: Gradients by parameter name.
            parameters: Parameters that this process updates, by name.
            kept: Result of `set_rate`.
        """
        moved: dict[str, mx.array] = {}
        for group, share in zip(self._groups, kept, strict=True):
            names = [name for name in group.names if name in self._mine]
            pulled = {name: self._pulled(name, share, parameters[name]) for name in names}
            moved |= group.optimizer.apply_gradients({name: slopes[name] for name in names}, pulled)
        return moved

    def _pulled(self, name: str, kept: mx.array, parameter: mx.array) -> mx.array:
        """A parameter after decay, as a new row-contiguous array, because Adam overwrites it on a CPU."""
        share = kept.astype(parameter.dtype) if name in self._decayed else 1.0  # times one is a new array too
        return mx.contiguous(parameter * share)

    def state(self) -> dict[str, mx.array]:
        """Moments and step counts of all parameters, by group, parameter and moment. All processes must call it
        together.

        The arrays are the optimizer's own; the next update changes them.
        """
        # Step counts ("0/step") are equal in all processes; only moments are joined.
        mine = self.kept()
        steps = {name: mine.pop(name) for name in list(mine) if name.endswith("/step") and name.count("/") == 1}
        like = {name: tensor for name, tensor in self._like.items() if name not in steps}
        return dict(sorted({**steps, **self._shards.join(mine, like)}.items()))

    def kept(self) -> dict[str, mx.array]:
        """The part of `state` that this process keeps."""
        stored: dict[str, mx.array] = {}
        for number, group in enumerate(self._groups):
            stored[f"{number}/step"] = group.optimizer.state["step"]
            for name in group.names:
                moments = cast("dict[str, mx.array]", group.optimizer.state.get(name, {}))
                stored |= {f"{number}/{name}/{moment}": tensor for moment, tensor in moments.items()}
        return dict(sorted(stored.items()))

    def load_state(self, tensors: Mapping[str, mx.array]) -> None:
        """Restores a stored state.

        Raises:
            CorruptCheckpoint: The state does not match this model and optimizer.
        """
        expected = {name: tensor.shape for name, tensor in self._like.items()}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            raise CorruptCheckpoint("the optimizer state belongs to another model or optimizer", "LR-E203")
        for place, tensor in tensors.items():
            # Key: group / parameter / moment, or group / "step".
            number, *path = place.split("/")
            if len(path) > 1 and path[0] not in self._mine:
                continue
            state = self._groups[int(number)].optimizer.state
            for name in path[:-1]:
                state = state[name]
            state[path[-1]] = mx.contiguous(tensor)

    def evaluate(self) -> None:
        """Evaluates parameters and moments."""
        evaluate([self._model.parameters(), self.kept()])


def shares(sizes: Mapping[str, int], count: int) -> list[set[str]]:
    """Assigns names to processes: largest first, each to the process with the smallest total; equal on all
    processes.

    >>> shares({"a": 4, "b": 3, "c": 2, "d": 1}, 2) == [{"a", "d"}, {"b", "c"}]
    True

    Args:
        sizes: Elements by name.
        count: Number of processes.
    """
    dealt: list[set[str]] = [set() for _ in range(count)]
    loads = [0] * count
    # Largest first, ties by name: a greedy assignment that is equal on every process.
    for name in sorted(sizes, key=lambda each: (-sizes[each], each)):
        least = loads.index(min(loads))
        dealt[least].add(name)
        loads[least] += sizes[name]
    return dealt


def _group(
    settings: OptimizerSettings, parameters: Mapping[str, mx.array], roles: Mapping[str, ParameterRole]
) -> dict[tuple[str, float], list[str]]:
    """Names by update rule and by learning-rate factor."""
    for pattern in settings.rate_factors:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise SetupError(
                f"`rate_factors`: {pattern!r} matches no trainable parameter; they have names such as `{next(iter(parameters))}`",
                "LR-E120",
            )
    groups: dict[tuple[str, float], list[str]] = {}
    for name, parameter in parameters.items():
        # The first matching pattern sets the factor.
        factors = (factor for pattern, factor in settings.rate_factors.items() if fnmatchcase(name, pattern))
        rule, factor = settings.name, next(factors, 1.0)
        if rule == "muon":
            if is_hidden_matrix(name, parameter, roles[name]):
                # The schedule gives the base rate; the factor turns it into Muon's own.
                factor *= settings.muon_learning_rate / settings.learning_rate
            else:
                rule = "adamw"
        groups.setdefault((rule, factor), []).append(name)
    return dict(sorted(groups.items()))


def _make(rule: str, settings: OptimizerSettings) -> Any:
    """One of MLX's optimizers, without weight decay. Its rate is set before every step."""
    import mlx.optimizers as optimizers

    match rule:
        case "adamw":  # Adam, bias-corrected (Kingma and Ba 2015): the decay is `update`'s
            policy, betas = device_policy(), (settings.beta1, settings.beta2)
            if policy.is_lean:
                return VectorAdam(betas, settings.epsilon, policy.cores)
            return optimizers.Adam(0.0, betas=list(betas), eps=settings.epsilon, bias_correction=True)
        case "muon":
            return optimizers.Muon(0.0, momentum=settings.momentum, weight_decay=0.0)
        case "adafactor":
            return optimizers.Adafactor(0.0, scale_parameter=False, relative_step=False)
        case "lion":
            return optimizers.Lion(0.0, betas=[settings.beta1, settings.beta2])
        case _:
            return optimizers.SGD(0.0, momentum=settings.momentum)
