"""Types of stages: what a stage reads, what it makes, and the settings that it has.

A stage type is one file in `recipes/stages` and one line in `recipes/registry.py`. Another package provides one by an entry
point of the group `lazarus.stages`.

An artifact is what a stage makes, or a file from outside; its kind says which stages can read it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from lazarus_core.canonical import JSON, canonical_digest
from lazarus_core.time_box import TimeBox

STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
NO_SOURCE: dict[str, Any] = {"use_attribute_docstrings": False}
"""For a model that is made at run time: pydantic would search all modules for its source, to read docstrings."""
MADE = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
"""`STRICT` for such a model without a base."""
NOT_DECISIVE = frozenset({"only_with", "log_to"})
"""Settings that do not change what a stage makes."""


@dataclass(frozen=True)
class Reads:
    """Marks a setting that names what the stage reads: `NAME` of a stage or of `data`, or `NAME.PART`.

    Args:
        kind: Kind of the artifact: rows, tokenizer, lengths, plan, model.
    """

    kind: str


class Reference(NamedTuple):
    """One name that a stage reads."""

    label: str
    """The setting, such as `data` or `sources.0.data`."""
    place: str
    """The setting with a number for each name of a list, such as `lengths.0`."""
    name: str
    """A stage, a name of `data`, or `STAGE.PART`."""
    kind: str
    """Kind of the artifact that it needs."""


class StageSettings(BaseModel, frozen=True):
    """Settings that every stage has."""

    model_config = STRICT

    type: str
    """Type of the stage. Default: the stage's name."""
    only_with: str | None = None
    """Name in `data`: the stage is left out where no file is given for it. Stages that read its model then read the model
    that it would have started from."""


@dataclass(frozen=True)
class Artifact:
    """What a stage made, or files from outside.

    Args:
        kind: Kind of the artifact; empty for files from outside, which fit every kind.
        name: Its name in the recipe, for messages.
        paths: Its file or folder; several for rows in several files, in the order of their digests.
        digest: Digest of the content, the same wherever it lies.
        settings: Settings of the stage that made it; None for files from outside.
        inputs: What that stage read.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    digest: str
    settings: Any = None
    inputs: "Inputs" = field(default_factory=dict[str, "tuple[Artifact, ...]"])

    @property
    def path(self) -> Path:
        """The file or folder of an artifact that has one."""
        return self.paths[0]

    def all(self, label: str) -> "tuple[Artifact, ...]":
        """What the stage that made this read by one setting."""
        return self.inputs.get(label, ())


Inputs = Mapping[str, tuple[Artifact, ...]]
"""What a stage reads, by the label of the setting: several artifacts where the setting is a list."""
Report = Callable[[int, int | None, str, str], object]
"""Called with units done in all, units in all or None, name of the units, and a note."""


@dataclass(frozen=True)
class Context:
    """What a running stage may use.

    Args:
        report: Shows the progress.
        should_stop: True stops a training stage after its step; it can be resumed.
        warn: Shows one line.
        time_box: Limit on the time of all stages; a training stage stops before it with a checkpoint. None sets no limit.
    """

    report: Report = lambda done, total, unit, note: None
    should_stop: Callable[[], bool] = lambda: False
    warn: Callable[[str], object] = lambda line: None
    time_box: TimeBox | None = None


SettingsT = TypeVar("SettingsT", bound=StageSettings)


class Stage(ABC, Generic[SettingsT]):
    """A type of stage. It decides nothing about order, skipping or folders."""

    kind: ClassVar[str]
    """Kind of the artifact that it makes."""
    parts: ClassVar[Mapping[str, str]] = {}
    """Further artifacts that a reference `NAME.PART` names, with their kinds."""
    packages: ClassVar[tuple[str, ...]]
    """Distributions whose versions can change what the stage makes."""
    is_resumable: ClassVar[bool] = False
    """Whether `run` continues in a folder where a killed run of the same settings and inputs stopped. Other stages get a
    temporary folder, which takes its place when they end."""

    @classmethod
    @abstractmethod
    def settings_type(cls) -> type[SettingsT]:
        """The settings of the stage."""

    def check(self, settings: SettingsT) -> None:
        """Refuses settings that contradict each other, before any stage runs.

        Raises:
            ValueError: The message names the settings.
        """

    @abstractmethod
    def run(self, settings: SettingsT, inputs: Inputs, folder: Path, context: Context) -> None:
        """Makes the output.

        Args:
            settings: Settings of the stage.
            inputs: What it reads.
            folder: Folder of the output.
            context: Progress and requests to stop.
        """

    @abstractmethod
    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """Files or folders that another stage reads.

        Args:
            folder: Folder of the output.
            part: Name of a part; empty for the main artifact.
        """

    def files(self, folder: Path) -> Sequence[Path]:
        """Files of the output that are verified; by default all but hidden ones.

        Args:
            folder: Folder of the output.
        """
        found = (each for each in folder.rglob("*") if each.is_file())
        return sorted(each for each in found if not each.relative_to(folder).parts[0].startswith("."))

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """Digest of what was made. It must not depend on time, machine, or names and places of files.

        Args:
            folder: Folder of the output.
            digests: SHA-256 of each of `files`, by its name below the folder.
            part: Name of a part; empty for the main artifact.
        """
        return canonical_digest(dict(digests))

    def summary(self, folder: Path) -> str:
        """What was made, in some words.

        Args:
            folder: Folder of the output.
        """
        return ""


def references(settings: BaseModel, prefix: str = "") -> Iterator[Reference]:
    """All names that a stage reads, in the order of its settings.

    Args:
        settings: Settings of the stage, or a table of them.
        prefix: Label of the table, with a dot at its end.
    """
    for name, info in type(settings).model_fields.items():
        value, label = getattr(settings, name), prefix + name
        mark = _mark(info)
        if mark is not None:
            for each, place, found in _named(label, value):
                yield Reference(each, place, found, mark.kind)
        elif isinstance(value, BaseModel):
            yield from references(value, f"{label}.")
        elif isinstance(value, tuple):
            for number, each in enumerate(cast("tuple[Any, ...]", value)):
                if isinstance(each, BaseModel):
                    yield from references(each, f"{label}.{number}.")


def decisive_settings(settings: BaseModel) -> JSON:
    """Settings as JSON without floats, and without the names of what is read: only its content counts.

    Args:
        settings: Settings of a stage.
    """
    found: JSON = {}
    for name, info in type(settings).model_fields.items():
        if _mark(info) is None and name not in NOT_DECISIVE:
            found[name] = _plain(getattr(settings, name))
    return found


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return decisive_settings(value)
        case float():
            return repr(value)
        case dict():
            return {str(name): _plain(each) for name, each in cast("JSON", value).items()}
        case list() | tuple():
            return [_plain(each) for each in cast("list[Any]", value)]
        case Path():
            return str(value)
        case _:
            return value


def _mark(info: FieldInfo) -> Reads | None:
    return next((each for each in info.metadata if isinstance(each, Reads)), None)


def _named(label: str, value: Any) -> Iterator[tuple[str, str, str]]:
    match value:
        case str():
            yield label, label, value
        case dict():
            for name, each in cast("dict[str, str]", value).items():
                yield f"{label}.{name}", f"{label}.{name}", each
        case list() | tuple():
            for number, each in enumerate(cast("list[str]", value)):
                yield label, f"{label}.{number}", each
        case _:
            return
