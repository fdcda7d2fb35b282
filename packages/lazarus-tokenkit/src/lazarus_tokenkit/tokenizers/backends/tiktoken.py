"""OpenAI's encodings, from rank files whose SHA-256 is verified: a local file, else a download, kept in the cache.

A rank file lists the bytes of each token. It is converted once; the cache keeps the result. The split patterns and the special tokens are part of this module, because
OpenAI publishes them as code (openai/tiktoken, tiktoken_ext/openai_public.py and tiktoken/model.py).
"""

import base64
import binascii
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lazarus_core.bounded import read_bytes
from lazarus_tokenkit.errors import TokenizerError, TokenizerNotFound
from lazarus_tokenkit.tokenizers.backends import converted
from lazarus_tokenkit.tokenizers.backends.alphabet import bytes_to_piece
from lazarus_tokenkit.tokenizers.backends.assembly import BYTE_LEVEL, bpe, config_file, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

END = "<|endoftext|>"
URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""The SHA-1 of this address is the file's name in tiktoken's cache."""
CACHE_VARIABLES = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")

# The patterns in Oniguruma's syntax. Its `$` matches before a final line feed, so `\z` replaces it. It reads `{1,3}+` as a
# repetition, so possessive quantifiers become plain ones: they only limit backtracking and match the same texts.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_HARMONY = {
    "<|startoftext|>": 199998,
    END: 199999,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
    "<|endofprompt|>": 200018,
}


@dataclass(frozen=True)
class TiktokenEncoding:
    """One of OpenAI's encodings.

    Args:
        file: Name of the rank file, without the suffix.
        sha256: SHA-256 of the published rank file, 64 hexadecimal digits.
        pattern: Regular expression that splits texts before merging.
        special_tokens: Special tokens: text to id.
    """

    file: str
    sha256: str
    pattern: str
    special_tokens: Mapping[str, int]


_R50K_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
_P50K_SHA256 = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
_CL100K_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_O200K_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_FILL_IN_THE_MIDDLE = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")

ENCODINGS: Mapping[str, TiktokenEncoding] = {
    "r50k_base": TiktokenEncoding("r50k_base", _R50K_SHA256, GPT2_PATTERN, {END: 50256}),
    "p50k_base": TiktokenEncoding("p50k_base", _P50K_SHA256, GPT2_PATTERN, {END: 50256}),
    "p50k_edit": TiktokenEncoding(
        "p50k_base",
        _P50K_SHA256,
        GPT2_PATTERN,
        {END: 50256} | {text: 50281 + place for place, text in enumerate(_FILL_IN_THE_MIDDLE)},
    ),
    "cl100k_base": TiktokenEncoding(
        "cl100k_base",
        _CL100K_SHA256,
        _CL100K,
        {END: 100257}
        | {text: 100258 + place for place, text in enumerate(_FILL_IN_THE_MIDDLE)}
        | {"<|endofprompt|>": 100276},
    ),
    "o200k_base": TiktokenEncoding("o200k_base", _O200K_SHA256, _O200K, {END: 199999, "<|endofprompt|>": 200018}),
    "o200k_harmony": TiktokenEncoding(
        "o200k_base",
        _O200K_SHA256,
        _O200K,
        _HARMONY
        | {
            f"<|reserved_{number}|>": number
            for number in (200000, 200001, 200004, *range(200009, 200012), *range(200013, 201088))
            if number != 200018
        },
    ),
}

PATTERNS: Mapping[str, str] = {
    GPT2_PATTERN: GPT2_PATTERN,
    _CL100K: _CL100K.replace(r"\z", "$").replace("{1,3}", "{1,3}+"),
    _O200K: _O200K,
}
"""The patterns of this module, each with its form in tiktoken's engine."""

MODELS: Mapping[str, str] = {
    "gpt-3.5-turbo": "cl100k_base",
    "gpt-4": "cl100k_base",
    "gpt-4-turbo": "cl100k_base",
    "gpt-4o": "o200k_base",
    "gpt-4o-mini": "o200k_base",
    "gpt-4.1": "o200k_base",
    "gpt-5": "o200k_base",
    "o1": "o200k_base",
    "o1-mini": "o200k_base",
    "o3": "o200k_base",
    "o3-mini": "o200k_base",
    "o4-mini": "o200k_base",
    "gpt-oss-20b": "o200k_harmony",
    "gpt-oss-120b": "o200k_harmony",
    "text-embedding-3-small": "cl100k_base",
    "text-embedding-3-large": "cl100k_base",
    "gpt2": "r50k_base",
    "davinci": "r50k_base",
    "text-davinci-003": "p50k_base",
}
"""OpenAI's model names, each with its encoding. Other names with the same prefix are not accepted."""


def is_known(name: str) -> bool:
    """Whether a name is that of an encoding or a model."""
    return name in ENCODINGS or name in MODELS


def known_names() -> str:
    """Lists the names of all encodings and models, for messages."""
    return ", ".join([*ENCODINGS, *MODELS])


def open_encoding(name: str) -> HuggingFaceTokenizer:
    """Loads an encoding by the name of the encoding or of a model.

    The first that exists is used: a rank file in the folders of `CACHE_VARIABLES`, the converted encoding in the cache, a
    rank file in another known folder, a download. `HF_HUB_OFFLINE=1` forbids the download.

    Raises:
        TokenizerNotFound: No known folder has the rank file, and it cannot be downloaded.
        TokenizerError: The rank file is not the published one. It is not changed.
    """
    key = MODELS.get(name, name)
    encoding = ENCODINGS[key]
    named = _rank_file(_named_folders(), encoding.file)
    if named is not None:
        return open_ranks(named, key, name)
    kept = converted.read(key, encoding.sha256, name)
    if kept is not None:
        return kept
    found = _rank_file(_folders(), encoding.file)
    return open_ranks(_download(key) if found is None else found, key, name)


def _rank_file(folders: Iterable[Path], file: str) -> Path | None:
    paths = (folder / name for folder in folders for name in _file_names(file))
    return next((path for path in paths if path.is_file()), None)


def _download(key: str) -> Path:
    from huggingface_hub import constants

    encoding = ENCODINGS[key]
    url = URL.format(encoding.file)
    folder = converted.cache_folder()
    try:
        if folder is None:
            raise OSError("there is no home directory for the cache")
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        return converted.download(url, encoding.sha256, folder / f"{encoding.file}.tiktoken")
    except OSError as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise TokenizerNotFound(
            f"encoding `{key}` is in none of the folders {', '.join(map(str, _folders()))}, and cannot be downloaded"
            f" ({reason}): save {url} there as {encoding.file}.tiktoken, or name its folder in {CACHE_VARIABLES[0]}",
            "LT-E102",
        ) from error


def open_ranks(path: Path, key: str | None = None, name: str | None = None) -> HuggingFaceTokenizer:
    """Loads an encoding from a rank file.

    Args:
        path: The rank file.
        key: Name of the encoding that the file must have. None identifies the encoding by the file's SHA-256.
        name: Name of the tokenizer for messages.

    Raises:
        TokenizerError: The file is not the published rank file of an encoding.
    """
    content = read_bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if key is not None and found == ENCODINGS[key].sha256 and (kept := converted.read(key, found, name or key)):
        return kept
    if key is None:
        key = next((known for known, encoding in ENCODINGS.items() if encoding.sha256 == found), None)
        if key is None:
            raise TokenizerError(
                f"{path} (sha256 {found[:16]}..) is not a published rank file, and a rank file alone does not define"
                " how texts are split; use its tokenizer.json",
                "LT-E113",
            )
    encoding = ENCODINGS[key]
    if found != encoding.sha256:
        raise TokenizerError(
            f"{path} is not the published {encoding.file}: sha256 {found[:16]}.. instead of {encoding.sha256[:16]}..;"
            " download it again; this file is not changed",
            "LT-E113",
        )
    ranks = parse_ranks(content, path)
    made = _convert(ranks, encoding, name or key)
    merges = [f"{bytes_to_piece(left)} {bytes_to_piece(right)}" for left, right in reached_merges(ranks)]
    converted.keep(made, key, encoding.sha256, merges)
    return made


def parse_ranks(content: bytes, path: Path) -> dict[bytes, int]:
    """Parses a rank file: lines of a base64 token and its rank.

    Args:
        content: The file's bytes.
        path: The file, for messages.

    Raises:
        TokenizerError: A line is malformed.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(
                f"{path}:{number}: the line must be a base64 text and a number: {error}", "LT-E113"
            ) from error
    return ranks


def merges_of(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Yields every split of a token into two tokens, by rank. A merge loop with these pairs equals tiktoken's."""
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) > 1:
            for cut in range(len(token) - 1, 0, -1):
                left, right = token[:cut], token[cut:]
                if left in ranks and right in ranks:
                    yield left, right


def reached_merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Yields for each token the one split by which a merge loop can make it, by rank. Other splits are never reached.

    The loop joins the leftmost pair of the lowest rank in the whole text, so inside the bytes of a token it joins what it
    would join in these bytes alone, in the same order, until a join crosses their border. A token is made where none
    did, so its last two parts are those that its bytes alone come to. Bytes that stop at three parts never become it.
    """
    none = len(ranks) + max(ranks.values(), default=0)
    for token in sorted(ranks, key=ranks.__getitem__):
        parts = [token[at : at + 1] for at in range(len(token))]
        joined = [ranks.get(left + right, none) for left, right in pairwise(parts)]
        while len(joined) > 1 and (best := min(joined)) < none:
            at = joined.index(best)
            merged = parts[at] + parts[at + 1]
            parts[at : at + 2] = [merged]
            del joined[at]
            if at:
                joined[at - 1] = ranks.get(parts[at - 1] + merged, none)
            if at < len(joined):
                joined[at] = ranks.get(merged + parts[at + 1], none)
        if len(parts) == 2:
            yield parts[0], parts[1]


def _convert(ranks: Mapping[bytes, int], encoding: TiktokenEncoding, name: str) -> HuggingFaceTokenizer:
    pieces = {token: bytes_to_piece(token) for token in ranks}
    vocab = {pieces[token]: rank for token, rank in ranks.items()} | dict(encoding.special_tokens)
    merges = [(pieces[left], pieces[right]) for left, right in merges_of(ranks)]
    split = {"type": "Split", "pattern": {"Regex": encoding.pattern}, "behavior": "Isolated", "invert": False}
    tokenizer = tokenizer_file(
        bpe(vocab, merges, ignore_merges=True),  # a word that is a token is encoded as that token, without merging
        encoding.special_tokens,
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]},
        decoder=BYTE_LEVEL,
    )
    config = config_file({"bos": None, "eos": END, "pad": None, "unk": None})
    return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: tokenizer, CONFIG_FILE: config}, name)


def _folders() -> list[Path]:
    own = converted.cache_folder()
    kept = [] if own is None else [own]
    return [
        *_named_folders(),
        *kept,
        Path(tempfile.gettempdir()) / "data-gym-cache",
        Path.home() / ".cache" / "tiktoken",
    ]


def _named_folders() -> list[Path]:
    return [Path(os.environ[variable]) for variable in CACHE_VARIABLES if os.environ.get(variable)]


def _file_names(file: str) -> tuple[str, str]:
    return hashlib.sha1(URL.format(file).encode(), usedforsecurity=False).hexdigest(), f"{file}.tiktoken"
