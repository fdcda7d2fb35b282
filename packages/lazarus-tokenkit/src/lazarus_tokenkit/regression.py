"""Regression suites: a file with expected encodings, which a command compares with a tokenizer.

```yaml
tokenizer: gpt2          # optional; the command's --tokenizer overrides it
fingerprint: 3e6c..      # optional: the first 16 or more digits
tests:
  - text: hello world
    ids: [31373, 995]
  - name: white space is kept
    text: "  spaces"
    round_trip: true
    max_tokens: 4
  - text: <|endoftext|>
    special: true
    count: 1
    pieces: ["<|endoftext|>"]
```
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator, model_validator

from lazarus_core.bounded import read_bytes
from lazarus_core.reasons import plain_reason
from lazarus_core.strict_json import BOM, MalformedJson, parse_json
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.fingerprint import compute_fingerprint
from lazarus_tokenkit.tokenizers.protocol import Tokenizer


class Case(BaseModel):
    """One text with the expected results. Absent results are not checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str | None = None
    """Name of the case; the default is its text."""
    text: str
    """The text to encode."""
    special: bool = False
    """Whether special tokens in the text are parsed."""
    ids: tuple[int, ...] | None = None
    """Expected ids."""
    pieces: tuple[str, ...] | None = None
    """Expected tokens, each decoded separately."""
    count: NonNegativeInt | None = None
    """Expected number of tokens."""
    max_tokens: NonNegativeInt | None = None
    """Largest accepted number of tokens."""
    round_trip: bool | None = None
    """Whether decoding must restore the text (true) or must not (false)."""

    @field_validator("text")
    @classmethod
    def _is_text(cls, text: str) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("half a surrogate pair, which UTF-8 cannot represent")
        return text

    @model_validator(mode="after")
    def _expects_something(self) -> "Case":
        if all(each is None for each in (self.ids, self.pieces, self.count, self.max_tokens, self.round_trip)):
            raise ValueError("has no expected result: give `ids`, `pieces`, `count`, `max_tokens` or `round_trip`")
        return self


class Suite(BaseModel):
    """The content of a suite file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokenizer: str | None = None
    """Name or path of the tokenizer."""
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")] | None = None
    """First digits of the tokenizer's fingerprint, 16 to 64."""
    tests: tuple[Case, ...]
    """The cases."""

    @model_validator(mode="after")
    def _checks_something(self) -> "Suite":
        if not self.tests and self.fingerprint is None:
            raise ValueError("`tests` is empty and there is no `fingerprint`: give at least one test")
        return self


_REASONS = {
    "string_type": "is not a text; put it in quotation marks",
    "string_pattern_mismatch": "is not 16 to 64 digits 0-9 and a-f, as `lazarus tokenizer fingerprint` prints them",
    "model_type": "is not an object with `text` or `tests`: write one of them",
    "missing": "is missing",
}
"""Message by the type of pydantic's error."""


MAX_SUITE_BYTES = 1 << 20
"""Largest suite file. PyYAML reads it in seconds."""


@dataclass(frozen=True)
class Outcome:
    """The result of a case.

    Args:
        name: Name of the case.
        failures: Description of each failed expectation; empty for a passed case.
    """

    name: str
    failures: tuple[str, ...]


class _NoAliases(yaml.SafeLoader):
    """A YAML loader without aliases: ten lines of aliases can expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuses an alias."""
        events: Any = self
        if events.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias in line {events.peek_event().start_mark.line + 1}: write the value out")
        return super().compose_node(parent, index)


def _parsed(content: str, path: Path) -> Any:
    if path.suffix == ".json":
        return parse_json(content, str(path))
    try:
        return tomllib.loads(content) if path.suffix == ".toml" else yaml.load(content, _NoAliases)
    except (ValueError, OverflowError) as error:  # for example an integer of 5,000 digits or an invalid date
        if isinstance(error, tomllib.TOMLDecodeError):
            raise
        raise yaml.YAMLError(str(error)) from error


def read_suite(path: Path) -> Suite:
    """Reads a suite from YAML, JSON or TOML.

    Raises:
        TokenkitError: The file is missing, malformed or not a valid suite.
    """
    try:
        return Suite.model_validate(_parsed(read_bytes(path, MAX_SUITE_BYTES).removeprefix(BOM).decode(), path))
    except FileNotFoundError:
        raise TokenkitError(f"{path} does not exist: correct the path", "LT-E901") from None
    except MalformedJson as error:
        raise TokenkitError(error.message, "LT-E901") from error
    except UnicodeDecodeError as error:
        raise TokenkitError(
            f"{path} is not UTF-8 from byte {error.start + 1} on: give a text file", "LT-E901"
        ) from error
    except (yaml.YAMLError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise TokenkitError(f"{path} is malformed: {' '.join(str(error).split())}", "LT-E901") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        fields = Case.model_fields if "tests" in first["loc"] else Suite.model_fields
        unknown = f"is not one of {', '.join(fields)}"
        reason = unknown if first["type"] == "extra_forbidden" else _REASONS.get(first["type"], first["msg"])
        raise TokenkitError(f"{path}: {where}: {plain_reason(reason)}", "LT-E902") from error


def run_suite(suite: Suite, tokenizer: Tokenizer) -> list[Outcome]:
    """Runs every case of a suite.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> suite = Suite(tests=(Case(text="Hi", ids=(72, 105)), Case(text="Hi", max_tokens=1)))
    >>> [outcome.failures for outcome in run_suite(suite, load_tokenizer("byte"))]
    [(), ('2 tokens, at most 1 expected',)]

    Args:
        suite: The cases, and optionally the expected fingerprint.
        tokenizer: The tokenizer to test.

    Returns:
        One outcome for each case, after one for the fingerprint if the suite has one.
    """
    outcomes = [Outcome(case.name or repr(case.text), tuple(_failures(case, tokenizer))) for case in suite.tests]
    if suite.fingerprint is None:
        return outcomes
    found = compute_fingerprint(tokenizer).fingerprint
    same = len(suite.fingerprint) >= 16 and found.startswith(suite.fingerprint)
    return [Outcome("fingerprint", () if same else (f"is {found[:16]}, expected {suite.fingerprint[:16]}",)), *outcomes]


def _failures(case: Case, tokenizer: Tokenizer) -> list[str]:
    ids = tokenizer.encode(case.text, parse_special=case.special)
    pieces = [tokenizer.decode([number]) for number in ids]
    back = tokenizer.decode(ids)
    checks: tuple[tuple[bool, str], ...] = (
        (case.ids is None or list(case.ids) == ids, f"ids are {ids}"),
        (case.pieces is None or list(case.pieces) == pieces, f"pieces are {pieces}"),
        (case.count is None or case.count == len(ids), f"{len(ids)} tokens, {case.count} expected"),
        (
            case.max_tokens is None or len(ids) <= case.max_tokens,
            f"{len(ids)} tokens, at most {case.max_tokens} expected",
        ),
        (case.round_trip is None or case.round_trip == (back == case.text), f"decodes to {back!r}"),
    )
    return [words for holds, words in checks if not holds]
