"""Steering: a direction is added to the residual stream, or removed from it.

D = model width, T = tokens a row

| mode | the stream h becomes |
|---|---|
| `add` | h + alpha v |
| `keep_norm` | h + alpha v, scaled to the norm of h |
| `remove` | h - (h . u) u with u = v / norm of v; alpha is not used |

Positions count from the start of the text, also in cached generation. With a cache, positions of the prompt are changed when
the prompt is read, so the greedy text is the same with and without a cache.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from jaxtyping import Float

from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import Positioned, hooked
from lazarus_introspect.site_table import sites
from lazarus_models.backend import mx
from lazarus_models.trees import evaluate

Mode = Literal["add", "keep_norm", "remove"]
MODES: tuple[Mode, ...] = ("add", "keep_norm", "remove")


def steering_vector(
    model: Any,
    positive: Sequence[Sequence[int]],
    negative: Sequence[Sequence[int]],
    site: str,
    *,
    position: int | None = -1,
) -> Float[mx.array, " D"]:
    """The difference of mean activations of two sets of prompts (arXiv 2308.10248, 2312.06681).

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        positive: Token ids of each prompt with the property.
        negative: Token ids of each prompt without it.
        site: A site of axes (B, T, D), such as `blocks.8.resid_post`.
        position: Position of each prompt, such as -1 for the last; None for the mean over all positions.

    Raises:
        RequestError: A set is empty, a prompt is too short, or the site has other axes.
    """
    name = _stream(model, site)
    if not positive or not negative:
        raise RequestError("a steering vector needs at least one prompt on each side", "LI-E133")

    def mean(prompts: Sequence[Sequence[int]]) -> mx.array:
        rows: list[mx.array] = []
        for ids in prompts:
            state = run_with_cache(model, [list(ids)], name)[1][name][0].astype(mx.float32)  # (T, D)
            if position is not None and not -len(ids) <= position < len(ids):
                raise RequestError(f"`position` {position} is outside a prompt of {len(ids)} tokens", "LI-E124")
            rows.append(state.mean(axis=0) if position is None else state[position])
        return mx.stack(rows).mean(axis=0)

    vector = mean(positive) - mean(negative)
    evaluate(vector)
    return vector


def steering_hook(
    vector: Float[mx.array, " D"],
    *,
    alpha: float = 1.0,
    mode: Mode = "add",
    start: int = 0,
    end: int | None = None,
) -> Positioned:
    """A hook that steers a stream.

    Args:
        vector: Direction v, float, (D,).
        alpha: Strength; 0 changes nothing.
        mode: See the table of this module.
        start: First position that is steered; the length of the prompt steers generated tokens only.
        end: Position after the last that is steered; None for no end.

    Raises:
        RequestError: The vector or a setting is invalid.
    """
    if vector.ndim != 1 or not bool(mx.isfinite(vector).all()):
        raise RequestError(f"`vector` has the shape {vector.shape}; give finite numbers (D,)", "LI-E133")
    length = float(mx.linalg.norm(vector.astype(mx.float32)))
    if mode not in MODES or alpha != alpha or abs(alpha) == float("inf"):
        raise RequestError(f"`mode` {mode!r} or `alpha` {alpha} is invalid; modes are {', '.join(MODES)}", "LI-E130")
    if mode == "remove" and length == 0:
        raise RequestError("`vector` is zero, which is no direction", "LI-E133")
    if start < 0 or (end is not None and end < start):
        raise RequestError(f"`start` {start} and `end` {end} are no range of positions", "LI-E124")
    unit = vector.astype(mx.float32) / (length or 1.0)

    def steer(x: mx.array, first: int) -> mx.array | None:
        if x.shape[-1] != vector.size:
            raise RequestError(f"`vector` has {vector.size} numbers, but the stream has {x.shape[-1]}", "LI-E133")
        if mode != "remove" and alpha == 0:
            return None
        wide = x.astype(mx.float32)
        new = wide - (wide @ unit)[..., None] * unit if mode == "remove" else wide + alpha * vector
        if mode == "keep_norm":
            before, after = (mx.linalg.norm(each, axis=-1, keepdims=True) for each in (wide, new))
            new = new * (before / mx.maximum(after, 1e-12))
        places = mx.arange(first, first + x.shape[1])
        hit = places >= start if end is None else (places >= start) & (places < end)
        return mx.where(hit[:, None], new.astype(x.dtype), x)

    return Positioned(steer)


@contextmanager
def steered(
    model: Any,
    vector: Float[mx.array, " D"],
    site: str,
    *,
    alpha: float = 1.0,
    mode: Mode = "add",
    start: int = 0,
    end: int | None = None,
) -> Generator[None]:
    """Context manager: every pass of the model in this thread is steered, those of generation too.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        vector: Direction, float, (D,).
        site: A site of axes (B, T, D).
        alpha: See `steering_hook`.
        mode: See `steering_hook`.
        start: See `steering_hook`.
        end: See `steering_hook`.
    """
    name = _stream(model, site)
    with hooked(model, [(name, steering_hook(vector, alpha=alpha, mode=mode, start=start, end=end))]):
        yield


def _stream(model: Any, site: str) -> str:
    found = sites(model).find(site)
    if found.axes != "BTD":
        raise RequestError(f"`{site}` has the axes {' '.join(found.axes)}; steer a site with B T D", "LI-E133")
    return found.name
