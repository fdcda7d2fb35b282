"""A `DecoderConfig` as an MLX module: ids to the residual stream to logits.

B = rows, T = tokens a row, D = model width, V = vocabulary

Tensors have the names of mlx-lm and Hugging Face, so that quantized files and adapters are interchangeable.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Integer

from lazarus_models.backend import mx, nn, warn_of_slow_blas
from lazarus_models.components.attention import Attention
from lazarus_models.components.caches import PartedCache
from lazarus_models.components.embedding import Embedding
from lazarus_models.components.kv_cache import KVCache, RotatingKVCache
from lazarus_models.components.mamba import Mamba, Mamba2
from lazarus_models.components.masks import Reach, layer_mask
from lazarus_models.components.mlp import MLP, MoE
from lazarus_models.components.norm import make_norm
from lazarus_models.components.recurrent import Recurrent
from lazarus_models.components.state_cache import ArraysCache
from lazarus_models.components.taps import is_tapped, offer, start
from lazarus_models.config.architecture import (
    AttentionConfig,
    BlockConfig,
    DecoderConfig,
    Mamba2Config,
    MambaConfig,
    Mixer,
    MLPConfig,
)
from lazarus_models.errors import GenerationError
from lazarus_models.trees import part, put


class Block(nn.Module):
    """A mixer and feed-forward parts, each applied to the normed residual stream and added to it."""

    def __init__(self, width: int, config: BlockConfig) -> None:
        super().__init__()
        self.config = config
        put(self, config.mixer.name, make_mixer(width, config.mixer))
        for feed in config.feed_forward:
            put(self, feed.name, MLP(width, feed) if isinstance(feed, MLPConfig) else MoE(width, feed))
        for name in config.norm_names:
            put(self, name, make_norm(config.norm, width))
        names = config.norm_names
        around = len(names) == 2 * (1 + bool(config.feed_forward))  # a norm before and one after each part
        self._mixer_norms = (names[0], names[1] if around else None)
        self._feed_norms = (names[2], names[3]) if around and config.feed_forward else (names[-1], None)
        mixer = config.mixer
        self.reach = Reach(mixer.window, mixer.chunk) if isinstance(mixer, AttentionConfig) else None
        """Which earlier tokens attention sees; None for a mixer with a state."""

    def __call__(self, x: Float[mx.array, "B T D"], mask: Any = None, cache: Any = None) -> Float[mx.array, "B T D"]:
        x = offer(self, "resid_pre", x)
        normed = offer(self, "mixer_in", part(self, self._mixer_norms[0])(x))
        x = x + offer(self, "mixer_out", self._update(self._mixed(normed, mask, cache), self._mixer_norms[1]))
        if not self.config.feed_forward:
            return offer(self, "resid_post", x)
        x = offer(self, "resid_mid", x)
        normed = offer(self, "mlp_in", part(self, self._feed_norms[0])(x))
        outputs: list[mx.array] = [part(self, feed.name)(normed) for feed in self.config.feed_forward]
        update = self._update(sum(outputs[1:], start=outputs[0]), self._feed_norms[1])
        return offer(self, "resid_post", x + offer(self, "mlp_out", update))

    @property
    def input_norms(self) -> tuple[str, str]:
        """Names of the norms before the mixer and before the feed-forward parts."""
        return self._mixer_norms[0], self._feed_norms[0]

    @property
    def output_norms(self) -> tuple[str | None, str | None]:
        """Names of the norms of the mixer's and of the feed-forward output; None where the output is added as it is."""
        return self._mixer_norms[1], self._feed_norms[1]

    def _mixed(self, x: mx.array, mask: Any, cache: Any) -> mx.array:
        mixer = part(self, self.config.mixer.name)
        if not isinstance(cache, PartedCache):
            return mixer(x, mask, cache)
        return mx.concatenate(list(map(mixer, cache.split(x), mask, cache.parts)), axis=1)

    def _update(self, output: mx.array, norm: str | None) -> mx.array:
        """What is added to the residual stream."""
        if norm is not None:
            output = part(self, norm)(output)
        scale = self.config.residual_scale
        return output if scale == 1 else output * scale


class Body(nn.Module):
    """Embedding, blocks and the last norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        _, embedding, norm = config.names
        put(self, embedding, Embedding(config.vocab_size, config.width))
        if config.positions:
            self.embed_positions = Embedding(config.positions, config.width)
        self.layers = [Block(config.width, block) for block in config.blocks]
        put(self, norm, make_norm(config.norm, config.width))

    def __call__(
        self,
        ids: Integer[mx.array, "B T"],
        cache: Any = None,
        on_block: Callable[[mx.array], object] = lambda x: None,
    ) -> Float[mx.array, "B T D"]:
        """The normed residual stream, (B, T, D).

        Args:
            ids: Token ids, integer, (B, T).
            cache: One cache a layer; None for no caches.
            on_block: Called with the residual stream after each block.
        """
        _, embedding, norm = self.config.names
        caches: list[Any] = [None] * len(self.layers) if cache is None else cache
        if is_tapped():
            start(self, self._tokens_before(caches))
        x: mx.array = part(self, embedding)(ids)
        if self.config.embedding_scale != 1:
            x = x * mx.array(self.config.embedding_scale, x.dtype)
        x = offer(self, "embed", x)
        if self.config.positions:
            places = _embedded_positions(self.embed_positions, ids.shape[1], caches[0], self.config.positions)
            x = x + offer(self, "pos_embed", mx.broadcast_to(places, x.shape))
        masks: dict[Reach | None, Any] = {}  # layers of one reach share a mask
        for layer, own in zip(self.layers, caches, strict=True):
            if layer.reach not in masks:
                masks[layer.reach] = _mask(ids.shape[1], own, layer.reach)
            x = layer(x, masks[layer.reach], own)
            on_block(x)
        return offer(self, "normed_final", part(self, norm)(offer(self, "resid_final", x)))

    def _tokens_before(self, caches: list[Any]) -> int | mx.array | None:
        """Tokens in the caches; None if they do not count them."""
        if caches[0] is None:
            return 0
        attending = (own for layer, own in zip(self.layers, caches, strict=True) if layer.reach is not None)
        return getattr(next(attending, None), "offset", None)  # state caches and parts of a batch have no offset


class Decoder(nn.Module):
    """A language model: ids (B, T) to logits (B, T, V)."""

    def __init__(self, config: DecoderConfig) -> None:
        warn_of_slow_blas()
        super().__init__()
        self.config = config
        put(self, config.names[0], Body(config))
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)

    def __call__(self, inputs: Integer[mx.array, "B T"], cache: Any = None) -> Float[mx.array, "B T V"]:
        return self.head(self.body(inputs, cache))

    def head(self, x: Float[mx.array, "... D"]) -> Float[mx.array, "... V"]:
        """The logits of a normed residual stream."""
        logits: mx.array = part(self.body, self.config.names[1]).as_linear(x) if self.config.tied else self.lm_head(x)
        return logits if self.config.logits_divisor == 1 else logits / self.config.logits_divisor

    @property
    def body(self) -> Body:
        """Embedding, blocks and the last norm."""
        return part(self, self.config.names[0])

    @property
    def layers(self) -> list[Block]:
        """The blocks."""
        return self.body.layers

    def make_cache(self) -> list[Any]:
        """An empty cache for each layer: all keys, a window of them, or a state."""
        made: list[Any] = []
        for layer in self.layers:
            if layer.reach is None:
                made.append(ArraysCache(size=2))
            elif layer.reach.window is not None:
                made.append(RotatingKVCache(max_size=layer.reach.window))
            else:
                made.append(KVCache())
        return made


def make_mixer(width: int, mixer: Mixer) -> nn.Module:
    """The mixer that a config describes.

    Args:
        width: Width of the residual stream.
        mixer: Config of the mixer.
    """
    if isinstance(mixer, AttentionConfig):
        return Attention(width, mixer)
    if isinstance(mixer, MambaConfig):
        return Mamba(width, mixer)
    return Mamba2(width, mixer) if isinstance(mixer, Mamba2Config) else Recurrent(width, mixer)


def _embedded_positions(embedding: nn.Embedding, tokens: int, cache: Any, rows: int) -> mx.array:
    """The learned position vectors of new tokens. MLX does not check indices, so positions are checked here.

    Raises:
        GenerationError: The text is longer than the model has positions. In a batch, whose offsets are arrays, the
            vectors are NaN instead.
    """
    offset: Any = 0 if cache is None or isinstance(cache, PartedCache) else cache.offset
    longest = (
        max(cache.lengths) if isinstance(cache, PartedCache) else tokens + (offset if isinstance(offset, int) else 0)
    )
    if longest > rows:
        raise GenerationError(
            f"the text has {longest} tokens, but the model has {rows} positions; shorten the text", "LM-E142"
        )
    places = _positions(tokens, cache)
    return mx.where((places < rows)[..., None], embedding(mx.minimum(places, rows - 1)), mx.nan)


def _positions(tokens: int, cache: Any) -> mx.array:
    """The positions of new tokens: (T,), or (B, T) for a batch."""
    if isinstance(cache, PartedCache):
        return mx.concatenate(list(map(_positions, cache.lengths, cache.parts)))
    offset: Any = 0 if cache is None else cache.offset
    return mx.arange(tokens) + (offset if isinstance(offset, int) else offset[:, None])


def _mask(tokens: int, cache: Any, reach: Reach | None) -> Any:
    if isinstance(cache, PartedCache):
        return [_mask(length, own, reach) for length, own in zip(cache.lengths, cache.parts, strict=True)]
    if reach is not None:
        return layer_mask(tokens, cache, reach)
    return None if cache is None else cache.make_mask(tokens)
