"""What PEFT's `adapter_config.json` says of a LoRA adapter, and how its layers become layers of one rank and scale.

`rank_pattern` and `alpha_pattern` give layers ranks and strengths of their own. Here all layers of an adapter have one
rank and one scale: A and B of a smaller rank are filled up with zeros, and a different strength is multiplied into B.
B A x stays what PEFT computes. A member that changes the result and is not done here is refused by its name.
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
    "target_modules",  # the tensors say which layers are adapted, as for the next three
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "fan_in_fan_out",  # PEFT switches it off for linear layers, and no model here has others
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    "eva_config",
}
"""Members of `peft.LoraConfig` (0.21) that do not change what an adapter of linear layers computes."""
_INITIAL = (True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base model's weights as they are."""


@dataclass(frozen=True)
class PeftConfig:
    """Rank, strength and kind of an adapter.

    Args:
        kind: `lora` or `dora`.
        rank: `r`.
        alpha: `lora_alpha`.
        dropout: `lora_dropout`.
        is_root: `use_rslora`: the scale is alpha / sqrt(rank), arXiv 2312.03732.
        ranks: `rank_pattern`, layers' names or patterns to ranks.
        alphas: `alpha_pattern`, the same to strengths.
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
        """The config in a file.

        Raises:
            AdapterError: It is of another kind, has members of the wrong type or asks for what is not done here.
        """
        if str(said["peft_type"]).upper() != "LORA":
            raise AdapterError(
                f"{file}: an adapter of kind {str(said['peft_type']).lower()!r}; 'lora' and 'dora' are read", "LM-E132"
            )
        _refuse_others(file, said)
        rank, alpha = said.get("r"), said.get("lora_alpha")
        if not _is_rank(rank) or not _is_number(alpha):
            found = {"r": rank, "lora_alpha": alpha}
            raise AdapterError(f"{file}: needs a rank and a scale or alpha, found {found!r}", "LM-E132")
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
        """Rank of a layer."""
        return _matching(self.ranks, layer, self.rank)

    def scale_of(self, layer: str) -> float:
        """What multiplies B A x in a layer."""
        rank = self.rank_of(layer)
        return _matching(self.alphas, layer, self.alpha) / (rank**0.5 if self.is_root else rank)

    def evened(self, tensors: Mapping[str, mx.array]) -> tuple[int, float, dict[str, mx.array]]:
        """One rank and one scale for all layers, and the tensors that make up for it.

        Args:
            tensors: A as `LAYER.lora_a`, (inputs, rank); B as `LAYER.lora_b`, (rank, outputs); lengths as `LAYER.m`.
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
    """Names a member that changes what the adapter computes and is not done here."""
    for name in sorted(said.keys() - _APPLIED - _WITHOUT_EFFECT):
        value = said[name]
        is_plain = value in _INITIAL if name == "init_lora_weights" else value in (None, False, "none", {}, [], "")
        if not is_plain:
            raise AdapterError(
                f"{file}: `{name}` {value!r} changes what the adapter computes, and is not done here; merge the adapter"
                " with PEFT and load the merged model",
                "LM-E138",
            )


def _pattern(file: Path, said: Mapping[str, Any], name: str, fits: Callable[[Any], bool]) -> JSON:
    """A member that is an object of positive numbers, or absent."""
    pattern: Any = said.get(name) or {}
    if not isinstance(pattern, dict) or not all(map(fits, cast("JSON", pattern).values())):
        raise AdapterError(f"{file}: `{name}` is no object of positive numbers", "LM-E132")
    return cast("JSON", pattern)


def _matching(pattern: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The value of the first key that is the layer's name, its end behind a dot, or a pattern of either, as in PEFT."""
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", layer)), default)


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
