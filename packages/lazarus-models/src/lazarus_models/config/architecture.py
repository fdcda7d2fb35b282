"""The description of a model as data: layers, blocks and their order, without arrays.

A `DecoderConfig` determines the outputs of a model except for its weights; `lazarus_models.components.decoder` builds the
model. A family converts its `config.json` into one; for a custom model you write one. The names of layers (`self_attn`,
`mlp`) are the names of the tensors on disk, so that other programs read a composed Llama as a Llama.

Terms: a *mixer* moves information between tokens (attention, state space, recurrence). A *feed-forward* part changes each
token separately. A *block* is a mixer and feed-forward parts; each reads the normed residual stream and is added to it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic import model_validator as validator

MAX_LAYERS = 1024
"""Largest number of blocks: the deepest published language models have 126 (Llama 3.1 405B), experiments 1,000 (DeepNet)."""
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


class Frozen(BaseModel):
    """Base of the configs: immutable, strict types, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class RopeConfig(Frozen):
    """Rotary position embedding (arXiv 2104.09864), under the names of Hugging Face's `rope_parameters`."""

    rope_type: Literal["default", "linear", "llama3", "yarn"] = "default"
    """`linear` divides every frequency by `factor`; `llama3` and `yarn` (arXiv 2309.00071) only the low ones."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the wavelengths."""
    factor: PositiveFloat | None = None
    """Ratio of the extended context to the original one."""
    low_freq_factor: PositiveFloat | None = None
    """llama3: frequencies with fewer rotations than this in the original context are divided by `factor`."""
    high_freq_factor: PositiveFloat | None = None
    """llama3: frequencies with more rotations than this in the original context are kept."""
    original_max_position_embeddings: PositiveInt | None = None
    """llama3, yarn: length of the original context, in tokens."""
    beta_fast: PositiveFloat | None = None
    """yarn: pairs with more rotations than this in the original context are kept; None for 32."""
    beta_slow: PositiveFloat | None = None
    """yarn: frequencies of pairs with fewer rotations than this are divided by `factor`; None for 1."""
    truncate: bool | None = None
    """yarn: whether the ramp between the two bounds begins and ends at whole pairs; None for yes."""
    attention_factor: PositiveFloat | None = None
    """yarn: factor of queries and keys; None for 0.1 ln(factor) + 1."""

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
            raise ValueError(
                f"`rope_type` {self.rope_type!r} takes {needed or 'no scaling'}, but the config gives {given}"
            )
        return self

    @property
    def scaling(self) -> dict[str, Any] | None:
        """The value of the older key `rope_scaling`; None for plain RoPE."""
        return self.model_dump(exclude_none=True) if self.rope_type != "default" else None


class NormConfig(Frozen):
    """A norm of the residual stream, of queries or of keys."""

    kind: Literal["rms", "layer"] = "rms"
    """`rms` (arXiv 1910.07467) divides by the root mean square; `layer` (arXiv 1607.06450) also subtracts the mean."""
    eps: PositiveFloat = 1e-6
    """Added to the mean square before the root."""
    one_plus: bool = False
    """rms: whether the factor is 1 + weight, as in Gemma."""
    bias: bool = False
    """layer: whether a bias is added."""

    @validator(mode="after")
    def _means_something(self) -> Self:
        if (self.kind == "rms" and self.bias) or (self.kind == "layer" and self.one_plus):
            raise ValueError("`bias` requires the kind `layer`, `one_plus` the kind `rms`")
        return self


class AttentionConfig(Frozen):
    """Causal multi-head attention; with fewer key/value heads, groups of query heads share them (arXiv 2305.13245)."""

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
    """Whether the output projection has a bias."""
    rope: RopeConfig | None = RopeConfig()
    """Rotary position embedding; None for none."""
    rope_interleaved: bool = False
    """Whether neighbouring dimensions form a pair (GPT-J, Llama 4), instead of a dimension of each half."""
    alibi: bool = False
    """Whether scores fall linearly with distance (arXiv 2108.12409)."""
    scale: PositiveFloat | None = None
    """Factor of the scores; None for 1 / sqrt(head_dim)."""
    window: PositiveInt | None = None
    """Tokens that a token sees, itself included; None for all."""
    chunk: PositiveInt | None = None
    """Positions of a chunk: a token sees earlier tokens of its own chunk. None for all tokens."""
    qk_norm: Literal["head", "all", "plain"] | None = None
    """Norm of queries and keys: of each `head`, of `all` heads together (both before RoPE, with weights), or of each head
    after RoPE and without weights (`plain`)."""
    norm: NormConfig = NormConfig()
    """The norm of queries and keys."""
    sinks: bool = False
    """Whether each head has a learned score that takes a share of the softmax and adds nothing to the output."""
    clip: PositiveFloat | None = None
    """Queries, keys and values are clipped to plus or minus this; None for no clipping."""
    temperature: tuple[PositiveInt, PositiveFloat] | None = None
    """(length, strength): queries grow with the logarithm of position / length (arXiv 2501.19399). None for no growth."""
    name: str = "self_attn"
    """Name in the block."""

    @validator(mode="after")
    def _fits(self) -> Self:
        if self.num_heads % self.num_key_value_heads:
            raise ValueError(
                f"`num_heads` {self.num_heads} is not a multiple of `num_key_value_heads` {self.num_key_value_heads}"
            )
        if self.rope and self.head_dim % 2:
            raise ValueError(f"`head_dim` {self.head_dim} is odd; RoPE needs pairs of dimensions")
        if self.window and self.chunk:
            raise ValueError("`window` and `chunk` exclude each other; give one of them")
        return self


class MambaConfig(Frozen):
    """Selective state space (Mamba, arXiv 2312.00752)."""

    kind: Literal["mamba"] = "mamba"
    inner: PositiveInt
    """Channels."""
    state: PositiveInt
    """State elements a channel."""
    kernel: PositiveInt = 4
    """Tokens that the causal convolution sees."""
    rank: PositiveInt
    """Width of the vector from which the time steps are computed."""
    bias: bool = False
    """Whether input and output projections have biases."""
    conv_bias: bool = True
    """Whether the convolution has a bias."""
    norm: NormConfig | None = None
    """Norm of time steps, B and C, as in Jamba; None for none."""
    name: str = "mamba"
    """Name in the block."""


class Mamba2Config(Frozen):
    """State space with one decay rate a head (Mamba 2, arXiv 2405.21060)."""

    kind: Literal["mamba2"] = "mamba2"
    num_heads: PositiveInt
    """Heads."""
    head_dim: PositiveInt
    """Channels of a head."""
    state: PositiveInt
    """State elements a channel."""
    groups: PositiveInt = 1
    """Sets of B and C, each shared by a group of heads."""
    kernel: PositiveInt = 4
    """Tokens that the causal convolution sees."""
    bias: bool = False
    """Whether input and output projections have biases."""
    conv_bias: bool = True
    """Whether the convolution has a bias."""
    time_step_limit: tuple[NonNegativeFloat, PositiveFloat] = (0.0, float("inf"))
    """Lower and upper bound of a time step."""
    norm: NormConfig = NormConfig()
    """Norm of the gated output, applied to each group separately."""
    name: str = "mamba"
    """Name in the block."""


class RecurrentConfig(Frozen):
    """A recurrent layer."""

    kind: Literal["lstm", "gru", "min_gru"]
    """`min_gru` is computed for all tokens in parallel (arXiv 2410.01201)."""
    inner: PositiveInt
    """Width of the state."""
    name: str = "recurrent"
    """Name in the block."""


Mixer = Annotated[AttentionConfig | MambaConfig | Mamba2Config | RecurrentConfig, Field(discriminator="kind")]


class MLPConfig(Frozen):
    """Two matrices and an activation between them, or three with a gate (arXiv 2002.05202)."""

    kind: Literal["mlp"] = "mlp"
    width: PositiveInt
    """Width inside the MLP."""
    activation: Activation = "silu"
    """The activation; with a gate, it applies to the gate."""
    gated: bool = True
    """Whether it has a gate: SwiGLU with `silu`, GeGLU with `gelu`."""
    fused: bool = False
    """Whether gate and up projections are one tensor, `input_linear`."""
    bias: bool = False
    """Whether every matrix has a bias."""
    name: str = "mlp"
    """Name in the block."""


class MoEConfig(Frozen):
    """Mixture of experts: gated MLPs, of which a router selects some for each token."""

    kind: Literal["moe"] = "moe"
    num_experts: PositiveInt
    """Experts."""
    num_experts_per_tok: PositiveInt
    """Experts that the router selects for a token."""
    width: PositiveInt
    """Width inside each expert."""
    router: Literal["chosen", "all", "sigmoid"] = "chosen"
    """Shares of the experts: softmax over the `chosen` experts or over `all` experts, as factors of their outputs; or
    `sigmoid`, as a factor of their inputs."""
    renormalise: bool = False
    """all: whether the shares of the chosen experts are divided by their sum."""
    clamp: tuple[PositiveFloat, PositiveFloat] | None = None
    """(alpha, limit) of gpt-oss's clamped SwiGLU; None for SwiGLU."""
    bias: bool = False
    """Whether experts and router have biases."""
    shared: MLPConfig | None = None
    """An MLP that every token uses in addition; None for none."""
    names: tuple[str, str] = ("gate", "switch_mlp")
    """Names of the router and of the experts."""
    name: str = "mlp"
    """Name in the block."""

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
    """Feed-forward parts, whose outputs are added; none in a pure state-space model."""
    norm: NormConfig = NormConfig()
    """Norm before the mixer and before the feed-forward parts."""
    norm_names: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    """Names of the norms: one before each part, or one before and one after each part."""
    residual_scale: PositiveFloat = 1.0
    """Factor of the outputs that are added to the residual stream."""

    @validator(mode="after")
    def _norms_are_named(self) -> Self:
        parts = 1 + bool(self.feed_forward)
        if len(self.norm_names) not in (parts, 2 * parts):
            raise ValueError(f"`norm_names` {self.norm_names} for {parts} parts: give one or two names a part")
        return self


class DecoderConfig(Frozen):
    """A whole model: embedding, blocks, norm, head."""

    vocab_size: PositiveInt
    """Rows of the embedding."""
    width: PositiveInt
    """Width of the residual stream."""
    blocks: tuple[BlockConfig, ...] = Field(min_length=1)
    """Blocks, in order."""
    norm: NormConfig = NormConfig()
    """Norm after the last block."""
    tied: bool = False
    """Whether the head is the transposed embedding."""
    positions: PositiveInt | None = None
    """Rows of a learned position embedding; None for none."""
    embedding_scale: PositiveFloat = 1.0
    """Factor of the embeddings."""
    logits_divisor: PositiveFloat = 1.0
    """Divisor of the logits."""
    names: tuple[str, str, str] = ("model", "embed_tokens", "norm")
    """Names of the body, its embedding and its last norm."""

    @property
    def supports_packing(self) -> bool:
        """Whether an attention mask is enough to separate the segments of a row.

        It is not if a layer has a state, which continues into the next segment, or if absolute positions or chunks count
        from the start of the row.
        """
        mixers = [block.mixer for block in self.blocks]
        return self.positions is None and all(
            isinstance(mixer, AttentionConfig) and mixer.chunk is None and mixer.temperature is None for mixer in mixers
        )
