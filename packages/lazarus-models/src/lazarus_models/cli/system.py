"""The system message of a command: a text, or the content of a file."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_models.cli.options import read_text

System = Annotated[str | None, typer.Option("--system", help="Use this system message. @FILE reads it from a file.")]
SystemFile = Annotated[
    Path | None, typer.Option("--system-file", help="Use the text of this file as the system message.")
]


def system_message(text: str | None, file: Path | None) -> str | None:
    """The system message that the options give; None without one.

    Args:
        text: Value of `--system`; `@-` reads standard input.
        file: Value of `--system-file`.

    Raises:
        GenerationError: Both were given.
        SampleError: The file is empty or not UTF-8.
    """
    from lazarus_models.errors import GenerationError
    from lazarus_tokenkit.preparation import read_system_message

    if text is not None and file is not None:
        raise GenerationError("give one of `--system` and `--system-file`", "LM-E144")
    if text is not None and text.startswith("@"):
        file = Path(text[1:])
    if file is None:
        return text
    return read_text(file).rstrip("\n") if text == "@-" else read_system_message(file)
