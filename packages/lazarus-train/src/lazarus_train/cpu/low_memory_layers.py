"""Layers that let go of what they have used, for training on a CPU.

While it differentiates, MLX frees nothing that has been computed: where some layers are computed at once
(`lazarus_models.ops.cpu.numpy_views`), that is every intermediate result of both passes. So here a layer hands on arrays that depend on
nothing: of the forward pass its input and output stay, of the backward pass the gradients of the weights, laid out as the weights
are. A step of 135 million parameters at 4 x 256 takes 3.8 GiB for 6.3.
"""

from collections.abc import Callable
from typing import Any, cast

from lazarus_models.adapters import LoRALinear
from lazarus_models.backend import mx, nn
from lazarus_models.components import MLP, Block, Rope
from lazarus_models.ops import detached, recomputed
from lazarus_train.cpu.swiglu import swiglu


class LeanLinear(nn.Linear):
    """A linear layer whose weight learns."""

    def __call__(self, x: mx.array) -> mx.array:
        product = cast("mx.array", _product(x, self.weight))
        return product + self.bias if "bias" in self else product


class LeanEmbedding(nn.Embedding):
    """An embedding that learns, and may be the head too."""

    def as_linear(self, x: mx.array) -> mx.array:
        return cast("mx.array", _product(x, self.weight))


class LeanRMSNorm(nn.RMSNorm):
    """A norm whose parts are computed again for its gradient."""

    def __call__(self, x: mx.array) -> mx.array:
        def normed(x: mx.array, weight: mx.array) -> mx.array:
            return mx.fast.rms_norm(x, weight, self.eps)

        return _released(normed, x, self.weight)


class LeanRope(Rope):
    """A turn whose parts are computed again for its gradient."""

    def both(self, queries: mx.array, keys: mx.array, offset: int | mx.array) -> tuple[mx.array, mx.array]:
        """Queries and keys, turned."""

        def turned(x: mx.array) -> mx.array:
            return self(x, offset)

        return _released(turned, queries), _released(turned, keys)


class LeanLoRALinear(LoRALinear):
    """A LoRA layer that recomputes its intermediate results for the gradient."""

    def __call__(self, x: mx.array) -> mx.array:
        def adapted(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
            return self.linear(x) + self.scale * ((x @ a) @ b)

        return _released(adapted, x, self.lora_a, self.lora_b)


class LeanMLP(MLP):
    """A feed-forward part that computes its activation by vectors."""

    def gated(self, gate: mx.array, up: mx.array) -> mx.array:
        """The activation of the one times the other."""
        return swiglu(gate, up) if self.config.activation == "silu" else super().gated(gate, up)


class LeanBlock(Block):
    """A block whose gradient is computed before the block before it is looked at."""

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        return super().__call__(cast("mx.array", _parted(x)), mask, cache)


_LEAN: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LeanLinear,
    nn.Embedding: LeanEmbedding,
    nn.RMSNorm: LeanRMSNorm,
    Rope: LeanRope,
    MLP: LeanMLP,
    Block: LeanBlock,
}
_OF_WEIGHTS = (nn.Linear, nn.Embedding)
"""Kinds that are left alone where their weight is frozen: its gradient is a matrix product."""


def low_memory_kind(layer: nn.Module, *, drops: bool = False) -> type[nn.Module] | None:
    """The class that a layer gets for training on a CPU; None if it stays as it is.

    Args:
        layer: A layer of a model with its adapters, frozen where it does not learn.
        drops: Whether adapters use dropout. They stay as they are: computed again, they would drop other inputs.
    """
    kind, learns = type(layer), cast("Any", layer).trainable_parameters()
    if kind in _LEAN and (kind not in _OF_WEIGHTS or "weight" in learns):
        return _LEAN[kind]
    if "lora_a" in learns and not drops and kind is LoRALinear:
        return LeanLoRALinear
    return None


@mx.custom_function
def _product(x: Any, weight: Any) -> Any:
    return x @ weight.T


@_product.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
def _of_product(primals: Any, cotangent: Any, _: Any) -> Any:
    x, weight = primals
    return detached([cotangent @ weight, mx.flatten(cotangent, 0, -2).T @ mx.flatten(x, 0, -2)])


@mx.custom_function
def _parted(x: Any) -> Any:
    return x


@_parted.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
def _of_parted(primals: Any, cotangent: Any, _: Any) -> Any:
    return detached([cotangent])[0]


def _released(function: Callable[..., mx.array], *arrays: mx.array) -> mx.array:
    """The value of a function; of the way to it nothing is kept, and it is computed again for the gradient."""
    return recomputed(lambda *inputs: [function(*inputs)], *arrays)[0]
