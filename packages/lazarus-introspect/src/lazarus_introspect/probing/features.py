"""Features of prompts: one vector a prompt, from any site, and counts of their tokens.

n = prompts, T = tokens of a prompt, D = width of the site, V = tokens that differ between prompts

| pooling | vector of a prompt |
|---|---|
| `last` | the last token |
| `last_varying` | the last token before the suffix that all prompts share |
| `mean` | the mean over tokens without the prefix and the suffix that all prompts share |

Equal prompts are computed once. Memory: one vector a prompt and site, and the activations of one batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import numbers
from lazarus_introspect.site_table import sites
from lazarus_models import LoadedModel

Numbers = NDArray[np.float64]
Pooling = Literal["last", "last_varying", "mean"]
POOLINGS: tuple[Pooling, ...] = ("last", "last_varying", "mean")
Key = tuple[str, Pooling]
"""A site and a pooling."""
_BATCH_TOKENS = 2048
"""Tokens of a batch: 2,048 tokens of 50 sites of width 1,024 are 0.4 GB in float32."""


class Shared(NamedTuple):
    """Tokens that all prompts share at their start and end."""

    prefix: int
    suffix: int


def shared_ends(rows: Sequence[Sequence[int]]) -> Shared:
    """The shared prefix and suffix; each prompt keeps at least one token of its own.

    >>> shared_ends([[1, 7, 8, 2], [1, 9, 2]])
    Shared(prefix=1, suffix=1)
    """
    shortest = min(map(len, rows))
    suffix = _common([row[::-1] for row in rows], shortest - 1)
    return Shared(_common(rows, shortest - 1 - suffix), suffix)


def _common(rows: Sequence[Sequence[int]], most: int) -> int:
    return next((place for place in range(most) if len({row[place] for row in rows}) > 1), max(0, most))


def site_names(lm: LoadedModel, kind: str = "resid", layers: Iterable[int] | None = None) -> list[str]:
    """Sites of layers: of `resid`, layer l is the stream that enters block l, and layer L enters the last norm.

    Args:
        lm: The model.
        kind: `resid`, or a site of a block with one vector a token, such as `mlp_out` or `mlp.post`.
        layers: Layers, 0 to L for `resid`, else blocks; None for all that have the site.

    Raises:
        RequestError: A layer does not exist, or the site has no vector a token.
        SiteError: A block does not have the site.
    """
    found = sites(lm)
    count = found.layers + 1 if kind == "resid" else found.layers
    listed = range(count) if layers is None else list(layers)
    if wrong := [layer for layer in listed if not 0 <= layer < count]:
        raise RequestError(f"layer {wrong[0]} does not exist; layers are 0 to {count - 1}", "LI-E140")
    if kind == "resid":
        return ["resid_final" if layer == found.layers else f"blocks.{layer}.resid_pre" for layer in listed]
    every = [f"blocks.{layer}.{kind}" for layer in listed]
    chosen = [found.find(each) for each in every if layers is not None or each in found.present] or [
        found.find(every[0])
    ]
    for site in chosen:
        if site.axes not in ("BTD", "BTI", "BTE"):
            raise RequestError(f"`{site.name}` has the axes {' '.join(site.axes)}; probe a site with B T D", "LI-E083")
    return [site.name for site in chosen]


def read_features(
    lm: LoadedModel,
    rows: Sequence[Sequence[int]],
    names: Sequence[str],
    poolings: Sequence[Pooling] = ("last",),
    *,
    shared_by: Sequence[Sequence[int]] | None = None,
) -> Mapping[Key, Numbers]:
    """Vectors of prompts at several sites, (n, D) each.

    Args:
        lm: The model.
        rows: Token ids of each prompt.
        names: Sites with one vector a token; see `site_names`.
        poolings: Poolings.
        shared_by: Prompts whose shared ends are left out; None for all of `rows`.
    """
    ends = shared_ends(rows if shared_by is None else shared_by)
    different = list(dict.fromkeys(map(tuple, rows)))
    place_of = {ids: place for place, ids in enumerate(different)}
    kept: dict[Key, list[Numbers]] = {
        (name, pooling): [np.zeros(0)] * len(different) for name in names for pooling in poolings
    }
    for batch in _batches(different):
        cache = run_with_cache(lm, [list(ids) for ids in batch], names)[1]
        for name in names:
            values = numbers(cache[name])  # (B, T, D)
            for pooling in poolings:
                for ids, vector in zip(batch, _pooled(values, pooling, ends), strict=True):
                    kept[name, pooling][place_of[ids]] = vector
    order = [place_of[tuple(ids)] for ids in rows]
    return {key: np.stack(vectors)[order] for key, vectors in kept.items()}


def _batches(rows: Sequence[tuple[int, ...]]) -> Iterable[list[tuple[int, ...]]]:
    """Batches of prompts with equal numbers of tokens."""
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for ids in rows:
        by_length.setdefault(len(ids), []).append(ids)
    for length, same in by_length.items():
        size = max(1, _BATCH_TOKENS // length)
        yield from (same[start : start + size] for start in range(0, len(same), size))


def _pooled(values: Numbers, pooling: Pooling, ends: Shared) -> Numbers:
    length = values.shape[1]
    suffix = min(ends.suffix, length - 1)
    prefix = min(ends.prefix, length - 1 - suffix)
    match pooling:
        case "last":
            return values[:, -1]
        case "last_varying":
            return values[:, length - 1 - suffix]
        case "mean":
            return values[:, prefix : length - suffix].mean(axis=1)


def token_counts(rows: Sequence[Sequence[int]]) -> Numbers:
    """How often each token occurs in each prompt, (n, V): all that a bag of tokens knows.

    Args:
        rows: Token ids of each prompt.
    """
    known = {token: place for place, token in enumerate(sorted({token for row in rows for token in row}))}
    counts = np.zeros((len(rows), len(known)))
    for number, row in enumerate(rows):
        np.add.at(counts[number], [known[token] for token in row], 1)
    return counts[:, counts.min(axis=0) < counts.max(axis=0)]


def last_types(rows: Sequence[Sequence[int]]) -> list[int]:
    """The last token of each prompt before the suffix that all share: its type in a control task."""
    suffix = shared_ends(rows).suffix
    return [row[len(row) - 1 - suffix] for row in rows]
