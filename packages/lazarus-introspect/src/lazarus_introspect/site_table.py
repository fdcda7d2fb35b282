"""Sites: the named activations of a model, with the same meaning in every family.

B = rows, T = tokens a row, D = model width, H = query heads, K = key/value heads, W = width of a head, M = keys of a row,
I = width inside an MLP, E = experts, k = experts a token

| site | axes | meaning |
|---|---|---|
| `embed`, `pos_embed` | B T D | token embedding with its factor; learned position vectors |
| `blocks.L.resid_pre`, `.resid_mid`, `.resid_post` | B T D | residual stream before, within and after block L |
| `blocks.L.mixer_in`, `.mlp_in` | B T D | normed stream that attention (or a state space) and MLP read |
| `blocks.L.attn_out`, `.mlp_out` | B T D | what is added to the stream: after norms and factors of the output |
| `blocks.L.mixer_out` | B T D | the same in blocks without attention; in others another name of `attn_out` |
| `blocks.L.attn.q`, `.attn.k`, `.attn.v` | B T H W, B T K W | projections before norms and RoPE |
| `blocks.L.attn.rot_q`, `.attn.rot_k` | B T H W, B T K W | queries and keys that are multiplied to scores |
| `blocks.L.attn.scores`, `.attn.pattern` | B H T M | scaled and masked scores; their softmax |
| `blocks.L.attn.z` | B T H W | output of each head before the output projection |
| `blocks.L.mlp.pre`, `.mlp.pre_linear`, `.mlp.post` | B T I | gate, second projection, neurons |
| `blocks.L.moe.router_logits` | B T E | scores of all experts |
| `blocks.L.moe.experts`, `.moe.weights` | B T k | chosen experts and their shares |
| `blocks.L.moe.expert_out` | B T k D | output of each chosen expert, before its share (Llama 4: after) |
| `blocks.L.moe.shared.pre`, `.pre_linear`, `.post` | B T I | the same as `mlp.*`, of the expert that every token uses |
| `resid_final`, `normed_final` | B T D | input and output of the last norm |

TransformerLens's names (`blocks.3.hook_resid_pre`, `blocks.3.attn.hook_pattern`) are accepted where they mean the same.
`ln1.hook_normalized` and its like are not: TransformerLens takes them before the gain of an RMSNorm.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lazarus_introspect.errors import SiteError
from lazarus_models.config import AttentionConfig, DecoderConfig, MLPConfig, MoEConfig

_BLOCK = re.compile(r"blocks\.(\d{1,6})\.(.+)")
_ATTENTION = {
    "q": "BTHW",
    "k": "BTKW",
    "v": "BTKW",
    "rot_q": "BTHW",
    "rot_k": "BTKW",
    "scores": "BHTM",
    "pattern": "BHTM",
    "z": "BTHW",
}
_MLP = {"pre": "BTI", "pre_linear": "BTI", "post": "BTI"}
_MOE = {"router_logits": "BTE", "experts": "BTk", "weights": "BTk", "expert_out": "BTkD"}
_ALIASES = {
    "hook_embed": "embed",
    "hook_pos_embed": "pos_embed",
    **{f"hook_{name}": name for name in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")},
    **{f"attn.hook_{name}": f"attn.{name}" for name in _ATTENTION},
    "attn.hook_attn_scores": "attn.scores",
    **{f"mlp.hook_{name}": f"mlp.{name}" for name in _MLP},
    "mlp.hook_expert_weights": "moe.weights",
    "mlp.hook_expert_indices": "moe.experts",
}
"""TransformerLens's names."""


@dataclass(frozen=True)
class Site:
    """A named activation of one model."""

    name: str
    """Such as `blocks.0.attn.z`."""
    layer: int | None
    """The block, from 0; None for sites of the whole model."""
    owner: str
    """Name of the layer that computes it in the model."""
    tap: str
    """The owner's name of the activation."""
    axes: str
    """One letter an axis: `BTD`; see the module's legend."""

    @property
    def is_computed_on_demand(self) -> bool:
        """Whether the model itself does not need it."""
        return self.tap in ("scores", "pattern")


@dataclass(frozen=True)
class Sites:
    """The sites of a model, in the order of a pass, and the reasons for those that it does not have."""

    present: dict[str, Site]
    """By name."""
    absent: dict[str, str]
    """Reason by name, such as `blocks.0.attn.pattern`."""
    layers: int
    """Blocks of the model."""

    def find(self, name: str) -> Site:
        """The site of a name or alias.

        Args:
            name: Such as `blocks.0.resid_pre` or `blocks.0.hook_resid_pre`.

        Raises:
            SiteError: No model has it (LI-E100), or this model does not (LI-E101).
        """
        canonical = canonical_name(name)
        if canonical.endswith(".mixer_out") and canonical not in self.present:  # in a block with attention
            canonical = canonical.removesuffix("mixer_out") + "attn_out"
        if canonical in self.present:
            return self.present[canonical]
        if canonical in self.absent:
            raise SiteError(f"`{name}`: {self.absent[canonical]}", "LI-E101")
        block = _BLOCK.fullmatch(canonical)
        if block and int(block[1]) >= self.layers:
            raise SiteError(f"`{name}`: the model has {self.layers} blocks, numbered from 0", "LI-E101")
        if canonical.endswith("hook_result"):
            raise SiteError(
                f"`{name}`: results of heads are not stored; `attribute` computes the share of each head from `attn.z`",
                "LI-E101",
            )
        near = get_close_matches(canonical, [*self.present, *self.absent], n=3)
        hint = f"; close names: {', '.join(near)}" if near else ""
        raise SiteError(f"`{name}` is no site{hint}", "LI-E100")


def canonical_name(name: str) -> str:
    """The name of a site for a name or one of TransformerLens's names.

    >>> canonical_name("blocks.3.attn.hook_pattern")
    'blocks.3.attn.pattern'
    """
    block = _BLOCK.fullmatch(name)
    if block is None:
        return _ALIASES.get(name, name)
    return f"blocks.{int(block[1])}.{_ALIASES.get(block[2], block[2])}"


def sites(model: Any) -> Sites:
    """The sites of a model.

    Args:
        model: A `LoadedModel` or its `model`.
    """
    return config_sites(decoder_of(model).config)


def config_sites(config: DecoderConfig) -> Sites:
    """The sites of the model that a config describes."""
    body = config.names[0]
    present: dict[str, Site] = {}
    absent: dict[str, str] = {}
    if not config.positions:
        absent["pos_embed"] = "the model has no learned position embedding"
    wide = ["embed", *(["pos_embed"] if config.positions else [])]
    for name in wide:
        present[name] = Site(name, None, body, name, "BTD")
    for layer in range(len(config.blocks)):
        for suffix, owner, tap, axes in _block_sites(config, layer):
            name = f"blocks.{layer}.{suffix}"
            if axes:
                path = f"{body}.layers.{layer}"
                present[name] = Site(name, layer, f"{path}.{owner}" if owner else path, tap, axes)
            else:
                absent[name] = f"block {layer} {tap}"
    for name in ("resid_final", "normed_final"):
        present[name] = Site(name, None, body, name, "BTD")
    return Sites(present, absent, len(config.blocks))


def _block_sites(config: DecoderConfig, layer: int) -> Iterator[tuple[str, str, str, str]]:
    """(suffix, owner in the block, name of the tap, axes); for an absent site the reason and no axes."""
    block = config.blocks[layer]
    mixer, feeds = block.mixer, block.feed_forward
    for name in ("resid_pre", "mixer_in"):
        yield name, "", name, "BTD"
    if isinstance(mixer, AttentionConfig):
        for name, axes in _ATTENTION.items():
            yield f"attn.{name}", mixer.name, name, axes
        yield "attn_out", "", "mixer_out", "BTD"
    else:
        reason = f"has no attention: its mixer is {mixer.kind}"
        for name in _ATTENTION:
            yield f"attn.{name}", "", reason, ""
        yield "attn_out", "", f"{reason}; the site of its output is `mixer_out`", ""
        yield "mixer_out", "", "mixer_out", "BTD"
    for name in ("resid_mid", "mlp_in"):
        yield (name, "", name, "BTD") if feeds else (name, "", "has no feed-forward part", "")
    dense = next((feed for feed in feeds if isinstance(feed, MLPConfig)), None)
    routed = next((feed for feed in feeds if isinstance(feed, MoEConfig)), None)
    none = "has experts; see `moe.*`" if routed else "has no feed-forward part"
    yield from _mlp_sites("mlp", dense.name if dense else "", dense, none)
    for name, axes in _MOE.items():
        yield (f"moe.{name}", routed.name, name, axes) if routed else (f"moe.{name}", "", "has no experts", "")
    shared = routed.shared if routed else None
    owner = f"{routed.name}.{shared.name}" if routed and shared else ""
    yield from _mlp_sites("moe.shared", owner, shared, "has no shared expert")
    yield ("mlp_out", "", "mlp_out", "BTD") if feeds else ("mlp_out", "", "has no feed-forward part", "")
    yield "resid_post", "", "resid_post", "BTD"


def _mlp_sites(prefix: str, owner: str, mlp: MLPConfig | None, none: str) -> Iterator[tuple[str, str, str, str]]:
    for name, axes in _MLP.items():
        if mlp is None:
            yield f"{prefix}.{name}", "", none, ""
        elif name == "pre_linear" and not mlp.gated:
            yield f"{prefix}.{name}", "", "has an MLP without a gate", ""
        else:
            yield f"{prefix}.{name}", owner, name, axes


def decoder_of(model: Any) -> Any:
    """The model itself, for what `lazarus_models.load` returns or for its `model`.

    Args:
        model: A `LoadedModel`, a `Decoder` or a `SequenceModel`.

    Raises:
        SiteError: It is something else.
    """
    decoder = getattr(model, "model", None) if hasattr(model, "tokenizer") else model
    if not isinstance(getattr(decoder, "config", None), DecoderConfig):
        raise SiteError(
            f"a {type(model).__name__} has no sites; give what `lazarus_models.load` returns, or its `model`", "LI-E102"
        )
    return decoder
