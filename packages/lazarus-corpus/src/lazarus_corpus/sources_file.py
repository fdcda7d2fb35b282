"""Reads `SOURCES.toml`: the settings of a corpus, with paths relative to the file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lazarus_corpus.errors import SettingError
from lazarus_corpus.settings import CorpusSettings

if TYPE_CHECKING:
    from pydantic import ValidationError


def read_sources_file(path: Path) -> CorpusSettings:
    """The settings of a file of sources.

    Args:
        path: The file.

    Raises:
        SettingsError: It cannot be read, or a setting is unknown.
        SettingError: A value cannot be used.
    """
    from pydantic import ValidationError

    from lazarus_core.settings import load_settings

    try:
        settings, _ = load_settings(CorpusSettings, path, (), {})
    except ValidationError as error:
        raise refused(error) from error
    return with_paths_of(settings, path)


def refused(error: "ValidationError", option_of: Callable[[str], str] = str) -> SettingError:
    """The error of a value that cannot be used, in one line.

    Args:
        error: As pydantic reports it.
        option_of: Gives the name of a setting in the message.
    """
    from lazarus_core.reasons import plain_reason

    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, str)) or "settings"
    return SettingError(f"{option_of(place)}: {plain_reason(first['msg'])}", "LD-E127")


def with_paths_of(settings: CorpusSettings, file: Path) -> CorpusSettings:
    """Settings whose relative paths are those of a file of sources.

    Args:
        settings: As they were read.
        file: The file of sources.
    """
    sources = [
        source.model_copy(update={"path": tuple(_beside(file, path) for path in source.path)})
        for source in settings.sources
    ]
    against = tuple(_beside(file, path) for path in settings.contamination.against)
    contamination = settings.contamination.model_copy(update={"against": against})
    return settings.model_copy(update={"sources": tuple(sources), "contamination": contamination})


def _beside(file: Path, path: Path) -> Path:
    """A path of a file of sources: relative to that file's folder, or as given if only that exists."""
    if path.is_absolute() or str(path).startswith("hf:"):
        return path
    beside = file.parent / path
    return path if path.exists() and not beside.exists() else beside
