"""Multi-head attention, with the variations that the families need.

B = rows, T = tokens a row, D = model width, H = query heads, K = key/value heads, W = width of a head
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its activations and the shapes of arrays untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
import math
from typing import Any

from jaxtyping import Float

from lazarus_models.backend import mx, nn
from lazarus_models.components.caches import SegmentCache
from lazarus_models.components.masks import Reach
from lazarus_models.components.norm import make_norm
from lazarus_models.components.rope import Rope
from lazarus_models.components.taps import is_tapped, offer, wanted
from lazarus_models.config.architecture import AttentionConfig
from lazarus_models.ops.attention import attention, attention_pattern, attention_scores, weighted_values


class Attention(nn.Module):
    """Self-attention; the mask decides which keys a token sees."""

    def __init__(self, width: int, config: AttentionConfig) -> None:
        super().__init__()
        heads, shared, head_dim = config.num_heads, config.num_key_value_heads, config.head_dim
        self.config = config
        self.reach = Reach(config.window, config.chunk)
        self.scale = config.scale or head_dim**-0.5
        self.q_proj = nn.Linear(width, heads * head_dim, bias=config.bias)
        self.k_proj = nn.Linear(width, shared * head_dim, bias=config.bias)
        self.v_proj = nn.Linear(width, shared * head_dim, bias=config.bias)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=config.output_bias)
        if config.qk_norm in ("head", "all"):
            together = config.qk_norm == "all"
            self.q_norm = make_norm(config.norm, heads * head_dim if together else head_dim)
            self.k_norm = make_norm(config.norm, shared * head_dim if together else head_dim)
        if config.sinks:
            self.sinks = mx.zeros((heads,))
        if config.rope:
            self.rope = Rope(head_dim, config.rope, interleaved=config.rope_interleaved)
        if config.alibi:
            self._slopes = alibi_slopes(heads)

    def __call__(self, x: Float[mx.array, "B T D"], mask: Any = None, cache: Any = None) -> Float[mx.array, "B T D"]:
        """The attention output of each token, (B, T, D).

        Args:
            x: Normed residual stream, float, (B, T, D).
            mask: Keys that each token sees: an array, `"causal"`, or None for all keys.
            cache: Cache of the layer with earlier keys and values; it is updated. None for no cache.
        """
        rows, tokens, _ = x.shape
        config = self.config
        queries, keys, values = self._projected(x)
        if config.qk_norm == "all":
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        if config.clip:
            queries, keys, values = (mx.clip(one, -config.clip, config.clip) for one in (queries, keys, values))
        queries = queries.reshape(rows, tokens, config.num_heads, -1)
        keys = keys.reshape(rows, tokens, config.num_key_value_heads, -1)
        values = values.reshape(rows, tokens, config.num_key_value_heads, -1).transpose(0, 2, 1, 3)
        if config.qk_norm == "head":
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        queries, keys = queries.transpose(0, 2, 1, 3), keys.transpose(0, 2, 1, 3)  # (B, H, T, W), (B, K, T, W)
        offset: Any = 0 if cache is None else cache.offset
        if config.rope:
            queries, keys = self.rope.both(queries, keys, offset)
        if config.qk_norm == "plain":
            queries, keys = (mx.fast.rms_norm(part, None, config.norm.eps) for part in (queries, keys))
        if config.temperature:
            queries = queries * temperature(tokens, offset, *config.temperature).astype(queries.dtype)
        queries, keys = self._offered("rot_q", queries), self._offered("rot_k", keys)
        if cache is not None:
            keys, values = cache.update_and_fetch(keys, values)
        if config.alibi:
            mask = self._biased(mask, tokens, keys.shape[2])
        sinks = self.sinks if config.sinks else None
        runs = cache.runs if isinstance(cache, SegmentCache) and mask is None else None
        gathered = self._by_offered_pattern(queries, keys, values, mask, sinks, runs)
        if gathered is None:
            gathered = attention(queries, keys, values, scale=self.scale, mask=mask, sinks=sinks, runs=runs)
        gathered = offer(self, "z", gathered.transpose(0, 2, 1, 3))
        return self.o_proj(gathered.reshape(rows, tokens, -1))

    def _projected(self, x: mx.array) -> list[mx.array]:
        """Queries, keys and values, (B, T, heads * W)."""
        projected = [("q", self.q_proj(x)), ("k", self.k_proj(x)), ("v", self.v_proj(x))]
        if not is_tapped():
            return [each for _, each in projected]
        heads = (*x.shape[:2], -1, self.config.head_dim)
        return [offer(self, name, each.reshape(heads)).flatten(2) for name, each in projected]

    def _offered(self, name: str, x: mx.array) -> mx.array:
        """Offers queries or keys (B, heads, T, W) with the axes (B, T, heads, W)."""
        return offer(self, name, x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) if is_tapped() else x

    def _by_offered_pattern(
        self, queries: mx.array, keys: mx.array, values: mx.array, mask: Any, sinks: mx.array | None, runs: Any
    ) -> mx.array | None:
        """Offers scores and pattern if a tap wants them; returns the output if the tap changed one of them."""
        if not (wanted(self, "scores") or wanted(self, "pattern")):
            return None
        own = attention_scores(queries, keys, scale=self.scale, mask=mask, runs=runs)
        scores = offer(self, "scores", own)
        computed = attention_pattern(scores, sinks)
        pattern = offer(self, "pattern", computed)
        return None if scores is own and pattern is computed else weighted_values(pattern, values)

    def _biased(self, mask: Any, tokens: int, keys: int) -> mx.array:
        # ALiBi as an additive mask: the score falls by the head's slope for each token of distance.
        distance = mx.arange(keys - tokens, keys)[:, None] - mx.arange(keys)[None]  # (T, keys)
        bias = -self._slopes[:, None, None] * distance
        seen = distance >= 0 if mask is None or isinstance(mask, str) else mask
        return mx.where(seen, bias, -mx.inf)


def temperature(tokens: int, offset: int | mx.array, length: int, strength: float) -> mx.array:
    """The factor of queries, which grows with their position (arXiv 2501.19399): (T, 1), or (B, 1, T, 1) for a batch.

    Args:
        tokens: New tokens T.
        offset: Tokens before them: a number, or int32 (B,).
        length: Positions for which the factor is constant.
        strength: Growth of the factor.

    >>> temperature(3, 8190, 8192, 0.1).flatten()
    array([1, 1.06931, 1.06931], dtype=float32)
    """
    start = offset if isinstance(offset, int) else offset[:, None, None]
    position = mx.arange(tokens) + start
    return (mx.log1p(mx.floor((position + 1) / length)) * strength + 1)[..., None]


def alibi_slopes(heads: int) -> mx.array:
    """The slope of each head's scores over distance: a geometric series (arXiv 2108.12409).

    >>> alibi_slopes(4).tolist()
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    # The series is defined for powers of two. Other counts take every second slope of the next power of two.
    whole = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (head + 1) / whole) for head in range(whole)]
    finer = [2 ** (-4 * (head + 1) / whole) for head in range(0, 2 * whole, 2)]
    return mx.array(slopes + finer[: heads - whole])
