"""What the doctor looks at: the files as they are, parsed as far as they can be, and the tokenizer if it opens."""

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
    """One thing that was found.

    Args:
        check: Its number, `D01` to `D51`; `D00` is a tokenizer that does not open.
        severity: `error`: ids, loss or texts are wrong; `warning`: they may be; `information`: worth knowing.
        message: What, in one line.
        evidence: What was seen.
    """

    check: str
    severity: Severity
    message: str
    evidence: str = ""

    @property
    def line(self) -> str:
        """As it is printed for people."""
        return f"{self.severity} {self.check}: {self.message}" + (f" ({self.evidence})" if self.evidence else "")


@dataclass(frozen=True)
class Patient:
    """A tokenizer's files.

    Args:
        name: For messages.
        files: Contents by name.
        tokenizer: The tokenizer, where it opens.
        refusal: Why it does not.
    """

    name: str
    files: Mapping[str, bytes]
    tokenizer: HuggingFaceTokenizer | None
    refusal: TokenkitError | None

    @classmethod
    def admit(cls, name_or_path: str | Path) -> "Patient":
        """Reads what is there, whether it can be used or not."""
        path = Path(name_or_path)
        names = (TOKENIZER_FILE, *COMPANIONS, MODEL_CONFIG, GENERATION_CONFIG)
        files: dict[str, bytes] = {}
        if path.is_dir():
            files = {name: read_bytes(path / name) for name in names if (path / name).is_file()}
        elif path.is_file() and path.suffix == ".json":
            files = {TOKENIZER_FILE: read_bytes(path)}
        if TOKENIZER_FILE in files:
            return cls.of(files, path.resolve().name)
        opened = load_tokenizer(name_or_path)
        assert isinstance(opened, HuggingFaceTokenizer), "every form becomes one"
        return cls(opened.name, dict(files) | dict(opened.files), opened, None)

    @classmethod
    def of(cls, files: Mapping[str, bytes], name: str) -> "Patient":
        """From contents by name."""
        try:
            return cls(name, files, HuggingFaceTokenizer.from_files(files, name), None)
        except TokenizerError as error:
            return cls(name, files, None, error)

    @cached_property
    def file(self) -> JSON:
        """`tokenizer.json`, parsed; empty if it is malformed."""
        return self._parsed(TOKENIZER_FILE)

    @cached_property
    def config(self) -> JSON:
        """`tokenizer_config.json`."""
        return self._parsed(CONFIG_FILE)

    @cached_property
    def special_tokens_map(self) -> JSON:
        """`special_tokens_map.json`."""
        return self._parsed(SPECIAL_TOKENS_FILE)

    @cached_property
    def model_config(self) -> JSON:
        """`config.json`, the model's."""
        return self._parsed(MODEL_CONFIG)

    @cached_property
    def generation_config(self) -> JSON:
        """`generation_config.json`."""
        return self._parsed(GENERATION_CONFIG)

    @cached_property
    def added_tokens(self) -> list[JSON]:
        """Entries of `added_tokens` that are objects."""
        found: list[Any] = self.file.get("added_tokens") or []
        return [cast("JSON", token) for token in found if isinstance(token, dict)]

    @cached_property
    def vocab(self) -> dict[str, int]:
        """The model's own vocabulary."""
        vocab: Any = self.file.get("model", {}).get("vocab") or {}
        if isinstance(vocab, list):
            return {entry[0]: number for number, entry in enumerate(cast("list[Any]", vocab))}
        return cast("dict[str, int]", vocab)

    @cached_property
    def engine(self) -> tokenizers.Tokenizer | None:
        """The engine, without what makes it unusable, or None if it cannot be built at all."""
        if not self.file:
            return None
        file = self.file | {
            "truncation": None,
            "padding": None,
            "model": self.file.get("model", {}) | {"dropout": None},
        }
        try:
            return tokenizers.Tokenizer.from_str(json.dumps(file))
        except Exception:  # noqa: BLE001 - the library raises nothing narrower; `refusal` says it
            return None

    def role(self, role: str) -> str | None:
        """The text that the files name for `bos`, `eos`, `pad` or `unk`."""
        for members in (self.config, self.special_tokens_map):
            value = members.get(f"{role}_token")
            if isinstance(value, dict):
                return cast("JSON", value).get("content")
            if isinstance(value, str):
                return value
        return None

    def _parsed(self, file_name: str) -> JSON:
        try:
            return parse_object(self.files.get(file_name, b"{}").removeprefix(BOM))
        except MalformedJson:
            return {}
