"""The folder of a run.

    run.json         settings; written first, so the same command continues a run that was stopped
    episodes.jsonl   finished episodes, appended one by one and put in order at the end
    samples.jsonl    solved episodes as chat samples
    lengths.jsonl    the length cache of the samples
    summary.json     what became of every episode

Every finished episode is on disk before the next one begins. A line is written whole or, on a full disk, not at all.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lazarus_core.atomic import naming, whole_file
from lazarus_core.changed_values import describe_changes
from lazarus_core.errors import InputError, OutputTaken
from lazarus_core.jsonl import read_objects
from lazarus_core.outputs import check_names
from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_gym.episodes.records import Episode, sample_of
from lazarus_gym.errors import EpisodeError

SETTINGS, EPISODES, SAMPLES, LENGTHS, SUMMARY = (
    "run.json",
    "episodes.jsonl",
    "samples.jsonl",
    "lengths.jsonl",
    "summary.json",
)
NAMES = (SETTINGS, EPISODES, SAMPLES, LENGTHS, SUMMARY)
FORMAT = 1


class RunFolder:
    """The folder of one run, new or continued.

    Args:
        path: The folder.
        settings: Settings that decide on the episodes; JSON values.

    Raises:
        OutputTaken: The folder holds other files, or a run with other settings (LG-E150).
        EpisodeError: Its episodes cannot be read (LG-E154).
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        check_names(path, NAMES, "a run of episodes", code="LG-E150")
        content = json.dumps({"format": FORMAT, "settings": settings}, indent=1) + "\n"
        stored = path / SETTINGS
        if stored.is_file():
            earlier = stored.read_text("utf-8", errors="replace")
            if earlier != content:
                raise OutputTaken(
                    f"{path} holds a run with other settings ({_changes(earlier, settings)}): give the same settings, or "
                    "choose another folder",
                    "LG-E150",
                )
        elif path.is_dir() and any(path.iterdir()):
            raise OutputTaken(f"{path} is not empty and has no {SETTINGS}: choose another folder", "LG-E150")
        else:
            with naming(path):
                path.mkdir(parents=True, exist_ok=True)
            with whole_file(stored) as file:
                file.write(content.encode())
        self.episodes = self._read()

    def append(self, episode: Episode) -> None:
        """Writes a finished episode to the disk.

        Raises:
            OSError: The disk is full; the file has its earlier length again.
        """
        path = self.path / EPISODES
        with naming(path), path.open("ab", buffering=0) as file:
            length = file.seek(0, os.SEEK_END)
            line = episode.line()
            try:
                if (written := file.write(line)) != len(line):
                    file.write(line[written:])
            except OSError:
                file.truncate(length)
                raise
        self.episodes.append(episode)

    def finish(self, summary: dict[str, Any]) -> int:
        """Puts the episodes in order, and writes samples and summary. Returns the number of samples.

        Args:
            summary: Content of `summary.json`.
        """
        self.episodes.sort(key=lambda episode: episode.index)
        solved = [episode for episode in self.episodes if episode.status == "solved"]
        samples = (json.dumps(sample_of(each), ensure_ascii=False, separators=(",", ":")) + "\n" for each in solved)
        self._write(EPISODES, (episode.line() for episode in self.episodes))
        self._write(SAMPLES, (line.encode() for line in samples))
        self._write(SUMMARY, [(json.dumps(summary, indent=1) + "\n").encode()])
        return len(solved)

    def _write(self, name: str, lines: Iterable[bytes]) -> None:
        with whole_file(self.path / name) as file:
            file.writelines(lines)

    def _read(self) -> list[Episode]:
        """The episodes on disk; a last line without its end was cut off by a kill, and is removed."""
        path = self.path / EPISODES
        if not path.is_file():
            return []
        with path.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
        try:
            return [Episode.model_validate(placed.members) for placed in read_objects(path)]
        except (InputError, ValidationError) as error:
            words = error.message if isinstance(error, InputError) else f"{path}: a line is no episode"
            raise EpisodeError(f"{words}: choose another folder", "LG-E154") from error


def _changes(stored: str, settings: dict[str, Any]) -> str:
    """How stored settings differ from others. A file that was damaged has no settings to compare."""
    try:
        earlier = parse_json(stored)["settings"]
    except (MalformedJson, KeyError, TypeError, IndexError):
        earlier = None
    if not isinstance(earlier, dict):
        return f"{SETTINGS} cannot be read"
    # Through JSON, so that tuples equal the lists that were stored.
    changes = describe_changes(cast("dict[str, Any]", earlier), json.loads(json.dumps(settings)))
    return changes or f"{SETTINGS} has another form"
