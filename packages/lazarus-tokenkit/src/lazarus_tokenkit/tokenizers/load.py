"""Loads a tokenizer by name or path. Only a Hugging Face id that is not cached needs the network."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from lazarus_core.bounded import read_bytes
from lazarus_core.strict_json import BOM, MalformedJson, parse_object
from lazarus_tokenkit.errors import TokenizerError, TokenizerNotFound
from lazarus_tokenkit.tokenizers.backends.companions import COMPANIONS, CONFIG_FILE, TOKENIZER_FILE, json_file
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

SENTENCEPIECE_FILE = "tokenizer.model"
CHARACTERS = "char:"
PIXELS = "pixels:"
ACCEPTED = (
    "`byte`, `char:CHARACTERS`, a directory with tokenizer.json, tokenizer.model or vocab.json and merges.txt, one of"
    " those files, an encoding or model of OpenAI, or a Hugging Face id"
)

TokenizerOrName = Tokenizer | str | Path
"""An open tokenizer, or a name or path for `load_tokenizer`."""


def load_tokenizer(name_or_path: str | Path) -> Tokenizer:
    """Loads a tokenizer by name or path.

    >>> load_tokenizer("byte").encode("Hi")
    [72, 105]
    >>> load_tokenizer("char:0123456789+=").encode("1+1=2")
    [6, 4, 6, 15, 7]

    Args:
        name_or_path: One of:

            - `byte` or `char:CHARACTERS`, which are built in; `char:` alone means printable ASCII;
            - `pixels:HEIGHTxWIDTH:LEVELS:LABELS`, which is built in: grey images as tokens;
            - a directory with tokenizer files, or one tokenizer file, whose neighbours are then not read;
            - the name of an OpenAI encoding or model;
            - a Hugging Face id, `owner/name` or `owner/name@revision`.

    Raises:
        TokenizerNotFound: No tokenizer has this name or path.
        TokenizerError: The tokenizer's files are invalid.
    """
    name = str(name_or_path)
    if name == "byte":
        from lazarus_tokenkit.tokenizers.backends.byte import byte_tokenizer

        return byte_tokenizer()
    if name.startswith(CHARACTERS):
        from lazarus_tokenkit.tokenizers.backends.character import PRINTABLE, character_tokenizer

        return character_tokenizer(name.removeprefix(CHARACTERS) or PRINTABLE)
    if name.startswith(PIXELS):
        from lazarus_tokenkit.tokenizers.backends.pixels import parse_pixel_format, pixel_tokenizer

        return pixel_tokenizer(parse_pixel_format(name))
    if not name:
        raise TokenizerNotFound(f"the tokenizer's name is empty; give {ACCEPTED}", "LT-E101")
    path = Path(name_or_path)
    if path.is_dir():
        return _from_directory(path, path.resolve().name)
    if path.is_file():
        return _from_file(path)
    return _from_name(name)


def as_tokenizer(tokenizer: TokenizerOrName) -> Tokenizer:
    """Returns an open tokenizer unchanged, or loads it by name or path."""
    return load_tokenizer(tokenizer) if isinstance(tokenizer, str | Path) else tokenizer


def tokenizer_first(
    first: TokenizerOrName | Iterable[str], second: TokenizerOrName | Iterable[str]
) -> tuple[Tokenizer, Iterable[str]]:
    """Returns an open tokenizer and texts that were given in either order.

    Args:
        first: A tokenizer, its name or path, or texts. A string is a name.
        second: The other of the two.
    """
    if isinstance(first, Iterable) and not isinstance(first, str):
        first, second = second, first
    return as_tokenizer(cast("TokenizerOrName", first)), cast("Iterable[str]", second)


def _from_directory(path: Path, name: str, source: str | None = None) -> Tokenizer:
    """Loads the first form that is present. `tokenizer.json` comes first because it is the most complete."""
    present = {file_name: path / file_name for file_name in COMPANIONS if (path / file_name).is_file()}
    files = {file_name: read_bytes(file) for file_name, file in present.items()}
    if (path / TOKENIZER_FILE).is_file():
        whole = {TOKENIZER_FILE: read_bytes(path / TOKENIZER_FILE)} | files
        return HuggingFaceTokenizer.from_files(whole, name, source)
    if SENTENCEPIECE_FILE in files:
        return _from_sentencepiece(files.pop(SENTENCEPIECE_FILE), files, name, source)
    from lazarus_tokenkit.tokenizers.backends.merges import MERGES_FILE, VOCAB_FILE, tokenizer_from_merges

    if (path / VOCAB_FILE).is_file() and (path / MERGES_FILE).is_file():
        converted = tokenizer_from_merges(path / VOCAB_FILE, path / MERGES_FILE)
        return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: converted} | files, name, source)
    alone = [file for suffix in ("*.model", "*.tiktoken") for file in sorted(path.glob(suffix))]
    if len(alone) == 1:
        return _from_file(alone[0])
    raise TokenizerNotFound(
        f"no tokenizer `{path}`: the path is a directory without {TOKENIZER_FILE}; give {ACCEPTED}", "LT-E101"
    )


def _from_file(path: Path) -> Tokenizer:
    from lazarus_tokenkit.tokenizers.backends.merges import MERGES_FILE, VOCAB_FILE, tokenizer_from_merges

    if path.name in (VOCAB_FILE, MERGES_FILE):
        pair = path.with_name(VOCAB_FILE), path.with_name(MERGES_FILE)
        if missing := [file.name for file in pair if not file.is_file()]:
            raise TokenizerError(
                f"{path} is one of two files: {missing[0]} is missing from the same directory", "LT-E114"
            )
        return HuggingFaceTokenizer.from_files(
            {TOKENIZER_FILE: tokenizer_from_merges(*pair)}, path.resolve().parent.name
        )
    if path.suffix == ".tiktoken" or not path.suffix:
        from lazarus_tokenkit.tokenizers.backends.tiktoken import open_ranks

        return open_ranks(path)
    if path.suffix == ".model":
        return _from_sentencepiece(read_bytes(path), {}, path.stem, None)
    content = read_bytes(path)
    _refuse_other_json(content, path)
    return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: content}, path.stem)


def _refuse_other_json(content: bytes, path: Path) -> None:
    """Refuses a file with another name whose content is not that of a `tokenizer.json`."""
    if path.name == TOKENIZER_FILE:
        return
    try:
        members = parse_object(content.removeprefix(BOM))
    except MalformedJson as error:
        is_json = error.fault == "type"
        members = {}
        if not is_json:
            raise TokenizerNotFound(
                f"no tokenizer `{path}`: the file is not JSON; give {ACCEPTED}", "LT-E101"
            ) from None
    if not isinstance(members.get("model"), dict):
        has_neighbour = (path.parent / TOKENIZER_FILE).is_file()
        way_out = f"; `{path.parent}` has a {TOKENIZER_FILE}" if has_neighbour else f"; give {ACCEPTED}"
        raise TokenizerNotFound(f"no tokenizer `{path}`: it is JSON without a `model`{way_out}", "LT-E101")


def _from_sentencepiece(model: bytes, files: dict[str, bytes], name: str, source: str | None) -> Tokenizer:
    from lazarus_tokenkit.tokenizers.backends.assembly import config_file
    from lazarus_tokenkit.tokenizers.backends.sentencepiece import SentencePieceModel

    parsed = SentencePieceModel.parse(model, name)
    config = json_file(files, CONFIG_FILE, name)
    adds = {f"add_{role}": bool(config.get(f"add_{role}_token")) for role in ("bos", "eos")}
    converted = {TOKENIZER_FILE: parsed.tokenizer_file(**adds), SENTENCEPIECE_FILE: model}
    return HuggingFaceTokenizer.from_files({CONFIG_FILE: config_file(parsed.roles)} | files | converted, name, source)


def _from_name(name: str) -> Tokenizer:
    from lazarus_tokenkit.tokenizers.backends import hub, tiktoken

    if tiktoken.is_known(name):
        return tiktoken.open_encoding(name)
    if hub.is_hub_id(name):
        folder, source = hub.fetch(name)
        return _from_directory(folder, name, source)
    raise TokenizerNotFound(f"no tokenizer `{name}`: the path does not exist; give {ACCEPTED}", "LT-E101")
