"""The folder of a run: where everything lies, and that one process at a time writes to it."""

import contextlib
import fcntl
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lazarus_train.errors import SetupError
from lazarus_train.run_dir.sealed_write import clear_leftovers, unseal

INITIAL = "initial"
"""Name of the folder of the model that a run from nothing began with."""


@dataclass(frozen=True)
class RunFolder:
    """A folder, used as given."""

    path: Path

    @property
    def config(self) -> Path:
        """What was asked for, resolved, with versions and fingerprints."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """Loss, rate and norm by step: decided by data and weights."""
        return self.path / "metrics.jsonl"

    @property
    def throughput(self) -> Path:
        """Seconds and tokens a second: decided by the machine."""
        return self.path / "throughput.jsonl"

    @property
    def audit(self) -> Path:
        """What was trained on, chained."""
        return self.path / "audit.jsonl"

    @property
    def samples(self) -> Path:
        """What the model answered while it learnt."""
        return self.path / "samples.jsonl"

    @property
    def rewound(self) -> Path:
        """What a kill cut off the audit log."""
        return self.path / "audit.jsonl.rewound"

    @property
    def initial(self) -> Path:
        """The model that was made for the run, where one was."""
        return self.path / INITIAL

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def rewound_checkpoints(self) -> Path:
        """Checkpoints that a resume from an older one left behind."""
        return self.path / "checkpoints.rewound"

    @property
    def reference(self) -> Path:
        """What the reference of preference training says of every pair."""
        return self.path / "reference"

    @property
    def final(self) -> Path:
        """The trained model."""
        return self.path / "final"

    def check_is_ours(self) -> None:
        """Makes sure that what a run writes replaces nothing but an earlier run.

        Raises:
            SetupError: The folder holds a model, or something else of the same name, that no run wrote.
        """
        taken = [path.name for path in self._written() if path.exists()]
        if taken and not self._is_run():
            raise SetupError(
                f"{self.path} holds {', '.join(f'`{name}`' for name in taken)} of something that is not a run: choose "
                "another --output",
                "LR-E108",
            )

    def clear_leftovers(self) -> None:
        """Removes what kills left half written."""
        for folder in (self.path, self.checkpoints, self.rewound_checkpoints, self.reference):
            clear_leftovers(folder)

    def clear(self) -> None:
        """Removes what an earlier run left, its record last; anything else in the folder stays."""
        for path in self._written():
            if path.is_dir():
                unseal(path)
            else:
                path.unlink(missing_ok=True)

    def set_aside(self, checkpoints: Sequence[Path]) -> None:
        """Moves checkpoints to `rewound_checkpoints`: the run takes another way from before them."""
        for checkpoint in checkpoints:
            self.rewound_checkpoints.mkdir(exist_ok=True)
            aside = self.rewound_checkpoints / checkpoint.name
            if aside.exists():
                unseal(aside)
            checkpoint.rename(aside)

    def _written(self) -> tuple[Path, ...]:
        return (
            self.final,
            self.checkpoints,
            self.rewound_checkpoints,
            self.reference,
            self.metrics,
            self.throughput,
            self.samples,
            self.audit,
            self.rewound,
            self.config,
        )

    def _is_run(self) -> bool:
        try:
            record = json.loads(self.config.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and "plan_id" in record

    @contextlib.contextmanager
    def held(self, *, by_this: bool = True) -> Generator[None]:
        """Makes the folder and holds it until the run ends; the system lets go of it when the process dies.

        Args:
            by_this: False on the processes of a run that do not write.

        Raises:
            SetupError: Another process trains there.
        """
        if not by_this:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SetupError(
                    f"another process trains in {self.path}: wait for it, or choose another --output", "LR-E106"
                ) from None
            yield
