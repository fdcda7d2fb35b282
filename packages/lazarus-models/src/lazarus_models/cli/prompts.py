"""The prompts of `infer`: from the command line, from files of lines or rows, and from standard input."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazarus_models.cli.options import read_text

if TYPE_CHECKING:
    from lazarus_models.errors import GenerationError
    from lazarus_tokenkit import Message
    from lazarus_tokenkit.samples import Row

STDIN = Path("-")
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Asked:
    """A prompt with its id."""

    id: str
    """The id of its row, or its number from 1."""
    prompt: str
    """The text of the user's last message."""
    earlier: "tuple[Message, ...]" = ()
    """The messages before it."""

    def messages(self, system: str | None) -> "tuple[Message, ...]":
        """The conversation. `system` is its system message, unless it has one of its own."""
        from lazarus_tokenkit import Message

        own = bool(self.earlier) and self.earlier[0].role == "system"
        first = () if system is None or own else (Message("system", system),)
        return (*first, *self.earlier, Message("user", self.prompt))


def read_prompts(texts: Sequence[str], file: Path | None, rows: Path | None) -> list[Asked]:
    """Reads all prompts. Without any of the sources, standard input is one prompt, unless it is a terminal.

    Args:
        texts: Prompts of the command line.
        file: A file with one prompt a line; `-` is standard input, as one prompt.
        rows: A data file whose rows have an id and a prompt or messages; see `_row_prompt`.

    Returns:
        The prompts in their order; empty if there is no source.

    Raises:
        GenerationError: A source is empty, or two sources exclude each other.
        SampleError: `rows` is not a file of samples.
    """
    if rows is not None:
        if texts or file is not None:
            raise _refusal("`--prompts` has the ids of all answers; remove the other prompts", "LM-E144")
        return _row_prompts(rows)
    found = [*map(_refuse_blank, texts)]
    if file is None and not found and _is_piped():
        file = STDIN
    if file is not None:
        found += _file_prompts(file)
    return [Asked(str(number), prompt) for number, prompt in enumerate(found, 1)]


def _file_prompts(file: Path) -> list[str]:
    text = read_text(file)
    if file == STDIN:
        if not text.strip():
            raise _refusal("there is no prompt: standard input is empty; give a prompt or --prompt-file")
        return [text.rstrip("\r\n")]
    lines = _LINE_END.split(text)  # `splitlines` would split a prompt at form feeds and U+2028, too
    prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise _refusal(f"{file} has no prompt; write one on each line")
    return prompts


def _row_prompts(path: Path) -> list[Asked]:
    from lazarus_tokenkit.samples import read_rows

    return [_row_prompt(row) for row in read_rows(path)]


def _row_prompt(row: "Row") -> Asked:
    """The prompt of a row: `prompt`, or `messages` without the answers after the user's last message.

    An answer that the row already has is ignored, so that tasks and training data can be asked again.
    """
    from lazarus_tokenkit.samples import CompletionSample, IdsSample, TextSample

    sample = row.sample
    if isinstance(sample, TextSample | IdsSample):
        raise _refusal(f"{row.place}: a text without a question; a row needs `prompt` or `messages`")
    if isinstance(sample, CompletionSample):
        return Asked(sample.id, _refuse_blank(sample.prompt, row.place))
    if sample.tools:
        raise _refusal(f"{row.place}: the row declares `tools`, which `infer` does not offer; use `serve`")
    messages: Any = getattr(sample, "messages", None) or getattr(sample, "prompt", ())
    asked = _until_question(messages)
    if not asked:
        raise _refusal(f"{row.place}: no message of the user to answer")
    return Asked(sample.id, _refuse_blank(asked[-1].content, row.place), tuple(asked[:-1]))


def _until_question(messages: "Iterable[Message]") -> "list[Message]":
    asked = list(messages)
    while asked and asked[-1].role != "user":
        asked.pop()
    return asked


def _refuse_blank(prompt: str, place: str = "") -> str:
    if not prompt.strip():
        raise _refusal(f"{place}: the prompt is empty" if place else "the prompt is empty; give a text")
    return prompt


def _is_piped() -> bool:
    stream: Any = sys.stdin  # None where the shell closed it
    return stream is not None and not stream.isatty()


def _refusal(words: str, code: str = "LM-E230") -> "GenerationError":
    from lazarus_models.errors import GenerationError

    return GenerationError(words, code)
