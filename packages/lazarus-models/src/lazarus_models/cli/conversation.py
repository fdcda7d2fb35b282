"""The loops of `chat` and of the completion mode: lines of the user in, answers of the model out."""

import re
import sys
from typing import TYPE_CHECKING, Any

from lazarus_core.console import flush_results, say, show, warn, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lazarus_models.generation.sampling import GenerationConfig
    from lazarus_models.loading.loaded_model import LoadedModel

CHAT_COMMANDS = {
    "/reset": "start a new conversation",
    "/history": "show the messages",
    "/help": "show the commands",
    "/exit": "quit",
}
COMPLETION_COMMANDS = {"/help": "show the commands", "/exit": "quit"}
_COMMAND = re.compile(r"/[A-Za-z?]+(?=\s|$)")
"""A line that begins with a word like this is a command; `/usr/bin` and `// comment` are text."""


def converse(lm: "LoadedModel", system: str | None, config: "GenerationConfig") -> None:
    """Chats until the end of standard input or `/exit`.

    Args:
        lm: The model.
        system: System message of every conversation; None for none.
        config: Generation settings.
    """
    from lazarus_models.chat.history import ChatHistory
    from lazarus_models.generation.autoregressive import generate
    from lazarus_models.generation.prompt_cache import PromptCache

    cache = PromptCache.empty(lm.model)
    history = ChatHistory.of(system)
    say(f"{lm.family}; {', '.join(CHAT_COMMANDS)}")
    while (line := _ask("> ")) is not None:
        command = _command(line, CHAT_COMMANDS)
        if command == "/exit":
            break
        if command == "/reset":
            history = history.reset()
        elif command == "/history":
            for message in history:
                show(f"{message.role}: {message.content}")
        elif command is None and line.strip():
            asked = history.user(line.strip())
            try:
                done = generate(lm, asked.messages, config, on_text=write_now, cache=cache)
            except KeyboardInterrupt:
                cache = PromptCache.empty(lm.model)  # it may have read a token that is not recorded
                write_now("\n")
                say("stopped; your last message is not part of the conversation")
                continue
            write_now("\n")
            say(done.stats.summary)
            history = asked.assistant(done.text)


def complete(lm: "LoadedModel", config: "GenerationConfig") -> None:
    r"""Continues texts until the end of standard input or `/exit`. A line that ends with `\` goes on in the next line.

    Args:
        lm: The model.
        config: Generation settings.
    """
    from lazarus_models.generation.autoregressive import generate

    say(
        f"{lm.family}, completion: each line is continued, a \\ at its end adds a line; {', '.join(COMPLETION_COMMANDS)}"
    )
    lines: list[str] = []
    while (line := _ask(". " if lines else "> ")) is not None:
        command = None if lines else _command(line, COMPLETION_COMMANDS)
        if command == "/exit":
            break
        if command is not None:
            continue
        if line.endswith("\\"):
            lines.append(line[:-1])
            continue
        prompt, lines = "\n".join([*lines, line]), []
        if not prompt.strip():
            continue
        write_now(prompt)
        try:
            done = generate(lm, prompt, config, raw=True, on_text=write_now)
        except KeyboardInterrupt:
            write_now("\n")
            say("stopped")
            continue
        write_now("\n")
        say(done.stats.summary)


def write_now(piece: str) -> None:
    """Prints a piece of text at once."""
    write(piece)
    flush_results()


def _command(line: str, commands: "Mapping[str, str]") -> str | None:
    """The command of a line; None for text. Help is printed here, and an unknown command is refused: both return `/help`."""
    match = _COMMAND.match(line)
    if match is None:
        return None
    word = line.strip()
    if word == "/help":
        for name, words in commands.items():
            say(f"{name}: {words}")
    elif word not in commands:
        problem = f"{match[0]} takes no words" if match[0] in commands else f"there is no command {match[0]}"
        warn(f"{problem}; commands: {', '.join(commands)}. A line that begins with a space is always text.")
        return "/help"
    return word


def _ask(sign: str) -> str | None:
    stream: Any = sys.stdin  # None where the shell closed it
    if stream is None:
        return None
    if stream.isatty():
        write_now(sign)
    line: str = stream.readline()
    return line.rstrip() if line else None
