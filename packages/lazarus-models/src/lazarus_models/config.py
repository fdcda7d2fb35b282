"""Any Hugging Face `config.json`, read into one canonical form.

Writers differ: RoPE stands in `rope_parameters` (transformers 5) or in `rope_theta` and `rope_scaling` (before), the
precision in `dtype` or `torch_dtype`, and what equals the family's default is left out, `tie_word_embeddings` among
it. mlx-lm reads the older spelling only and takes other defaults in silence, so what we write says both spellings and
leaves nothing out.
"""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError
from pydantic import model_validator as validator

from lazarus_models.errors import ConfigError

Precision = Literal["float32", "float16", "bfloat16"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class RopeConfig(_Frozen):
    """Rotary position embedding: how fast each pair of dimensions turns."""

    rope_type: Literal["default", "linear", "llama3"] = "default"
    """`linear` divides every frequency by `factor`; `llama3` only the low ones, with a smooth passage between."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the wavelengths, in tokens."""
    factor: PositiveFloat | None = None
    """How many times longer the context is than the one trained first."""
    low_freq_factor: PositiveFloat | None = None
    """llama3: wavelengths above original length / this are divided by `factor`."""
    high_freq_factor: PositiveFloat | None = None
    """llama3: wavelengths below original length / this are kept."""
    original_max_position_embeddings: PositiveInt | None = None
    """llama3: the context trained first, in tokens."""

    @validator(mode="after")
    def _scaling_is_complete(self) -> Self:
        llama3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        needed = {"default": (), "linear": ("factor",), "llama3": llama3}[self.rope_type]
        given = tuple(name for name in llama3 if getattr(self, name) is not None)
        if given != needed:
            raise ValueError(f"`rope_type` {self.rope_type!r} takes {needed or 'no scaling'}, the config gives {given}")
        return self

    @property
    def scaling(self) -> dict[str, Any] | None:
        """The older spelling, `rope_scaling`; None for plain RoPE."""
        return self.model_dump(exclude_none=True) if self.rope_type != "default" else None


class ModelConfig(_Frozen):
    """What a model is, under Hugging Face's names; `raw` keeps the file's own keys."""

    model_type: str
    """The family, such as `llama`."""
    hidden_size: PositiveInt
    """Width of the residual stream."""
    intermediate_size: PositiveInt
    """Width inside the MLP."""
    num_hidden_layers: PositiveInt
    """Blocks."""
    num_attention_heads: PositiveInt
    """Query heads."""
    num_key_value_heads: PositiveInt
    """Key and value heads, each shared by a group of query heads."""
    head_dim: PositiveInt
    """Width of a head."""
    vocab_size: PositiveInt
    """Rows of the embedding, at least the tokenizer's largest id + 1."""
    max_position_embeddings: PositiveInt
    """Longest context, in tokens."""
    rms_norm_eps: PositiveFloat
    """Added to the mean square before the root."""
    rope: RopeConfig
    """Rotary position embedding."""
    attention_bias: bool
    """Whether the attention's projections have biases."""
    mlp_bias: bool
    """Whether the MLP's projections have biases."""
    hidden_act: str
    """The MLP's activation."""
    tie_word_embeddings: bool
    """Whether the head is the embedding transposed."""
    initializer_range: NonNegativeFloat
    """Standard deviation of fresh weights."""
    bos_token_id: int | None = None
    """First token of a document."""
    eos_token_ids: tuple[int, ...] = ()
    """Tokens that end a document or a turn."""
    pad_token_id: int | None = None
    """Filler, never attended to by real tokens."""
    dtype: Precision = "float32"
    """Precision of the stored weights."""
    raw: dict[str, Any] = Field(default_factory=dict[str, Any], repr=False)
    """The `config.json` as it was read."""

    @validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"`num_attention_heads` {self.num_attention_heads} is no multiple of "
                f"`num_key_value_heads` {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"`head_dim` {self.head_dim} is odd; RoPE turns pairs of dimensions")
        return self

    @classmethod
    def from_huggingface(cls, raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> "ModelConfig":
        """Reads a `config.json`'s content, what it leaves out being the family's default.

        Raises:
            pydantic.ValidationError: A key is missing, of the wrong type, or contradicts another.
        """
        said = {**defaults, **{key: value for key, value in raw.items() if value is not None}}
        heads, width = said.get("num_attention_heads"), said.get("hidden_size")
        if isinstance(heads, int) and isinstance(width, int) and heads > 0:
            said.setdefault("num_key_value_heads", heads)
            said.setdefault("head_dim", width // heads)
        eos = said.get("eos_token_id", [])
        canonical = {name: said[name] for name in cls.model_fields if name in said and name not in _DERIVED}
        return cls(
            **canonical,
            rope=_rope(said),
            eos_token_ids=tuple(cast("list[int]", eos)) if isinstance(eos, list) else (eos,),
            dtype=str(said.get("dtype", said.get("torch_dtype", "float32"))).removeprefix("torch."),  # pyright: ignore[reportArgumentType] (pydantic checks the word)
            raw=dict(raw),
        )

    def to_huggingface(self, *, dtype: Precision) -> dict[str, Any]:
        """The `config.json` to write: the original keys, and every canonical one in both spellings."""
        eos = self.eos_token_ids
        plain = self.model_dump(exclude=_DERIVED)
        return {
            **self.raw,
            **{key: value for key, value in plain.items() if value is not None or key in self.raw},
            **({"eos_token_id": eos[0] if len(eos) == 1 else list(eos)} if eos else {}),
            "rope_parameters": self.rope.model_dump(exclude_none=True),
            "rope_theta": self.rope.rope_theta,
            "rope_scaling": self.rope.scaling,
            "dtype": dtype,
            "torch_dtype": dtype,
        }


_DERIVED = {"rope", "eos_token_ids", "dtype", "raw"}


def _rope(said: Mapping[str, Any]) -> RopeConfig:
    # transformers lets `rope_scaling` win where a file has both; a theta of its own lies beside or inside.
    given: Any = said.get("rope_scaling") or said.get("rope_parameters") or {}
    if not isinstance(given, dict):
        return RopeConfig.model_validate(given)  # refuses it in pydantic's words
    parameters = dict(cast("dict[str, Any]", given))
    if "type" in parameters:  # the spelling of 2023
        parameters.setdefault("rope_type", parameters["type"])
        del parameters["type"]
    if "rope_theta" in said:
        parameters.setdefault("rope_theta", said["rope_theta"])
    return RopeConfig(**parameters)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ConfigError: No file, not UTF-8, not JSON, or not an object; names file, line and column.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; a model is a directory with config.json", "LM-E100") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        where = f":{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"{path}{where}: not JSON in UTF-8: {error}", "LM-E101") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds a JSON {type(value).__name__}, not an object", "LM-E101")
    return value  # pyright: ignore[reportUnknownVariableType] (JSON's keys are strings)


def in_words(error: ValidationError) -> str:
    """A pydantic error as one line: `rope.factor: Input should be greater than 0 (got -1.0); ...`."""
    lines: list[str] = []
    for item in error.errors():
        where = ".".join(str(part) if str(part).isidentifier() else repr(part) for part in item["loc"])
        got = "" if item["type"] in ("missing", "value_error") else f" (got {reprlib.repr(item['input'])})"
        said = item["msg"].removeprefix("Value error, ") + got
        lines.append(f"{where}: {said}" if where else said)
    return "; ".join(lines)
