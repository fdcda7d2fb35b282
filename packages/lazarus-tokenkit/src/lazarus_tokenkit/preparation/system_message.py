"""A system message from a file, and the samples that it is added to."""

from dataclasses import replace
from pathlib import Path

from lazarus_core.bounded import read_bytes
from lazarus_core.strict_json import BOM
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.kinds import (
    ChatSample,
    CompletionSample,
    IdsSample,
    Message,
    PromptSample,
    Sample,
    TextSample,
)

MAX_SYSTEM_BYTES = 1 << 20
"""Largest file of a system message: about 250,000 tokens, more than the context of most models."""
SYSTEM = "system"


def read_system_message(path: Path | str) -> str:
    """Reads a system message: the whole text of a file, without the line feeds at its end.

    Raises:
        InputError: The path is no regular file, or the file has more than `MAX_SYSTEM_BYTES` bytes.
        SampleError: The file is not UTF-8, or has no text.
        OSError: The system refuses.
    """
    content = read_bytes(path, MAX_SYSTEM_BYTES).removeprefix(BOM)
    try:
        text = content.decode().replace("\r\n", "\n").rstrip("\n")
    except UnicodeDecodeError as error:
        raise SampleError(
            f"{path}: not UTF-8 (byte {error.start}); save the system message as UTF-8", "LT-E920"
        ) from error
    if not text.strip():
        raise SampleError(f"{path}: the system message is empty; write a text into the file", "LT-E920")
    return text


def add_system_message(sample: Sample, text: str) -> Sample:
    """Returns the sample with a system message first, or the sample itself if its conversation has one.

    A prompt with its completion becomes a conversation of three turns.

    >>> add_system_message(CompletionSample("0", "1+1=", "2"), "Be brief.").messages[0]
    Message(role='system', content='Be brief.', tool_calls=(), name=None, tool_call_id=None, reasoning=None, has_loss=True)

    Args:
        sample: A sample of any kind but a document.
        text: The system message.

    Raises:
        SampleError: The sample is a document, which has no turns.
    """
    first = Message(SYSTEM, text)
    match sample:
        case TextSample() | IdsSample():
            raise SampleError("a document has no turns, so it cannot have a system message", "LT-E921")
        case CompletionSample():
            return ChatSample(sample.id, (first, *sample.messages))
        case ChatSample() | PromptSample():
            return sample if _has_system(sample.messages) else replace(sample, messages=(first, *sample.messages))
        case _:
            return sample if _has_system(sample.prompt) else replace(sample, prompt=(first, *sample.prompt))


def _has_system(turns: tuple[Message, ...]) -> bool:
    return any(turn.role == SYSTEM for turn in turns)
