"""Ablation: the output of a component is replaced, and the change of the model's output is measured.

B = rows, T = tokens a row, H = query heads, I = width inside an MLP

Outputs are replaced, not weights:

| component | site | meaning of zero |
|---|---|---|
| `layer` | `attn_out` (or `mixer_out`) and `mlp_out` | the block adds nothing |
| `attention`, `mlp` | `attn_out` (or `mixer_out`), `mlp_out` | the part adds nothing; its output bias is removed too |
| `head` | `attn.z` of one head | the head reads nothing; the output bias stays |
| `neuron` | `mlp.post` of one neuron | the neuron is silent |
| `expert` | `moe.weights` or `moe.router_logits` | the expert adds nothing, by a mode of `expert_ablation` |

| method | the output becomes |
|---|---|
| `zero` | 0 |
| `mean` | its mean over reference prompts: of each position, or pooled over all positions |
| `resample` | that of a reference prompt: one prompt for each row, or, pooled, a prompt and position for each position of the text |
| `noise` | itself plus normal noise of `scale` times its own standard deviation |

Several components are ablated jointly, in one pass. Their order has no effect.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.causal.expert_ablation import ExpertMode, expert_ablation_hooks
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import Hook, Positioned, hooked, run_with_hooks, token_ids
from lazarus_introspect.metrics import kl_divergence, log_softmax, numbers
from lazarus_introspect.reading.attribution import one_position
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.backend import mx
from lazarus_models.config import MLPConfig, MoEConfig

Kind = Literal["layer", "attention", "mlp", "head", "neuron", "expert"]
Method = Literal["zero", "mean", "resample", "noise"]
KINDS: tuple[Kind, ...] = ("layer", "attention", "mlp", "head", "neuron", "expert")
_NOISY_KINDS = 5
"""Kinds that can get noise: the first ones. Their seeds depend on this number."""
METHODS: tuple[Method, ...] = ("zero", "mean", "resample", "noise")
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Component:
    """A part of the model whose output is replaced."""

    layer: int
    """Block, from 0."""
    kind: Kind = "layer"
    index: int | None = None
    """Head, neuron or expert, from 0; None for the other kinds."""
    positions: tuple[int, ...] | None = None
    """Positions of the text, from 0; None for all."""

    @property
    def name(self) -> str:
        """Such as `L3`, `L3.attention` or `L3.head5`."""
        which = "" if self.index is None else str(self.index)
        where = "" if self.positions is None else "@" + ",".join(map(str, self.positions))
        return f"L{self.layer}" + ("" if self.kind == "layer" else f".{self.kind}{which}") + where


@dataclass(frozen=True)
class Reference:
    """Prompts from which `mean` and `resample` take activations."""

    ids: Any
    """Token ids, integer, (R, T)."""
    is_pooled: bool = False
    """From all positions instead of the same one; needed where lengths differ, as in generation."""


def components(model: Any, kind: Kind, layers: Iterable[int] | None = None) -> list[Component]:
    """Every component of a kind.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        kind: Kind of the components.
        layers: Blocks; None for those that have it.

    Raises:
        SiteError: A block in `layers` does not have it.
    """
    found = sites(model)
    site = {"head": "attn.z", "neuron": "mlp.post", "mlp": "mlp_out", "expert": "moe.experts"}.get(kind)
    every = range(found.layers) if layers is None else layers
    chosen: list[Component] = []
    for layer in every:
        name = f"blocks.{layer}.{site or 'resid_pre'}"
        if layers is None and name not in found.present:
            continue
        found.find(name)
        if kind in ("head", "neuron", "expert"):
            chosen += [Component(layer, kind, index) for index in range(_count(model, layer, kind))]
        else:
            chosen.append(Component(layer, kind))
    return chosen


def _count(model: Any, layer: int, kind: str) -> int:
    block = decoder_of(model).config.blocks[layer]
    if kind == "head":
        return block.mixer.num_heads
    if kind == "expert":
        return next(feed.num_experts for feed in block.feed_forward if isinstance(feed, MoEConfig))
    return next(feed.width for feed in block.feed_forward if isinstance(feed, MLPConfig))


def ablation_hooks(
    model: Any,
    chosen: Sequence[Component],
    *,
    method: Method = "zero",
    reference: Reference | None = None,
    scale: float = 1.0,
    seed: int = 0,
    expert_mode: ExpertMode = "drop",
) -> list[tuple[str, Hook]]:
    """Hooks that ablate components jointly, for `run_with_hooks`, `hooked` or a generation.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        chosen: Components; none changes nothing.
        method: What the outputs become.
        reference: Prompts of `mean` and `resample`.
        scale: noise: factor of the activation's standard deviation, above 0.
        seed: resample, noise: random seed, at least 0.
        expert_mode: Experts: what happens to the tokens that chose them; see `lazarus_introspect.causal.expert_ablation`.

    Raises:
        RequestError: A component or setting is invalid, or `reference` is missing.
        SiteError: The model does not have a component.
    """
    if method not in METHODS:
        raise RequestError(f"`method` {method!r} is unknown; choose from {', '.join(METHODS)}", "LI-E130")
    needs = method in ("mean", "resample")
    if needs != (reference is not None):
        words = "needs reference prompts" if needs else "uses no reference prompts"
        raise RequestError(f"`method` {method!r} {words} (`reference`)", "LI-E131")
    if method == "noise" and not (0 < scale < float("inf")):
        raise RequestError(f"`scale` {scale} must be above 0 and finite", "LI-E130")
    experts = _experts_by_layer(chosen, method)
    outputs = [each for each in chosen if each.kind != "expert"]
    placed = [(site, each) for each in outputs for site in _component_sites(model, each)]
    values: dict[str, mx.array] = {}
    if reference is not None and placed:
        values = dict(run_with_cache(model, reference.ids, sorted({site for site, _ in placed}))[1])
    return [
        *expert_ablation_hooks(model, experts, mode=expert_mode),
        *(
            (site, _hook(each, method, reference, values.get(site), scale, [seed, place_of(each)]))
            for site, each in placed
        ),
    ]


def _experts_by_layer(chosen: Sequence[Component], method: Method) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for each in chosen:
        if each.kind != "expert":
            continue
        if each.index is None:
            raise RequestError(f"{each.name}: give `index` for experts", "LI-E130")
        if method != "zero" or each.positions is not None:
            raise RequestError(
                f"{each.name}: experts are ablated by `method` 'zero', at all positions; `expert_mode` says how",
                "LI-E130",
            )
        found.setdefault(each.layer, []).append(each.index)
    return found


def place_of(component: Component) -> int:
    """A number of the component, so that its random numbers do not depend on the others."""
    return (component.layer * _NOISY_KINDS + KINDS.index(component.kind)) * (1 << 20) + (component.index or 0)


def _component_sites(model: Any, component: Component) -> list[str]:
    found = sites(model)
    if component.kind not in KINDS:
        raise RequestError(f"kind {component.kind!r} is unknown; choose from {', '.join(KINDS)}", "LI-E130")
    needs_index = component.kind in ("head", "neuron")
    if needs_index != (component.index is not None):
        raise RequestError(f"{component.name}: give `index` for heads and neurons only", "LI-E130")
    prefix = f"blocks.{component.layer}."
    names = {"attention": ["attn_out"], "mlp": ["mlp_out"], "head": ["attn.z"], "neuron": ["mlp.post"]}.get(
        component.kind, ["mixer_out", *(["mlp_out"] if prefix + "mlp_out" in found.present else [])]
    )
    checked = [found.find(prefix + name).name for name in names]
    if component.index is not None and not 0 <= component.index < _count(model, component.layer, component.kind):
        count = _count(model, component.layer, component.kind)
        raise RequestError(f"{component.name}: block {component.layer} has {count}, numbered from 0", "LI-E132")
    return checked


def _hook(
    component: Component,
    method: Method,
    reference: Reference | None,
    values: mx.array | None,
    scale: float,
    seed: list[int],
) -> Positioned:
    mean: mx.array | None = None
    if method == "mean" and values is not None and reference is not None:
        mean = values.mean(axis=(0, 1) if reference.is_pooled else 0, keepdims=True)

    def replace(x: mx.array, start: int) -> mx.array:
        part = x if component.index is None else x[:, :, component.index]
        new = _replacement(part, start)
        if component.positions is not None:
            places = mx.arange(start, start + x.shape[1])
            hit = (places[:, None] == mx.array(component.positions)).any(axis=-1)
            new = mx.where(mx.reshape(hit, (1, -1, *([1] * (part.ndim - 2)))), new, part)
        if component.index is None:
            return new
        is_own = mx.arange(x.shape[2]) == component.index
        if x.ndim == 4:
            return mx.where(is_own[:, None], new[:, :, None], x)
        return mx.where(is_own, new[:, :, None], x)

    def _replacement(part: mx.array, start: int) -> mx.array:
        if method == "zero":
            return mx.zeros_like(part)
        if method == "noise":
            key = mx.random.key(int(np.random.default_rng([*seed, start]).integers(1 << 63)))
            spread = mx.sqrt(mx.var(part.astype(mx.float32))) * scale
            return part + (mx.random.normal(part.shape, key=key) * spread).astype(part.dtype)
        assert values is not None
        if mean is not None:
            source = mean
        elif reference is not None and reference.is_pooled:
            drawn = resampled_places(values.shape[:2], seed, range(start, start + part.shape[1]), rows=part.shape[0])
            source = values[mx.array(drawn[..., 0]), mx.array(drawn[..., 1])]
            return (source if component.index is None else source[:, :, component.index]).astype(part.dtype)
        else:
            rows = np.random.default_rng(seed).integers(0, values.shape[0], part.shape[0])
            source = values[mx.array(rows)]
        own = source if component.index is None else source[:, :, component.index]
        if own.shape[1] == 1 and reference is not None and reference.is_pooled:
            return mx.broadcast_to(own, part.shape).astype(part.dtype)
        end = start + part.shape[1]
        if end > own.shape[1]:
            raise RequestError(
                f"{component.name}: the text has {end} tokens, the reference prompts have {own.shape[1]}; give longer "
                "ones, or pool the mean",
                "LI-E121",
            )
        return mx.broadcast_to(own[:, start:end], part.shape).astype(part.dtype)

    return Positioned(replace)


def resampled_places(shape: Sequence[int], seed: Sequence[int], places: Iterable[int], *, rows: int = 1) -> Places:
    """The reference prompt and position from which a pooled `resample` takes each position of a text.

    Each position has its own random numbers, so the draw is the same with and without a cache.

    Args:
        shape: Reference prompts and their tokens, (R, T).
        seed: Random seed and number of the component (`place_of`).
        places: Positions of the text, from 0.
        rows: Rows B of the text.

    Returns:
        Pairs of prompt and position, integer, (B, positions, 2).
    """
    drawn = [np.random.default_rng([*seed, place]).integers(0, shape, (rows, 2)) for place in places]
    return np.stack(drawn, axis=1)


@dataclass(frozen=True)
class AblationEffect:
    """The change of the next-token distribution by one joint ablation."""

    components: tuple[Component, ...]
    kl: float
    """KL(clean || ablated), nats."""
    top: int
    """Most probable token of the ablated run."""
    top_changed: bool
    logprob_change: float
    """Change of the log-probability of `positive`, nats."""
    difference_change: float | None
    """Change of logit[positive] - logit[negative]; None without `negative`."""


def measure_ablation(
    model: Any,
    ids: Any,
    groups: Sequence[Sequence[Component]],
    *,
    positive: int | None = None,
    negative: int | None = None,
    position: int = -1,
    method: Method = "zero",
    reference: Reference | None = None,
    scale: float = 1.0,
    seed: int = 0,
    expert_mode: ExpertMode = "drop",
) -> list[AblationEffect]:
    """Measures ablations at one position of one prompt.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids, integer, (1, T).
        groups: Components that are ablated jointly, group by group.
        positive: Token whose probability is followed; None for the model's prediction.
        negative: Token that is subtracted from it in the logit difference; None for none.
        position: Position whose logits are read.
        method: See `ablation_hooks`.
        reference: See `ablation_hooks`.
        scale: See `ablation_hooks`.
        seed: See `ablation_hooks`.
        expert_mode: See `ablation_hooks`.
    """
    tokens = token_ids(model, ids)
    place = one_position(tokens, position)
    clean = run_with_hooks(model, tokens)[0, place]
    target = int(mx.argmax(clean)) if positive is None else positive
    settings: dict[str, Any] = {"method": method, "reference": reference, "scale": scale, "seed": seed}
    settings["expert_mode"] = expert_mode
    effects: list[AblationEffect] = []
    for group in groups:
        changed = run_with_hooks(model, tokens, ablation_hooks(model, group, **settings))[0, place]
        before, after = numbers(clean), numbers(changed)
        difference = None
        if negative is not None:
            difference = float((after[target] - after[negative]) - (before[target] - before[negative]))
        top = int(mx.argmax(changed))
        effects.append(
            AblationEffect(
                components=tuple(group),
                kl=kl_divergence(clean, changed),
                top=top,
                top_changed=top != int(mx.argmax(clean)),
                logprob_change=float(log_softmax(after)[target] - log_softmax(before)[target]),
                difference_change=difference,
            )
        )
    return effects


def ablated(model: Any, chosen: Sequence[Component], **settings: Any) -> Any:
    """Context manager: every pass of the model in this thread is ablated, those of generation too.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        chosen: Components.
        settings: See `ablation_hooks`.
    """
    return hooked(model, ablation_hooks(model, chosen, **settings))
