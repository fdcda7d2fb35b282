"""Engines that encode batches: the reference, and faster ones that must prove on the data at hand that they are exact.

The reference is what the tokenizer itself uses. Another engine is taken only where it can be built from the tokenizer
and gave the reference's ids on 2,000 documents of the first data it was used for; else the reference is used, and a
warning says so.
"""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from lazarus_core.atomic import whole_file
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers.backends.companions import TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.ids import Ids, id_array, ids_in
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "huggingface", "tiktoken", "sentencepiece", "gigatoken"]
NUM_CHECKED = 2000
"""Documents on which an engine must equal the reference; gigatoken's known differences show far sooner."""
PACKAGES = {
    "huggingface": "tokenizers",
    "tiktoken": "tiktoken",
    "sentencepiece": "sentencepiece",
    "gigatoken": "gigatoken",
}
PARALLEL = ("gigatoken",)
"""Those that encode one batch on all cores."""
MATRIX_IDS = 4_000_000
"""Ids, padding included, that gigatoken lays out at once: 16 MB."""
EXTRAS = {"tiktoken": "openai", "sentencepiece": "sentencepiece", "gigatoken": "fast"}


Encode = Callable[[Sequence[str]], list[Ids]]


class Engine(Protocol):
    """Encodes batches with the ids of `Tokenizer.encode_batch`, as u32: a list of integers takes five times as long."""

    @property
    def name(self) -> str:
        """Name and version, for receipts."""
        ...

    @property
    def is_parallel(self) -> bool:
        """Whether it encodes one batch on all cores by itself."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of every text, special tokens in it parsed, none added."""
        ...


@dataclass(frozen=True)
class _Engine:
    name: str
    encode: Encode
    is_parallel: bool

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        return self.encode(texts)


class Unfit(Exception):
    """An engine cannot be built for a tokenizer; says why."""


def reference_engine(tokenizer: Tokenizer) -> Engine:
    """The tokenizer's own."""
    return _Engine(_versioned("huggingface"), lambda texts: list(map(id_array, tokenizer.encode_batch(texts))), False)


def choose_engine(
    tokenizer: Tokenizer, wanted: EngineName, documents: Sequence[str], fingerprint: str | None = None
) -> Engine:
    """The engine that was asked for, if it is exact on the documents; else the reference.

    Args:
        tokenizer: Whose ids are wanted.
        wanted: A name; `auto` is gigatoken where it is installed.
        documents: Of the data that is to be encoded; the first `NUM_CHECKED` are compared.
        fingerprint: The tokenizer's; with it, a comparison that was passed is remembered for that version of the engine.

    Raises:
        TokenkitError: An engine asked for by name that is not installed.
    """
    if wanted == "huggingface":
        return reference_engine(tokenizer)
    name = "gigatoken" if wanted == "auto" else wanted
    if not is_installed(name):
        if wanted == "auto":
            return reference_engine(tokenizer)
        raise TokenkitError(f"engine `{name}` is not installed: install lazarus-tokenkit[{EXTRAS[name]}]", "LT-E701")
    try:
        engine = _open(tokenizer, name)
        passed = _passed(engine.name, fingerprint)
        if passed is None or not passed.is_file():
            check_engine(engine, tokenizer, documents[:NUM_CHECKED])
            if passed is not None and len(documents) >= NUM_CHECKED:
                _remember(passed, f"{engine.name} equals the reference on {NUM_CHECKED} documents\n")
    except Unfit as reason:
        logger.warning("engine `%s` is not used for `%s`: %s; using the reference", name, tokenizer.name, reason)
        return reference_engine(tokenizer)
    return engine


def continuation_engine(tokenizer: Tokenizer, chosen: Engine, documents: Sequence[str], fingerprint: str) -> Engine:
    """What encodes text that continues a text, where `chosen` encodes the texts.

    SentencePiece's library always writes the dummy prefix, so the reference encodes in its place.

    Args:
        tokenizer: Of the texts.
        chosen: What `choose_engine` gave for it.
        documents: Of the data; the first `NUM_CHECKED` are compared.
        fingerprint: The tokenizer's.
    """
    if (continuation := tokenizer.continuation) is None:
        return chosen
    name = next((name for name, package in PACKAGES.items() if chosen.name.split()[0] == package), "huggingface")
    wanted = "huggingface" if name == "sentencepiece" else name
    return choose_engine(continuation, cast("EngineName", wanted), documents, f"continuation-{fingerprint}")


def is_installed(name: str) -> bool:
    """Whether an engine's package is there."""
    try:
        version(PACKAGES[name])
    except PackageNotFoundError:
        return False
    return True


def build_engine(tokenizer: Tokenizer, name: str) -> Engine:
    """An engine, unchecked.

    Raises:
        Unfit: It cannot do what this tokenizer does.
    """
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        raise Unfit("the tokenizer has no files to build it from")
    try:
        return _Engine(_versioned(name), _BUILDERS[name](tokenizer), name in PARALLEL)
    except Unfit:
        raise
    except Exception as error:  # whatever the package raises: it does not know this tokenizer
        raise Unfit(" ".join(str(error).split())[:200] or type(error).__name__) from error


@lru_cache(maxsize=2)
def _open(tokenizer: Tokenizer, name: str) -> Engine:
    """`build_engine`, kept for the next data set: it takes as long as encoding 5 MB."""
    return build_engine(tokenizer, name)


def check_engine(engine: Engine, tokenizer: Tokenizer, documents: Sequence[str]) -> None:
    """Compares an engine with the reference.

    Raises:
        Unfit: It gives other ids; the first text that shows it is named.
    """
    try:
        found = engine.encode_batch(documents)
    except Exception as error:  # a panic of a native package is one
        raise Unfit(f"it fails: {' '.join(str(error).split())[:200]}") from error
    for text, ids, expected in zip(documents, found, tokenizer.encode_batch(documents), strict=True):
        if ids != id_array(expected):
            raise Unfit(f"it gives other ids for {text[:60]!r}")


def _passed(engine: str, fingerprint: str | None) -> Path | None:
    """The file that remembers a passed comparison."""
    if fingerprint is None:
        return None
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    return (
        root
        / "lazarus"
        / "engines"
        / f"{fingerprint[:48]}-{engine.replace(' ', '-')}-{_versioned('huggingface').split()[1]}"
    )


def _remember(passed: Path, words: str) -> None:
    """Writes that file; where it cannot be written, the next run compares again."""
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(passed) as stream:
            stream.write(words.encode())
    except OSError as error:
        logger.info("%s: the next run compares the engines again: %s", passed, error.strerror)


def _gigatoken(tokenizer: HuggingFaceTokenizer) -> Encode:
    gigatoken = import_module("gigatoken")
    made = gigatoken.Tokenizer.from_json(tokenizer.files[TOKENIZER_FILE])

    def encode(texts: Sequence[str]) -> list[Ids]:
        # Of a list it would ask whether it is awkward's, and load that for half a second.
        contents = [text.encode() for text in texts]
        if len(contents) > 1 and len(contents) * max(map(len, contents)) > MATRIX_IDS:
            middle = len(contents) // 2
            return encode(texts[:middle]) + encode(texts[middle:])
        # Its lists take longer than its ids do, and its arrays are awkward's; a matrix is neither.
        matrix, sizes = made.encode_batch_padded(gigatoken.BytesSource(contents), pad_id=0)
        flat, width = ids_in(matrix.tobytes()), matrix.shape[1]
        return [flat[start : start + size] for start, size in zip(count(0, width), sizes.tolist(), strict=False)]

    return encode


def _tiktoken(tokenizer: HuggingFaceTokenizer) -> Encode:
    from lazarus_tokenkit.tokenizers.backends.tiktoken import GPT2_PATTERN, PATTERNS

    file: dict[str, Any] = json.loads(tokenizer.files[TOKENIZER_FILE])
    steps: dict[str, Any] = file["pre_tokenizer"] or {}
    parts: list[Any] = steps.get("pretokenizers", [steps])
    match parts:
        case [{"type": "ByteLevel", "add_prefix_space": False}] if parts[0].get("use_regex", True):
            pattern = GPT2_PATTERN
        case [{"type": "Split", "pattern": {"Regex": str(regex)}}, {"type": "ByteLevel"}] if regex in PATTERNS:
            pattern = PATTERNS[regex]
        case _:
            raise Unfit("texts are cut in a way that it has no pattern for")
    if file["normalizer"] is not None:
        raise Unfit("it does not normalise")
    added = {token["content"]: token["id"] for token in file["added_tokens"]}
    ranks = {tokenizer.token_bytes[n]: n for n in tokenizer.vocab.values() if n not in added.values()}
    encoding = import_module("tiktoken").Encoding(
        tokenizer.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=added
    )
    return lambda texts: [ids_in(encoding.encode_to_numpy(text, allowed_special="all").tobytes()) for text in texts]


def _sentencepiece(tokenizer: HuggingFaceTokenizer) -> Encode:
    if "tokenizer.model" not in tokenizer.files:
        raise Unfit("there is no tokenizer.model beside it")
    processor = import_module("sentencepiece").SentencePieceProcessor(model_proto=tokenizer.files["tokenizer.model"])

    def encode(texts: Sequence[str]) -> list[Ids]:
        plain = [text for text in texts if not tokenizer.special_spans(text)]
        found = iter(processor.encode(plain))
        return [id_array(tokenizer.encode(text) if tokenizer.special_spans(text) else next(found)) for text in texts]

    return encode


def _versioned(name: str) -> str:
    return f"{PACKAGES[name]} {version(PACKAGES[name])}"


_BUILDERS: dict[str, Callable[[HuggingFaceTokenizer], Encode]] = {
    "gigatoken": _gigatoken,
    "tiktoken": _tiktoken,
    "sentencepiece": _sentencepiece,
}
