"""Checks D30 to D36: encoding text and decoding it again."""

import unicodedata
from collections.abc import Iterator

import tokenizers

from lazarus_tokenkit.checks.tokenizer_files import Finding, TokenizerFiles
from lazarus_tokenkit.tokenizers.probes import probes

SPACE = "\u2581"
"""SentencePiece's mark for a space. Decoding cannot distinguish it from the same character in the text."""


UNKNOWN = "characters that the vocabulary lacks become unk"


def check(files: TokenizerFiles) -> Iterator[Finding]:
    """Yields the findings of D30 to D36."""
    model = files.tokenizer_json.get("model")
    if isinstance(model, dict) and model.get("dropout"):  # pyright: ignore[reportUnknownMemberType] - parsed JSON
        yield Finding("D34", "error", "the model drops merges at random: each encoding of a text gives other ids")
    for member in ("truncation", "padding"):
        if files.tokenizer_json.get(member):
            yield Finding("D35", "error", f"tokenizer.json has {member}: lengths would not be those of the samples")
    if files.config.get("clean_up_tokenization_spaces") is True:
        yield Finding("D33", "warning", "clean_up_tokenization_spaces changes decoded text", "'a , b' becomes 'a, b'")
    if files.engine is not None:
        yield from _streaming(files.engine)
        yield from _leading_space(files.engine)
        yield from _round_trips(files.engine, None if files.tokenizer is None else files.tokenizer.unk_id)


def _round_trips(engine: tokenizers.Tokenizer, unk_id: int | None) -> Iterator[Finding]:
    losses: dict[str, str] = {}
    unstable: str | None = None
    engine.encode_special_tokens = True  # the probes represent text from users
    for text in probes(()):
        ids = engine.encode(text, add_special_tokens=False).ids
        if unk_id in ids:
            losses.setdefault(UNKNOWN, text)
            continue
        once = engine.decode(ids, skip_special_tokens=False)
        if once != text:
            losses.setdefault(loss_class(text, once), text)
        twice = engine.decode(engine.encode(once, add_special_tokens=False).ids, skip_special_tokens=False)
        if twice != once and unstable is None:
            unstable = text
    for kind, text in losses.items():
        shown = repr(text if len(text) < 40 else text[:40] + "..")
        severe = kind in ("characters lost", "other")
        yield Finding("D30", "error" if severe else "warning", f"decoding does not restore the text: {kind}", shown)
    engine.encode_special_tokens = False
    if unstable is not None:
        yield Finding("D31", "warning", "encoding and decoding twice gives another text than once", repr(unstable[:40]))


def loss_class(text: str, decoded: str) -> str:
    """Names the smallest difference that explains a decoded text.

    >>> loss_class("A", "a"), loss_class("a  b", "a b"), loss_class("\u00e9", "e\u0301"), loss_class("a", "")
    ('case', 'white space collapsed', 'Unicode form', 'characters lost')

    Args:
        text: The original text.
        decoded: The text after encoding and decoding.
    """
    if decoded.removeprefix(" ") == text or decoded == text.removeprefix(" "):
        return "prefix space"
    if decoded.split() == text.replace(SPACE, " ").split() and SPACE in text:
        return "U+2581 read as a space"
    if "".join(decoded.split()) == "".join(text.split()):
        return "white space collapsed"
    if unicodedata.normalize("NFC", decoded) == unicodedata.normalize("NFC", text):
        return "Unicode form"
    if decoded.lower() == text.lower():
        return "case"
    folded = ["".join(unicodedata.normalize("NFKC", each).lower().split()) for each in (decoded, text)]
    if folded[0] == folded[1]:
        return "Unicode form, case or white space"
    return "characters lost" if len(folded[0]) < len(folded[1]) or "\ufffd" in decoded else "other"


def _streaming(engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D32: characters that span several tokens, so that streamed decoding must wait for whole characters."""
    ids = engine.encode("\U0001fae8\u4f60\u00e9", add_special_tokens=False).ids
    if "\ufffd" in "".join(engine.decode([number]) for number in ids):
        yield Finding(
            "D32", "information", "characters can span tokens: decode a stream by whole characters, not token by token"
        )


def _leading_space(engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D36: a word has different tokens at the start of a text and inside it."""
    first, inside = (engine.encode(text, add_special_tokens=False).ids for text in ("hello", "a hello"))
    if first and inside and first[0] not in inside:
        yield Finding("D36", "information", "a word has different tokens at the start of a text and inside it")
