"""Converts the vocabulary in the metadata of a GGUF file to a tokenizer, and back.

Two kinds are supported: `gpt2`, a byte-level BPE with merges, and `llama`, a SentencePiece BPE with scores and byte fallback.
A kind or a splitting of text that is not supported is refused, because another one would give other ids silently.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, cast

from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_characters
from lazarus_tokenkit.tokenizers.backends.assembly import JSON, begins_with, bpe, config_file, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.gguf_files.gguf_splits import SPLITTINGS, splitting_named
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

PREFIX = "tokenizer.ggml."
SPACE = "\u2581"
"""The character that SentencePiece writes for a space."""
ROLES = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
"""The format's keys of the special tokens, without prefix."""
BYTE_LEVEL_DECODER: JSON = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
_MAX_MISSING_BYTES = 64  # SmolLM2 lacks 21 control characters and bytes that are not in UTF-8
_MAX_PIECE = 1 << 10  # characters; splits of a piece are tried one by one


class PieceKind(IntEnum):
    """The format's numbers of the kinds of pieces."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def tokenizer_from_gguf(metadata: Mapping[str, Any], name: str) -> HuggingFaceTokenizer:
    """Makes a tokenizer from the metadata of a GGUF file.

    Args:
        metadata: Values by key, such as `tokenizer.ggml.tokens`.
        name: Name for messages.

    Raises:
        TokenizerError: A value is missing or invalid, or the kind of tokenizer is not supported.
    """
    return _Reader(metadata, name).tokenizer()


class _Reader:
    def __init__(self, metadata: Mapping[str, Any], name: str) -> None:
        self._metadata, self._name = metadata, name
        self._texts: list[str] = self._list("tokens", str)
        if not self._texts:
            raise self._invalid("tokens", "no tokens")
        kinds = self._list("token_type", int) or [int(PieceKind.NORMAL)] * len(self._texts)
        if len(kinds) != len(self._texts):
            raise self._invalid("token_type", f"{len(kinds):,} kinds of {len(self._texts):,} tokens")
        if unknown := next((kind for kind in kinds if kind not in list(PieceKind)), None):
            raise self._invalid("token_type", f"the unknown kind {unknown}")
        used = {index: text for index, text in enumerate(self._texts) if kinds[index] != PieceKind.UNUSED}
        self._ids = {text: index for index, text in used.items()}
        if len(self._ids) != len(used):
            twice = next(text for index, text in used.items() if self._ids[text] != index)
            raise self._invalid("tokens", f"{twice!r} twice")
        self._kinds = kinds

    def tokenizer(self) -> HuggingFaceTokenizer:
        kind = self._metadata.get(f"{PREFIX}model")
        if kind == "gpt2":
            content = self._byte_level()
        elif kind == "llama":
            content = self._sentencepiece()
        else:
            raise TokenizerError(
                f"{self._name}: the tokenizer {kind!r} (`{PREFIX}model`) is not supported; 'gpt2' (byte-level BPE) and 'llama' "
                "(SentencePiece BPE) are",
                "LT-E931",
            )
        template = self._metadata.get("tokenizer.chat_template")
        if template is not None and not isinstance(template, str):
            raise TokenizerError(f"{self._name}: `tokenizer.chat_template` is not a text", "LT-E930")
        roles = {role: self._role(role) for role in ROLES}
        files = {TOKENIZER_FILE: content, CONFIG_FILE: config_file(roles, template)}
        return HuggingFaceTokenizer.from_files(files, self._name)

    def _invalid(self, key: str, problem: str) -> TokenizerError:
        return TokenizerError(f"{self._name}: `{PREFIX}{key}`: {problem}", "LT-E930")

    def _list(self, key: str, kind: type) -> list[Any]:
        found: Any = self._metadata.get(PREFIX + key, [])
        if not isinstance(found, list) or not all(type(one) is kind for one in cast("list[Any]", found)):
            raise self._invalid(key, f"not a list of {kind.__name__}")
        return cast("list[Any]", found)

    def _flag(self, key: str, default: bool) -> bool:
        found = self._metadata.get(PREFIX + key, default)
        if not isinstance(found, bool):
            raise self._invalid(key, "not a boolean")
        return found

    def _role(self, role: str) -> str | None:
        """The text of a special token; None if the file has none."""
        index = self._metadata.get(PREFIX + ROLES[role])
        if index is None:
            return None
        if type(index) is not int or not 0 <= index < len(self._texts) or self._kinds[index] == PieceKind.UNUSED:
            raise self._invalid(ROLES[role], f"{index!r} is not the id of a token")
        return self._texts[index]

    def _added(self) -> tuple[dict[str, int], dict[str, int]]:
        """Special tokens and user-defined tokens: text to id."""
        special = {PieceKind.CONTROL, PieceKind.UNKNOWN}
        return (
            {text: index for text, index in self._ids.items() if self._kinds[index] in special},
            {text: index for text, index in self._ids.items() if self._kinds[index] == PieceKind.USER_DEFINED},
        )

    def _around(self, adds_bos: bool) -> JSON | None:
        bos = self._role("bos") if self._flag("add_bos_token", adds_bos) else None
        eos = self._role("eos") if self._flag("add_eos_token", False) else None
        return begins_with(bos, self._ids.get(bos or ""), eos, self._ids.get(eos or ""))

    def _byte_level(self) -> bytes:
        name = self._metadata.get(f"{PREFIX}pre")
        splitting = splitting_named(name) if isinstance(name, str) else None
        if splitting is None:
            known = ", ".join(name for one in SPLITTINGS for name in one.names)
            raise TokenizerError(
                f"{self._name}: the splitting of text {name!r} (`{PREFIX}pre`) is not supported; supported are {known}",
                "LT-E931",
            )
        missing = [letter for letter in byte_characters() if letter not in self._ids]
        if len(missing) > _MAX_MISSING_BYTES:
            raise self._invalid("tokens", f"not byte-level: {len(missing)} of 256 bytes have no piece")
        merges = [self._pair(merge, place) for place, merge in enumerate(self._list("merges", str))]
        special, user = self._added()
        flags = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
        flags |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": splitting.ignore_merges}
        return tokenizer_file(
            bpe(self._ids, merges, **flags),
            special,
            user_tokens=user,
            normalizer=splitting.normalizer,
            pre_tokenizer=splitting.pre_tokenizer,
            post_processor=self._around(splitting.adds_bos),
            decoder=BYTE_LEVEL_DECODER,
        )

    def _pair(self, merge: str, place: int) -> tuple[str, str]:
        left, _, right = merge.partition(" ")
        for piece in (left, right, left + right):
            if piece not in self._ids:
                raise self._invalid("merges", f"merge {place:,}, {merge[:80]!r}: no token {piece[:80]!r}")
        return left, right

    def _sentencepiece(self) -> bytes:
        scores = self._list("scores", float)
        if len(scores) != len(self._texts):
            raise self._invalid("scores", f"{len(scores):,} scores of {len(self._texts):,} tokens")
        if any(score != score for score in scores):
            raise self._invalid("scores", "a score is NaN")
        unknown = self._role("unk")
        special, user = self._added()
        flags: JSON = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
        flags |= {"unk_token": unknown, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
        prefix = self._flag("add_space_prefix", True)
        steps: list[JSON] = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
        decoders: list[JSON] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
        decoders += [{"type": "ByteFallback"}, {"type": "Fuse"}]
        decoders += [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
        return tokenizer_file(
            bpe(self._ids, self._merges(scores), **flags),
            special,
            user_tokens=user,
            normalizer={"type": "Sequence", "normalizers": steps},
            post_processor=self._around(adds_bos=True),
            decoder={"type": "Sequence", "decoders": decoders},
        )

    def _merges(self, scores: Sequence[float]) -> list[tuple[str, str]]:
        """The pairs that SentencePiece merges, best first.

        SentencePiece merges the neighbours whose union has the highest score. So every split of a piece into two pieces is a
        merge with the rank of the piece.
        """
        mergeable = {
            text: index
            for text, index in self._ids.items()
            if self._kinds[index] in (PieceKind.NORMAL, PieceKind.USER_DEFINED)
        }
        ranked = sorted(mergeable.items(), key=lambda item: (-scores[item[1]], item[1]))
        pairs: list[tuple[str, str]] = []
        for text, index in ranked:
            if len(text) > _MAX_PIECE:
                raise self._invalid("tokens", f"token {index} has {len(text):,} characters; at most {_MAX_PIECE:,}")
            splits = [(text[:at], text[at:]) for at in range(1, len(text))]
            known = [(left, right) for left, right in splits if left in mergeable and right in mergeable]
            pairs += sorted(known, key=lambda pair: (mergeable[pair[0]], mergeable[pair[1]]))
        return pairs
