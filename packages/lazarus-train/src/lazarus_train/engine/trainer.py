"""Trains on a batch plan: checks inputs before the first step, and resumes from any checkpoint."""

from lazarus_core.atomic import naming
from lazarus_core.time_box import TimeBox
from lazarus_train.callbacks.base import SILENT, Watcher
from lazarus_train.callbacks.profiling import OFF, Profiler
from lazarus_train.config import TrainConfig
from lazarus_train.devices import kernel_warnings, prepare_device, weight_bytes
from lazarus_train.distributed import init
from lazarus_train.engine.resources.memory import check_weights_fit
from lazarus_train.engine.schedule import beyond_plan
from lazarus_train.engine.setup import Setup, restore_run, start_run
from lazarus_train.engine.time_box.pace import Pace
from lazarus_train.engine.training_loop import RunResult, TrainingLoop
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import make_objective
from lazarus_train.preflight.inputs import check_run
from lazarus_train.run_dir.resume import AUTO, check_checkpoint, find_checkpoint


def train(
    config: TrainConfig,
    *,
    resume: str = AUTO,
    watcher: Watcher = SILENT,
    time_box: TimeBox | None = None,
    profiler: Profiler = OFF,
) -> RunResult:
    """Trains a model on a batch plan.

    Args:
        config: Model, data, plan, output folder and training settings.
        resume: `auto` continues from the newest checkpoint in the output folder, or starts if there is none. `none`
            starts and replaces an earlier run in the folder. A path continues from that checkpoint.
        watcher: Callbacks; they may stop the run. Each process of a run has its own.
        time_box: Limit on the time of this call. It changes neither weights nor the steps of the audit log. None sets no limit.
        profiler: Measures where the time and the memory of some steps go, and writes it into the run's folder. The
            weights are the same.

    Raises:
        CorruptPlan: The plan is inconsistent.
        StalePlan: The plan was built for other data, tokenizer, template or lengths. No step was trained.
        CorruptCheckpoint: The checkpoint to resume from is damaged.
        ForeignCheckpoint: The checkpoint belongs to another run.
        NonFinite: Loss, gradient or weights are NaN or infinite; the last checkpoint is kept.
        Interrupted: `should_stop` returned true. The same call continues from there.
        TimeIsUp: Another step does not fit into the time box. The same call continues from there.
    """
    make_objective(config.objective).check()
    config = config.located()
    check_weights_fit(weight_bytes(config.model))
    # Before the first number: a reference is computed by it too.
    policy = prepare_device(weight_bytes(config.model), config.kernels)
    for line in kernel_warnings(policy, config.kernels):
        watcher.on_warning(line)
    if config.mixed_precision and policy.device == "cpu":
        watcher.on_warning("warning: bfloat16 is slower than float32 on a CPU; use `mixed_precision` on a GPU only")
    for name, path in config.eval_data.items():  # read last, after all that is trained on
        if not path.exists():
            raise SetupError(f"`eval_data` {name}: {path} does not exist: correct the path", "LR-E117")
    processes = init()
    pace = None if time_box is None else Pace(time_box, asked=watcher.should_stop)
    watcher = watcher if pace is None else pace.watching(watcher, is_alone=processes.size == 1)
    inputs = check_run(config, watcher.on_rows)
    for line in beyond_plan(config.optimizer, len(inputs.plan)):
        watcher.on_warning(f"warning: {line}")
    setup = Setup.of(config, inputs, watcher, processes, profiler)
    folder = setup.folder
    folder.check_is_ours()
    with folder.held(by_this=processes.is_first), naming(folder.path, keep=True):
        if processes.is_first:
            folder.clear_leftovers()
        checkpoint = find_checkpoint(folder, resume, inputs.plan)
        stored = None if checkpoint is None else check_checkpoint(checkpoint, config, inputs.plan)
        at = None if stored is None else (str(checkpoint), stored.sealed.digest)
        processes.check_same(plan=inputs.plan.plan_id, settings=config.resume_key(), checkpoint=at)
        run = start_run(setup) if checkpoint is None or stored is None else restore_run(setup, checkpoint, stored)
        try:
            return TrainingLoop(run, pace).follow_plan()
        finally:
            if processes.is_first:
                profiler.write(folder.path)
