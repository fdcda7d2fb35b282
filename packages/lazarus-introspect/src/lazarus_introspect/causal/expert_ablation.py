"""Ablation of experts, by three modes.

k = experts a token, E = experts

| mode | tokens that chose the expert |
|---|---|
| `drop` | its share becomes 0; the others keep theirs |
| `renormalise` | its share becomes 0; the others grow, so that the sum of the shares stays |
| `reroute` | its score becomes minus infinity: the router chooses another expert, and shares follow from the new choice |

Tokens that did not choose the expert keep every bit, in all modes. If all experts of a token are dropped, `renormalise` is
`drop`: the experts add nothing. In families whose shares are a softmax over the chosen experts (gpt-oss, Granite, Mixtral),
`renormalise` is a softmax over those that remain.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import Hook
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.backend import mx
from lazarus_models.config import MoEConfig

ExpertMode = Literal["drop", "renormalise", "reroute"]
EXPERT_MODES: tuple[ExpertMode, ...] = ("drop", "renormalise", "reroute")


def expert_ablation_hooks(
    model: Any, experts: Mapping[int, Sequence[int]], *, mode: ExpertMode = "drop"
) -> list[tuple[str, Hook]]:
    """Hooks that ablate experts jointly, for `run_with_hooks`, `hooked` or a generation.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        experts: Experts by block, from 0.
        mode: What happens to the tokens that chose them.

    Raises:
        RequestError: The mode is unknown, an expert does not exist, or `reroute` leaves fewer than k experts.
        SiteError: A block has no experts.
    """
    if mode not in EXPERT_MODES:
        raise RequestError(f"`expert_mode` {mode!r} is unknown; choose from {', '.join(EXPERT_MODES)}", "LI-E130")
    hooks: list[tuple[str, Hook]] = []
    for layer, own in experts.items():
        prefix = f"blocks.{layer}.moe."
        sites(model).find(prefix + "experts")
        feeds = decoder_of(model).config.blocks[layer].feed_forward
        config = next(feed for feed in feeds if isinstance(feed, MoEConfig))
        wrong = [each for each in own if not 0 <= each < config.num_experts]
        if wrong:
            raise RequestError(
                f"L{layer}.expert{wrong[0]}: block {layer} has {config.num_experts} experts, numbered from 0", "LI-E132"
            )
        if mode == "reroute" and config.num_experts - len(set(own)) < config.num_experts_per_tok:
            raise RequestError(
                f"`expert_mode` 'reroute': block {layer} has {config.num_experts} experts, of which a token uses "
                f"{config.num_experts_per_tok}; ablate at most {config.num_experts - config.num_experts_per_tok}",
                "LI-E164",
            )
        if own:
            hooks += _rerouting(prefix, own, config) if mode == "reroute" else _dropping(prefix, own, mode)
    return hooks


def _dropping(prefix: str, own: Sequence[int], mode: ExpertMode) -> list[tuple[str, Hook]]:
    """The hook of the choices notes them for the hook of the shares, which the same pass calls next."""
    noted: list[mx.array] = []

    def note(chosen: mx.array) -> None:
        noted[:] = [chosen]

    def drop(shares: mx.array) -> mx.array:
        hit = (noted[0][..., None] == mx.array(list(own))).any(axis=-1)  # (B, T, k)
        kept = mx.where(hit, mx.zeros_like(shares), shares)
        if mode == "drop":
            return kept
        total, rest = shares.sum(axis=-1, keepdims=True), kept.sum(axis=-1, keepdims=True)
        grown = kept * (total / mx.where(rest == 0, mx.ones_like(rest), rest))
        return mx.where(hit.any(axis=-1, keepdims=True), grown, shares)

    return [(prefix + "experts", note), (prefix + "weights", drop)]


def _rerouting(prefix: str, own: Sequence[int], config: MoEConfig) -> list[tuple[str, Hook]]:
    k = config.num_experts_per_tok

    def mask(scores: mx.array) -> mx.array:
        banned = (mx.arange(config.num_experts)[:, None] == mx.array(list(own))).any(axis=-1)  # (E,)
        chosen = mx.argpartition(-scores, kth=k - 1, axis=-1)[..., :k]  # as the model chooses
        hit = mx.take(banned, chosen).any(axis=-1, keepdims=True)
        return mx.where(hit & banned, mx.array(-mx.inf, scores.dtype), scores)

    return [(prefix + "router_logits", mask)]
