"""What a model is made of, as data: parts, blocks, and the order they stand in. No arrays are loaded here.

A `DecoderConfig` says everything that decides a model's outputs but its weights; `lazarus_models.components.decoder` builds it. A
family reads its `config.json` into one; a model of your own is one that you write. The names of parts (`self_attn`,
`mlp`) are the names of the tensors on disk, so that a composed Llama is a Llama to every other program.

Words: a *mixer* moves information between tokens (attention, state space, recurrence), a *feed-forward* part changes
each token by itself; a *block* is a mixer and feed-forward parts, each behind a norm and added to the residual stream.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic import model_validator as validator

MAX_LAYERS = 1024
"""Blocks of a model: the deepest published language models have 126 (Llama 3.1 405B), experiments 1,000 (DeepNet)."""
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


class Frozen(BaseModel):
    """Base of every config here: it cannot be changed, and knows no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class RopeConfig(Frozen):
    """Rotary position embedding (arXiv 2104.09864): how fast each pair of dimensions turns."""

    rope_type: Literal["default", "linear", "llama3", "yarn"] = "default"
    """`linear` divides every frequency by `factor`; `llama3` and `yarn` (arXiv 2309.00071) only the low ones."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the wavelengths, in tokens."""
    factor: PositiveFloat | None = None
    """How many times longer the context is than the one trained first."""
    low_freq_factor: PositiveFloat | None = None
    """llama3: wavelengths above original length / this are divided by `factor`."""
    high_freq_factor: PositiveFloat | None = None
    """llama3: wavelengths below original length / this are kept."""
    original_max_position_embeddings: PositiveInt | None = None
    """llama3, yarn: the context trained first, in tokens."""
    beta_fast: PositiveFloat | None = None
    """yarn: pairs that turn more often than this in the first context are kept; 32 unless given."""
    beta_slow: PositiveFloat | None = None
    """yarn: pairs that turn less often than this are divided by `factor`; 1 unless given."""
    truncate: bool | None = None
    """yarn: whether the passage between the two begins and ends at whole pairs; yes unless given."""
    attention_factor: PositiveFloat | None = None
    """yarn: multiplies queries and keys; 0.1 ln(factor) + 1 unless given."""

    @validator(mode="after")
    def _scaling_is_complete(self) -> Self:
        llama3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        yarn = ("beta_fast", "beta_slow", "truncate", "attention_factor")
        needed = {
            "default": (),
            "linear": ("factor",),
            "llama3": llama3,
            "yarn": ("factor", "original_max_position_embeddings"),
        }[self.rope_type]
        given = tuple(name for name in (*llama3, *yarn) if getattr(self, name) is not None)
        asked = tuple(name for name in given if not (self.rope_type == "yarn" and name in yarn))
        if asked != needed:
            raise ValueError(f"`rope_type` {self.rope_type!r} takes {needed or 'no scaling'}, the config gives {given}")
        return self

    @property
    def scaling(self) -> dict[str, Any] | None:
        """The older spelling, `rope_scaling`; None for plain RoPE."""
        return self.model_dump(exclude_none=True) if self.rope_type != "default" else None


class NormConfig(Frozen):
    """A norm of the residual stream, of queries or of keys."""

    kind: Literal["rms", "layer"] = "rms"
    """`rms` (arXiv 1910.07467) divides by the root mean square; `layer` (arXiv 1607.06450) subtracts the mean before."""
    eps: PositiveFloat = 1e-6
    """Added to the mean square before the root."""
    one_plus: bool = False
    """Whether the stored weight is what is added to one, as Gemma stores it."""
    bias: bool = False
    """layer: whether a bias is added."""

    @validator(mode="after")
    def _means_something(self) -> Self:
        if (self.kind == "rms" and self.bias) or (self.kind == "layer" and self.one_plus):
            raise ValueError("`bias` belongs to the norm `layer`, `one_plus` to the norm `rms`")
        return self


class AttentionConfig(Frozen):
    """Causal attention of several heads; fewer key/value heads than query heads share them (arXiv 2305.13245)."""

    kind: Literal["attention"] = "attention"
    num_heads: PositiveInt
    """Query heads."""
    num_key_value_heads: PositiveInt
    """Key and value heads, a divisor of `num_heads`."""
    head_dim: PositiveInt
    """Width of a head."""
    bias: bool = False
    """Whether queries, keys and values have biases."""
    output_bias: bool = False
    """Whether the output projection has one."""
    rope: RopeConfig | None = RopeConfig()
    """None where positions come from elsewhere, or from nowhere."""
    rope_interleaved: bool = False
    """Whether neighbouring dimensions turn together (GPT-J, Llama 4) instead of the two halves."""
    alibi: bool = False
    """Whether scores fall linearly with distance (arXiv 2108.12409)."""
    scale: PositiveFloat | None = None
    """Multiplies the scores; 1 / sqrt(head_dim) unless given."""
    window: PositiveInt | None = None
    """A token sees itself and the `window - 1` tokens before it."""
    chunk: PositiveInt | None = None
    """A token sees the tokens before it in its own chunk of this many positions."""
    qk_norm: Literal["head", "all", "plain"] | None = None
    """Norm of queries and keys: of each `head`, of `all` heads together (both before RoPE, with weights), or of each head
    after RoPE and without weights (`plain`)."""
    norm: NormConfig = NormConfig()
    """Which norm that is."""
    sinks: bool = False
    """Whether each head has a learned score that takes attention away from every token."""
    clip: PositiveFloat | None = None
    """Bounds queries, keys and values to plus or minus this."""
    temperature: tuple[PositiveInt, PositiveFloat] | None = None
    """(length, strength): queries grow with the logarithm of their position over length (arXiv 2501.19399)."""
    name: str = "self_attn"
    """Where it stands in its block."""

    @validator(mode="after")
    def _fits(self) -> Self:
        if self.num_heads % self.num_key_value_heads:
            raise ValueError(
                f"`num_heads` {self.num_heads} is no multiple of `num_key_value_heads` {self.num_key_value_heads}"
            )
        if self.rope and self.head_dim % 2:
            raise ValueError(f"`head_dim` {self.head_dim} is odd; RoPE turns pairs of dimensions")
        if self.window and self.chunk:
            raise ValueError("`window` and `chunk` both bound what a token sees; give one")
        return self


class MambaConfig(Frozen):
    """Selective state space (Mamba, arXiv 2312.00752)."""

    kind: Literal["mamba"] = "mamba"
    inner: PositiveInt
    """Channels, each with a state of its own."""
    state: PositiveInt
    """Numbers of state a channel."""
    kernel: PositiveInt = 4
    """Tokens that the causal convolution before it sees."""
    rank: PositiveInt
    """Width from which the time steps are computed."""
    bias: bool = False
    """Whether input and output projections have biases."""
    conv_bias: bool = True
    """Whether the convolution has one."""
    norm: NormConfig | None = None
    """Norm of time steps, B and C, as Jamba has; None for none."""
    name: str = "mamba"
    """Where it stands in its block."""


class Mamba2Config(Frozen):
    """State space with one decay a head (Mamba 2, arXiv 2405.21060)."""

    kind: Literal["mamba2"] = "mamba2"
    num_heads: PositiveInt
    head_dim: PositiveInt
    state: PositiveInt
    """Numbers of state a channel."""
    groups: PositiveInt = 1
    """Sets of B and C, each shared by a group of heads."""
    kernel: PositiveInt = 4
    """Tokens that the causal convolution before it sees."""
    bias: bool = False
    conv_bias: bool = True
    time_step_limit: tuple[NonNegativeFloat, PositiveFloat] = (0.0, float("inf"))
    """Bounds of the time step."""
    norm: NormConfig = NormConfig()
    """Of the gated output, each group by itself."""
    name: str = "mamba"
    """Where it stands in its block."""


class RecurrentConfig(Frozen):
    """A recurrent layer."""

    kind: Literal["lstm", "gru", "min_gru"]
    """`min_gru` is computed over all tokens at once (arXiv 2410.01201)."""
    inner: PositiveInt
    """Width of the state."""
    name: str = "recurrent"
    """Where it stands in its block."""


Mixer = Annotated[AttentionConfig | MambaConfig | Mamba2Config | RecurrentConfig, Field(discriminator="kind")]


class MLPConfig(Frozen):
    """Two matrices and an activation between them, or three with a gate (arXiv 2002.05202)."""

    kind: Literal["mlp"] = "mlp"
    width: PositiveInt
    """Inside."""
    activation: Activation = "silu"
    gated: bool = True
    """SwiGLU with `silu`, GeGLU with `gelu`."""
    fused: bool = False
    """Whether gate and up are one tensor, `input_linear`."""
    bias: bool = False
    name: str = "mlp"
    """Where it stands in its block."""


class MoEConfig(Frozen):
    """Gated MLPs, of which a router picks some for each token."""

    kind: Literal["moe"] = "moe"
    num_experts: PositiveInt
    num_experts_per_tok: PositiveInt
    width: PositiveInt
    """Inside each expert."""
    router: Literal["chosen", "all", "sigmoid"] = "chosen"
    """Weights of the outputs: softmax over the `chosen` experts, or over `all` of them; `sigmoid` weights the input."""
    renormalise: bool = False
    """all: whether the chosen weights are made to sum to one."""
    clamp: tuple[PositiveFloat, PositiveFloat] | None = None
    """(alpha, limit) of gpt-oss's bounded SwiGLU; None for SwiGLU."""
    bias: bool = False
    """Whether experts and router have biases."""
    shared: MLPConfig | None = None
    """An expert for every token."""
    names: tuple[str, str] = ("gate", "switch_mlp")
    """Of the router and of the experts."""
    name: str = "mlp"
    """Where it stands in its block."""

    @validator(mode="after")
    def _fits(self) -> Self:
        if self.num_experts_per_tok > self.num_experts:
            raise ValueError(
                f"`num_experts_per_tok` {self.num_experts_per_tok} exceeds `num_experts` {self.num_experts}"
            )
        return self


FeedForward = Annotated[MLPConfig | MoEConfig, Field(discriminator="kind")]


class BlockConfig(Frozen):
    """A mixer and feed-forward parts on the residual stream."""

    mixer: Mixer
    feed_forward: tuple[FeedForward, ...] = ()
    """Their outputs are added; none in a pure state-space model."""
    norm: NormConfig = NormConfig()
    """Before the mixer and before the feed-forward parts."""
    norm_names: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    """One name a norm: one before each part, or, of four, one before and one after each."""
    residual_scale: PositiveFloat = 1.0
    """Multiplies what is added to the stream."""

    @validator(mode="after")
    def _norms_are_named(self) -> Self:
        parts = 1 + bool(self.feed_forward)
        if len(self.norm_names) not in (parts, 2 * parts):
            raise ValueError(f"`norm_names` {self.norm_names} for {parts} parts: give one or two names a part")
        return self


class DecoderConfig(Frozen):
    """A whole model: embedding, blocks, norm, head."""

    vocab_size: PositiveInt
    width: PositiveInt
    """Of the residual stream."""
    blocks: tuple[BlockConfig, ...] = Field(min_length=1)
    norm: NormConfig = NormConfig()
    """After the last block."""
    tied: bool = False
    """Whether the head is the embedding transposed."""
    positions: PositiveInt | None = None
    """Rows of a learned position embedding; None for none."""
    embedding_scale: PositiveFloat = 1.0
    """Multiplies the embeddings."""
    logits_divisor: PositiveFloat = 1.0
    """Divides the logits."""
    names: tuple[str, str, str] = ("model", "embed_tokens", "norm")
    """Of the body, its embedding and its last norm."""

    @property
    def supports_packing(self) -> bool:
        """Whether an attention mask alone tells the segments of a row apart.

        A state runs on from one segment to the next, and absolute positions and chunks count from the row's start.
        """
        mixers = [block.mixer for block in self.blocks]
        return self.positions is None and all(
            isinstance(mixer, AttentionConfig) and mixer.chunk is None and mixer.temperature is None for mixer in mixers
        )
