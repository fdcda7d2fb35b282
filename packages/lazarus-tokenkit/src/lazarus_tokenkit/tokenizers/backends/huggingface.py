"""A Hugging Face tokenizer: `tokenizer.json` as the `tokenizers` library reads it, with its companion files.

The bytes of the files are kept in memory: fingerprint and `save` use the loaded content even if the files change later.
The companion files name bos, eos, pad and unk and give the chat template; they change no ids. Truncation and padding in
the file are switched off, because they would change the lengths of samples.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import jiter
import tokenizers

from lazarus_core.atomic import filled_folder
from lazarus_core.strict_json import BOM
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.companions import (
    CONFIG_FILE,
    ROLES,
    TOKENIZER_FILE,
    chat_template,
    conventional_role,
    declared_roles,
)
from lazarus_tokenkit.tokenizers.backends.dummy_prefix import without_prefix
from lazarus_tokenkit.tokenizers.backends.segments import segments, vocabulary_bytes
from lazarus_tokenkit.tokenizers.backends.structure import tokenizer_structure
from lazarus_tokenkit.tokenizers.protocol import Boundary, Segments, SpecialSpan, Tokenizer

logger = logging.getLogger(__name__)

JSON = dict[str, Any]
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTERRUPTS = (KeyboardInterrupt, SystemExit)
"""Exceptions that are not failures of the library. A panic in its Rust code is a BaseException that cannot be imported."""


@dataclass(frozen=True)
class FastFile:
    """A `tokenizer.json` that gives the same ids as another one and opens faster.

    Args:
        content: Contents of the file.
        vocab_size: Largest id plus one; to count it in the engine takes a third of the time of opening.
    """

    content: bytes
    vocab_size: int


@dataclass(frozen=True, eq=False)
class HuggingFaceTokenizer:
    """Implements `lazarus_tokenkit.tokenizers.Tokenizer`, which documents the members."""

    name: str
    files: Mapping[str, bytes] = field(repr=False)
    vocab_size: int
    special_tokens: Mapping[str, int] = field(repr=False)
    chat_template: str | None = field(repr=False)
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    unk_id: int | None
    adds_bos: bool
    adds_eos: bool
    _engine: tokenizers.Tokenizer = field(repr=False)
    source: str | None = None

    @classmethod
    def from_files(
        cls, files: Mapping[str, bytes], name: str, source: str | None = None, fast: FastFile | None = None
    ) -> "HuggingFaceTokenizer":
        """Opens a tokenizer from the contents of its files, by file name.

        Args:
            files: Contents by file name: `tokenizer.json` and any of `COMPANIONS`.
            name: Name for messages.
            source: Repository and commit of the files, or None.
            fast: Opened in place of `tokenizer.json`, or None.

        Raises:
            TokenizerError: The library refuses the files, they contradict each other, or encoding is random.
        """
        engine = _open_engine(fast.content if fast else files[TOKENIZER_FILE].removeprefix(BOM), name)
        declared = declared_roles(files, name)
        ids = {role: _role_id(engine, role, declared, name) for role in ROLES}
        # One encoding with and one without special tokens shows whether the engine really adds bos and eos.
        bare, whole = (_encode_once(engine, name, special) for special in (False, True))
        adds_bos = ids["bos"] is not None and whole != bare and whole[0] == ids["bos"]
        adds_eos = ids["eos"] is not None and whole != bare and whole[-1] == ids["eos"]
        return cls(
            name=name,
            files=dict(files),
            vocab_size=fast.vocab_size if fast else max(engine.get_vocab().values()) + 1,
            special_tokens={text: number for text, number, _ in _special_tokens(engine)},
            chat_template=chat_template(files, name),
            bos_id=ids["bos"],
            eos_id=ids["eos"],
            pad_id=ids["pad"],
            unk_id=ids["unk"],
            adds_bos=adds_bos,
            adds_eos=adds_eos,
            _engine=engine,
            source=source,
        )

    def encode(self, text: str, *, parse_special: bool = True) -> list[int]:
        """Encodes a text without bos or eos. See `Tokenizer.encode`.

        Args:
            text: Any text that UTF-8 can represent.
            parse_special: Whether a special token's text becomes that token; False encodes it as ordinary text.

        Raises:
            TokenizerError: The text is not a `str`, or has half a surrogate pair.
        """
        engine = self._engine if parse_special else self._literal_engine
        try:
            return engine.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise _invalid_text([text]) from error

    def encode_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[list[int]]:
        """Encodes texts on all cores. See `Tokenizer.encode_batch`.

        Args:
            texts: Any texts that UTF-8 can represent.
            parse_special: Whether a special token's text becomes that token; False encodes it as ordinary text.

        Raises:
            TokenizerError: A text is not a `str`, or has half a surrogate pair. The message gives its position.
        """
        engine = self._engine if parse_special else self._literal_engine
        try:
            # The fast variant computes no offsets; the ids are the same.
            return [encoding.ids for encoding in engine.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError as error:
            raise _invalid_text(texts) from error

    def segment_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Segments]:
        """Encodes texts with the byte range of each token. See `Tokenizer.segment_batch`.

        Args:
            texts: Any texts that UTF-8 can represent.
            parse_special: Whether a special token's text becomes that token; False encodes it as ordinary text.

        Raises:
            TokenizerError: A text is not a `str`, or has half a surrogate pair. The message gives its position.
        """
        engine = self._engine if parse_special else self._literal_engine
        try:
            encodings = engine.encode_batch(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise _invalid_text(texts) from error
        return [
            segments(text, encoding.ids, encoding.offsets, self.token_bytes)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    @property
    def vocab(self) -> Mapping[str, int]:
        """See `Tokenizer.vocab`."""
        return self._vocab

    @cached_property
    def _vocab(self) -> Mapping[str, int]:
        return dict(sorted(self._engine.get_vocab().items(), key=lambda item: (item[1], item[0])))

    @property
    def token_bytes(self) -> Mapping[int, bytes]:
        """See `Tokenizer.token_bytes`."""
        return self._token_bytes

    @cached_property
    def _token_bytes(self) -> Mapping[int, bytes]:
        return vocabulary_bytes(self.vocab, self._engine)

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Decodes ids to text. See `Tokenizer.decode`.

        Args:
            ids: Token ids. Ids without a token give no text.
            skip_special: Whether special tokens are left out.
        """
        return self._engine.decode(list(ids), skip_special_tokens=skip_special)

    def special_spans(self, text: str) -> list[SpecialSpan]:
        """See `Tokenizer.special_spans`."""
        pattern, ids = self._special_pattern
        return [SpecialSpan(*found.span(), ids[(found.lastindex or 0) - 1]) for found in pattern.finditer(text)]

    @property
    def continuation(self) -> "Tokenizer | None":
        """See `Tokenizer.continuation`."""
        return self._continuation

    @cached_property
    def _continuation(self) -> "HuggingFaceTokenizer | None":
        parts = {part: getattr(self._engine, part) for part in ("normalizer", "pre_tokenizer")}
        state = {part: json.loads(found.__getstate__()) if found else None for part, found in parts.items()}
        if (plain := without_prefix(state)) is None:
            return None
        file = jiter.from_json(self.files[TOKENIZER_FILE], cache_mode="none") | plain
        content = json.dumps(file, ensure_ascii=False).encode()
        return replace(self, files={TOKENIZER_FILE: content}, _engine=_open_engine(content, self.name))

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """See `Tokenizer.boundaries`."""
        return self._boundaries

    @cached_property
    def _boundaries(self) -> Mapping[str, Boundary]:
        # A token restarts encoding if "a" after it gets the ids of "a" at the start of a text.
        added = self._engine.get_added_tokens_decoder()
        start = self.encode("a")
        behind = self.encode_batch([f"{token.content}a" for token in added.values()])
        return {
            token.content: Boundary(ids == [number, *start], token.rstrip)
            for (number, token), ids in zip(added.items(), behind, strict=True)
        }

    def structure(self) -> Mapping[str, Any]:
        """See `Tokenizer.structure`."""
        ids = {role: getattr(self, f"{role}_id") for role in ROLES}
        special_ids = ids | {"adds_bos": self.adds_bos, "adds_eos": self.adds_eos}
        content = self.files[TOKENIZER_FILE].removeprefix(BOM)
        try:
            file: JSON = jiter.from_json(content, cache_mode="none")
        except ValueError as error:
            raise TokenizerError(f"{TOKENIZER_FILE} of `{self.name}`: {error}", "LT-E110") from error
        return tokenizer_structure(file) | {"special_ids": special_ids}

    def observe(self, probe: str) -> Any:
        """Encodes one probe in all ways: with and without special tokens, literally, as a pair; decodes the result."""
        engine = self._engine
        bare = engine.encode(probe, add_special_tokens=False)
        whole = engine.encode(probe)
        pair = engine.encode(probe, probe)
        return {
            "ids": bare.ids,
            "whole": whole.ids,
            "literal": self.encode(probe, parse_special=False),
            "offsets": [list(offset) for offset in whole.offsets],
            "decoded": engine.decode(whole.ids, skip_special_tokens=False),
            "decoded_plain": engine.decode(whole.ids, skip_special_tokens=True),
            "pair": pair.ids,
            "pair_types": pair.type_ids,
        }

    def library(self) -> str:
        """Returns the engine, its version and the source of the files."""
        return f"tokenizers {version('tokenizers')}" + (f", {self.source}" if self.source else "")

    def save(self, directory: Path) -> None:
        """Writes the files byte for byte as they were loaded. A new folder is created atomically.

        A bare `tokenizer.json` gets a `tokenizer_config.json` with the generic class. Without it, transformers guesses
        a class from the model's config, and some of these classes change ids.
        """
        with filled_folder(directory) as folder:
            for file_name, content in ({CONFIG_FILE: self._minimal_config()} | dict(self.files)).items():
                (folder / file_name).write_bytes(content)

    def _minimal_config(self) -> bytes:
        texts = {number: text for text, number in self.special_tokens.items()}
        roles = {f"{role}_token": texts.get(getattr(self, f"{role}_id")) for role in ROLES}
        config = {role: text for role, text in roles.items() if text is not None}
        config |= {"clean_up_tokenization_spaces": False, "tokenizer_class": "PreTrainedTokenizerFast"}
        return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()

    @cached_property
    def _literal_engine(self) -> tokenizers.Tokenizer:
        # A second engine with the same parts, because `encode_special_tokens` is a setting of the engine. Changing it on
        # an engine that several threads share would be a race.
        engine: Any = tokenizers.Tokenizer(self._engine.model)  # the stubs do not type lists of tokens
        for part in ("normalizer", "pre_tokenizer"):
            if (shared := getattr(self._engine, part)) is not None:
                setattr(engine, part, shared)
        for _, token in sorted(self._engine.get_added_tokens_decoder().items()):
            (engine.add_special_tokens if token.special else engine.add_tokens)([token])
        engine.encode_special_tokens = True
        return engine

    @cached_property
    def _special_pattern(self) -> tuple[re.Pattern[str], list[int]]:
        # Longest first: the engine takes the longest match, a regular expression takes the first alternative.
        specials = sorted(_special_tokens(self._engine), key=lambda special: (-len(special[0]), special[0]))
        if not specials:
            return re.compile(r"(?!)"), []
        return re.compile("|".join(pattern for _, _, pattern in specials)), [number for _, number, _ in specials]


def _invalid_text(texts: Sequence[Any]) -> TokenizerError:
    """Explains why the library rejects one of the texts."""
    for place, text in enumerate(texts):
        which = f"text {place + 1} of {len(texts)}" if len(texts) > 1 else "the text"
        if not isinstance(text, str):
            return TokenizerError(f"{which} is of type `{type(text).__name__}`, not `str`", "LT-E121")
        if half := _SURROGATE.search(text):
            reason = f"half a surrogate pair, U+{ord(half[0]):04X}, which UTF-8 cannot represent; remove it"
            return TokenizerError(f"{which} has at character {half.start() + 1} {reason}", "LT-E121")
    return TokenizerError("the tokenizers library refuses the texts", "LT-E121")


def _open_engine(content: bytes, name: str) -> tokenizers.Tokenizer:
    try:
        engine = tokenizers.Tokenizer.from_buffer(content)
    except _INTERRUPTS:
        raise
    except BaseException as error:
        raise TokenizerError(f"{TOKENIZER_FILE} of `{name}` cannot be read: {error}", "LT-E110") from error
    if getattr(engine.model, "dropout", None):
        raise TokenizerError(
            f'{TOKENIZER_FILE} of `{name}` has dropout, so each encoding of a text gives other ids: set "dropout": null',
            "LT-E111",
        )
    if cast("Any", engine).truncation or cast("Any", engine).padding:  # partially typed
        logger.warning(
            "%s of `%s` truncates or pads; both are switched off, so lengths are those of whole samples",
            TOKENIZER_FILE,
            name,
        )
        engine.no_truncation()
        engine.no_padding()
    return engine


def _encode_once(engine: tokenizers.Tokenizer, name: str, add_special_tokens: bool) -> list[int]:
    try:
        return engine.encode("a", add_special_tokens=add_special_tokens).ids
    except _INTERRUPTS:
        raise
    except BaseException as error:  # the library has no narrower exception
        raise TokenizerError(f"`{name}` cannot encode a text: {error}", "LT-E116") from error


def _special_tokens(engine: tokenizers.Tokenizer) -> Iterable[tuple[str, int, str]]:
    """Yields text, id and search pattern of every special token."""
    for number, token in engine.get_added_tokens_decoder().items():
        if token.special:
            left = r"\s*" if token.lstrip else ""
            right = r"\s*" if token.rstrip else ""
            yield token.content, number, f"({left}{re.escape(token.content)}{right})"


def _role_id(engine: tokenizers.Tokenizer, role: str, declared: Mapping[str, str | None], name: str) -> int | None:
    specials = {text: number for text, number, _ in _special_tokens(engine)}
    named = declared.get(role) if declared else conventional_role(role, specials)
    if role == "unk":  # the model's own unknown token takes precedence over the companion files
        named = getattr(engine.model, "unk_token", None) or named
    if named is None:
        return None
    number = engine.token_to_id(named)
    if number is None:
        raise TokenizerError(f"`{name}` declares {role}_token {named!r}, which {TOKENIZER_FILE} lacks", "LT-E112")
    if role in ("bos", "eos") and named not in specials:
        raise TokenizerError(
            f"`{name}` declares {role}_token {named!r}, which is ordinary text in {TOKENIZER_FILE}: add it to"
            ' "added_tokens" with "special": true',
            "LT-E112",
        )
    return number
