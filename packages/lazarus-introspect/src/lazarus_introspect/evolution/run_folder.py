"""Reads the folder of a training run: its checkpoints, and the plan that it followed.

The layout is that of `lazarus train`: `config.json` with the settings, `checkpoints/step-N` as models or adapters, `initial`
for a model with random weights, `audit.jsonl`. Nothing is written.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.strict_json import MalformedJson, read_object
from lazarus_introspect.errors import RequestError
from lazarus_models import LoadedModel, load, load_adapter

_STEP = re.compile(r"step-(\d{7,12})")
_ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class RunFolder:
    """A training run. `read_run` makes one."""

    path: Path
    model: Path | None
    """The model that the run started from, if it is a folder that exists."""
    plan: Path | None
    """The plan that the run followed, if it is a folder that exists."""
    checkpoints: tuple[tuple[int, Path], ...]
    """Optimizer steps and folder of each checkpoint, ascending; step 0 is the first model."""

    @property
    def audit(self) -> Path:
        """Its audit log."""
        return self.path / "audit.jsonl"

    def load(self, checkpoint: Path) -> LoadedModel:
        """Loads the model of a checkpoint.

        Args:
            checkpoint: A folder of `checkpoints`.

        Raises:
            RequestError: The checkpoint is an adapter, and its base model is not where the run found it.
        """
        if not (checkpoint / _ADAPTER).exists():
            return load(checkpoint)
        if self.model is None:
            raise RequestError(
                f"{checkpoint} is an adapter, and the base model of the run is not where the run found it; "
                "give its place as `model`",
                "LI-E106",
            )
        lm = load(self.model)
        load_adapter(lm.model, checkpoint)
        return lm


def read_run(path: Path, *, model: Path | None = None, plan: Path | None = None) -> RunFolder:
    """Reads what a run is made of.

    Args:
        path: The folder that `lazarus train` wrote.
        model: Place of the first model; None for the one in the run's settings.
        plan: Place of the plan; None for the one in the run's settings.

    Raises:
        RequestError: The folder is not a run, or has fewer than two checkpoints.
    """
    record = path / "config.json"
    if not record.is_file() or not (path / "checkpoints").is_dir():
        raise RequestError(
            f"{path} is no folder of a training run: it has no config.json or no checkpoints; give the folder of a run",
            "LI-E106",
        )
    if plan is not None and not (plan / "plan.jsonl").is_file():
        raise RequestError(f"`plan` {plan} is no folder of a plan; give the folder with plan.jsonl", "LI-E106")
    settings = _settings(record)
    base = Path(settings["folder"] or ".")
    initial = path / "initial"
    first = model or (initial if initial.is_dir() else _there(base, settings["model"]))
    found = [
        (int(named[1]), each) for each in (path / "checkpoints").iterdir() if (named := _STEP.fullmatch(each.name))
    ]
    if first is not None and (first / "config.json").is_file():
        found.append((0, first))
    if len(found) < 2:
        raise RequestError(
            f"{path} has {len(found)} checkpoint(s) at different steps, and a change needs two; "
            "train with more checkpoints (`save_every`)",
            "LI-E106",
        )
    return RunFolder(path, first, plan or _there(base, settings["batch_plan"]), tuple(sorted(found)))


def _settings(record: Path) -> dict[str, str | None]:
    try:
        found: dict[str, Any] = read_object(record)
        config = found["config"]
        settings = {name: config[name] for name in ("model", "batch_plan")} | {"folder": found["folder"]}
    except (MalformedJson, KeyError, TypeError):
        raise RequestError(f"{record} is no record of a training run", "LI-E106") from None
    if any(not isinstance(each, str | None) for each in settings.values()) or settings["folder"] is None:
        raise RequestError(f"{record} is no record of a training run", "LI-E106")
    return settings


def _there(base: Path, name: str | None) -> Path | None:
    """A folder of the run's settings, relative to where the run was started, if it exists."""
    if name is None:
        return None
    return next((each for each in (base / name, Path(name)) if each.is_dir()), None)
