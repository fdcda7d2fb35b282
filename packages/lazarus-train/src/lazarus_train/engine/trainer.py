"""Training by a plan: enforced before, audited during, resumable after every checkpoint."""

import contextlib
import functools
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_plan import BatchPlan, PlanCursor, RankStep, Row, Step, StepDigest, encode_step
from lazarus_train.callbacks.base import NOBODY, StepReport, Watcher
from lazarus_train.config import TrainConfig
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.data.batches import Batch, make_batch, row_digests
from lazarus_train.data.dataset import Dataset, read_dataset
from lazarus_train.devices import device_policy, prepare_device
from lazarus_train.distributed import Ranks, launched
from lazarus_train.engine.early_stop import is_overfitting
from lazarus_train.engine.evaluation import ROWS_AT_ONCE, HeldOutData, plan_held_out
from lazarus_train.engine.evaluator import EvalSet, Exam, is_due
from lazarus_train.engine.memory import StepShape, check_weights_fit, fitting_rows
from lazarus_train.engine.neftune import embedding_noise, embedding_width, noisy
from lazarus_train.engine.precision import computing_in_bfloat16
from lazarus_train.engine.schedule import beyond_plan, learning_rate
from lazarus_train.engine.state import Learner, weight_bytes
from lazarus_train.engine.step import compute_gradients
from lazarus_train.errors import Interrupted, NonFinite, SetupError
from lazarus_train.objectives.base import Group, OwnBatches, Sums, Survey, Task, held_out_group, step_group
from lazarus_train.objectives.loss_normalizer import epochs_by_step
from lazarus_train.objectives.preference import Metrics
from lazarus_train.objectives.reference import (
    CachedReference,
    ReferenceSetup,
    compute_reference,
    frozen_model,
    make_reference,
    read_reference,
)
from lazarus_train.objectives.registry import head_of, make_task
from lazarus_train.objectives.settings import PreferenceSettings
from lazarus_train.objectives.surveys import settle
from lazarus_train.preflight import Enforced, enforce, fields
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.checkpoint import State, checkpoint_path, checkpoints, write_checkpoint
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.logs import Journal
from lazarus_train.run_dir.manifest import describe_run
from lazarus_train.run_dir.metrics import held_out_losses
from lazarus_train.run_dir.resume import AUTO, check_checkpoint, find_checkpoint
from lazarus_train.run_dir.retention import tidy
from lazarus_train.run_dir.sealed_write import naming
from lazarus_train.suitability import check_ids, check_suitable

NOISE = "noise"
"""Name of the embeddings' noise among what is drawn for a batch."""


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Args:
        final: Folder of the trained model.
        steps: Steps done since the run began, resumed ones included.
        plan_steps: Steps of the whole plan.
        audit_head: Hash of the audit chain, which covers rows, weights, settings and machine; empty where another process of
            the run writes.
        data_head: Hash of the chain over the rows alone; empty there too.
    """

    final: Path
    steps: int
    plan_steps: int
    audit_head: str
    data_head: str


def train(config: TrainConfig, *, resume: str = AUTO, watcher: Watcher = NOBODY) -> RunResult:
    """Trains a model on exactly what a plan says.

    Args:
        config: Model, data, plan, output and how to learn.
        resume: `auto` (the newest checkpoint in the output folder, else from the start), `none` (from the start;
            an earlier run in the folder is replaced), or a checkpoint's path.
        watcher: Is told how far the run is, and may stop it; where several processes train, each tells its own.

    Raises:
        CorruptPlan: The plan contradicts itself.
        StalePlan: The plan is of other data, tokenizer, template or lengths; nothing was trained.
        CorruptCheckpoint: The checkpoint to resume from is damaged.
        ForeignCheckpoint: It is of another run.
        NonFinite: Loss, gradient or weights are NaN or infinite; the last checkpoint is kept.
        Interrupted: `should_stop` said so; the same call goes on from there.
    """
    config = config.located()
    check_weights_fit(weight_bytes(config.model))
    policy = prepare_device(weight_bytes(config.model))  # before the first number: a reference is computed by it too
    if config.mixed_precision and policy.device == "cpu":
        watcher.on_warning("warning: bfloat16 is slower than float32 on a CPU; leave --mixed-precision to a GPU")
    for name, path in config.eval_data.items():  # read last, after all that is trained on
        if not path.exists():
            raise SetupError(f"--eval-data {name}={path}: there is no such file", "LR-E117")
    ranks = launched()
    enforced = enforce(config, watcher.on_rows)
    for line in beyond_plan(config.optimizer, len(enforced.plan)):
        watcher.on_warning(f"warning: {line}")
    held_out_data = _read_held_out(config, enforced)
    folder = RunFolder(config.output)
    folder.check_is_ours()
    with folder.held(by_this=ranks.is_first), naming(folder.path):
        if ranks.is_first:
            folder.clear_leftovers()
        checkpoint = find_checkpoint(folder, resume, enforced.plan)
        state = None if checkpoint is None else check_checkpoint(checkpoint, config, enforced.plan)
        at = None if state is None else (str(checkpoint), state.sealed.digest)
        ranks.check_same(plan=enforced.plan.plan_id, settings=config.trajectory(), checkpoint=at)
        run = _Run(config, enforced, held_out_data, watcher, ranks)
        if checkpoint is None or state is None:
            run.start()
        else:
            run.restore(checkpoint, state)
        return run.follow_plan()


def _read_held_out(config: TrainConfig, enforced: Enforced) -> dict[str, HeldOutData]:
    found: dict[str, HeldOutData] = {}
    for name, path in config.eval_data.items():
        dataset = read_dataset(path, enforced.encoder, fields(config))
        found[name] = plan_held_out(dataset, config.objective, enforced.encoder.tokenizer, str(path))
    return found


class _Run:
    """One run in progress: what `train` sets up, follows and finishes."""

    def __init__(
        self,
        config: TrainConfig,
        enforced: Enforced,
        held_out_data: dict[str, HeldOutData],
        watcher: Watcher,
        ranks: Ranks,
    ) -> None:
        self._config = config
        self._enforced = enforced
        self._plan = enforced.plan
        self._dataset = enforced.dataset
        self._epochs = epochs_by_step(enforced.plan, enforced.dataset)
        self._tokenizer = enforced.encoder.tokenizer
        self._head = head_of(config.objective, enforced.dataset, self._tokenizer)
        self._held_out = held_out_data
        self._watcher = watcher
        self._ranks = ranks
        self._last = min(len(self._plan), config.max_steps or len(self._plan))
        self._micro_rows = config.micro_rows
        self._folder = RunFolder(config.output)
        digests = {name: each.dataset.lengths.header.data for name, each in held_out_data.items()}
        about = describe_run(config, enforced.plan.plan_id, digests, ranks.size)
        self._journal = Journal(self._folder, config, enforced.plan, about, ranks.is_first)
        self._references: dict[str, str] = {}
        self._base: Base
        self._learner: Learner
        self._task: Task
        self._exam: Exam
        self._replicas: Replicas

    def start(self) -> None:
        """Begins at step 0; an earlier run in the folder gives way."""
        self._learner = self._suitable(Learner.fresh(self._config, self._head, self._ranks, self._tokenizer))
        self._base = Base.of(self._learner.lm, self._tokenizer)
        self._ranks.check_same(model=self._base.digest)
        self._fit_memory()
        self._journal.start(self._base.digest)
        self._make_ready()

    def restore(self, checkpoint: Path, state: State) -> None:
        """Goes on where a verified checkpoint stopped; what lies beyond it is done again."""
        self._base = state.base
        learner = Learner.restored(self._config, self._head, state, self._tokenizer, self._ranks)
        self._learner = self._suitable(learner)
        self._micro_rows = self._micro_rows or state.micro_rows  # other rows at once, other last bits
        self._fit_memory()
        self._journal.resume(state, is_due=is_due(self._config, state.next_step, self._last))
        if self._ranks.is_first:
            written = checkpoints(checkpoint.parent)
            self._folder.set_aside(written[written.index(checkpoint) + 1 :])
            self._tidy()
        self._make_ready()

    def follow_plan(self) -> RunResult:
        """Does the steps that are left, and writes the trained model."""
        done = self._journal.next_step
        self._last = done if done and self._overfits() else self._last
        self._watcher.on_start(self._enforced.checked, done, self._last)
        if is_due(self._config, done, self._last) and not self._exam.take(done):
            raise Interrupted(f"stopped before step {done + 1}; the same command goes on", "LR-E230")
        cursor = PlanCursor(
            self._plan,
            rank=self._ranks.rank,
            world_size=self._ranks.size,
            micro_rows=self._micro_rows,
            next_step=done,
        )
        for share in cursor:
            if share.step.index >= self._last:
                break
            self._do(share)
        self._check_weights(self._journal.next_step)
        if self._ranks.is_first:
            self._journal.finished(self._learner.finish(self._folder.final, self._enforced.template))
        self._ranks.check_same(steps=self._journal.next_step)
        journal = self._journal
        return RunResult(self._folder.final, journal.next_step, len(self._plan), journal.head, journal.data_head)

    @property
    def _surveys_mismatches(self) -> bool:
        """Whether a reference is asked for mismatched prompts and answers."""
        return isinstance(self._config.objective, PreferenceSettings) and self._config.objective.loss == "kto"

    def _suitable(self, learner: Learner) -> Learner:
        check_suitable(learner.lm, self._enforced, self._config, self._head, self._watcher.on_warning)
        for name, data in self._held_out.items():
            check_ids(learner.lm, data.dataset, self._config, f"the held-out data {name!r}")
        return learner

    def _fit_memory(self) -> None:
        """Rows at once: those asked for, or as many as fit; a micro-batch changes no result (1e-6)."""
        settings, longest = self._plan.metadata.config, self._dataset.longest
        row_len = (
            min(settings.row_len or longest, longest) if settings.mode == "padded" else settings.row_len or longest
        )
        rows = math.ceil(settings.token_budget / row_len / self._ranks.size)
        shape = StepShape(rows=max(1, rows), row_len=row_len, processes=self._ranks.size)
        policy = device_policy(weight_bytes(self._config.model))
        config = self._config.model_copy(update={"micro_rows": self._micro_rows})
        found = fitting_rows(self._learner.lm.model, config, policy, shape)
        self._watcher.on_memory(found)
        if found.rows < shape.rows:
            self._micro_rows = found.rows

    def _make_ready(self) -> None:
        """What is learnt, what is measured, who computes; the reference of preference training is computed here, once."""
        steps = [step_group(self._plan, step) for step in range(self._last)] if self._surveys_mismatches else []
        self._task = self._make_task("train", self._dataset, self._plan, steps, mixed=self._config.mixed_precision)
        sets = [
            EvalSet(
                name, data, self._make_task(f"held-out-{name}", data.dataset, data.plan, [held_out_group(data.plan)])
            )
            for name, data in self._held_out.items()
        ]
        self._exam = Exam(
            sets,
            self._config.sample_prompts,
            self._enforced.encoder,
            self._enforced.is_text,
            self._learner,
            self._journal,
            self._watcher,
            self._ranks,
        )
        self._journal.bind_references(self._references)
        policy = device_policy(weight_bytes(self._config.model))
        self._replicas = Replicas(
            self._learner.lm.model,
            self._config.threads_of(policy.threads),
            compiles=policy.compiles and self._task.is_static and self._plan.metadata.config.mode == "packed",
        )

    def _make_task(
        self, name: str, dataset: Dataset, plan: BatchPlan, groups: Sequence[Group], *, mixed: bool = False
    ) -> Task:
        """What is minimised or measured; a reference computes in the precision of the policy that it is compared with."""
        objective, config, reference = self._config.objective, self._config, None
        if isinstance(objective, PreferenceSettings):
            surveyed = groups if objective.loss == "kto" else ()
            made_from = {"model": self._base.digest, "plan": plan.plan_id, "lengths": dataset.lengths.digest}
            made_from |= {"precision": "mixed"} if mixed else {}
            made_from |= {"mismatched": f"1|{len(surveyed)}"} if surveyed else {}
            load_reference = functools.partial(frozen_model, config.model, self._tokenizer, self._base, mixed=mixed)
            threads = config.threads_of(device_policy(weight_bytes(config.model)).threads)
            tokens = _tokens_at_once(self._micro_rows, plan.step(0), threads)
            setup = ReferenceSetup(self._micro_rows, tokens, threads, self._watcher.on_reference)

            def table() -> CachedReference:
                folder = self._folder.reference / name
                if self._ranks.is_first:
                    compute_reference(folder, load_reference, plan, dataset, surveyed, made_from, setup)
                self._ranks.check_same(reference=name)  # nobody reads before it is written
                found, self._references[name] = read_reference(folder, dataset, surveyed)
                return found

            reference = make_reference(objective, load_reference, table)
        return make_task(objective, dataset, self._tokenizer, self._head, reference)

    def _do(self, share: RankStep) -> None:
        """One step: gradients, update, logs, and what is due after it."""
        began = time.perf_counter()
        step, config = share.step, self._config
        mx.random.seed(_step_seed(config.seed, step.index, self._ranks.rank))  # dropout's; the plan orders the data
        surveyed = self._survey(share)
        batches = (
            [self._batch(part, step, surveyed) for part in share_rows(rows, self._replicas.threads)]
            for rows in share.micro_batches
            if rows
        )
        units = int(self._enforced.units[step.index])
        gradients = compute_gradients(
            self._replicas,
            self._loss_sum,
            batches,
            units,
            config.optimizer.max_grad_norm,
            metrics=self._task.metrics,
            ranks=self._ranks,
        )
        if not math.isfinite(gradients.loss) or not math.isfinite(gradients.norm):
            raise NonFinite(
                f"step {step.index + 1} ({step.index} in the plan): loss {gradients.loss}, gradient norm {gradients.norm}, samples "
                f"{list(step.samples)}; nothing was updated. Resume with a lower --learning-rate into another folder, "
                "or look at these samples",
                "LR-E220",
            )
        rate = learning_rate(config.optimizer, step.index, len(self._plan))
        self._learner.optimizer.update(gradients.tree, rate)
        self._learner.optimizer.evaluate()
        if self._learner.ema is not None:
            self._learner.ema.update(step.index + 1)
        seconds = time.perf_counter() - began
        report = StepReport(
            step=step.index + 1,
            loss=gradients.loss,
            metrics=gradients.metrics,
            rate=rate,
            norm=gradients.norm,
            tokens=step.tokens,
            seconds=seconds,
            epochs=float(self._epochs[step.index]),
        )
        digest = StepDigest.of(encode_step(self._plan, step.index), self._row_digests(share))
        self._journal.step(report, self._task.unit, units, digest)
        self._watcher.on_step(report)
        self._after(report.step)

    def _survey(self, share: RankStep) -> Sums:
        """What the loss takes over the whole step, on all ranks: a pass without dropout, noise or gradients."""
        survey, step, model = self._task.survey, share.step, self._replicas.model
        if survey is None:
            return {}

        def own_rows() -> list[Batch]:
            shares = [part for rows in share.micro_batches if rows for part in share_rows(rows, self._replicas.threads)]
            return [make_batch(part, self._dataset, step.row_len, step.rows) for part in shares]

        tokens = _tokens_at_once(self._micro_rows, step, self._replicas.threads)
        group = step_group(self._plan, step.index)
        batches = list(survey.batches(group, OwnBatches(own_rows, tokens, self._ranks.rank, self._ranks.size)))
        model.eval()
        self._replicas.refresh()
        found = self._replicas.map(functools.partial(self._survey_sums, survey, group), batches)
        model.train()
        return settle(survey, group, found, self._ranks)

    def _survey_sums(self, survey: Survey, group: Group, model: Any, batch: Batch) -> Sums:
        """A survey's sums, as this run computes them."""
        with computing_in_bfloat16(model) if self._config.mixed_precision else contextlib.nullcontext():
            return survey.sums(group, model, batch)

    def _batch(self, rows: Sequence[Row], step: Step, surveyed: Sums) -> Batch:
        """Some rows of a step, with what is drawn for them: by the task, and the noise of embeddings.

        Args:
            rows: To be computed at once.
            step: Whose rows they are.
            surveyed: What the loss takes over the step.
        """
        config, alpha = self._config, self._config.neftune_alpha
        batch = make_batch(rows, self._dataset, step.row_len, step.rows)
        batch = self._task.draw(batch, _step_seed(config.seed, step.index, "draws"))
        batch = replace(batch, drawn={**batch.drawn, **surveyed})
        if alpha is not None:
            seed, width = _step_seed(config.seed, step.index, "noise"), embedding_width(self._replicas.model)
            batch = replace(batch, drawn={**batch.drawn, NOISE: embedding_noise(batch, width, alpha, seed)})
        evaluate(batch.drawn)  # before another thread reads it
        return batch

    def _loss_sum(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """The task's loss, as this run computes it."""
        with contextlib.ExitStack() as stack:
            if NOISE in batch.drawn:
                stack.enter_context(noisy(model, batch.drawn[NOISE]))
            if self._config.mixed_precision:
                stack.enter_context(computing_in_bfloat16(model))
            return self._task.loss(model, batch)

    def _row_digests(self, share: RankStep) -> list[bytes]:
        """Digests of the step's rows, each by the process that trained on it."""
        table = np.zeros((len(share.step.rows), 32), dtype=np.uint8)
        mine = [row for rows in share.micro_batches for row in rows]
        places = {id(row): place for place, row in enumerate(share.step.rows)}  # two rows may hold the same samples
        for row, digest in zip(mine, row_digests(mine, self._dataset), strict=True):
            table[places[id(row)]] = np.frombuffer(digest, dtype=np.uint8)
        return [row.tobytes() for row in self._ranks.join_bytes(table)]

    def _after(self, done: int) -> None:
        """Measures and saves when it is due; stops when asked to."""
        config = self._config
        is_given_up = is_due(config, done, self._last) and not self._exam.take(done)
        overfits = self._overfits()
        self._last = done if overfits else self._last
        is_last = done == self._last
        stops = is_given_up or (not is_last and self._ranks.any(self._watcher.should_stop()))
        if is_last or stops or (config.save_every and done % config.save_every == 0):
            self._save(done)
        if overfits:
            self._watcher.on_warning(
                f"stopped after step {done}: the held-out loss rises while the training loss falls"
            )
        if stops:
            raise Interrupted(
                f"stopped after step {done} of {self._last}; the checkpoint is written, the same command goes on",
                "LR-E230",
            )

    def _overfits(self) -> bool:
        """Whether the metrics say to stop; the process that writes them decides."""
        settings, decides = self._config.early_stop, self._config.deciding_set
        if settings is None or decides is None:
            return False
        return self._ranks.any(is_overfitting(self._journal.metrics(), decides, settings))

    def _check_weights(self, done: int) -> None:
        """The loss of a step says nothing of the weights after it."""
        name = self._learner.first_not_finite()
        if name is not None:
            raise NonFinite(
                f"after step {done} the weights `{name}` hold NaN or infinity; they were not saved. Train again with a "
                "lower --learning-rate into another folder",
                "LR-E221",
            )

    def _save(self, done: int) -> None:
        self._check_weights(done)
        moments = self._learner.optimizer.state()
        if self._ranks.is_first:
            self._journal.flush()
            logs = self._journal.logs()
            state = {
                "plan": PlanCursor(self._plan).state(done, self._journal.head),
                "trajectory": self._config.trajectory(),
                "base": self._base.digest,
                "base_files": dict(self._base.files),
                "logs": logs,
                "micro_rows": self._micro_rows,
            }
            path = checkpoint_path(self._folder.checkpoints, done)
            written = write_checkpoint(path, state, lambda folder: self._learner.write(folder, moments))
            self._journal.saved(written, logs)
            self._tidy()

    def _tidy(self) -> None:
        losses = held_out_losses(self._journal.metrics(), self._config.deciding_set)
        tidy(self._folder.checkpoints, losses, self._config.keep_checkpoints)


def _tokens_at_once(micro_rows: int | None, step: Step, threads: int) -> int:
    """Tokens that one thread computes at once of what is no row of a step: as many as it computes of the rows."""
    rows = micro_rows or min(len(step.rows), ROWS_AT_ONCE)
    return max(1, rows // threads) * step.row_len


def _step_seed(seed: int, step: int, purpose: int | str) -> int:
    """A seed for one step's random numbers of one purpose, or of one process: a resumed step draws what the first drew."""
    text = f"lazarus-train/1|step|{seed}|{step}|{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "little")
