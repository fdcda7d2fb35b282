"""The cache of OpenAI's encodings: downloaded rank files, and their conversions, which take seconds to make.

A conversion is a folder with the files of the tokenizer, a second `tokenizer.json` that opens faster, and the SHA-256 of
each. A folder that is missing, damaged or from another version of this module is no error: the encoding is converted again.
"""

import hashlib
import json
import logging
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import jiter

from lazarus_core.atomic import whole_file, whole_folder
from lazarus_core.bounded import read_bytes
from lazarus_core.errors import LazarusError
from lazarus_core.strict_json import read_object
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import FastFile, HuggingFaceTokenizer

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised when a conversion changes, so that older folders are not used."""
FAST_FILE, DIGESTS = "fast.json", "digests.json"
FILES = (TOKENIZER_FILE, CONFIG_FILE, FAST_FILE)
MAX_DOWNLOAD_BYTES = 16 << 20
"""The largest published rank file, o200k_base, has 3.6 MB."""
TIMEOUT_S = 20.0
"""Seconds without an answer after which a download fails."""


def cache_folder() -> Path | None:
    """The folder of encodings in the user's cache, or None if the user has no home directory."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return root / "lazarus" / "encodings"


def download(url: str, sha256: str, path: Path) -> Path:
    """Downloads a file and keeps it if its content is the expected one.

    Args:
        url: Address of the file.
        sha256: SHA-256 of the content, 64 hexadecimal digits.
        path: Where the file is kept.

    Raises:
        OSError: The address cannot be read, its content is another one, or the file cannot be written.
    """
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        content: bytes = answer.read(MAX_DOWNLOAD_BYTES + 1)
    if len(content) > MAX_DOWNLOAD_BYTES:
        raise OSError(f"the download is larger than {MAX_DOWNLOAD_BYTES:,} bytes")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise OSError(f"the download has sha256 {found[:16]}.. instead of {sha256[:16]}..")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(content)
    logger.warning("downloaded %s (%.1f MB), kept as %s", url, len(content) / 1e6, path)
    return path


def read(key: str, sha256: str, name: str) -> HuggingFaceTokenizer | None:
    """Opens a conversion, or returns None if the cache has no whole one.

    Args:
        key: Name of the encoding.
        sha256: SHA-256 of the rank file that it was made from.
        name: Name of the tokenizer for messages.
    """
    folder = _folder(key, sha256)
    if folder is None or not (folder / DIGESTS).is_file():
        return None
    try:
        record = read_object(folder / DIGESTS)
        contents = {file: read_bytes(folder / file) for file in FILES}
        if any(hashlib.sha256(content).hexdigest() != record.get(file) for file, content in contents.items()):
            logger.warning("%s is damaged: the encoding is converted again", folder)
            return None
        fast = FastFile(contents.pop(FAST_FILE), int(record["vocab_size"]))
        return HuggingFaceTokenizer.from_files(contents, name, fast=fast)
    except (OSError, LazarusError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s cannot be used: the encoding is converted again: %s", folder, error)
        return None


def keep(made: HuggingFaceTokenizer, key: str, sha256: str, merges: Sequence[str]) -> None:
    """Writes a conversion into the cache. If writing fails, the next run converts again.

    Args:
        made: The converted encoding.
        key: Name of the encoding.
        sha256: SHA-256 of the rank file that it was made from.
        merges: The merges that a text can reach, best first, each as two pieces with a space between.
    """
    folder = _folder(key, sha256)
    if folder is None:
        return
    file = jiter.from_json(made.files[TOKENIZER_FILE], cache_mode="none")
    file["model"]["merges"] = list(merges)
    fast = json.dumps(file, ensure_ascii=False, separators=(",", ":")).encode()
    contents = {TOKENIZER_FILE: made.files[TOKENIZER_FILE], CONFIG_FILE: made.files[CONFIG_FILE], FAST_FILE: fast}
    record = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    digests = json.dumps({**record, "vocab_size": made.vocab_size}, indent=2) + "\n"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            _replace(folder, {**contents, DIGESTS: digests.encode()})
            return
        with whole_folder(folder) as new:
            for name, content in {**contents, DIGESTS: digests.encode()}.items():
                (new / name).write_bytes(content)
    except (OSError, LazarusError) as error:
        logger.info("%s: the next run converts the encoding again: %s", folder, error)


def _replace(folder: Path, contents: dict[str, bytes]) -> None:
    """Writes the files of a damaged conversion again. The digests come last and hold for all of them."""
    for name, content in contents.items():
        with whole_file(folder / name) as file:
            file.write(content)


def _folder(key: str, sha256: str) -> Path | None:
    root = cache_folder()
    return None if root is None else root / f"{key}-{sha256[:16]}-v{VERSION}"
