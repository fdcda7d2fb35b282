"""Activation patching: activations of one run are put into another one, place by place.

B = rows, T = tokens a row, H = heads of the site

`denoise` puts clean activations into the corrupt run: what is sufficient to restore the difference. `noise` puts corrupt ones
into the clean run: what is necessary. The metric is the logit difference; normalised, 0 is the corrupt run and 1 the clean
one (arXiv 2309.16042, 2404.15255). Patches of a sweep are rows of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.errors import RequestError, SiteError
from lazarus_introspect.hooks import Hook, hooked, run_with_hooks, token_ids
from lazarus_introspect.metrics import Numbers, logit_difference, numbers
from lazarus_introspect.reading.attribution import one_position
from lazarus_introspect.site_table import Site, decoder_of, sites
from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_models.vocabulary import check_ids

Direction = Literal["denoise", "noise"]
STREAMS = ("resid_pre", "resid_mid", "resid_post", "mixer_out", "attn_out", "mlp_out", "mlp.post")
"""Sites that are patched position by position."""
HEADS = ("attn.z", "attn.q", "attn.k", "attn.v", "attn.rot_q", "attn.rot_k", "attn.pattern")
"""Sites that are patched head by head, at all positions or at chosen ones; keys and values have key/value heads."""
UNDEFINED_BELOW = 1e-6
"""Difference of clean and corrupt metric below which the normalised metric is None."""


@dataclass(frozen=True)
class PatchSweep:
    """The metric of every patch of a sweep."""

    kind: str
    """Site in the block, such as `resid_pre` or `attn.z`."""
    direction: Direction
    sites: tuple[str, ...]
    """Sites, the rows of `difference`."""
    columns: tuple[int, ...]
    """Positions, or heads; the columns of `difference`."""
    by: Literal["position", "head"]
    difference: Numbers
    """logit[positive] - logit[negative] of each patched run, (sites, columns)."""
    clean: float
    """The same of the clean run."""
    corrupt: float
    """The same of the corrupt run."""

    @property
    def normalised(self) -> Numbers | None:
        """(patched - corrupt) / (clean - corrupt): 0 as corrupt, 1 as clean. None if clean and corrupt do not differ."""
        span = self.clean - self.corrupt
        return None if abs(span) < UNDEFINED_BELOW else (self.difference - self.corrupt) / span


def patch_sweep(
    model: Any,
    clean: Any,
    corrupt: Any,
    positive: int,
    negative: int,
    *,
    kind: str = "resid_pre",
    direction: Direction = "denoise",
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    position: int = -1,
    batch: int = 32,
) -> PatchSweep:
    """Patches one site after the other and measures the logit difference.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        clean: Token ids of the prompt with the behaviour, (1, T).
        corrupt: Token ids of the prompt without it, (1, T).
        positive: Token that the clean prompt predicts.
        negative: Token that the corrupt prompt predicts.
        kind: One of `STREAMS`, patched by position, or of `HEADS`, patched by head. `resid_pre` includes `resid_final`.
        direction: `denoise` or `noise`.
        layers: Blocks; None for all that have the site.
        positions: Positions that are patched: the columns of streams; for heads, the positions of each patch. None for all.
        position: Position whose logits are read.
        batch: Patches of a forward pass, at least 1. Memory grows with it.

    Raises:
        RequestError: The prompts have different numbers of tokens, or a setting is invalid.
        SiteError: The model does not have the site.
    """
    decoder = decoder_of(model)
    check_ids([positive, negative], decoder.config.vocab_size, "the pair of tokens")
    pair = [token_ids(decoder, ids) for ids in (clean, corrupt)]
    place = check_pair(pair[0], pair[1], position)
    if direction not in ("denoise", "noise") or batch < 1:
        raise RequestError("`direction` must be denoise or noise, and `batch` at least 1", "LI-E130")
    chosen = sweep_sites(decoder, kind, layers)
    tokens = pair[0].shape[1]
    where = range(tokens) if positions is None else [one_position(pair[0], each) for each in positions]
    source, target = pair if direction == "denoise" else pair[::-1]
    names = [site.name for site in chosen]
    run, cache = run_with_cache(decoder, source, names)
    other = run_with_hooks(decoder, target)
    ends = [float(logit_difference(each[:, place], positive, negative)) for each in (run, other)]
    by_head = kind in HEADS
    columns = range(cache[names[0]].shape[_head_axis(chosen[0])]) if by_head else where
    patches = [(site, column) for site in chosen for column in columns]
    found: list[mx.array] = []
    for begin in range(0, len(patches), batch):
        some = patches[begin : begin + batch]
        hooks = _batch_hooks(some, cache, where if by_head else None)
        with hooked(decoder, hooks):
            logits = decoder(mx.repeat(target, len(some), axis=0))
        found.append(logit_difference(logits[:, place], positive, negative))
        evaluate(found[-1])
    difference = numbers(mx.concatenate(found)).reshape(len(chosen), len(columns))
    source_first = ends if direction == "denoise" else ends[::-1]
    return PatchSweep(
        kind=kind,
        direction=direction,
        sites=tuple(names),
        columns=tuple(columns),
        by="head" if by_head else "position",
        difference=difference,
        clean=source_first[0],
        corrupt=source_first[1],
    )


def sweep_sites(model: Any, kind: str, layers: Sequence[int] | None) -> list[Site]:
    """The sites of a sweep, in order.

    Args:
        model: The model.
        kind: One of `STREAMS` or `HEADS`.
        layers: Blocks; None for all that have the site.
    """
    if kind not in (*STREAMS, *HEADS):
        raise RequestError(f"`kind` {kind!r} is unknown; choose from {', '.join((*STREAMS, *HEADS))}", "LI-E130")
    found = sites(model)
    if layers is not None:
        return [found.find(f"blocks.{layer}.{kind}") for layer in layers]
    chosen = [
        found.present[name] for layer in range(found.layers) if (name := f"blocks.{layer}.{kind}") in found.present
    ]
    if not chosen:
        found.find(f"blocks.0.{kind}")  # says why
        raise SiteError(f"no block has `{kind}`", "LI-E101")
    return [*chosen, found.present["resid_final"]] if kind == "resid_pre" else chosen


def check_pair(clean: mx.array, corrupt: mx.array, position: int) -> int:
    """The position that is read of two prompts with equal numbers of tokens.

    Args:
        clean: Token ids, (1, T).
        corrupt: Token ids, (1, T).
        position: In [-T, T).
    """
    place = one_position(clean, position)
    one_position(corrupt, position)
    if clean.shape != corrupt.shape:
        raise RequestError(
            f"the prompts have {clean.shape[1]} and {corrupt.shape[1]} tokens; give prompts with equal numbers of tokens",
            "LI-E121",
        )
    return place


def _head_axis(site: Site) -> int:
    return 1 if site.axes == "BHTM" else 2


def _batch_hooks(
    patches: Sequence[tuple[Site, int]], cache: Any, positions: Sequence[int] | None
) -> list[tuple[str, Hook]]:
    """One hook a site, which changes the rows of its patches only."""
    rows: dict[str, list[tuple[int, int]]] = {}
    for row, (site, column) in enumerate(patches):
        rows.setdefault(site.name, []).append((row, column))
    by_name = {site.name: site for site, _ in patches}

    def hook(site: Site) -> Hook:
        own, source = rows[site.name], cache[site.name]

        def patch(x: mx.array) -> mx.array:
            hit = np.zeros((x.shape[0], x.shape[1], x.shape[2]), dtype=np.bool_)
            for row, column in own:
                if positions is None:
                    hit[row, column] = True
                elif site.axes == "BHTM":
                    hit[row, column, list(positions)] = True
                else:
                    hit[row, list(positions), column] = True
            if positions is None:  # the whole vector of a position
                hit = hit[:, :, :1]
            mask = mx.reshape(mx.array(hit.tolist()), (*hit.shape, *([1] * (x.ndim - 3))))
            return mx.where(mask, source, x)

        return patch

    return [(name, hook(site)) for name, site in by_name.items()]


def attribution_patching(
    model: Any,
    clean: Any,
    corrupt: Any,
    positive: int,
    negative: int,
    *,
    kind: str = "resid_pre",
    layers: Sequence[int] | None = None,
    position: int = -1,
) -> Numbers:
    """First-order estimates of all patches of `denoise`, from one gradient at the corrupt run (arXiv 2310.10348).

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        clean: Token ids, (1, T).
        corrupt: Token ids, (1, T).
        positive: Token that the clean prompt predicts.
        negative: Token that the corrupt prompt predicts.
        kind: As in `patch_sweep`.
        layers: As in `patch_sweep`.
        position: Position whose logits are read.

    Returns:
        (clean - corrupt) * gradient of the logit difference, summed for each position (sites, T) or head (sites, H).
    """
    decoder = decoder_of(model)
    check_ids([positive, negative], decoder.config.vocab_size, "the pair of tokens")
    pair = [token_ids(decoder, ids) for ids in (clean, corrupt)]
    place = check_pair(pair[0], pair[1], position)
    chosen = sweep_sites(decoder, kind, layers)
    names = [site.name for site in chosen]
    states = [run_with_cache(decoder, ids, names)[1] for ids in pair]

    def metric(added: list[mx.array]) -> mx.array:
        hooks: list[tuple[str, Hook]] = [
            (name, lambda x, more=more: x + more) for name, more in zip(names, added, strict=True)
        ]
        with hooked(decoder, hooks):
            return logit_difference(decoder(pair[1])[:, place], positive, negative).sum()

    slopes = mx.grad(metric)([mx.zeros_like(states[1][name]) for name in names])
    rows: list[Numbers] = []
    for site, slope in zip(chosen, slopes, strict=True):
        share = numbers(states[0][site.name] - states[1][site.name]) * numbers(slope)
        axis = 1 if kind not in HEADS else _head_axis(site)
        rows.append(np.moveaxis(share[0], axis - 1, 0).reshape(share.shape[axis], -1).sum(axis=1))
    return np.array(rows)
