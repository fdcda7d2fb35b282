"""Replay a plan in someone else's trainer: a file to copy, which needs neither lazarus-plan nor a new dependency."""

from pathlib import Path
from typing import Literal, get_args

from lazarus_core.outputs import OutputKind

Target = Literal["torch", "trl", "grain", "mlx"]
_PARTS: dict[Target, tuple[str, ...]] = {
    "torch": ("steps.py", "torch_loader.txt"),
    "trl": ("steps.py", "torch_loader.txt", "trl_trainer.txt"),
    "grain": ("steps.py", "grain_source.txt"),
    "mlx": ("steps.py", "mlx_batches.txt"),
}


def export(target: Target) -> str:
    """The Python file for a trainer.

    Args:
        target: torch (batch sampler, data set and collator), trl (a mixin for its trainers), grain (a random-access
            source), mlx (`iterate_batches` for mlx-lm; padded and bucketed plans only).
    """
    folder = Path(__file__).parent
    parts = [(folder / name).read_text("utf-8") for name in _PARTS[target]]
    # One file: what the parts import of each other already stands above them.
    lines = [line for part in parts for line in part.splitlines() if not line.startswith("from lazarus_plan.")]
    return "\n".join(lines) + "\n"


def _is_unchanged(path: Path) -> bool:
    """Whether a file is one of the exports as it was written: people edit theirs."""
    content = path.read_text("utf-8", errors="replace").rstrip()
    return any(content == export(target).rstrip() for target in get_args(Target))


LOADER = OutputKind("an exported Python file that was not edited", _is_unchanged)
