"""A stage as a step of a datatrove pipeline. Imported only where datatrove is installed."""

from importlib import import_module
from pathlib import Path
from typing import Any

from lazarus_corpus.engine.execute import STAGES

_Step: Any = import_module("datatrove.pipeline.base").PipelineStep


class StageStep(_Step):
    """Runs the task of a stage that has the number of the executor's task.

    Args:
        stage: A name in `STAGES`.
        folder: The work folder.
    """

    name = "lazarus-corpus"
    type = "stage"

    def __init__(self, stage: str, folder: str) -> None:
        base: Any = super()
        base.__init__()
        self.stage, self.folder = stage, folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Run one task.

        Args:
            data: Unused: a stage reads its work folder.
            rank: Number of the task.
            world_size: Number of tasks.
        """
        STAGES[self.stage](Path(self.folder), rank)
        yield from data or ()
