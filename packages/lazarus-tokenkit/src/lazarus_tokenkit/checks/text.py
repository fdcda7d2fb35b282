"""D30 to D36: what happens to text on the way to ids and back."""

import unicodedata
from collections.abc import Iterator

import tokenizers

from lazarus_tokenkit.checks.tokenizer_files import Finding, Patient
from lazarus_tokenkit.tokenizers.probes import probes

SPACE = "\u2581"
"""SentencePiece's mark for a space, which nothing tells from a space that somebody wrote so."""


UNKNOWN = "characters that the vocabulary lacks become unk"


def check(patient: Patient) -> Iterator[Finding]:
    """What was found."""
    model = patient.file.get("model")
    if isinstance(model, dict) and model.get("dropout"):  # pyright: ignore[reportUnknownMemberType] - parsed JSON
        yield Finding("D34", "error", "the model drops merges at random: the same text gets other ids each time")
    for member in ("truncation", "padding"):
        if patient.file.get(member):
            yield Finding(
                "D35", "error", f"{member} is baked into tokenizer.json: lengths are not those of the samples"
            )
    if patient.config.get("clean_up_tokenization_spaces") is True:
        yield Finding("D33", "warning", "clean_up_tokenization_spaces changes decoded text", "'a , b' becomes 'a, b'")
    if patient.engine is not None:
        yield from _streaming(patient.engine)
        yield from _leading_space(patient.engine)
        yield from _round_trips(patient.engine, None if patient.tokenizer is None else patient.tokenizer.unk_id)


def _round_trips(engine: tokenizers.Tokenizer, unk_id: int | None) -> Iterator[Finding]:
    losses: dict[str, str] = {}
    unstable: str | None = None
    engine.encode_special_tokens = True  # the probes are text of people
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
        yield Finding("D30", "error" if severe else "warning", f"text does not come back: {kind}", shown)
    engine.encode_special_tokens = False
    if unstable is not None:
        yield Finding("D31", "warning", "decoded text decodes to yet another text", repr(unstable[:40]))


def loss_class(text: str, decoded: str) -> str:
    """How a text differs from what came back, by the least that explains it.

    >>> loss_class("A", "a"), loss_class("a  b", "a b"), loss_class("\u00e9", "e\u0301"), loss_class("a", "")
    ('case', 'white space collapsed', 'Unicode form', 'characters lost')
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
    """D32: whether a text that is decoded token by token needs to wait for whole characters."""
    ids = engine.encode("\U0001fae8\u4f60\u00e9", add_special_tokens=False).ids
    if "\ufffd" in "".join(engine.decode([number]) for number in ids):
        yield Finding(
            "D32", "information", "characters span tokens: decode a stream by whole characters, not token by token"
        )


def _leading_space(engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D36: whether a word is another token at the start of a text."""
    first, inside = (engine.encode(text, add_special_tokens=False).ids for text in ("hello", "a hello"))
    if first and inside and first[0] not in inside:
        yield Finding("D36", "information", "a word at the start of a text and inside it are different tokens")
