"""Removes the dummy prefix from a `tokenizer.json`.

A dummy prefix is a space that a tokenizer puts before a text. It gives a word the same token at the start of a text and
inside it. SentencePiece tokenizers have one (`Prepend`, `Metaspace`), and so do some byte-level tokenizers
(`add_prefix_space`). Text that continues a text must be encoded without it.
"""

from collections.abc import Mapping
from typing import Any, cast

from lazarus_tokenkit.tokenizers.backends.structure import PARTS_OF_SEQUENCE

JSON = dict[str, Any]

LEADING_SPACES = r"\A +|"
"""Pattern alternative that strips the spaces at the start of a text, as `SentencePieceModel.tokenizer_file` writes it."""


def without_prefix(file: Mapping[str, Any]) -> JSON | None:
    """Returns a parsed `tokenizer.json` without its dummy prefix, or None if it has none.

    Only the first pre-tokenizer is changed: a later one marks the starts of words, not of texts.

    >>> without_prefix({"normalizer": {"type": "Prepend", "prepend": "_"}})
    {'normalizer': None, 'pre_tokenizer': None}
    >>> without_prefix({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}})
    """
    normalizers = [_plain_normalizer(step) for step in _steps(file.get("normalizer"))]
    pre_tokenizers = _steps(file.get("pre_tokenizer"))
    plain = [_plain_pre_tokenizer(step, number == 0) for number, step in enumerate(pre_tokenizers)]
    if normalizers == _steps(file.get("normalizer")) and plain == pre_tokenizers:
        return None
    return {
        **file,
        "normalizer": _joined([step for step in normalizers if step is not None], "normalizers"),
        "pre_tokenizer": _joined(plain, "pretokenizers"),
    }


def _steps(component: JSON | None) -> list[JSON]:
    """Returns the steps of a component, with nested sequences flattened."""
    if component is None:
        return []
    if component.get("type") != "Sequence":
        return [component]
    members = [cast("list[JSON]", component[name]) for name in PARTS_OF_SEQUENCE if name in component]
    return [step for member in members[0] for step in _steps(member)] if members else []


def _joined(steps: list[JSON], name: str) -> JSON | None:
    return {"type": "Sequence", name: steps} if len(steps) > 1 else steps[0] if steps else None


def _plain_normalizer(step: JSON) -> JSON | None:
    match step:
        case {"type": "Prepend"}:
            return None
        case {"type": "Strip", "strip_left": True}:  # a continuation keeps its leading spaces
            return step | {"strip_left": False}
        case {"type": "Replace", "pattern": {"Regex": str(pattern)}, "content": ""} if LEADING_SPACES in pattern:
            return step | {"pattern": {"Regex": pattern.replace(LEADING_SPACES, "")}}
        case _:
            return step


def _plain_pre_tokenizer(step: JSON, is_first: bool) -> JSON:
    match step:
        case {"type": "Metaspace", "prepend_scheme": "first"}:
            return step | {"prepend_scheme": "never"}
        case {"type": "Metaspace", "prepend_scheme": "never"}:
            return step
        # Scheme `always`, also in its older form: as the first step it marks the start of the text.
        case {"type": "Metaspace", **rest} if is_first and rest.get("add_prefix_space", True):
            kept = {name: value for name, value in step.items() if name != "add_prefix_space"}
            return kept | {"prepend_scheme": "never"}
        case {"type": "ByteLevel", **rest} if is_first and rest.get("add_prefix_space", True):
            return step | {"add_prefix_space": False}
        case _:
            return step
