"""JSON Lines to samples. Whatever is wrong with a file is said once, here, with file, line and field.

The first row decides the kind of all rows. A row's `id` is its name; rows without one are named by their position.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples import ASSISTANT, ChatSample, CompletionSample, Message, Sample, TextSample

JSON = dict[str, Any]

SUFFIXES = (".jsonl", ".jsonl.gz")
UTF8_BOM = b"\xef\xbb\xbf"
# An escaped surrogate: half a character, unless its other half follows. Rare enough to look twice.
SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class FieldNames:
    """Which fields of a row to read; None everywhere means the standard names.

    Args:
        text: Field of a document.
        messages: Field of a conversation, a list of `{"role": .., "content": ..}`.
        prompt: Field of a question; its answer is then in `completion`, or the field of that name.
        completion: Field of an answer; its question is then in `prompt`, or the field of that name.
    """

    text: str | None = None
    messages: str | None = None
    prompt: str | None = None
    completion: str | None = None

    def __post_init__(self) -> None:
        kinds = [self.text is not None, self.messages is not None, (self.prompt or self.completion) is not None]
        if sum(kinds) > 1:
            raise SampleError(
                "`text`, `messages` and `prompt` with `completion` are three kinds of samples: name the fields of one",
                "LT-E301",
            )

    def resolve(self, row: JSON) -> "FieldNames | None":
        """The fields to read, with standard names where none are given; None if `row` has no known ones."""
        if self.text is not None or self.messages is not None:
            return self
        if self.prompt is not None or self.completion is not None:
            return FieldNames(prompt=self.prompt or "prompt", completion=self.completion or "completion")
        if "messages" in row:
            return FieldNames(messages="messages")
        if "prompt" in row and "completion" in row:
            return FieldNames(prompt="prompt", completion="completion")
        return FieldNames(text="text") if "text" in row else None


@dataclass(frozen=True)
class Row:
    """A sample and where it stands.

    Args:
        sample: The sample.
        path: Its file.
        line: Its 1-based line.
    """

    sample: Sample
    path: Path
    line: int

    @property
    def place(self) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.line}"


def read_samples(paths: Path | Sequence[Path], fields: FieldNames | None = None) -> Iterator[Sample]:
    """Samples of one or more files, in order.

    Args:
        paths: `.jsonl` or `.jsonl.gz` files.
        fields: Names of the fields, where they are not the standard ones.

    Raises:
        SampleError: Whatever is wrong with a file or a row.
    """
    return (row.sample for row in read_rows(paths, fields))


def read_rows(paths: Path | Sequence[Path], fields: FieldNames | None = None) -> Iterator[Row]:
    """`read_samples` with the place of each."""
    wanted = fields or FieldNames()
    names: FieldNames | None = None
    places: dict[str, str] = {}
    for path in as_paths(paths):
        for line, row in _parse_lines(path):
            names = names or wanted.resolve(row)
            if names is None:
                raise SampleError(
                    f"{path}:{line}: no field `messages`, `text` or `prompt` with `completion` among {_list(row)};"
                    " name the fields, such as --prompt-field question --completion-field answer",
                    "LT-E310",
                )
            place = f"{path}:{line}"
            sample = _sample(row, names, _sample_id(row, len(places), place), place)
            if sample.id in places:
                raise SampleError(
                    f"{place}: id {sample.id!r} stands in {places[sample.id]} too; ids must be unique", "LT-E314"
                )
            places[sample.id] = place
            yield Row(sample, path, line)
    if not places:
        raise SampleError(f"{', '.join(map(str, as_paths(paths)))} is empty: no rows", "LT-E303")


def count_lines(paths: Path | Sequence[Path]) -> int:
    """Number of lines: what a progress bar counts to."""
    return sum(1 for path in as_paths(paths) for _ in _lines(path))


def as_paths(paths: Path | Sequence[Path]) -> list[Path]:
    """One path or several, as a list."""
    return [paths] if isinstance(paths, Path) else list(paths)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, without their ends."""
    if not path.name.endswith(SUFFIXES):
        what = "is a directory" if path.is_dir() else f"is not one of {', '.join(SUFFIXES)}"
        raise SampleError(f"{path} {what}: give JSON Lines files", "LT-E302")
    try:
        with _open(path) as stream:
            for line in stream:
                yield line.rstrip(b"\r\n")
    except FileNotFoundError:
        raise SampleError(f"{path} does not exist", "LT-E302") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SampleError(f"{path} is not a whole gzip file: {error}", "LT-E302") from error


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _parse_lines(path: Path) -> Iterator[tuple[int, JSON]]:
    blank = 0
    for number, line in enumerate(_lines(path), 1):
        if number == 1:
            line = line.removeprefix(UTF8_BOM)
        if not line.strip():
            blank = blank or number
            continue
        if blank:  # at the end of a file it is a matter of taste, elsewhere a row is missing
            raise SampleError(f"{path}:{blank}: blank line between rows; remove it", "LT-E304")
        yield number, _parse(line, f"{path}:{number}")


def _parse(line: bytes, place: str) -> JSON:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise SampleError(
            f"{place}: byte {error.start + 1} of the line is not UTF-8; convert the file", "LT-E305"
        ) from error
    except json.JSONDecodeError as error:
        raise SampleError(f"{place}:{error.colno}: malformed JSON: {error.msg}", "LT-E306") from error
    except RecursionError as error:
        raise SampleError(f"{place}: JSON nested too deeply", "LT-E306") from error
    if not isinstance(row, dict):
        raise SampleError(f"{place}: the row is {_kind(row)}, not an object", "LT-E307")
    if SURROGATE_ESCAPE.search(line):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise SampleError(f"{place}: half a surrogate pair, which no UTF-8 text can hold", "LT-E305") from error
    return cast("JSON", row)


def _sample_id(row: JSON, position: int, place: str) -> str:
    match row.get("id"):
        case None:
            return str(position)
        case str(name) if name:
            return name
        case int(number) if not isinstance(number, bool):
            return str(number)
        case other:
            raise SampleError(f"{place}: `id` is {_kind(other)}, not a text or an integer", "LT-E312")


def _sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    if names.text is not None:
        return TextSample(sample_id, _text(row, names.text, place))
    if names.messages is not None:
        return ChatSample(sample_id, _messages(row, names.messages, place))
    assert names.prompt is not None and names.completion is not None
    return CompletionSample(sample_id, _text(row, names.prompt, place), _text(row, names.completion, place))


def _text(row: JSON, name: str, place: str) -> str:
    value = _field(row, name, place)
    if not isinstance(value, str):
        raise SampleError(f"{place}: `{name}` is {_kind(value)}, not a text", "LT-E312")
    return value


def _messages(row: JSON, name: str, place: str) -> tuple[Message, ...]:
    value = _field(row, name, place)
    if not isinstance(value, list):
        raise SampleError(f"{place}: `{name}` is {_kind(value)}, not a list of messages", "LT-E312")
    messages = tuple(
        _message(turn, f"{place}: {name}[{number}]") for number, turn in enumerate(cast("list[Any]", value))
    )
    if not any(message.role == ASSISTANT for message in messages):
        raise SampleError(f"{place}: `{name}` has no message of role `{ASSISTANT}`, so nothing to learn", "LT-E313")
    return messages


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict):
        raise SampleError(f"{place} is {_kind(turn)}, not an object", "LT-E312")
    turn = cast("JSON", turn)
    if extra := turn.keys() - {"role", "content"}:
        # Templates read such members, so leaving them out would change the text in silence.
        raise SampleError(f"{place} has {_list(extra)}; a message is `role` and `content`", "LT-E313")
    return Message(_text(turn, "role", place), _text(turn, "content", place))


def _field(row: JSON, name: str, place: str) -> Any:
    if name not in row:
        raise SampleError(f"{place}: no field `{name}` among {_list(row)}", "LT-E311")
    return row[name]


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "no fields at all"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
