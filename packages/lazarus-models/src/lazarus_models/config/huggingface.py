"""Reads any Hugging Face `config.json` into one canonical form, and writes it.

Files differ: RoPE is in `rope_parameters` (transformers 5) or in `rope_theta` and `rope_scaling` (before), the precision in
`dtype` or `torch_dtype`, a text model with a vision model in `text_config`, and defaults of the family are omitted. mlx-lm
reads the older keys only and silently uses other defaults. So written files have both spellings and omit nothing.

A family declares its keys as fields of its own config, with transformers' defaults. A key of which only one value is supported
is a `Literal` of that value: any other value is refused by name.
"""

import math
import reprlib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError
from pydantic import model_validator as validator

from lazarus_core.bounded import read_bytes
from lazarus_core.printable import listed
from lazarus_core.reasons import plain_reason
from lazarus_core.strict_json import BOM, MalformedJson, parse_object
from lazarus_models.config.architecture import Frozen, RopeConfig
from lazarus_models.errors import ConfigError

Precision = Literal["float32", "float16", "bfloat16"]
LayerType = Literal["full_attention", "sliding_attention", "chunked_attention", "linear_attention"]


class Quantization(Frozen):
    """The quantization of an MLX checkpoint: a scale and a bias for every group of weights."""

    group_size: PositiveInt = 64
    """Weights that share a scale."""
    bits: Literal[2, 3, 4, 5, 6, 8] = 4
    """Bits of a weight."""
    mode: str = "affine"
    """MLX's name of the format: `affine`, or `mxfp4` with groups of 32."""
    layers: dict[str, dict[str, Any] | bool] = Field(default_factory=dict[str, dict[str, Any] | bool])
    """Layers with other settings, by name; false for a layer that is not quantized."""

    def to_huggingface(self) -> dict[str, Any]:
        """The value of the key `quantization`, as mlx-lm writes it."""
        return {**self.model_dump(exclude={"layers"}), **self.layers}


class ModelConfig(Frozen):
    """The settings of every family, under Hugging Face's names; `raw` keeps the original keys."""

    model_type: str
    """The family, such as `llama`."""
    hidden_size: PositiveInt
    """Width of the residual stream."""
    num_hidden_layers: PositiveInt
    """Number of blocks."""
    vocab_size: PositiveInt
    """Rows of the embedding, at least the tokenizer's largest id + 1."""
    max_position_embeddings: PositiveInt | None = None
    """Longest context, in tokens; None for no limit."""
    tie_word_embeddings: bool = False
    """Whether the head is the transposed embedding."""
    initializer_range: NonNegativeFloat = 0.02
    """Standard deviation of initial weights."""
    bos_token_id: int | None = None
    """First token of a document."""
    eos_token_ids: tuple[int, ...] = ()
    """Tokens that end a document or a turn."""
    pad_token_id: int | None = None
    """Padding token."""
    dtype: Precision = "float32"
    """Precision of the stored weights."""
    quantization: Quantization | None = None
    """Quantization of the weights; None for plain weights."""
    raw: dict[str, Any] = Field(default_factory=dict[str, Any], repr=False)
    """The original content of `config.json`."""

    @validator(mode="after")
    def _special_tokens_exist(self) -> Self:
        size = self.vocab_size
        given = {"bos_token_id": self.bos_token_id, "pad_token_id": self.pad_token_id}
        if given["pad_token_id"] == -1:  # what Llama 1 writes for none
            given["pad_token_id"] = None
        said = [(name, token) for name, token in given.items() if token is not None]
        for name, token in (*said, *(("eos_token_id", token) for token in self.eos_token_ids)):
            if not 0 <= token < size:
                raise ValueError(f"`{name}` is {token}, but `vocab_size` allows 0 to {size - 1}")
        return self

    @classmethod
    def from_huggingface(cls, raw: Mapping[str, Any]) -> Self:
        """Reads the content of a `config.json`; omitted keys have the family's defaults.

        Raises:
            pydantic.ValidationError: A key is missing, of the wrong type, or contradicts another.
        """
        said: dict[str, Any] = {
            key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value
            for key, value in raw.items()
            if value is not None or cls._takes_null(key)
        }
        eos = said.get("eos_token_id", ())
        said |= {
            "eos_token_ids": eos if isinstance(eos, tuple) else (eos,),
            "dtype": str(said.get("dtype", said.get("torch_dtype", "float32"))).removeprefix("torch."),
            "quantization": _quantization(raw),
            "raw": dict(raw),
        }
        cls._complete(said)
        return cls(**{name: said[name] for name in cls.model_fields if name in said})

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        """Adds values that follow from others to the content of a `config.json`."""

    @classmethod
    def _takes_null(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is not None and types.NoneType in get_args(field.annotation)

    def to_huggingface(self, *, dtype: Precision) -> dict[str, Any]:
        """The content of the `config.json` to write: the original keys, and every canonical key in both spellings.

        Args:
            dtype: Precision of the stored weights.
        """
        eos = self.eos_token_ids
        plain = self.model_dump(exclude=_DERIVED, mode="json")
        quantization = {"quantization": self.quantization.to_huggingface()} if self.quantization else {}
        kept = {key: value for key, value in self.raw.items() if not key.startswith("quantization")}
        return {
            **kept,
            **{key: value for key, value in plain.items() if value is not None or self._takes_null(key)},
            **({"eos_token_id": eos[0] if len(eos) == 1 else list(eos)} if eos else {}),
            **self._rope_keys(),
            **quantization,
            "dtype": dtype,
            "torch_dtype": dtype,
        }

    def _rope_keys(self) -> dict[str, Any]:
        return {}


_UNBOUNDED = ("time_step_limit", "text_config")
"""Keys that may contain infinity: the upper bound of Mamba's time steps, if there is none."""
_INFINITY: dict[str, Any] = {"__float__": "Infinity"}
_DERIVED = {"rope", "rope_local", "eos_token_ids", "dtype", "quantization", "raw"}


class TransformerConfig(ModelConfig):
    """The settings of families with attention."""

    intermediate_size: PositiveInt
    """Width inside the MLP, or inside each expert."""
    num_attention_heads: PositiveInt
    """Query heads."""
    num_key_value_heads: PositiveInt
    """Key and value heads; a group of query heads shares each of them."""
    head_dim: PositiveInt
    """Width of a head."""
    rms_norm_eps: PositiveFloat = 1e-6
    """Added to the mean square before the root."""
    rope: RopeConfig = RopeConfig()
    """Rotary position embedding."""

    @validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"`num_attention_heads` {self.num_attention_heads} is not a multiple of "
                f"`num_key_value_heads` {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"`head_dim` {self.head_dim} is odd; RoPE needs pairs of dimensions")
        return self

    @classmethod
    def _complete(cls, said: dict[str, Any]) -> None:
        heads, width = said.get("num_attention_heads"), said.get("hidden_size")
        if isinstance(heads, int) and isinstance(width, int) and heads > 0:
            said.setdefault("num_key_value_heads", heads)
            said.setdefault("head_dim", width // heads)
        said["rope"] = read_rope(said)

    def _rope_keys(self) -> dict[str, Any]:
        return {
            "rope_parameters": self.rope.model_dump(exclude_none=True),
            "rope_theta": self.rope.rope_theta,
            "rope_scaling": self.rope.scaling,
        }


class LayeredConfig(TransformerConfig):
    """The settings of families with several kinds of layers."""

    kinds: ClassVar[tuple[LayerType, ...]]
    """The kinds that the family supports."""
    layer_types: tuple[LayerType, ...]
    """The kind of each layer, in order."""

    @validator(mode="after")
    def _every_layer_has_a_kind(self) -> Self:
        if unknown := set(self.layer_types) - set(self.kinds):
            raise ValueError(
                f"`layer_types` has {listed(sorted(unknown))}, but this family supports {listed(self.kinds)}"
            )
        if len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(
                f"`layer_types` has {len(self.layer_types)} layers, but `num_hidden_layers` is {self.num_hidden_layers}"
            )
        return self


def read_rope(said: Mapping[str, Any], *, default_theta: float = 10000.0) -> RopeConfig:
    """The RoPE of a config, in either spelling.

    Args:
        said: The content of a `config.json`.
        default_theta: `rope_theta` if the config has none.
    """
    # If a file has both keys, transformers uses `rope_scaling`. `rope_theta` is either next to it or inside.
    given: Any = said.get("rope_scaling") or said.get("rope_parameters") or {}
    return rope_of(given, said.get("rope_theta", default_theta))


def rope_of(given: Any, theta: Any) -> RopeConfig:
    """A RoPE from its parameters.

    Args:
        given: The value of `rope_scaling` or `rope_parameters`.
        theta: `rope_theta` if the parameters have none.
    """
    if not isinstance(given, dict):
        return RopeConfig.model_validate(given)  # raises pydantic's error
    parameters = {key: value for key, value in cast("dict[str, Any]", given).items() if value is not None}
    if "type" in parameters:  # the spelling of 2023
        parameters.setdefault("rope_type", parameters["type"])
        del parameters["type"]
    parameters.setdefault("rope_theta", theta)
    return RopeConfig(**parameters)


def _quantization(raw: Mapping[str, Any]) -> Quantization | None:
    found: Any = raw.get("quantization") or raw.get("quantization_config")
    if not isinstance(found, dict):
        return None if found is None else Quantization.model_validate(found)
    said = cast("dict[str, Any]", found)
    if said.get("quant_method") == "mxfp4":  # as published: experts in 4 bits, the rest plain
        return Quantization(group_size=32, bits=4, mode="mxfp4")
    known = {key: value for key, value in said.items() if key in ("group_size", "bits", "mode")}
    layers = {key: value for key, value in said.items() if "." in key}
    return Quantization(**known, layers=layers)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Raises:
        ConfigError: There is no file, or it is not a JSON object in UTF-8; the message names line and column.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist: give a model directory with config.json", "LM-E100") from error
    return parse_json(content, path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Parses a JSON object.

    Args:
        content: UTF-8 text.
        path: The file, for messages.

    Raises:
        ConfigError: The content is not a JSON object in UTF-8; the message names line and column.
    """
    try:
        members = parse_object(content.removeprefix(BOM), str(path), allow_infinity=True)
    except MalformedJson as error:
        raise ConfigError(error.message, "LM-E101") from error
    said = {name: _with_infinity(value) for name, value in members.items()}
    if wrong := next((name for name, value in said.items() if name not in _UNBOUNDED and _is_infinite(value)), None):
        raise ConfigError(f"{path}: `{wrong}` contains a number beyond the range of a double", "LM-E101")
    return said


def _is_infinite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_infinite, cast("dict[str, Any]", value).values()))
    if isinstance(value, list):
        return any(map(_is_infinite, cast("list[Any]", value)))
    return isinstance(value, float) and math.isinf(value)


def _with_infinity(value: Any) -> Any:
    # JSON has no infinity: transformers 5 writes {"__float__": "Infinity"}.
    if value == _INFINITY:
        return float("inf")
    if isinstance(value, dict):
        return {name: _with_infinity(each) for name, each in cast("dict[str, Any]", value).items()}
    return [_with_infinity(each) for each in cast("list[Any]", value)] if isinstance(value, list) else value


def in_words(error: ValidationError) -> str:
    """Formats a pydantic error as one line: `rope.factor: must be above 0 (got -1.0); ...`."""
    lines: list[str] = []
    for item in error.errors():
        where = ".".join(str(part) if str(part).isidentifier() else repr(part) for part in item["loc"])
        got = "" if item["type"] in ("missing", "value_error") else f" (got {reprlib.repr(item['input'])})"
        said = plain_reason(item["msg"]) + got
        lines.append(f"{where}: {said}" if where else said)
    return "; ".join(lines)
