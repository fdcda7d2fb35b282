"""The causal loss of a training step, without the logits of all tokens at once.

N = tokens of all rows but the last of each, D = model width, V = vocabulary, P = parameters of the head

The logits are the largest arrays of a step: 16 x 1,024 tokens of 49,152 in float32 are 3.2 GB, and as much for their gradient.
Here the head runs on blocks of tokens. The loss is a sum, so the gradient of a block is known up to one factor when its
logits are: the forward pass computes both, as Liger Kernel does (Hsu et al. 2024, arXiv 2410.10989), and keeps only the
gradients of the head's input (N, D) and of its parameters. Nothing is computed twice. Gradients of the parameters are added
in float32, block by block, in order.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, nn
from lazarus_models.trees import flatten, part, unflatten

if TYPE_CHECKING:
    from lazarus_models.components import Decoder

BLOCK_NUMBERS = 2**26
"""Logits of a block: 256 MiB in float32. Blocks of 1,365 tokens keep a GPU busy at 49,152 tokens of vocabulary."""


def blockwise_causal_nll(
    decoder: "Decoder",
    states: Float[mx.array, "R T D"],
    ids: Int[mx.array, "R T"],
    is_label: Bool[mx.array, "R T"],
    block_numbers: int = BLOCK_NUMBERS,
) -> Float[mx.array, ""]:
    """`next_token.causal_nll` of the decoder's logits, for a gradient: sum of -log p over the labels, in nats.

    Args:
        decoder: Its head gives the logits.
        states: Result of the decoder's body, (R, T, D).
        ids: Input ids, int (R, T).
        is_label: Whether each token counts; bool (R, T).
        block_numbers: Largest number of logits at once; a block has at least one token.
    """
    head = _head_module(decoder)
    learnt = flatten(head.trainable_parameters())
    # Position t predicts token t + 1.
    flat = mx.flatten(states[:, :-1], 0, 1)  # (N, D)
    targets, counts = mx.flatten(ids[:, 1:]), mx.flatten(is_label[:, 1:])
    size = max(1, block_numbers // decoder.config.vocab_size)

    def block_nll(chosen: mx.array, counted: mx.array) -> Callable[..., list[mx.array]]:
        def nll(x: mx.array, *parameters: mx.array) -> list[mx.array]:
            own = flatten(head.trainable_parameters())
            _put(head, dict(zip(learnt, parameters, strict=True)))
            logits = decoder.head(x).astype(mx.float32)
            _put(head, own)
            return [mx.where(counted, cast("mx.array", _line_nll(logits, chosen)), 0.0).sum()]

        return nll

    @mx.custom_function
    def loss_and_slopes(x: Any, *parameters: Any) -> Any:
        loss, of_x = mx.array(0.0), list[mx.array]()
        of_parameters = [mx.zeros(each.shape, mx.float32) for each in parameters]
        for first in range(0, x.shape[0], size):
            block = [each[first : first + size] for each in (x, targets, counts)]
            # After the block before, whose logits are free then. MLX would compute parts of several blocks at once.
            block = cast("list[mx.array]", mx.depends(block, [loss, *of_parameters]))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
            (nll,), (slope, *slopes) = mx.vjp(block_nll(*block[1:]), [block[0], *parameters], [mx.array(1.0)])  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
            loss = loss + nll
            of_x.append(slope)
            of_parameters = [total + each.astype(mx.float32) for total, each in zip(of_parameters, slopes, strict=True)]
        return loss, mx.concatenate(of_x), *of_parameters

    @loss_and_slopes.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
    def slopes(primals: Any, cotangents: Any, outputs: Any) -> Any:  # pyright: ignore[reportUnusedFunction] (MLX calls it)
        inputs = [primals] if isinstance(primals, mx.array) else list(primals)
        found = [
            (each.astype(mx.float32) * cotangents[0]).astype(given.dtype)
            for given, each in zip(inputs, outputs[1:], strict=True)
        ]
        return found[0] if len(found) == 1 else tuple(found)

    return cast("tuple[mx.array, ...]", loss_and_slopes(flat, *learnt.values()))[0]


@mx.custom_function
def _line_nll(logits: Any, targets: Any) -> Any:
    """-log softmax(logits)[target] of each line, in nats, (N,)."""
    picked = mx.take_along_axis(logits, targets[:, None], axis=-1)
    return mx.logsumexp(logits, axis=-1) - mx.squeeze(picked, -1)


@_line_nll.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
def _slope(primals: Any, cotangent: Any, _: Any) -> Any:
    """Softmax - one-hot, element by element: MLX's own gradient scatters into an array of zeros, for each block."""
    logits, targets = primals
    is_target = mx.arange(logits.shape[-1]) == targets[:, None]
    return cotangent[:, None] * (mx.softmax(logits, axis=-1) - is_target), mx.zeros_like(targets)


def _head_module(decoder: "Decoder") -> nn.Module:
    """The module whose parameters give the logits: the embedding if it is tied."""
    return cast("Any", part(decoder.body, decoder.config.names[1]) if decoder.config.tied else decoder.lm_head)


def _put(module: nn.Module, parameters: dict[str, mx.array]) -> None:
    module.update(unflatten(parameters))  # pyright: ignore[reportUnknownMemberType] (`dict` without its types)
