"""Engines that encode batches: the reference engine, and faster engines that are compared with it first.

The reference engine is the tokenizer's own library. Another engine must be built from the tokenizer and give the
reference's ids on the first 2,000 documents. Otherwise the reference engine encodes, and a warning names the reason.
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
"""Documents on which an engine must equal the reference. gigatoken's known differences appear within far fewer."""
PACKAGES = {
    "huggingface": "tokenizers",
    "tiktoken": "tiktoken",
    "sentencepiece": "sentencepiece",
    "gigatoken": "gigatoken",
}
PARALLEL = ("gigatoken",)
"""Engines that encode one batch on all cores."""
MATRIX_IDS = 4_000_000
"""Ids, padding included, of one gigatoken call: 16 MB."""
EXTRAS = {"tiktoken": "openai", "sentencepiece": "sentencepiece", "gigatoken": "fast"}


Encode = Callable[[Sequence[str]], list[Ids]]


class Engine(Protocol):
    """Encodes batches to the ids of `Tokenizer.encode_batch`, as u32. Lists of Python integers take five times as long."""

    @property
    def name(self) -> str:
        """Name and version of the engine's package."""
        ...

    @property
    def is_parallel(self) -> bool:
        """Whether one call uses all cores."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of every text. Special tokens inside the text are parsed; none are added."""
        ...


@dataclass(frozen=True)
class _Engine:
    name: str
    encode: Encode
    is_parallel: bool

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        return self.encode(texts)


class UnsuitableEngine(Exception):
    """An engine cannot be used for a tokenizer. The message gives the reason."""


def reference_engine(tokenizer: Tokenizer) -> Engine:
    """Returns the engine that calls the tokenizer's own library."""
    return _Engine(_versioned("huggingface"), lambda texts: list(map(id_array, tokenizer.encode_batch(texts))), False)


def choose_engine(
    tokenizer: Tokenizer, wanted: EngineName, documents: Sequence[str], fingerprint: str | None = None
) -> Engine:
    """Returns the requested engine if it equals the reference on the documents, else the reference engine.

    Args:
        tokenizer: The tokenizer whose ids the engine must give.
        wanted: Name of the engine; `auto` means gigatoken if it is installed.
        documents: Documents of the data to encode. The first `NUM_CHECKED` are compared.
        fingerprint: The tokenizer's fingerprint, or None. With it, a passed comparison is cached for the engine's version.

    Raises:
        TokenkitError: The engine is requested by name and is not installed.
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
    except UnsuitableEngine as reason:
        logger.warning("engine `%s` is not used for `%s`: %s; using the reference", name, tokenizer.name, reason)
        return reference_engine(tokenizer)
    return engine


def continuation_engine(tokenizer: Tokenizer, chosen: Engine, documents: Sequence[str], fingerprint: str) -> Engine:
    """Returns the engine for text that continues a text, that is, without the dummy prefix.

    SentencePiece's library always writes the dummy prefix, so the reference engine replaces it here.

    Args:
        tokenizer: The tokenizer of the texts.
        chosen: The engine that `choose_engine` returned for the tokenizer.
        documents: Documents of the data to encode. The first `NUM_CHECKED` are compared.
        fingerprint: The tokenizer's fingerprint.
    """
    if (continuation := tokenizer.continuation) is None:
        return chosen
    name = next((name for name, package in PACKAGES.items() if chosen.name.split()[0] == package), "huggingface")
    wanted = "huggingface" if name == "sentencepiece" else name
    return choose_engine(continuation, cast("EngineName", wanted), documents, f"continuation-{fingerprint}")


def is_installed(name: str) -> bool:
    """Whether the package of an engine is installed."""
    try:
        version(PACKAGES[name])
    except PackageNotFoundError:
        return False
    return True


def build_engine(tokenizer: Tokenizer, name: str) -> Engine:
    """Builds an engine without comparing it with the reference.

    Args:
        tokenizer: The tokenizer whose files the engine reads.
        name: A key of `PACKAGES`, other than `huggingface`.

    Raises:
        UnsuitableEngine: The engine does not support this tokenizer.
    """
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        raise UnsuitableEngine("the tokenizer has no files to build it from")
    try:
        return _Engine(_versioned(name), _BUILDERS[name](tokenizer), name in PARALLEL)
    except UnsuitableEngine:
        raise
    except Exception as error:  # any error of the package means that it does not support this tokenizer
        raise UnsuitableEngine(" ".join(str(error).split())[:200] or type(error).__name__) from error


@lru_cache(maxsize=2)
def _open(tokenizer: Tokenizer, name: str) -> Engine:
    """`build_engine` with a cache: building takes as long as encoding 5 MB."""
    return build_engine(tokenizer, name)


def check_engine(engine: Engine, tokenizer: Tokenizer, documents: Sequence[str]) -> None:
    """Compares an engine with the reference engine.

    Args:
        engine: The engine to compare.
        tokenizer: Gives the expected ids.
        documents: The texts to encode.

    Raises:
        UnsuitableEngine: The ids differ, or the engine fails. The message shows the first text with different ids.
    """
    try:
        found = engine.encode_batch(documents)
    except Exception as error:  # also a panic of a native package
        raise UnsuitableEngine(f"it fails: {' '.join(str(error).split())[:200]}") from error
    for text, ids, expected in zip(documents, found, tokenizer.encode_batch(documents), strict=True):
        if ids != id_array(expected):
            raise UnsuitableEngine(f"it gives other ids for {text[:60]!r}")


def _passed(engine: str, fingerprint: str | None) -> Path | None:
    """Returns the cache file of a passed comparison, or None if there is no cache folder or no fingerprint."""
    if fingerprint is None:
        return None
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # the user has no home directory
        return None
    return (
        root
        / "lazarus"
        / "engines"
        / f"{fingerprint[:48]}-{engine.replace(' ', '-')}-{_versioned('huggingface').split()[1]}"
    )


def _remember(passed: Path, words: str) -> None:
    """Writes the cache file of a passed comparison. If writing fails, the next run compares again."""
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
        # A plain list makes gigatoken import the package awkward (0.5 s) to check the list's type.
        contents = [text.encode() for text in texts]
        if len(contents) > 1 and len(contents) * max(map(len, contents)) > MATRIX_IDS:
            middle = len(contents) // 2
            return encode(texts[:middle]) + encode(texts[middle:])
        # The padded matrix is the fastest output: lists of integers are slow, and ragged arrays need awkward.
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
            raise UnsuitableEngine("it does not support the tokenizer's pre-tokenizer")
    if file["normalizer"] is not None:
        raise UnsuitableEngine("it does not support a normalizer")
    added = {token["content"]: token["id"] for token in file["added_tokens"]}
    ranks = {tokenizer.token_bytes[n]: n for n in tokenizer.vocab.values() if n not in added.values()}
    encoding = import_module("tiktoken").Encoding(
        tokenizer.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=added
    )
    return lambda texts: [ids_in(encoding.encode_to_numpy(text, allowed_special="all").tobytes()) for text in texts]


def _sentencepiece(tokenizer: HuggingFaceTokenizer) -> Encode:
    if "tokenizer.model" not in tokenizer.files:
        raise UnsuitableEngine("the tokenizer's files have no tokenizer.model")
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
