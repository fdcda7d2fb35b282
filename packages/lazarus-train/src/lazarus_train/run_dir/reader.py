"""Reads the records of a run: its settings and the results of every step."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lazarus_core.errors import LazarusError
from lazarus_core.reasons import absent_or
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.metrics import JSON, read_lines


@dataclass(frozen=True)
class RunRecord:
    """The records of a run.

    Args:
        path: The run's folder, as given.
        about: Content of `config.json`.
        metrics: Lines of `metrics.jsonl`.
        throughput: Lines of `throughput.jsonl`.
    """

    path: Path
    about: JSON
    metrics: list[JSON]
    throughput: list[JSON]

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Reads a run's folder, finished or not.

        Raises:
            SetupError: The folder is not a run, or no step is done.
        """
        folder = RunFolder(path)
        try:
            about = json.loads(folder.config.read_bytes())
            assert isinstance(about["config"], dict) and isinstance(about["plan_id"], str), "as a run writes it"
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            found = absent_or(path, f"is not the folder of a run, which has a record in {folder.config.name}")
            raise SetupError(f"{found}: give the folder of a run", "LR-E107") from error
        record = cls(path, about, read_lines(folder.metrics), read_lines(folder.throughput))
        if not any("loss" in line for line in record.metrics):
            raise SetupError(f"{path}: no step is done yet; try again later", "LR-E107")
        return record

    @property
    def config(self) -> JSON:
        """Settings of the run."""
        return self.about["config"]

    @property
    def loss_unit(self) -> str:
        """Name of the loss's unit."""
        line = next(line for line in self.metrics if "loss" in line)
        counted = next(name.removeprefix("loss_") for name in line if name.startswith("loss_"))
        return "nats a token" if counted == "tokens" else f"a {counted.removesuffix('s')}"

    @property
    def eval_sets(self) -> list[str]:
        """Names of the held-out sets; the first one decides."""
        return list(self.config.get("eval_data") or ())

    def places(self, name: str) -> list[Path]:
        """The paths of a setting, resolved; empty if it was not given."""
        given: list[str] | str = self.config.get(name) or []
        return [Path(self.about.get("folder", "")) / path for path in ([given] if isinstance(given, str) else given)]

    def curve(self, name: str, eval_set: str | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and finite values of a metric.

        Args:
            name: Name of the metric.
            eval_set: Name of the held-out set; None for training.
        """
        lines: list[Any] = [line for line in (*self.metrics, *self.throughput) if line.get("eval_set") == eval_set]
        points = [(line["step"], line[name]) for line in lines if isinstance(line.get(name), int | float)]
        steps, values = zip(*points, strict=True) if points else ((), ())
        return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)

    def epochs(self) -> float | None:
        """Equivalent epochs: trained tokens by the mean tokens of an epoch of the plan; None if the plan is not there."""
        from lazarus_plan import load_plan

        places = self.places("batch_plan")
        try:
            plan = load_plan(places[0])
        except (LazarusError, OSError, IndexError):
            return None
        if plan.plan_id != self.about["plan_id"]:
            return None
        an_epoch = (plan.end - plan.start).sum() / plan.metadata.config.epochs
        return float(self.curve("tokens")[1].sum() / an_epoch)

    def settings(self) -> dict[str, str]:
        """Every setting as text by its dotted name, including nested ones."""
        return dict(_flat("", self.config))

    def changed_settings(self) -> dict[str, str]:
        """The settings that differ from their defaults, as text by their dotted names.

        Of a run whose settings this version does not accept, all of them.
        """
        from lazarus_train.config import TrainConfig

        try:
            config = TrainConfig.model_validate(self.config)
        except (ValidationError, LazarusError):
            return self.settings()
        return dict(_flat("", config.model_dump(mode="json", exclude_defaults=True)))


def _flat(prefix: str, members: JSON) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in members.items():
        if isinstance(value, dict):
            found += _flat(f"{prefix}{name}.", value)  # pyright: ignore[reportUnknownArgumentType] (JSON)
        else:
            found.append((prefix + name, _text(value)))
    return found


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case [*each]:
            return ", ".join(map(str, each)) or "none"
        case _:
            return str(value)
