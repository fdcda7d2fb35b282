"""The folder of a run: where everything lies, and that one process at a time writes to it."""

import contextlib
import fcntl
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from lazarus_train.errors import SetupError


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
    def rewound(self) -> Path:
        """What a kill cut off the audit log."""
        return self.path / "audit.jsonl.rewound"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        """The trained model."""
        return self.path / "final"

    def clear(self) -> None:
        """Removes what an earlier run left; anything else in the folder stays."""
        for folder in (self.checkpoints, self.final):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.metrics, self.throughput, self.audit, self.rewound, self.config):
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Makes the folder and holds it until the run ends; the system lets go of it when the process dies.

        Raises:
            SetupError: Another process trains there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SetupError(
                    f"another process trains in {self.path}: wait for it, or choose another --output", "LR-E106"
                ) from None
            yield
