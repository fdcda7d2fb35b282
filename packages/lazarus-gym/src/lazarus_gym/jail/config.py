"""Settings of a jail."""

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class JailConfig(BaseModel):
    """Limits of the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    wall_s: PositiveFloat = 5.0
    """Seconds by the clock for one verdict; the worker is killed after them."""
    cpu_s: PositiveFloat = 5.0
    """Seconds of the processor for one verdict; the worker ends after them."""
    memory_mb: PositiveInt = 512
    """Megabytes (10**6 bytes) that verdicts may add to what the loaded targets use."""
    start_s: PositiveFloat = 120.0
    """Seconds to start Python and to import the targets."""
    hash_seed: int = Field(default=0, ge=0, le=4_294_967_295)
    """`PYTHONHASHSEED` of the worker, so that the order of sets is the same on every run."""
    python: Path = Path(sys.executable)
    """Python that runs the worker, 3.11 or newer; it needs the targets, but not lazarus-gym."""
    path: tuple[Path, ...] = ()
    """Folders in which the worker looks for modules first."""
    imports: tuple[str, ...] = ()
    """Modules that the worker imports before it is confined, for targets that import them late."""
