"""Reports of evaluations: what was evaluated, on what, with which result; as JSON that can be compared byte by byte."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from lazarus_core.errors import LazarusError
from lazarus_core.outputs import OutputKind
from lazarus_core.strict_json import read_object
from lazarus_models.config.huggingface import in_words
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.scores import Score

VERSION = 1
"""Version of the JSON. Changing a name or a meaning breaks stored reports: raise it."""
KEY = "evaluation_version"
UNREADABLE = "LM-E507"
MAX_REPORT_BYTES = 64 << 20
MAX_SCORES = 100_000


class TaskReport(BaseModel):
    """A task of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Name of the task; its scores have it as `task`."""
    kind: str
    """Kind of the task."""
    settings: dict[str, Any]
    """Its settings, defaults included."""
    data: dict[str, str]
    """SHA-256 of its data, by the setting that names them."""
    items: int
    """Number of items."""
    unit: str
    """What an item is."""
    notes: dict[str, int | float | str]
    """Counts of the data, such as tokens and bytes."""


class EvaluationReport(BaseModel):
    """The result of an evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    evaluation_version: Literal[1] = VERSION
    """Version of the format."""
    model: dict[str, Any]
    """Name, size and digests of the model."""
    reference: dict[str, Any] | None = None
    """The same of the reference model, or of the other one of a comparison; None without one."""
    tasks: Annotated[tuple[TaskReport, ...], Field(max_length=MAX_SCORES)]
    """The tasks, in the order of their evaluation."""
    scores: Annotated[tuple[Score, ...], Field(max_length=MAX_SCORES)]
    """The scores, by task and metric."""
    settings: dict[str, Any]
    """Settings of the evaluation."""
    versions: dict[str, str]
    """Versions of the software."""

    @field_serializer("scores")
    def _scores(self, scores: tuple[Score, ...]) -> list[dict[str, Any]]:
        return [each.to_json() for each in scores]

    def score(self, task: str, metric: str) -> Score:
        """One score.

        Args:
            task: Name of the task.
            metric: Name of the metric.

        Raises:
            KeyError: There is no such score.
        """
        found = next((each for each in self.scores if (each.task, each.metric) == (task, metric)), None)
        if found is None:
            raise KeyError((task, metric))
        return found

    def to_bytes(self) -> bytes:
        """The report as JSON: sorted names, two spaces, UTF-8, a line feed at the end. Equal reports have equal bytes."""
        found = self.model_dump(mode="json")
        return (json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _is_report(path: Path) -> bool:
    try:
        return KEY in read_object(path, max_bytes=MAX_REPORT_BYTES)
    except LazarusError:
        return False


REPORT = OutputKind("a report of an evaluation", _is_report)


def load_report(path: Path) -> EvaluationReport:
    """Reads a report.

    Raises:
        EvaluationError: The file is no report, or one of a newer version.
        InputError: It is not JSON.
        OSError: The system refuses.
    """
    found = read_object(path, max_bytes=MAX_REPORT_BYTES)
    version = found.get(KEY)
    if type(version) is not int:
        raise EvaluationError(
            f"{path}: no report of an evaluation; give a file that `lazarus eval run` wrote", UNREADABLE
        )
    if version > VERSION:
        raise EvaluationError(
            f"{path}: version {version} of the format is newer than this program's {VERSION}; update lazarus-models",
            UNREADABLE,
        )
    try:
        return EvaluationReport.model_validate(found)
    except ValidationError as error:
        raise EvaluationError(
            f"{path}: damaged report ({in_words(error)[:500]}); evaluate again", UNREADABLE
        ) from error
