"""Layers for training on a CPU that free intermediate arrays early.

MLX frees no computed array during differentiation. If some layers are computed eagerly
(`lazarus_models.ops.cpu.numpy_views`), that includes every intermediate result of both passes. So these layers return
arrays without graph dependencies. The forward pass keeps a layer's input and output. The backward pass keeps the
gradients of the weights, in the layout of the weights. A step of 135 million parameters at 4 x 256 takes 3.8 GiB
instead of 6.3.
"""

from collections.abc import Callable
from typing import Any, cast

from lazarus_models.adapters import LoRALinear
from lazarus_models.backend import mx, nn
from lazarus_models.components import MLP, Block, Embedding, RMSNorm, Rope
from lazarus_models.ops import detached, recomputed, rms_norm
from lazarus_train.cpu.swiglu import swiglu


class LeanLinear(nn.Linear):
    """A linear layer with a trainable weight."""

    def __call__(self, x: mx.array) -> mx.array:
        product = cast("mx.array", _product(x, self.weight))
        return product + self.bias if "bias" in self else product


class LeanEmbedding(Embedding):
    """A trainable embedding, which may also be the output head."""

    def as_linear(self, x: mx.array) -> mx.array:
        return cast("mx.array", _product(x, self.weight))


class LeanRMSNorm(RMSNorm):
    """RMSNorm that recomputes its intermediate results for the gradient."""

    def __call__(self, x: mx.array) -> mx.array:
        def normed(x: mx.array, weight: mx.array) -> mx.array:
            return rms_norm(x, weight, self.eps)

        return _released(normed, x, self.weight)


class LeanRope(Rope):
    """Rotary embedding that recomputes its intermediate results for the gradient."""

    def both(self, queries: mx.array, keys: mx.array, offset: int | mx.array) -> tuple[mx.array, mx.array]:
        """Queries and keys after the rotation.

        Args:
            queries: Queries.
            keys: Keys.
            offset: Position of the first token.
        """

        def turned(x: mx.array) -> mx.array:
            return self(x, offset)

        return _released(turned, queries), _released(turned, keys)


class LeanLoRALinear(LoRALinear):
    """A LoRA layer that recomputes its intermediate results for the gradient."""

    def __call__(self, x: mx.array) -> mx.array:
        def adapted(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
            # (x A) B keeps the small rank as the inner axis; A B would be as large as the weight.
            return self.linear(x) + self.scale * ((x @ a) @ b)

        return _released(adapted, x, self.lora_a, self.lora_b)


class LeanMLP(MLP):
    """A feed-forward layer with a vectorised activation."""

    def gated(self, gate: mx.array, up: mx.array) -> mx.array:
        """The activated gate multiplied by `up`.

        Args:
            gate: Input of the activation.
            up: Factor of the same shape.
        """
        return swiglu(gate, up) if self.config.activation == "silu" else super().gated(gate, up)


class LeanBlock(Block):
    """A block whose gradient is computed completely before the previous block's gradient starts."""

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        return super().__call__(cast("mx.array", _parted(x)), mask, cache)


# Replacements by exact type. They have the same parameters, so only the class of a layer changes.
_LEAN: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LeanLinear,
    Embedding: LeanEmbedding,
    RMSNorm: LeanRMSNorm,
    Rope: LeanRope,
    MLP: LeanMLP,
    Block: LeanBlock,
}
_OF_WEIGHTS = (nn.Linear, Embedding)
"""Layer types that stay unchanged if their weight is frozen: then the gradient is one matrix product."""


def low_memory_kind(layer: nn.Module, *, drops: bool = False) -> type[nn.Module] | None:
    """The class of a layer for training on a CPU; None if it stays unchanged.

    Args:
        layer: A layer of a model with its adapters and frozen layers.
        drops: Whether adapters use dropout. Such adapters stay unchanged, because a recomputation would drop other
            inputs.
    """
    kind, learns = type(layer), cast("Any", layer).trainable_parameters()
    # By exact type: a subclass may compute something else.
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
    # dx = dy W; dW = dy^T x over all tokens, in the layout of the weight, so no transposed copy is kept.
    x, weight = primals
    return detached([cotangent @ weight, mx.flatten(cotangent, 0, -2).T @ mx.flatten(x, 0, -2)])


@mx.custom_function
def _parted(x: Any) -> Any:
    # Identity forward. Backward evaluates the cotangent, so the graph of the later block's gradient can be freed.
    return x


@_parted.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
def _of_parted(primals: Any, cotangent: Any, _: Any) -> Any:
    return detached([cotangent])[0]


def _released(function: Callable[..., mx.array], *arrays: mx.array) -> mx.array:
    """The value of a function without its intermediate results, which are recomputed for the gradient."""
    # Only inputs and output survive the forward pass; the backward pass runs the function again.
    return recomputed(lambda *inputs: [function(*inputs)], *arrays)[0]
