"""The input of the checks: the tokenizer's files, parsed where possible, and the tokenizer if it can be loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import tokenizers

from lazarus_core.bounded import read_bytes
from lazarus_core.strict_json import BOM, MalformedJson, parse_object
from lazarus_tokenkit.errors import TokenizerError, TokenkitError
from lazarus_tokenkit.tokenizers.backends.companions import COMPANIONS, CONFIG_FILE, SPECIAL_TOKENS_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.load import load_tokenizer

JSON = dict[str, Any]
Severity = Literal["error", "warning", "information"]
MODEL_CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"


@dataclass(frozen=True)
class Finding:
    """The result of a check that found something.

    Args:
        check: Number of the check, `D01` to `D51`. `D00` means that the tokenizer cannot be loaded.
        severity: `error`: ids, loss or texts are wrong. `warning`: they may be wrong. `information`: no problem.
        message: The finding in one line.
        evidence: The observation that shows it.
    """

    check: str
    severity: Severity
    message: str
    evidence: str = ""

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        return f"{self.severity} {self.check}: {self.message}" + (f" ({self.evidence})" if self.evidence else "")


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer's files.

    Args:
        name: Name for messages.
        contents: Contents by file name.
        tokenizer: The tokenizer, or None if it cannot be loaded.
        load_error: The error if it cannot be loaded, else None.
    """

    name: str
    contents: Mapping[str, bytes]
    tokenizer: HuggingFaceTokenizer | None
    load_error: TokenkitError | None

    @classmethod
    def read(cls, name_or_path: str | Path) -> "TokenizerFiles":
        """Reads the files of a tokenizer, also if the tokenizer cannot be loaded.

        Raises:
            TokenizerNotFound: No tokenizer has this name or path.
        """
        path = Path(name_or_path)
        names = (TOKENIZER_FILE, *COMPANIONS, MODEL_CONFIG, GENERATION_CONFIG)
        files: dict[str, bytes] = {}
        if path.is_dir():
            files = {name: read_bytes(path / name) for name in names if (path / name).is_file()}
        elif path.is_file() and path.suffix == ".json":
            files = {TOKENIZER_FILE: read_bytes(path)}
        if TOKENIZER_FILE in files:
            return cls.from_contents(files, path.resolve().name)
        loaded = load_tokenizer(name_or_path)
        assert isinstance(loaded, HuggingFaceTokenizer), "every format is converted to one"
        return cls(loaded.name, dict(files) | dict(loaded.files), loaded, None)

    @classmethod
    def from_contents(cls, contents: Mapping[str, bytes], name: str) -> "TokenizerFiles":
        """Creates the input of the checks from the contents of the files.

        Args:
            contents: Contents by file name.
            name: Name for messages.
        """
        try:
            return cls(name, contents, HuggingFaceTokenizer.from_files(contents, name), None)
        except TokenizerError as error:
            return cls(name, contents, None, error)

    @cached_property
    def tokenizer_json(self) -> JSON:
        """`tokenizer.json`, parsed; empty if it is missing or malformed."""
        return self._parsed(TOKENIZER_FILE)

    @cached_property
    def config(self) -> JSON:
        """`tokenizer_config.json`, parsed; empty if it is missing or malformed."""
        return self._parsed(CONFIG_FILE)

    @cached_property
    def special_tokens_map(self) -> JSON:
        """`special_tokens_map.json`, parsed; empty if it is missing or malformed."""
        return self._parsed(SPECIAL_TOKENS_FILE)

    @cached_property
    def model_config(self) -> JSON:
        """The model's `config.json`, parsed; empty if it is missing or malformed."""
        return self._parsed(MODEL_CONFIG)

    @cached_property
    def generation_config(self) -> JSON:
        """`generation_config.json`, parsed; empty if it is missing or malformed."""
        return self._parsed(GENERATION_CONFIG)

    @cached_property
    def added_tokens(self) -> list[JSON]:
        """The entries of `added_tokens` that are objects."""
        found: list[Any] = self.tokenizer_json.get("added_tokens") or []
        return [cast("JSON", token) for token in found if isinstance(token, dict)]

    @cached_property
    def vocab(self) -> dict[str, int]:
        """The model's vocabulary, without added tokens: piece to id."""
        vocab: Any = self.tokenizer_json.get("model", {}).get("vocab") or {}
        if isinstance(vocab, list):
            return {entry[0]: number for number, entry in enumerate(cast("list[Any]", vocab))}
        return cast("dict[str, int]", vocab)

    @cached_property
    def engine(self) -> tokenizers.Tokenizer | None:
        """The engine without truncation, padding and dropout, or None if it cannot be built."""
        if not self.tokenizer_json:
            return None
        file = self.tokenizer_json | {
            "truncation": None,
            "padding": None,
            "model": self.tokenizer_json.get("model", {}) | {"dropout": None},
        }
        try:
            return tokenizers.Tokenizer.from_str(json.dumps(file))
        except Exception:  # noqa: BLE001 - the library has no narrower exception; `load_error` has the reason
            return None

    def role(self, role: str) -> str | None:
        """Returns the text of `bos`, `eos`, `pad` or `unk` in the files, or None."""
        for members in (self.config, self.special_tokens_map):
            value = members.get(f"{role}_token")
            if isinstance(value, dict):
                return cast("JSON", value).get("content")
            if isinstance(value, str):
                return value
        return None

    def _parsed(self, file_name: str) -> JSON:
        try:
            return parse_object(self.contents.get(file_name, b"{}").removeprefix(BOM))
        except MalformedJson:
            return {}
