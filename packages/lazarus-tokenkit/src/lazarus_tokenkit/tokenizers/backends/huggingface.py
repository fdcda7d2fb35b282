"""A Hugging Face tokenizer: `tokenizer.json` as the `tokenizers` library reads it, and the ids that its companions name.

The files' bytes are kept, so that what was loaded is what is fingerprinted and saved, whatever happens on disk since.
Companions only name bos, eos, pad and unk and bring the chat template; they never change ids. Truncation and padding
in the file are switched off, because a length that they touched is not the sample's.
"""

import json
import logging
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
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
_ENDINGS = (KeyboardInterrupt, SystemExit)
"""What is no failure of the library. A panic of its Rust code is a BaseException without a name to import."""
PARALLELISM = "TOKENIZERS_PARALLELISM"
"""The library's one switch, looked at for every batch."""


@contextmanager
def batches_on_one_thread() -> Generator[None]:
    """Within it, a batch is encoded by the thread that asks, for the whole process.

    Threads with a batch each do a sixth less work than one batch on as many, and never wait for each other.
    """
    before = os.environ.get(PARALLELISM)
    os.environ[PARALLELISM] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[PARALLELISM]
        else:
            os.environ[PARALLELISM] = before


@dataclass(frozen=True, eq=False)
class HuggingFaceTokenizer:
    """See `lazarus_tokenkit.tokenizers.protocol.Tokenizer` for what each member means."""

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
    def from_files(cls, files: Mapping[str, bytes], name: str, source: str | None = None) -> "HuggingFaceTokenizer":
        """Opens a tokenizer from the contents of its files, by file name.

        Args:
            files: Contents by name; `tokenizer.json` and any of `COMPANIONS`.
            name: For messages.
            source: Where it came from, where that says more than the name: a repository at a commit.

        Raises:
            TokenizerError: Files that the library refuses, that contradict each other or that are not deterministic.
        """
        engine = _open_engine(files[TOKENIZER_FILE].removeprefix(BOM), name)
        declared = declared_roles(files, name)
        ids = {role: _role_id(engine, role, declared, name) for role in ROLES}
        bare, whole = (_encode_once(engine, name, special) for special in (False, True))
        adds_bos = ids["bos"] is not None and whole != bare and whole[0] == ids["bos"]
        adds_eos = ids["eos"] is not None and whole != bare and whole[-1] == ids["eos"]
        return cls(
            name=name,
            files=dict(files),
            vocab_size=max(engine.get_vocab().values()) + 1,
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
        """Ids of `text`, without bos or eos."""
        engine = self._engine if parse_special else self._literal_engine
        try:
            return engine.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise _no_text([text]) from error

    def encode_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[list[int]]:
        """`encode` of every text, on all cores."""
        engine = self._engine if parse_special else self._literal_engine
        try:
            # The fast form leaves the offsets out; the ids are the same.
            return [encoding.ids for encoding in engine.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError as error:
            raise _no_text(texts) from error

    def segment_batch(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Segments]:
        """`encode_batch` with the bytes that each token stands for."""
        engine = self._engine if parse_special else self._literal_engine
        try:
            encodings = engine.encode_batch(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise _no_text(texts) from error
        return [
            segments(text, encoding.ids, encoding.offsets, self.token_bytes)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    @property
    def vocab(self) -> Mapping[str, int]:
        """Piece, as the files spell it, to id; in the order of ids."""
        return self._vocab

    @cached_property
    def _vocab(self) -> Mapping[str, int]:
        return dict(sorted(self._engine.get_vocab().items(), key=lambda item: (item[1], item[0])))

    @property
    def token_bytes(self) -> Mapping[int, bytes]:
        """Id to the bytes that it adds to a text, as far as it has such."""
        return self._token_bytes

    @cached_property
    def _token_bytes(self) -> Mapping[int, bytes]:
        return vocabulary_bytes(self.vocab, self._engine)

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of `ids`."""
        return self._engine.decode(list(ids), skip_special_tokens=skip_special)

    def special_spans(self, text: str) -> list[SpecialSpan]:
        """The special tokens that `encode` finds in `text`, from left to right."""
        pattern, ids = self._special_pattern
        return [SpecialSpan(*found.span(), ids[(found.lastindex or 0) - 1]) for found in pattern.finditer(text)]

    @property
    def continuation(self) -> "Tokenizer | None":
        """Encodes text that continues a text: without the dummy prefix. None if the tokenizer writes no such prefix."""
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
        """Text of every added token, special or not, to what it does to the text behind it."""
        return self._boundaries

    @cached_property
    def _boundaries(self) -> Mapping[str, Boundary]:
        added = self._engine.get_added_tokens_decoder()
        start = self.encode("a")
        behind = self.encode_batch([f"{token.content}a" for token in added.values()])
        return {
            token.content: Boundary(ids == [number, *start], token.rstrip)
            for (number, token), ids in zip(added.items(), behind, strict=True)
        }

    def structure(self) -> Mapping[str, Any]:
        """Named components as canonical JSON values, the same for every spelling of the same tokenizer."""
        ids = {role: getattr(self, f"{role}_id") for role in ROLES}
        special_ids = ids | {"adds_bos": self.adds_bos, "adds_eos": self.adds_eos}
        content = self.files[TOKENIZER_FILE].removeprefix(BOM)
        try:
            file: JSON = jiter.from_json(content, cache_mode="none")
        except ValueError as error:
            raise TokenizerError(f"{TOKENIZER_FILE} of `{self.name}`: {error}", "LT-E110") from error
        return tokenizer_structure(file) | {"special_ids": special_ids}

    def observe(self, probe: str) -> Any:
        """What the engine makes of one probe: ids with and without specials, offsets, decoded texts, a pair."""
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
        """Engine and version, and where the files came from."""
        return f"tokenizers {version('tokenizers')}" + (f", {self.source}" if self.source else "")

    def save(self, directory: Path) -> None:
        """Writes the files byte for byte as they were loaded; a new folder appears as a whole.

        A bare `tokenizer.json` gets a `tokenizer_config.json` that names the generic class: without it transformers
        guesses a class from the model's config, and some of those change ids.
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
        # A second engine of the same parts: the switch belongs to the engine, and one that threads share must not be flipped.
        engine: Any = tokenizers.Tokenizer(self._engine.model)  # the stubs leave lists of tokens open
        for part in ("normalizer", "pre_tokenizer"):
            if (shared := getattr(self._engine, part)) is not None:
                setattr(engine, part, shared)
        for _, token in sorted(self._engine.get_added_tokens_decoder().items()):
            (engine.add_special_tokens if token.special else engine.add_tokens)([token])
        engine.encode_special_tokens = True
        return engine

    @cached_property
    def _special_pattern(self) -> tuple[re.Pattern[str], list[int]]:
        # Longest first: the engine's search is leftmost-longest, a regex takes the first alternative that fits.
        specials = sorted(_special_tokens(self._engine), key=lambda special: (-len(special[0]), special[0]))
        if not specials:
            return re.compile(r"(?!)"), []
        return re.compile("|".join(pattern for _, _, pattern in specials)), [number for _, number, _ in specials]


def _no_text(texts: Sequence[Any]) -> TokenizerError:
    """Why the library takes one of these for no text."""
    for place, text in enumerate(texts):
        which = f"text {place + 1} of {len(texts)}" if len(texts) > 1 else "the text"
        if not isinstance(text, str):
            return TokenizerError(f"{which} is of type `{type(text).__name__}`, not `str`", "LT-E121")
        if half := _SURROGATE.search(text):
            words = f"half a surrogate pair, U+{ord(half[0]):04X}, which no UTF-8 text can hold; take it out"
            return TokenizerError(f"{which} has at character {half.start() + 1} {words}", "LT-E121")
    return TokenizerError("the library takes these for no texts", "LT-E121")


def _open_engine(content: bytes, name: str) -> tokenizers.Tokenizer:
    try:
        engine = tokenizers.Tokenizer.from_buffer(content)
    except _ENDINGS:
        raise
    except BaseException as error:
        raise TokenizerError(f"{TOKENIZER_FILE} of `{name}` cannot be read: {error}", "LT-E110") from error
    if getattr(engine.model, "dropout", None):
        raise TokenizerError(
            f'{TOKENIZER_FILE} of `{name}` has dropout, so the same text gets other ids each time: set "dropout": null',
            "LT-E111",
        )
    if cast("Any", engine).truncation or cast("Any", engine).padding:  # the stubs leave their members open
        logger.warning(
            "%s of `%s` truncates or pads; switched off, lengths are those of whole samples", TOKENIZER_FILE, name
        )
        engine.no_truncation()
        engine.no_padding()
    return engine


def _encode_once(engine: tokenizers.Tokenizer, name: str, add_special_tokens: bool) -> list[int]:
    try:
        return engine.encode("a", add_special_tokens=add_special_tokens).ids
    except _ENDINGS:
        raise
    except BaseException as error:  # the library raises nothing narrower
        raise TokenizerError(f"`{name}` cannot encode a text: {error}", "LT-E116") from error


def _special_tokens(engine: tokenizers.Tokenizer) -> Iterable[tuple[str, int, str]]:
    """Text, id and search pattern of every special token."""
    for number, token in engine.get_added_tokens_decoder().items():
        if token.special:
            left = r"\s*" if token.lstrip else ""
            right = r"\s*" if token.rstrip else ""
            yield token.content, number, f"({left}{re.escape(token.content)}{right})"


def _role_id(engine: tokenizers.Tokenizer, role: str, declared: Mapping[str, str | None], name: str) -> int | None:
    specials = {text: number for text, number, _ in _special_tokens(engine)}
    named = declared.get(role) if declared else conventional_role(role, specials)
    if role == "unk":  # the model decides what it falls back to, whatever a companion calls it
        named = getattr(engine.model, "unk_token", None) or named
    if named is None:
        return None
    number = engine.token_to_id(named)
    if number is None:
        raise TokenizerError(f"`{name}` declares {role}_token {named!r}, which {TOKENIZER_FILE} lacks", "LT-E112")
    if role in ("bos", "eos") and named not in specials:
        raise TokenizerError(
            f'`{name}` declares {role}_token {named!r}, which {TOKENIZER_FILE} holds as ordinary text: add it to "added_tokens"'
            ' with "special": true',
            "LT-E112",
        )
    return number
