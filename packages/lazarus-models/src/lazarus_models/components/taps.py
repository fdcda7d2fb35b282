"""Taps: a caller reads and changes named activations while a model computes.

A layer offers an activation with `offer(layer, name, array)` and continues with what it gets back. `tapped(tap)` sets the
tap of all models that the current thread (or asyncio task) calls. No layer is replaced, so nothing has to be restored;
without a tap an offer costs one look at a context variable (0.1 us).

B = rows, T = tokens a row, D = model width, H = query heads, K = key/value heads, W = width of a head, M = keys of a row,
I = width inside an MLP, E = experts, k = experts a token

| layer | names, in the order of a pass |
|---|---|
| `Body` | `embed` and `pos_embed` (B, T, D), added; `resid_final` and `normed_final` (B, T, D): before and after the last norm |
| `Block` | `resid_pre`, `mixer_in` (normed), `mixer_out` (added), `resid_mid`, `mlp_in` (normed), `mlp_out` (added), `resid_post`: (B, T, D) |
| `Attention` | `q` (B, T, H, W), `k`, `v` (B, T, K, W): projected, before norms and RoPE; `rot_q` (B, T, H, W), `rot_k` (B, T, K, W): those of the scores; `scores` (B, H, T, M), scaled and masked; `pattern` (B, H, T, M); `z` (B, T, H, W) |
| `MLP` | `pre` (gate, or the only projection), `pre_linear` (the second projection), `post` (input of the last projection): (B, T, I) |
| `MoE` | `router_logits` (B, T, E), `experts` (B, T, k), `weights` (B, T, k), `expert_out` (B, T, k, D) |

`mixer_out` and `mlp_out` are what the block adds to the residual stream: after norms and factors of the output.
`resid_mid` is offered by blocks with feed-forward parts only. `scores` and `pattern` are computed only when they are wanted.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from lazarus_models.backend import mx, nn


@runtime_checkable
class Tap(Protocol):
    """Reads and changes activations."""

    def starts(self, body: nn.Module, before: int | mx.array | None) -> None:
        """Called at the start of a pass.

        Args:
            body: The body whose pass starts.
            before: Tokens in its caches: a number, int32 (B,) for a batch, or None if the caches do not count them.
        """
        ...

    def wants(self, layer: nn.Module, name: str) -> bool:
        """Whether an activation is computed that the model itself does not need.

        Args:
            layer: The layer that offers it.
            name: Its name, such as `pattern`.
        """
        ...

    def __call__(self, layer: nn.Module, name: str, x: mx.array) -> mx.array:
        """The array with which the layer continues: `x` itself for no change.

        Args:
            layer: The layer that offers it.
            name: Its name.
            x: The activation.
        """
        ...


_TAPS: ContextVar[tuple[Tap, ...]] = ContextVar("lazarus_models.components.taps", default=())


@contextmanager
def tapped(tap: Tap) -> Generator[None]:
    """Context manager: layers offer their activations to `tap`, after the taps of outer blocks."""
    token = _TAPS.set((*_TAPS.get(), tap))
    try:
        yield
    finally:
        _TAPS.reset(token)


def start(body: nn.Module, before: int | mx.array | None) -> None:
    """Tells the taps that a pass starts.

    Args:
        body: The body whose pass starts.
        before: Tokens in its caches.
    """
    for tap in _TAPS.get():
        tap.starts(body, before)


def offer(layer: nn.Module, name: str, x: mx.array) -> mx.array:
    """Offers an activation to the taps.

    Args:
        layer: The layer that computed it.
        name: Its name; see the table of this module.
        x: The activation.

    Returns:
        The array with which the layer continues.
    """
    for tap in _TAPS.get():
        x = tap(layer, name, x)
    return x


def is_tapped() -> bool:
    """Whether there is a tap."""
    return bool(_TAPS.get())


def wanted(layer: nn.Module, name: str) -> bool:
    """Whether a tap wants an activation that the model does not need.

    Args:
        layer: The layer that could compute it.
        name: Its name.
    """
    return any(tap.wants(layer, name) for tap in _TAPS.get())
