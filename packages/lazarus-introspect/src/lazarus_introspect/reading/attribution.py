"""Direct logit attribution: the share of each embedding, head, neuron and MLP in a difference of logits.

D = model width, H = query heads, W = width of a head, L = blocks, I = width inside an MLP

The difference is logit[positive] - logit[negative] at one position. The scales of the norms are frozen at those of the run,
so everything after a component is linear, and the shares add up to the difference. Shares are products with the gradient of
that linear map through the model's own layers, so quantized layers and adapters count as they compute.
"""

# MLX leaves its layers untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazarus_introspect.cache import ActivationCache, run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import token_ids
from lazarus_introspect.metrics import Numbers, numbers
from lazarus_introspect.reading.lens import language_head, last_norm
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.backend import mx, nn
from lazarus_models.trees import part
from lazarus_models.vocabulary import check_ids


@dataclass(frozen=True)
class Attribution:
    """Shares of a logit difference; they sum to it."""

    difference: float
    """logit[positive] - logit[negative] of the run, as the model computed it."""
    embed: float
    """Share of the token embedding."""
    pos_embed: float
    """Share of the learned position; 0 without."""
    heads: list[Numbers | None]
    """Shares of the heads of each block, (H,); None for a block without attention."""
    mixer_rest: list[float]
    """Share of each block's attention that no head has: the bias of its output. Without heads, all of the mixer."""
    mlp: list[float]
    """Share of each block's feed-forward part; 0 without."""
    neurons: list[Numbers | None]
    """Shares of the neurons of each block, (I,); None for experts or no MLP. With the output bias they sum to `mlp`."""
    norm_bias: float
    """Share of the bias of the last norm; 0 for an RMSNorm."""

    @property
    def total(self) -> float:
        """The sum of all shares but the neurons', which are parts of `mlp`."""
        heads = sum(float(each.sum()) for each in self.heads if each is not None)
        return self.embed + self.pos_embed + heads + sum(self.mixer_rest) + sum(self.mlp) + self.norm_bias

    @property
    def attention(self) -> list[float]:
        """Share of each block's mixer: its heads and the rest."""
        both = zip(self.heads, self.mixer_rest, strict=True)
        return [rest + (0.0 if heads is None else float(heads.sum())) for heads, rest in both]


def attribute(model: Any, ids: Any, positive: int, negative: int, *, position: int = -1) -> Attribution:
    """Attributes a logit difference to components.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids of one prompt, integer, (1, T).
        positive: Token whose logit counts.
        negative: Token whose logit is subtracted.
        position: Position whose logits are read, in [-T, T).

    Raises:
        RequestError: Not one prompt, or the position is outside it.
        GenerationError: A token is outside the vocabulary.
    """
    decoder = decoder_of(model)
    tokens = token_ids(decoder, ids)
    place = one_position(tokens, position)
    check_ids([positive, negative], decoder.config.vocab_size, "the pair of tokens")
    wanted = [
        name
        for name in sites(decoder).present
        if name in ("embed", "pos_embed", "resid_final") or name.endswith((".z", "_out", ".mlp.post", "mlp_in"))
    ]
    wanted = [name for name in wanted if not name.endswith("expert_out")]
    logits, cache = run_with_cache(decoder, tokens, wanted)
    at = _Position(cache, place)
    head = language_head(decoder)

    def difference(x: mx.array) -> mx.array:
        found = head(x)
        return (found[..., positive] - found[..., negative]).sum()

    unembedded = mx.grad(difference)(mx.zeros_like(at["resid_final"]))
    frozen = FrozenNorm(last_norm(decoder), at["resid_final"])
    direction = frozen.direction(unembedded)  # in the residual stream
    blocks = [_block_shares(block, f"blocks.{layer}.", at, direction) for layer, block in enumerate(decoder.layers)]
    row = logits[0, place].astype(mx.float32)
    return Attribution(
        difference=float(row[positive] - row[negative]),
        embed=_dot(at["embed"], direction),
        pos_embed=_dot(at["pos_embed"], direction) if "pos_embed" in cache else 0.0,
        heads=[each[0] for each in blocks],
        mixer_rest=[each[1] for each in blocks],
        mlp=[each[2] for each in blocks],
        neurons=[each[3] for each in blocks],
        norm_bias=frozen.constant(unembedded),
    )


def one_position(ids: mx.array, position: int) -> int:
    """A position of one prompt, counted from 0.

    Args:
        ids: Token ids, (1, T).
        position: In [-T, T).

    Raises:
        RequestError: Not one prompt, or the position is outside it.
    """
    rows, tokens = ids.shape
    if rows != 1:
        raise RequestError(f"`ids` has {rows} prompts; give one, (1, T)", "LI-E123")
    if not -tokens <= position < tokens:
        raise RequestError(
            f"`position` {position} is outside the prompt of {tokens} tokens: give -{tokens} to {tokens - 1}", "LI-E124"
        )
    return position % tokens


class FrozenNorm:
    """A norm as a linear map: its scale is that of one input."""

    def __init__(self, norm: Any, x: mx.array) -> None:
        """Freezes a norm.

        Args:
            norm: An `RMSNorm`, `OnePlusRMSNorm` or `LayerNorm`.
            x: The input of the run, (..., D).

        Raises:
            RequestError: A norm of another kind.
        """
        kind = type(norm).__name__
        if kind not in ("RMSNorm", "OnePlusRMSNorm", "LayerNorm"):
            raise RequestError(f"attribution does not know the norm {kind}; it knows RMSNorm and LayerNorm", "LI-E125")
        self._centred = kind == "LayerNorm"
        wide = x.astype(mx.float32)
        if self._centred:
            wide = wide - wide.mean(axis=-1, keepdims=True)
        self._scale = mx.rsqrt(mx.square(wide).mean(axis=-1, keepdims=True) + norm.eps)
        weight = norm["weight"].astype(mx.float32) if "weight" in norm else mx.ones(x.shape[-1])
        self._gain = weight + 1 if kind == "OnePlusRMSNorm" else weight
        self._bias = norm["bias"].astype(mx.float32) if "bias" in norm else None

    def direction(self, after: mx.array) -> mx.array:
        """The direction before the norm whose product with an input is that of `after` with the output, without bias."""
        inner = after.astype(mx.float32) * self._gain
        if self._centred:
            inner = inner - inner.mean(axis=-1, keepdims=True)
        return inner * self._scale

    def linear(self, x: mx.array) -> mx.array:
        """The output of the frozen norm without its bias."""
        wide = x.astype(mx.float32)
        if self._centred:
            wide = wide - wide.mean(axis=-1, keepdims=True)
        return wide * self._scale * self._gain

    def constant(self, after: mx.array) -> float:
        """The product of `after` with the bias of the norm."""
        return 0.0 if self._bias is None else _dot(self._bias, after)


class _Position:
    """Activations of one position, with a leading axis of 1."""

    def __init__(self, cache: ActivationCache, place: int) -> None:
        self._cache, self._place = cache, place

    def __getitem__(self, name: str) -> mx.array:
        return self._cache[name][0, self._place][None]

    def __contains__(self, name: str) -> bool:
        return name in self._cache


def _block_shares(
    block: Any, prefix: str, at: _Position, direction: mx.array
) -> tuple[Numbers | None, float, float, Numbers | None]:
    """Shares of the heads, of the mixer without them, of the feed-forward part, and of its neurons."""
    mixer_norm, feed_norm = block.output_norms
    direction = direction * block.config.residual_scale
    heads, rest = None, 0.0
    if f"{prefix}attn.z" in at:
        z = at[f"{prefix}attn.z"]  # (1, H, W)
        project = part(block, f"{block.config.mixer.name}.o_proj")
        before, constant = _before_norm(block, mixer_norm, lambda: project(z.flatten(1)), direction)
        heads, bias = _linear_shares(project, z.flatten(1), before)
        heads = heads.reshape(z.shape[1:]).sum(axis=-1)
        rest = bias + constant
    else:
        rest = _dot(at[f"{prefix}mixer_out"], direction) / block.config.residual_scale
    if f"{prefix}mlp_out" not in at:
        return heads, rest, 0.0, None
    mlp = _dot(at[f"{prefix}mlp_out"], direction) / block.config.residual_scale
    if f"{prefix}mlp.post" not in at:
        return heads, rest, mlp, None
    feeds = [part(block, feed.name) for feed in block.config.feed_forward]

    def output() -> mx.array:
        normed = at[f"{prefix}mlp_in"][None]
        outputs: list[mx.array] = [feed(normed) for feed in feeds]
        return sum(outputs[1:], start=outputs[0])[0]

    before, _ = _before_norm(block, feed_norm, output, direction)
    dense = next(feed for feed in feeds if "down_proj" in feed or "output_linear" in feed or "c_proj" in feed)
    name = next(each for each in ("down_proj", "output_linear", "c_proj") if each in dense)
    neurons, _ = _linear_shares(dense[name], at[f"{prefix}mlp.post"], before)
    return heads, rest, mlp, neurons[0]


def _before_norm(
    block: Any, name: str | None, output: Callable[[], mx.array], direction: mx.array
) -> tuple[mx.array, float]:
    """The direction before the norm of an output, frozen at that output, and the share of the norm's bias."""
    if name is None:
        return direction, 0.0
    frozen = FrozenNorm(part(block, name), output())
    return frozen.direction(direction), frozen.constant(direction)


def _linear_shares(layer: nn.Module, x: mx.array, direction: mx.array) -> tuple[Numbers, float]:
    """The share of each input of a linear layer in the product of its output with a direction, and that of its bias."""

    def product(x: mx.array) -> mx.array:
        return (layer(x).astype(mx.float32) * direction).sum()

    nothing = mx.zeros_like(x)
    slope = mx.grad(product)(nothing)
    return numbers(x) * numbers(slope), float(product(nothing))


def _dot(one: mx.array, other: mx.array) -> float:
    return float((numbers(one) * numbers(other)).sum())
