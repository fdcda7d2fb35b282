"""A self-test: whether gradients have the same bits each time they are computed.

On CUDA, MLX 0.32 adds the rows of a gather's gradient in any order, and cuDNN does the same for the queries of fused
attention in bfloat16 (NVIDIA H200). Training promises equal bits, so the test computes what a model computes: with
`lazarus_models.components.Embedding` and `lazarus_models.ops.attention`.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from lazarus_models.backend import mx, nn
from lazarus_models.components import Embedding
from lazarus_models.ops.attention import attention
from lazarus_models.trees import evaluate

RUNS = 6
"""Runs of each gradient. On an H200 two of six plain ones always differed."""
_VOCABULARY, _TOKENS, _WIDTH = 512, 8192, 64
_HEADS = (4, 8, 512, 64)
Gradient = Callable[[], list[mx.array]]


def check_repeats(gradients: Mapping[str, Gradient] | None = None, runs: int = RUNS) -> dict[str, int]:
    """How many runs of each gradient have the bits of the first one; `runs` if all are equal.

    Args:
        gradients: Functions that compute gradients, by name; by default those of `model_gradients`.
        runs: Runs of each, at least 1.
    """
    found: dict[str, int] = {}
    for name, gradient in (model_gradients() if gradients is None else gradients).items():
        digests = [_digest(gradient()) for _ in range(runs)]
        found[name] = digests.count(digests[0])
    return found


def repeat_advice(found: Mapping[str, int]) -> str:
    """What gradients that do not repeat mean for training; empty if all repeat.

    Args:
        found: Result of `check_repeats` with its default number of runs.
    """
    names = [name for name, equal in found.items() if equal < RUNS]
    if not names:
        return ""
    return (
        f"gradients differ from run to run on this device ({'; '.join(names)}): two equal training runs do not end with equal "
        "weights here"
    )


def model_gradients(heads: tuple[int, int, int, int] = _HEADS) -> dict[str, Gradient]:
    """The gradients whose bits differ on some devices, computed as a model computes them.

    Args:
        heads: Rows, heads, tokens and width of a head, for attention.
    """
    return {
        "embedding": _embedding,
        "attention, float32": lambda: _attention(mx.float32, heads),
        "attention, bfloat16": lambda: _attention(mx.bfloat16, heads),
    }


def _digest(arrays: list[mx.array]) -> str:
    evaluate(arrays)
    return hashlib.sha256(b"".join(np.array(each.astype(mx.float32)).tobytes() for each in arrays)).hexdigest()


def _embedding() -> list[mx.array]:
    """Gradient of an embedding whose rows are read sixteen times each."""
    layer = Embedding(_VOCABULARY, _WIDTH)
    keys = [mx.random.key(number) for number in range(3)]
    layer.weight = mx.random.normal((_VOCABULARY, _WIDTH), key=keys[0])
    ids = mx.random.randint(0, _VOCABULARY, (1, _TOKENS), key=keys[1])
    factors = mx.random.normal((1, _TOKENS, _WIDTH), key=keys[2])
    gradient = cast("Callable[[], Any]", nn.value_and_grad(layer, lambda: (layer(ids) * factors).sum()))  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
    return [gradient()[1]["weight"]]


def _attention(dtype: mx.Dtype, heads: tuple[int, int, int, int]) -> list[mx.array]:
    """Gradients of causal attention with respect to queries, keys and values."""
    given = [mx.random.normal(heads, key=mx.random.key(number)).astype(dtype) for number in range(3)]

    def loss(queries: mx.array, keys: mx.array, values: mx.array) -> mx.array:
        return attention(queries, keys, values, scale=0.125, mask="causal").astype(mx.float32).square().sum()

    gradient = mx.grad(loss, argnums=[0, 1, 2])
    return list(cast("tuple[mx.array, ...]", gradient(*given)))
