"""The run to verify: its folder, its records, and where its inputs are now."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.reasons import absent_or
from lazarus_plan.checks import resolve_pin
from lazarus_tokenkit.templates import OWN, REGISTRY
from lazarus_train.config import TrainConfig
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.chain import RunAudit
from lazarus_train.run_dir.checkpoint import checkpoints
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.manifest import read_manifest

JSON = dict[str, Any]
_HEX = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Elsewhere:
    """Current locations of a run's inputs; None, or no data, means the recorded location.

    Args:
        model: The initial model.
        data: One file for each source of the plan.
        batch_plan: The plan.
        sources: `SOURCES.toml`, or the source files, of the corpus that the data are shards of. No location is recorded:
            without them, the sources are not compared.
    """

    model: Path | None = None
    data: tuple[Path, ...] = ()
    batch_plan: Path | None = None
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Pins:
    """Expected values that were recorded outside the run's folder.

    Args:
        plan: The plan_id, at least 16 hexadecimal digits of it, or the folder of a plan or lock with that id.
        audit_head: Hash of the whole audit chain, at least 16 hexadecimal digits of it.
    """

    plan: str | None = None
    audit_head: str | None = None

    def resolved(self) -> "Pins":
        """The pins as digests, complete or as many digits as were given.

        Raises:
            PlanError: A pin is invalid or has too few digits.
        """
        head = None if self.audit_head is None else _head_digits(self.audit_head)
        return Pins(None if self.plan is None else resolve_pin(self.plan), head)


@dataclass(frozen=True)
class RunEvidence:
    """The records and inputs for verifying a run.

    Args:
        folder: The run's folder.
        members: Content of its `config.json`.
        config: Its settings, with current paths.
        audit: Its audit log.
        pins: Expected values.
        sources: Source files of the corpus that the data are shards of.
    """

    folder: RunFolder
    members: JSON
    config: TrainConfig
    audit: RunAudit
    pins: Pins
    sources: tuple[Path, ...] = ()

    @classmethod
    def read(cls, path: Path, elsewhere: Elsewhere, pins: Pins) -> "tuple[RunEvidence, Path]":
        """The run that a path belongs to, and the checkpoint to start with.

        Args:
            path: The run's folder, its `final`, or one of its checkpoints.
            elsewhere: Current locations of its inputs.
            pins: Expected values.

        Raises:
            SetupError: The path is not part of a run, or an input is missing.
        """
        folder, checkpoint = _find(path)
        for source in elsewhere.sources:
            if not source.exists():
                raise SetupError(
                    f"{source} does not exist: give the present location of the corpus's sources", "LR-E113"
                )
        members = read_manifest(folder.config)
        config = _config(members, folder, elsewhere)
        return cls(folder, members, config, RunAudit.read(folder.audit), pins, elsewhere.sources), checkpoint


def _head_digits(text: str) -> str:
    """The hexadecimal digits of an audit head given by the user."""
    digits = text.strip().lower()
    if not _HEX.fullmatch(digits):
        raise SetupError(f"`audit_head` is {text[:100]!r}: give 16 to 64 hexadecimal digits", "LR-E120")
    return digits


def _find(path: Path) -> tuple[RunFolder, Path]:
    """The run that a path belongs to, and the checkpoint to start with."""
    # A relative path may begin inside the run, as `.` or the name of a checkpoint does.
    above = path.resolve().parents[:2]
    for run in (path, path.parent, path.parent.parent, *above) if path.exists() else ():
        folder = RunFolder(run)
        found = checkpoints(folder.checkpoints)
        if not found or not folder.config.is_file():
            continue
        by_place = {each.resolve(): each for each in found}  # `latest` and `best` are links
        if path.resolve() in by_place:
            return folder, by_place[path.resolve()]
        if path.resolve() in {each.resolve() for each in (run, folder.final, folder.checkpoints)}:
            return folder, found[-1]
    found = absent_or(path, "is not a run, its `final` or one of its checkpoints")
    raise SetupError(f"{found}: give the folder of a run", "LR-E107")


def _config(record: Mapping[str, Any], folder: RunFolder, elsewhere: Elsewhere) -> TrainConfig:
    """The settings with resolved paths. Paths inside the run's folder are relative to its current location."""
    config = TrainConfig.model_validate(record["config"])
    recorded_folder = Path(record["folder"])

    def current(path: Path) -> Path:
        own, path = recorded_folder / config.output, recorded_folder / path
        return folder.path / path.relative_to(own) if path.is_relative_to(own) else path

    model = elsewhere.model or current(config.model)
    data = elsewhere.data or tuple(current(path) for path in config.data_files)
    batch_plan = elsewhere.batch_plan or current(config.batch_plan)
    for name, path in (("model", model), *(("data", path) for path in data), ("batch_plan", batch_plan)):
        if not path.exists() and not path.with_name(f"{path.name}.idx").is_file():  # a prefix of Megatron's files
            raise SetupError(f"{path} does not exist: give its current location as `{name}`", "LR-E113")
    found: JSON = {"model": model, "data": data, "batch_plan": batch_plan}
    found["eval_data"] = {name: current(path) for name, path in config.eval_data.items()}
    template = config.template
    if template is not None and template not in (*REGISTRY, OWN) and (file := current(Path(template))).is_file():
        found["template"] = str(file)
    return config.model_copy(update=found)
