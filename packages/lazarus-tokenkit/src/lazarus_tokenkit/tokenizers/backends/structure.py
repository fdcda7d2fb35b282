"""The structure of a `tokenizer.json`, spelled in one way: what a structural fingerprint hashes.

Equal here means equal behaviour: members that are absent, null or at their default are left out, merges are pairs, a
sequence of one is its element, an identity is nothing, vocabularies are sorted by id. Formatting, key order and
everything outside `tokenizer.json` never get here.
"""

from collections.abc import Mapping
from typing import Any, cast

JSON = dict[str, Any]

# What the library assumes where a file is silent, if that is neither null nor false.
# Source: the serde defaults in huggingface/tokenizers, tokenizers/src/{pre_tokenizers,decoders,normalizers,models}.
DEFAULTS: Mapping[str, JSON] = {
    "BPE": {"continuing_subword_prefix": "", "end_of_word_suffix": ""},
    "ByteLevel": {"add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "Metaspace": {"replacement": "▁", "prepend_scheme": "always", "split": True},
    "Punctuation": {"behavior": "Isolated"},
    "WordPiece": {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
}

# What transformers 5 writes where there was no post-processor: both texts as they are.
IDENTITY_POST_PROCESSOR: JSON = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}
PARTS_OF_SEQUENCE = ("normalizers", "pretokenizers", "processors", "decoders")


def tokenizer_structure(file: JSON) -> JSON:
    """Named components of a parsed `tokenizer.json` as canonical JSON values."""
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
    """The model without its tables; files from before tokenizers 0.9 leave its type to be seen from the members."""
    seen = "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"
    kind = "Unigram" if isinstance(model.get("vocab"), list) else seen
    return {"type": kind} | {key: value for key, value in model.items() if key not in ("vocab", "merges")}


def _component(value: Any) -> Any:
    """One spelling of any part but the vocabulary."""
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
        # Before tokenizers 0.15 a flag said it.
        component = component | {"prepend_scheme": "always" if component.get("add_prefix_space", True) else "never"}
    if kind == "Metaspace":
        component = {key: value for key, value in component.items() if key not in ("add_prefix_space", "str_rep")}
    spelled = {key: _component(value) for key, value in component.items()}
    return {key: value for key, value in spelled.items() if not _is_default(value, defaults.get(key))}


def _is_default(value: Any, default: Any) -> bool:
    return value is None or (value == default if default is not None else value is False)


def _vocabulary(vocab: Any) -> list[Any]:
    """(id, piece) sorted by id; a unigram's list has the score as a third, spelled as the shortest decimal."""
    if isinstance(vocab, dict):
        return sorted([number, piece] for piece, number in cast("dict[str, int]", vocab).items())
    scored = cast("list[tuple[str, float]]", vocab or [])
    return [[number, piece, repr(float(score))] for number, (piece, score) in enumerate(scored)]


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ", 1) if isinstance(merge, str) else merge


def _by_id(token: JSON) -> int:
    return token["id"]
