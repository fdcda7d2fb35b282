"""A model as one GGUF file, which llama.cpp and its kin read.

The tensors' names and order and the description are mlx-lm's; the tokens' scores are ours, since it writes the same one
for all, with which llama.cpp cuts text at random. What such a file has no words for is refused.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lazarus_models.architecture import AttentionConfig
from lazarus_models.backend import mx
from lazarus_models.config import TransformerConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.families import family_of
from lazarus_models.huggingface import LoadedModel
from lazarus_models.mlx_lm import import_mlx_lm
from lazarus_models.parameters import weights
from lazarus_models.tensors import replacing

FAMILIES = ("llama", "mistral", "mixtral")
_NEWLINE = "<0x0A>"  # the piece by which a vocabulary with bytes, as SentencePiece makes them, is known


def export_gguf(lm: LoadedModel, path: Path) -> None:
    """Writes a model's matrices as float16 and its norms as float32, beside the target first.

    Raises:
        UnsupportedModel: The file could not say what the model computes, or how its tokenizer cuts.
    """
    config = _refuse_unsaid(lm)
    gguf = import_mlx_lm("gguf")
    tensors = family_of(lm.family).layout_of(config).to_file(weights(lm.model))
    named: dict[str, mx.array] = {}
    for name, tensor in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # llama.cpp turns neighbours, Hugging Face halves
            is_key = name.endswith("k_proj.weight")
            heads = config.num_key_value_heads if is_key else config.num_attention_heads
            tensor = gguf.permute_weights(tensor, heads)
        precision = mx.float32 if "norm" in name else mx.float16
        named[gguf.translate_weight_names(name)] = tensor.astype(precision)
    said = config.to_huggingface(dtype="float16")
    if config.rope.scaling:
        said["rope_scaling"] = {**config.rope.scaling, "type": config.rope.rope_type}
    metadata = gguf.prepare_metadata(said, _vocabulary(lm, gguf.TokenType))
    with replacing(path) as beside, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / "model.gguf"  # MLX wants the ending
        mx.save_gguf(str(written), named, metadata)  # pyright: ignore[reportUnknownMemberType] (the stub leaves the result out)
        written.replace(beside)


@dataclass(frozen=True)
class _Vocabulary:
    """What mlx-lm asks of one."""

    tokens: list[tuple[str, float, Any]]
    tokenizer: SimpleNamespace

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def all_tokens(self) -> Iterator[tuple[str, float, Any]]:
        """Text, score and kind of each, in the order of the ids."""
        yield from self.tokens


def _vocabulary(lm: LoadedModel, kinds: Any) -> _Vocabulary:
    """Pieces score higher the earlier they stand, as SentencePiece's do."""
    with tempfile.TemporaryDirectory() as folder:
        lm.tokenizer.save(Path(folder))
        file = Path(folder) / "tokenizer.json"
        said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    pieces: dict[str, int] = said.get("model", {}).get("vocab", {}) if said else {}
    if _NEWLINE not in pieces:
        raise UnsupportedModel(
            "`gguf`: the tokenizer is no SentencePiece vocabulary with bytes, which is all that this file can hold; "
            "give the saved directory to llama.cpp's own converter",
            "LM-E115",
        )
    added: list[dict[str, Any]] = said.get("added_tokens", [])
    special = {token["id"] for token in added if token.get("special")}
    by_id = {index: text for text, index in pieces.items()} | {token["id"]: token["content"] for token in added}

    def described(index: int) -> tuple[str, float, Any]:
        text = by_id.get(index)
        if text is None:  # a row of the embedding that no token has
            return f"<unused{index}>", -float(index), kinds.UNUSED
        if index in special:
            return text, 0.0, kinds.CONTROL
        is_byte = len(text) == len(_NEWLINE) and text.startswith("<0x")
        return (text, 0.0, kinds.BYTE) if is_byte else (text, -float(index), kinds.NORMAL)

    unknown = said["model"].get("unk_token")
    ids = SimpleNamespace(
        bos_token_id=lm.tokenizer.bos_id,
        eos_token_id=lm.tokenizer.eos_id,
        unk_token_id=pieces.get(unknown) if unknown else None,
    )
    return _Vocabulary([described(index) for index in range(lm.config.vocab_size)], ids)


def _refuse_unsaid(lm: LoadedModel) -> TransformerConfig:
    config = lm.config
    if lm.family not in FAMILIES or not isinstance(config, TransformerConfig):
        raise UnsupportedModel(f"`gguf`: family {lm.family!r}; written are {', '.join(FAMILIES)}", "LM-E115")
    mixers = [block.mixer for block in lm.model.config.blocks]
    context = config.max_position_embeddings or 0
    reasons = {
        "quantized weights": config.quantization is not None,
        f"`rope_type` {config.rope.rope_type!r}": config.rope.rope_type not in ("default", "linear"),
        f"`head_dim` {config.head_dim}": config.head_dim * config.num_attention_heads != config.hidden_size,
        "biases": any(name.endswith(".bias") for name in weights(lm.model)),
        "a sliding window": any(
            isinstance(one, AttentionConfig) and (one.window or context) < context for one in mixers
        ),
    }
    if unsaid := [reason for reason, is_there in reasons.items() if is_there]:
        raise UnsupportedModel(f"`gguf`: the file has no words for {', '.join(unsaid)}", "LM-E115")
    return config
