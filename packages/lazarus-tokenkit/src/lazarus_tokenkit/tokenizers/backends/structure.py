"""The canonical form of a `tokenizer.json`: the input of the structural fingerprint.

Equal canonical forms mean equal behaviour. Members that are absent, null or at their default are left out. Merges are
pairs, a sequence of one step is that step, an identity is null, and vocabularies are sorted by id. Formatting, key order
and other files have no effect.
"""

from collections.abc import Mapping
from typing import Any, cast

JSON = dict[str, Any]

# The library's defaults for absent members, other than null and false.
# Source: the serde defaults in huggingface/tokenizers, tokenizers/src/{pre_tokenizers,decoders,normalizers,models}.
DEFAULTS: Mapping[str, JSON] = {
    "BPE": {"continuing_subword_prefix": "", "end_of_word_suffix": ""},
    "ByteLevel": {"add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "Metaspace": {"replacement": "▁", "prepend_scheme": "always", "split": True},
    "Punctuation": {"behavior": "Isolated"},
    "WordPiece": {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
}

# transformers 5 writes this for a tokenizer without a post-processor. It leaves both texts unchanged.
IDENTITY_POST_PROCESSOR: JSON = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}
PARTS_OF_SEQUENCE = ("normalizers", "pretokenizers", "processors", "decoders")


def tokenizer_structure(file: JSON) -> JSON:
    """Returns the named components of a parsed `tokenizer.json` as canonical JSON values."""
    model: JSON = file["model"]
    post_processor = _component(file.get("post_processor"))
    return {
        "model": _component(_flags(model)),
        "vocab": _vocabulary(model.get("vocab")),
        "merges": [_pair(merge) for merge in model.get("merges") or ()],
        "normalizer": _component(file.get("normalizer")),
        "pre_tokenizer": _component(file.get("pre_tokenizer")),
        "post_processor": None if post_processor == IDENTITY_POST_PROCESSOR else post_processor,
        "decoder": _component(file.get("decoder")),
        "added_tokens": [_component(token) for token in sorted(file.get("added_tokens") or (), key=_by_id)],
        "truncation": _component(file.get("truncation")),
        "padding": _component(file.get("padding")),
    }


def _flags(model: JSON) -> JSON:
    """Returns the model without its tables. Files older than tokenizers 0.9 have no type; the members imply it."""
    seen = "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"
    kind = "Unigram" if isinstance(model.get("vocab"), list) else seen
    return {"type": kind} | {key: value for key, value in model.items() if key not in ("vocab", "merges")}


def _component(value: Any) -> Any:
    """Returns the canonical form of a component other than the vocabulary."""
    match value:
        case {"type": "Sequence", **parts} if any(name in parts for name in PARTS_OF_SEQUENCE):
            steps = [step for name in PARTS_OF_SEQUENCE for step in map(_component, parts.get(name, ())) if step]
            return steps[0] if len(steps) == 1 else {"type": "Sequence", "steps": steps} if steps else None
        case dict():
            return _members(cast("JSON", value))
        case list():
            return [_component(element) for element in cast("list[Any]", value)]
        case float():
            return repr(value) if value else None  # a probability or a score of 0 has no effect
        case _:
            return value


def _members(component: JSON) -> JSON | None:
    kind = component.get("type")
    defaults = DEFAULTS.get(kind, {}) if isinstance(kind, str) else {}
    if kind == "Metaspace" and "prepend_scheme" not in component:
        # Files older than tokenizers 0.15 have a flag instead of the scheme.
        component = component | {"prepend_scheme": "always" if component.get("add_prefix_space", True) else "never"}
    if kind == "Metaspace":
        component = {key: value for key, value in component.items() if key not in ("add_prefix_space", "str_rep")}
    canonical = {key: _component(value) for key, value in component.items()}
    return {key: value for key, value in canonical.items() if not _is_default(value, defaults.get(key))}


def _is_default(value: Any, default: Any) -> bool:
    return value is None or (value == default if default is not None else value is False)


def _vocabulary(vocab: Any) -> list[Any]:
    """Returns (id, piece) sorted by id. A unigram vocabulary adds the score as its shortest decimal text."""
    if isinstance(vocab, dict):
        return sorted([number, piece] for piece, number in cast("dict[str, int]", vocab).items())
    scored = cast("list[tuple[str, float]]", vocab or [])
    return [[number, piece, repr(float(score))] for number, (piece, score) in enumerate(scored)]


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ", 1) if isinstance(merge, str) else merge


def _by_id(token: JSON) -> int:
    return token["id"]
