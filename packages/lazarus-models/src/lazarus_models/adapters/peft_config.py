"""PEFT's `adapter_config.json` for LoRA, and the conversion of its layers to one rank and one scale.

`rank_pattern` and `alpha_pattern` set rank and strength of single layers. Here all layers of an adapter have one rank and one
scale: A and B of a smaller rank are filled with zeros, and B is multiplied by the ratio of the scales. The result equals
PEFT's. A member that changes the result and is not supported is refused by name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_models.backend import mx
from lazarus_models.errors import AdapterError

JSON = dict[str, Any]

_APPLIED = {"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"}
_WITHOUT_EFFECT = {
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "target_modules",  # the tensor names determine the adapted layers; also the next three
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "fan_in_fan_out",  # PEFT switches it off for linear layers, and models here have no others
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    "eva_config",
}
"""Members of `peft.LoraConfig` (0.21) that do not change what an adapter of linear layers computes."""
_INITIAL = (True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that do not change the weights of the base model."""


@dataclass(frozen=True)
class PeftConfig:
    """Rank, strength and kind of an adapter.

    Args:
        kind: `lora` or `dora`.
        rank: `r`, at least 1.
        alpha: `lora_alpha`, above 0.
        dropout: `lora_dropout`, in [0, 1).
        is_root: `use_rslora`: the scale is alpha / sqrt(rank), arXiv 2312.03732.
        ranks: `rank_pattern`: ranks by names or patterns of layers.
        alphas: `alpha_pattern`: strengths by names or patterns of layers.
    """

    kind: str
    rank: int
    alpha: float
    dropout: float
    is_root: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    @classmethod
    def read(cls, file: Path, said: Mapping[str, Any]) -> "PeftConfig":
        """Reads a config.

        Args:
            file: Path of the file, for messages.
            said: Its JSON object.

        Raises:
            AdapterError: The adapter is of another kind, or a member has the wrong type or an unsupported value.
        """
        if str(said["peft_type"]).upper() != "LORA":
            raise AdapterError(
                f"{file}: adapters of kind {str(said['peft_type']).lower()!r} are not supported, only 'lora' and 'dora'",
                "LM-E132",
            )
        _refuse_others(file, said)
        rank, alpha = said.get("r"), said.get("lora_alpha")
        if not _is_rank(rank) or not _is_number(alpha):
            found = {"r": rank, "lora_alpha": alpha}
            raise AdapterError(f"{file}: needs a rank and a scale or alpha, but has {found!r}", "LM-E132")
        return cls(
            kind="dora" if said.get("use_dora") else "lora",
            rank=cast("int", rank),
            alpha=cast("float", alpha),
            dropout=said.get("lora_dropout", 0.0),
            is_root=bool(said.get("use_rslora")),
            ranks=_pattern(file, said, "rank_pattern", _is_rank),
            alphas=_pattern(file, said, "alpha_pattern", _is_number),
        )

    def rank_of(self, layer: str) -> int:
        """The rank of a layer."""
        return _matching(self.ranks, layer, self.rank)

    def scale_of(self, layer: str) -> float:
        """The factor of B A x in a layer."""
        rank = self.rank_of(layer)
        return _matching(self.alphas, layer, self.alpha) / (rank**0.5 if self.is_root else rank)

    def evened(self, tensors: Mapping[str, mx.array]) -> tuple[int, float, dict[str, mx.array]]:
        """One rank and one scale for all layers, and tensors that give the same result with them.

        Args:
            tensors: A as `LAYER.lora_a`, (inputs, rank); B as `LAYER.lora_b`, (rank, outputs); lengths as `LAYER.m`.

        Returns:
            The rank, the scale and the converted tensors.
        """
        layers = sorted({name.rpartition(".")[0] for name in tensors})
        rank = max((self.rank_of(layer) for layer in layers), default=self.rank)
        scale = self.scale_of(layers[0]) if layers else self.alpha / self.rank
        out: dict[str, mx.array] = {}
        for name, tensor in tensors.items():
            layer, _, leaf = name.rpartition(".")
            missing = rank - self.rank_of(layer)
            if leaf == "lora_b" and self.scale_of(layer) != scale:
                tensor = tensor.astype(mx.float32) * (self.scale_of(layer) / scale)
            if missing and leaf in ("lora_a", "lora_b"):
                axis = 1 if leaf == "lora_a" else 0
                tensor = mx.pad(tensor, [(0, missing) if place == axis else (0, 0) for place in range(tensor.ndim)])
            out[name] = tensor
        return rank, scale, out


def _refuse_others(file: Path, said: Mapping[str, Any]) -> None:
    """Refuses a member that changes the adapter's result and is not supported."""
    for name in sorted(said.keys() - _APPLIED - _WITHOUT_EFFECT):
        value = said[name]
        is_plain = value in _INITIAL if name == "init_lora_weights" else value in (None, False, "none", {}, [], "")
        if not is_plain:
            raise AdapterError(
                f"{file}: `{name}` {value!r} changes the adapter's result and is not supported; merge the adapter with"
                " PEFT and load the merged model",
                "LM-E138",
            )


def _pattern(file: Path, said: Mapping[str, Any], name: str, fits: Callable[[Any], bool]) -> JSON:
    """A member that must be an object of positive numbers, or absent."""
    pattern: Any = said.get(name) or {}
    if not isinstance(pattern, dict) or not all(map(fits, cast("JSON", pattern).values())):
        raise AdapterError(f"{file}: `{name}` is not an object of positive numbers", "LM-E132")
    return cast("JSON", pattern)


def _matching(pattern: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The value of the first key that matches the layer's name or its end after a dot, as in PEFT."""
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", layer)), default)


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
