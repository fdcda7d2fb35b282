"""How a byte-level BPE splits text before merging, by the names of the key `tokenizer.ggml.pre` of GGUF files.

llama.cpp knows a splitting by its name (`src/llama-vocab.cpp` in ggml-org/llama.cpp). Each name here has the components of the
published `tokenizer.json` of its models, which split equally. Other names are refused: wrong splitting changes ids silently.
"""

from dataclasses import dataclass
from typing import Any

from lazarus_tokenkit.tokenizers.backends.assembly import JSON

_GPT2: JSON = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTES: JSON = _GPT2 | {"use_regex": False}
_DIGITS: JSON = {"type": "Digits", "individual_digits": True}
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _sequence(*parts: JSON) -> JSON:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def _by_pattern(pattern: str) -> JSON:
    return _sequence({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, _BYTES)


@dataclass(frozen=True)
class Splitting:
    """One way to split, in the components of a `tokenizer.json`."""

    names: tuple[str, ...]
    """Values of `tokenizer.ggml.pre`; files are written with the first."""
    pre_tokenizer: JSON
    normalizer: JSON | None = None
    """NFC for Qwen; the format cannot name it, and llama.cpp omits it."""
    ignore_merges: bool = False
    """Whether a word of the vocabulary is one token even if no merges lead to it."""
    adds_bos: bool = False
    """Whether a text begins with bos if the file does not say it."""


SPLITTINGS = (
    Splitting(("gpt-2",), _GPT2),
    Splitting(("smollm", "starcoder", "refact", "command-r"), _sequence(_DIGITS, _GPT2)),
    Splitting(
        ("llama-bpe", "llama3", "llama-v3"),
        _by_pattern(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"),
        ignore_merges=True,
        adds_bos=True,
    ),
    Splitting(
        ("qwen2", "deepseek-r1-qwen"),
        _by_pattern(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"),
        normalizer={"type": "NFC"},
    ),
    Splitting(("tekken",), _by_pattern(_TEKKEN), ignore_merges=True, adds_bos=True),
)
"""The supported splittings."""


def splitting_named(name: str) -> Splitting | None:
    """The splitting of a value of `tokenizer.ggml.pre`; None if it is not supported."""
    return next((one for one in SPLITTINGS if name in one.names), None)


def splitting_of(file: JSON) -> Splitting | None:
    """The splitting of a `tokenizer.json`; None if it has no name.

    Args:
        file: Content of the file.
    """
    found = _comparable(file.get("pre_tokenizer"))
    ignores = bool(file["model"].get("ignore_merges"))
    for one in SPLITTINGS:
        same_text = file.get("normalizer") in (None, one.normalizer)
        if found == _comparable(one.pre_tokenizer) and same_text and ignores == one.ignore_merges:
            return one
    return None


def _comparable(part: Any) -> Any:
    """A component without what changes no ids: offsets, and a sequence of one."""
    if not isinstance(part, dict):
        return part
    members: JSON = {key: _comparable(value) for key, value in part.items() if key != "trim_offsets"}  # pyright: ignore[reportUnknownVariableType] (JSON)
    steps: Any = members.get("pretokenizers")
    if isinstance(steps, list):
        parts: list[Any] = [_comparable(step) for step in steps]  # pyright: ignore[reportUnknownVariableType] (JSON)
        return parts[0] if len(parts) == 1 else {**members, "pretokenizers": parts}
    return members
