"""Prepares a run before its first step. A `Run` is complete when constructed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_train.callbacks.base import Watcher
from lazarus_train.callbacks.profiling import OFF, Profiler
from lazarus_train.config import TrainConfig
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.data.dataset import field_names, read_dataset
from lazarus_train.devices import device_policy, weight_bytes
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.evaluation import HeldOutData, plan_held_out
from lazarus_train.engine.evaluator import EvalSet, Evaluator, is_due
from lazarus_train.engine.gradients import CompiledGradients, GradientFn, LossFn, LossGradients
from lazarus_train.engine.loss import BatchMaker, Statistics, make_loss_fn
from lazarus_train.engine.policy.on_policy import OnPolicy, policy_of
from lazarus_train.engine.references import Binder
from lazarus_train.engine.resources.memory import StepShape, fitting_rows
from lazarus_train.engine.resources.profiling import ProfiledGradients
from lazarus_train.engine.samples.sample_generations import prepare
from lazarus_train.engine.samples.sample_images import check_drawing
from lazarus_train.engine.state import TrainState
from lazarus_train.engine.whole_step import WholeStep
from lazarus_train.errors import ForeignCheckpoint, SetupError
from lazarus_train.layers.neftune import embedding_width
from lazarus_train.objectives.base import Objective, held_out_group, make_objective, step_group
from lazarus_train.objectives.policy.base import HeldOutRewards, PolicyObjective
from lazarus_train.objectives.sequence_head import SequenceHead
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.preflight.model import check_ids, check_model
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.checkpoint import State, checkpoints
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.logs import RunLog
from lazarus_train.run_dir.manifest import REWARD_FILES, describe_run, read_manifest
from lazarus_train.run_dir.metrics import held_out_losses
from lazarus_train.run_dir.retention import tidy


@dataclass(frozen=True)
class Setup:
    """The parts of a run that are known before its model is loaded.

    Args:
        config: Settings of the run.
        inputs: Plan and training data.
        objective: The objective, not bound to data.
        head: The scores that the model predicts; None keeps its language-model head.
        held_out: Held-out data by name.
        folder: The run's folder.
        watcher: Callbacks.
        processes: The processes of the run.
        last: Number of steps of the run.
        profiler: Measures phases of the steps.
    """

    config: TrainConfig
    inputs: RunInputs
    objective: Objective[Any]
    head: SequenceHead | None
    held_out: Mapping[str, HeldOutData]
    folder: RunFolder
    watcher: Watcher
    processes: ProcessGroup
    last: int
    profiler: Profiler = OFF

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        inputs: RunInputs,
        watcher: Watcher,
        processes: ProcessGroup,
        profiler: Profiler = OFF,
    ) -> "Setup":
        """Reads the held-out data, and determines the head and the number of steps.

        Args:
            config: Settings of the run.
            inputs: Plan and training data.
            watcher: Callbacks.
            processes: The processes of the run.
            profiler: Measures phases of the steps.
        """
        objective, tokenizer = make_objective(config.objective), inputs.encoder.tokenizer
        held_out: dict[str, HeldOutData] = {}
        for name, path in config.eval_data.items():
            dataset = read_dataset(path, inputs.encoder, field_names(config))
            held_out[name] = plan_held_out(dataset, objective, tokenizer, str(path))
        return cls(
            config=config,
            inputs=inputs,
            objective=objective,
            head=objective.sequence_head(inputs.dataset, tokenizer),
            held_out=held_out,
            folder=RunFolder(config.output),
            watcher=watcher,
            processes=processes,
            last=min(len(inputs.plan), config.max_steps or len(inputs.plan)),
            profiler=profiler,
        )


@dataclass(frozen=True)
class Run:
    """A run that is ready for its next step.

    Args:
        setup: Settings, data and processes.
        base: Initial model of the run.
        state: Model, optimizer and EMA.
        log: Audit log, metrics, throughput and samples.
        objective: The objective, bound to the training data.
        gradients: Gradients of one batch, from the run's loss function.
        replicas: The model and its copies for threads.
        batches: Makes the batches of a step.
        statistics: Computes the statistics of a step.
        evaluator: Held-out losses and answers.
        micro_batch_rows: Rows per forward pass; None computes a whole step at once.
        on_policy: Draws answers and learns from them; None for objectives on the rows of the data.
        whole_step: Computes a step of one micro-batch as one graph; None if the device or the objective does not allow
            it.
    """

    setup: Setup
    base: Base
    state: TrainState
    log: RunLog
    objective: Objective[Any]
    gradients: GradientFn
    replicas: Replicas
    batches: BatchMaker
    statistics: Statistics
    evaluator: Evaluator
    micro_batch_rows: int | None
    on_policy: OnPolicy | None = None
    whole_step: WholeStep | None = None


def start_run(setup: Setup) -> Run:
    """A run at step 0. An earlier run in the folder is removed."""
    config, inputs = setup.config, setup.inputs
    tokenizer = inputs.encoder.tokenizer
    setup.objective.check_start(int(inputs.units[: setup.last].max()))
    state = TrainState.fresh(config, setup.head, setup.processes, tokenizer)
    _check_state(setup, state)
    base = Base.of(state.lm, tokenizer)
    setup.processes.check_same(model=base.digest)
    rows = _fit_memory(setup, state, config.micro_rows)
    log = RunLog.start(setup.folder, config, inputs.plan, _about(setup), base.digest)
    return _ready(setup, state, base, log, rows)


def restore_run(setup: Setup, checkpoint: Path, stored: State) -> Run:
    """A run that continues from a verified checkpoint. Later steps are computed again.

    Args:
        setup: Settings, data and processes.
        checkpoint: Folder of the checkpoint.
        stored: State of the checkpoint.
    """
    config, inputs = setup.config, setup.inputs
    _check_reward(setup, checkpoint)
    state = TrainState.restored(config, setup.head, stored, inputs.encoder.tokenizer, setup.processes)
    _check_state(setup, state)
    micro_rows = config.micro_rows or stored.micro_batch_rows  # another number changes the last bits
    rows = _fit_memory(setup, state, micro_rows)
    due = is_due(config, stored.next_step, setup.last)
    log = RunLog.resume(setup.folder, config, inputs.plan, _about(setup), stored, is_due=due)
    if setup.processes.is_first:
        written = checkpoints(checkpoint.parent)
        setup.folder.set_aside(written[written.index(checkpoint) + 1 :])
        tidy_checkpoints(setup, log)
    return _ready(setup, state, stored.base, log, rows)


def _check_reward(setup: Setup, checkpoint: Path) -> None:
    """Refuses a reward whose files are not those that the run began with, if its record has their digests."""
    try:
        recorded = read_manifest(setup.folder.config).get(REWARD_FILES)
    except SetupError:  # the record is written again
        return
    changed = setup.objective.changed_reward(recorded)
    if changed is not None:
        raise ForeignCheckpoint(
            f"{checkpoint} was trained with another reward: {changed} was changed since; restore it, give another `output`, or "
            "`resume=none` to start again",
            "LR-E210",
        )


def tidy_checkpoints(setup: Setup, log: RunLog) -> None:
    """Updates the links `latest` and `best`, and removes checkpoints that the settings do not keep.

    Args:
        setup: Settings and folder.
        log: Log whose metrics determine the best checkpoint.
    """
    losses = held_out_losses(log.metrics(), setup.config.deciding_set)
    tidy(setup.folder.checkpoints, losses, setup.config.keep_checkpoints)


def _about(setup: Setup) -> dict[str, Any] | None:
    """Content of `config.json`; None on a process that does not write."""
    digests = {name: each.dataset.lengths.header.data for name, each in setup.held_out.items()}
    rewards = setup.objective.reward_digests()
    about = describe_run(setup.config, setup.inputs.plan.plan_id, digests, setup.processes.size, rewards)
    return about if setup.processes.is_first else None


def _check_state(setup: Setup, state: TrainState) -> None:
    """Refuses a model that does not fit data, settings or prompts."""
    config, inputs, lm = setup.config, setup.inputs, state.lm
    check_model(lm, inputs, config, setup.objective, setup.head, setup.watcher.on_warning)
    for prompt in config.sample_prompts:
        prepare(lm, inputs.encoder, prompt, is_text=inputs.is_text)
    check_drawing(lm, config)
    for name, data in setup.held_out.items():
        check_ids(lm, data.dataset, setup.objective, f"the held-out data {name!r}")


def _fit_memory(setup: Setup, state: TrainState, micro_rows: int | None) -> int | None:
    """Rows per forward pass: the requested number, or as many as fit. It does not change a result (1e-6)."""
    settings, longest = setup.inputs.plan.metadata.config, setup.inputs.dataset.longest
    row_len = min(settings.row_len or longest, longest) if settings.mode == "padded" else settings.row_len or longest
    rows = math.ceil(settings.token_budget / row_len / setup.processes.size)
    shape = StepShape(rows=max(1, rows), row_len=row_len, processes=setup.processes.size)
    policy = device_policy(weight_bytes(setup.config.model))
    config = setup.config.model_copy(update={"micro_rows": micro_rows})
    found = fitting_rows(state.lm.model, config, policy, shape)
    setup.watcher.on_memory(found)
    return found.rows if found.rows < shape.rows else micro_rows


def _ready(setup: Setup, state: TrainState, base: Base, log: RunLog, micro_batch_rows: int | None) -> Run:
    """Binds the objective, and computes the references that it needs."""
    config, inputs, processes = setup.config, setup.inputs, setup.processes
    plan, dataset, tokenizer = inputs.plan, inputs.dataset, inputs.encoder.tokenizer
    binder = Binder(
        *(setup.objective, config, tokenizer, setup.head, base, setup.folder, processes, setup.watcher),
        micro_batch_rows,
    )
    groups = [step_group(plan, step) for step in range(setup.last)] if binder.mismatched else []
    objective, references = binder.bind("train", dataset, plan, groups, mixed=config.mixed_precision, steps=setup.last)
    sets: list[EvalSet] = []
    for name, data in setup.held_out.items():
        held_out, found = binder.bind(f"held-out-{name}", data.dataset, data.plan, [held_out_group(data.plan)])
        if isinstance(held_out, PolicyObjective):
            greedy = held_out.collector(inputs.encoder, state.lm, is_greedy=True)
            held_out = HeldOutRewards(held_out.settings, greedy)
        references |= found
        sets.append(EvalSet(name, data, held_out))
    log.bind_references(references)
    policy = device_policy(weight_bytes(config.model))
    replicas = Replicas(state.lm.model, config.threads_of(policy.threads))
    compiles = policy.compiles and plan.metadata.config.mode == "packed" and replicas.threads == 1
    batches = BatchMaker(objective, dataset, config, embedding_width(state.lm.model), replicas.threads)
    gradients = _gradients(objective, state, setup, compiles=compiles)
    return Run(
        setup=setup,
        base=base,
        state=state,
        log=log,
        objective=objective,
        gradients=gradients,
        replicas=replicas,
        batches=batches,
        statistics=Statistics(
            *(objective.survey, plan, batches, replicas, processes, micro_batch_rows), config.mixed_precision
        ),
        evaluator=Evaluator(*(sets, config, inputs.encoder, inputs.is_text, state, log, setup.watcher), processes),
        micro_batch_rows=micro_batch_rows,
        on_policy=policy_of(
            *(config, inputs, state.lm, cast("PolicyObjective", objective), replicas, processes, gradients)
        )
        if objective.is_on_policy
        else None,
        whole_step=_whole_step(objective, state, config) if compiles and processes.size == 1 else None,
    )


def _gradients(objective: Objective[Any], state: TrainState, setup: Setup, *, compiles: bool) -> GradientFn:
    """The gradients of the run's loss function, compiled where the device and the objective allow it."""
    loss_fn = make_loss_fn(objective, mixed_precision=setup.config.mixed_precision)

    def make(loss_fn: LossFn) -> GradientFn:
        gradients = LossGradients(loss_fn, objective.metrics)
        is_compiled = compiles and objective.is_static
        return CompiledGradients(gradients, state.lm.model) if is_compiled else gradients

    if not setup.profiler.is_wanted:
        return make(loss_fn)
    return ProfiledGradients(make, loss_fn, setup.profiler, splits=not (compiles and objective.is_static))


def _whole_step(objective: Objective[Any], state: TrainState, config: TrainConfig) -> WholeStep | None:
    """The step of a run as one graph, if the objective allows it."""
    if not objective.is_static or objective.survey is not None:
        return None
    loss_fn = make_loss_fn(objective, mixed_precision=config.mixed_precision)
    gradients = LossGradients(loss_fn, objective.metrics)
    return WholeStep(gradients, state.lm.model, state.optimizer, config.optimizer.max_grad_norm)
