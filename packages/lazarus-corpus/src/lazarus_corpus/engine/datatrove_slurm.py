"""datatrove's executor for Slurm, waiting for its jobs. Imported only where datatrove is installed.

Partition, account and time limit are those of Slurm's own variables (`SBATCH_PARTITION`, `SBATCH_ACCOUNT`, `SBATCH_TIMELIMIT`).
"""

import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_Executor: Any = import_module("datatrove.executor.slurm").SlurmPipelineExecutor


class WaitingSlurm(_Executor):
    """Submits one job array for a stage and returns when it has ended.

    Args:
        pipeline: Steps.
        tasks: Number of tasks.
        workers: Most tasks at a time.
        job_name: Name of the job.
        logging_dir: Folder for logs.
    """

    def __init__(self, pipeline: list[Any], *, tasks: int, workers: int, job_name: str, logging_dir: str) -> None:
        base: Any = super()
        base.__init__(
            pipeline, tasks=tasks, workers=workers, job_name=job_name, logging_dir=logging_dir, skip_completed=False,
            time="24:00:00", partition="", qos="", requeue=False, sbatch_args={"wait": ""},
            # The job has the environment of this process, and finds datatrove's command beside its Python.
            env_command=f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        )  # fmt: skip

    def get_sbatch_args(self, max_array: int = 1) -> dict[str, Any]:
        """The options in the script; without those that Slurm's variables give.

        Args:
            max_array: Tasks of the array.
        """
        base: Any = super()
        options: dict[str, Any] = base.get_sbatch_args(max_array)
        del options["partition"]
        if "SBATCH_TIMELIMIT" in os.environ:
            del options["time"]
        return options

    def launch_merge_stats(self) -> None:
        """Nothing: a stage has reports of its own."""
