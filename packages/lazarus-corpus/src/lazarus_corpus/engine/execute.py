"""Runs the tasks of a stage: in processes of this machine, or by datatrove's executors for Ray and Slurm."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from lazarus_core.console import progress
from lazarus_corpus.engine.ingest import collect_units, ingest
from lazarus_corpus.engine.work import task_folder
from lazarus_corpus.engine.write import shard_report, write_shard
from lazarus_corpus.errors import CorpusError, OutputError, SettingError

Executor = Literal["local", "ray", "slurm"]
STAGES: dict[str, Callable[[Path, int], None]] = {"units": collect_units, "ingest": ingest, "write": write_shard}
"""Stages of several tasks, by name."""


RESULTS: dict[str, Callable[[Path, int], Path]] = {
    "units": lambda folder, task: folder / "units" / f"{task:05d}",
    "ingest": task_folder,
    "write": shard_report,
}
"""Function to the file or folder that a task leaves at its end, by stage."""
_SHARED_S = 20


def run_stage(stage: str, folder: Path, tasks: int, *, workers: int = 1, executor: Executor = "local") -> None:
    """Runs all tasks of a stage; tasks that ran before an interruption do nothing.

    Args:
        stage: A name in `STAGES`.
        folder: The work folder; all machines of the executor see it.
        tasks: Number of tasks.
        workers: Most tasks at a time.
        executor: Where tasks run.

    Raises:
        CorpusError: A task failed.
        SettingError: The executor is not installed.
    """
    if not tasks:
        return
    if executor != "local":
        _by_datatrove(stage, folder, tasks, workers, executor)
        return
    with progress(stage, total=tasks, unit="tasks") as advance:
        if workers == 1 or tasks == 1:
            for task in range(tasks):
                STAGES[stage](folder, task)
                advance(1)
            return
        with ProcessPoolExecutor(min(workers, tasks), get_context("spawn")) as pool:
            running = [pool.submit(STAGES[stage], folder, task) for task in range(tasks)]
            try:
                for done in as_completed(running):
                    done.result()
                    advance(1)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _by_datatrove(stage: str, folder: Path, tasks: int, workers: int, executor: Executor) -> None:
    """The same tasks as one step of a datatrove pipeline."""
    folder = folder.resolve()  # tasks may have another current folder
    extra = "ray" if executor == "ray" else "slurm"
    # Under `uv run`, Ray would pack the current folder and install the project anew for its workers.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    name = {"ray": "datatrove.executor.ray", "slurm": "lazarus_corpus.engine.datatrove_slurm"}[executor]
    try:
        module: Any = import_module(name)
        if executor == "ray":
            import_module("ray")
        step: Any = import_module("lazarus_corpus.engine.datatrove_step")
    except ModuleNotFoundError as error:
        raise SettingError(f"executor {executor!r}: install lazarus-corpus[{extra}]", "LD-E125") from error
    logs = folder / "logs" / stage
    pipeline = [step.StageStep(stage, str(folder))]
    if executor == "ray":
        made = module.RayPipelineExecutor(
            pipeline, tasks=tasks, workers=workers, logging_dir=str(logs), skip_completed=False
        )
    else:
        made = module.WaitingSlurm(
            pipeline, tasks=tasks, workers=workers, job_name=f"lazarus-{stage}", logging_dir=str(logs)
        )
    try:
        made.run()
        _require_done(stage, folder, tasks)
    except CorpusError:
        raise
    except Exception as error:  # of the executor, or of a task on another machine
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise OutputError(
            f"executor {executor!r} failed in the stage {stage!r}: {reason[0]}; its logs are in {logs}", "LD-E146"
        ) from error


def _require_done(stage: str, folder: Path, tasks: int) -> None:
    """Refuses a stage whose tasks have not all ended. A shared file system may show files after some seconds."""
    missing = [task for task in range(tasks) if not RESULTS[stage](folder, task).exists()]
    for _ in range(_SHARED_S):
        if not missing:
            return
        time.sleep(1)
        missing = [task for task in missing if not RESULTS[stage](folder, task).exists()]
    if not missing:
        return
    raise RuntimeError(f"task {missing[0]} and {len(missing) - 1} more did not end")
