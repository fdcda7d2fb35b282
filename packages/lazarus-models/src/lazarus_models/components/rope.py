"""Rotary position embedding, with the scaling methods for longer contexts.

D = width of a head
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
import math

from jaxtyping import Float

from lazarus_models.backend import mx, nn, on_cpu
from lazarus_models.config.architecture import RopeConfig
from lazarus_models.trees import evaluate


class Rope(nn.Module):
    """Rotates each pair of dimensions by an angle proportional to the position."""

    def __init__(self, head_dim: int, config: RopeConfig, *, interleaved: bool = False) -> None:
        """Computes the tables.

        Args:
            head_dim: Width of a head D, even.
            config: Base and scaling.
            interleaved: Whether neighbouring dimensions form a pair, instead of a dimension of each half.
        """
        super().__init__()
        self._head_dim = head_dim
        self._interleaved = interleaved
        self._base = config.rope_theta
        self._position_scale = 1 / config.factor if config.rope_type == "linear" and config.factor else 1.0
        self._wavelengths = wavelengths(head_dim, config)
        self._magnitude = _magnitude(config)
        slow = plain_wavelengths(head_dim, config) if self._wavelengths is None else self._wavelengths
        self._speeds = mx.concatenate([-self._position_scale / slow, self._position_scale / slow])  # radians a token
        evaluate([slow, self._speeds])  # unevaluated arrays cannot be used in another thread

    def both(
        self, queries: Float[mx.array, "B H T D"], keys: Float[mx.array, "B K T D"], offset: int | mx.array
    ) -> tuple[mx.array, mx.array]:
        """Rotates queries and keys.

        On a CPU, MLX has no RoPE kernel and computes every cosine twice. For one token a row, queries and keys are
        therefore rotated together, in a third of the time.

        Args:
            queries: Queries, float, (B, H, T, D).
            keys: Keys, float, (B, K, T, D).
            offset: Position of the first token: a number, or int32 (B,).
        """
        heads, tokens = queries.shape[1:3]
        if tokens > 1 or self._interleaved or not on_cpu():
            return self(queries, offset), self(keys, offset)
        angles = self._speeds * (offset if isinstance(offset, int) else offset[:, None, None, None])
        # (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin) for the two halves: `_speeds` is negative in the first half, so
        # that one formula with `roll` gives both. cos is even and sin is odd.
        cosines, sines = mx.cos(angles), mx.sin(angles)
        if self._magnitude != 1:
            cosines, sines = cosines * self._magnitude, sines * self._magnitude
        both = mx.concatenate([queries, keys], axis=1)  # (B, H + K, 1, D)
        turned = (both * cosines + mx.roll(both, self._head_dim // 2, -1) * sines).astype(both.dtype)
        return turned[:, :heads], turned[:, heads:]

    def __call__(self, x: Float[mx.array, "B H T D"], offset: int | mx.array = 0) -> Float[mx.array, "B H T D"]:
        """Rotates queries or keys.

        Args:
            x: Queries or keys, float, (B, H, T, D).
            offset: Position of the first token: a number, or int32 (B,).
        """
        return mx.fast.rope(
            x if self._magnitude == 1 else x * self._magnitude,
            self._head_dim,
            traditional=self._interleaved,
            base=None if self._wavelengths is not None else self._base,
            scale=self._position_scale,
            offset=offset,
            freqs=self._wavelengths,
        )


def wavelengths(head_dim: int, config: RopeConfig) -> mx.array | None:
    """Tokens per radian of each pair, (D / 2,); None for the plain powers of `rope_theta`.

    Args:
        head_dim: Width of a head D, even.
        config: Base and scaling.
    """
    plain = plain_wavelengths(head_dim, config)
    if config.rope_type == "llama3":
        return _llama3(plain, config)
    if config.rope_type == "yarn":
        return _yarn(plain, head_dim, config)
    return None


def plain_wavelengths(head_dim: int, config: RopeConfig) -> mx.array:
    """Tokens per radian without scaling, powers of `rope_theta`, (D / 2,).

    Args:
        head_dim: Width of a head D, even.
        config: Its `rope_theta` is used.
    """
    return config.rope_theta ** (mx.arange(0, head_dim, 2, dtype=mx.float32) / head_dim)


def _llama3(plain: mx.array, config: RopeConfig) -> mx.array:
    assert config.factor and config.low_freq_factor and config.high_freq_factor
    assert config.original_max_position_embeddings
    # Pairs with many rotations in the original context keep their wavelength, pairs with few are stretched by `factor`,
    # and frequencies between the two bounds are interpolated linearly (Llama 3.1).
    turns = config.original_max_position_embeddings / (2 * math.pi * plain)
    smooth = (turns - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor)
    between = 1 / ((1 - smooth) / (config.factor * plain) + smooth / plain)
    slow = mx.where(turns < config.low_freq_factor, config.factor * plain, between)
    return mx.where(turns > config.high_freq_factor, plain, slow)


def _yarn(plain: mx.array, head_dim: int, config: RopeConfig) -> mx.array:
    # "NTK by parts" (arXiv 2309.00071, section 3.2): a linear ramp over the pair index, between the pair with
    # `beta_fast` rotations in the original context (kept) and the pair with `beta_slow` (stretched by `factor`).
    assert config.factor and config.original_max_position_embeddings
    first = config.original_max_position_embeddings

    def pair_that_turns(times: float) -> float:
        return head_dim * math.log(first / (times * 2 * math.pi)) / (2 * math.log(config.rope_theta))

    low, high = pair_that_turns(config.beta_fast or 32.0), pair_that_turns(config.beta_slow or 1.0)
    if config.truncate is not False:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    stretched = mx.clip((mx.arange(head_dim // 2) - low) / max(high - low, 0.001), 0, 1)
    return 1 / (stretched / (config.factor * plain) + (1 - stretched) / plain)


def _magnitude(config: RopeConfig) -> float:
    """The factor of queries and keys, by which YaRN sharpens the softmax; 1 for other types."""
    if config.rope_type != "yarn":
        return 1.0
    assert config.factor
    return config.attention_factor or (0.1 * math.log(config.factor) + 1.0 if config.factor > 1 else 1.0)
