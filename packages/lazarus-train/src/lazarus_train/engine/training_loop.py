"""The steps of a run: gradients and updates, logs, evaluations and checkpoints, from any step to the last one."""

import contextlib
import itertools
import math
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from lazarus_models.backend import mx
from lazarus_plan import PlanCursor
from lazarus_plan.audit import StepDigest
from lazarus_plan.cursor import RankStep
from lazarus_plan.format import encode_step
from lazarus_plan.plan import Step
from lazarus_plan.report import StepMixture, count_mixture
from lazarus_train.callbacks.reports import StepReport
from lazarus_train.data.batches import row_digests
from lazarus_train.engine.early_stop import is_overfitting
from lazarus_train.engine.evaluator import is_due
from lazarus_train.engine.loss import step_seed
from lazarus_train.engine.policy.empty_steps import EmptySteps
from lazarus_train.engine.policy.on_policy import BETA
from lazarus_train.engine.resources.profiling import profiled_batches, profiled_device
from lazarus_train.engine.schedule import learning_rate
from lazarus_train.engine.setup import Run, tidy_checkpoints
from lazarus_train.engine.step import Gradients, check_finite, compute_gradients
from lazarus_train.engine.time_box.pace import Pace
from lazarus_train.engine.whole_step import BegunStep, WholeStep
from lazarus_train.errors import Interrupted, Left, NonFinite
from lazarus_train.objectives.loss_normalizer import epochs_by_step, tokens_by_step
from lazarus_train.run_dir.checkpoint import checkpoint_path, read_state, write_checkpoint
from lazarus_train.run_dir.metrics import read_lines
from lazarus_train.run_dir.time_boxes import BoxLine, Ending, append_box, save_seconds


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Args:
        final: Folder of the trained model.
        steps: Steps since the start of the run, including steps before a resume.
        plan_steps: Steps of the whole plan.
        audit_head: Hash of the audit chain over rows, weights, settings and machine, 64 hex; empty on a process
            that does not write.
        data_head: Hash of the chain over the rows alone, 64 hex; empty on a process that does not write.
    """

    final: Path
    steps: int
    plan_steps: int
    audit_head: str
    data_head: str


class TrainingLoop:
    """The steps of one run.

    Args:
        run: The run, complete when passed.
        pace: Pace in the time box; None without one.
    """

    def __init__(self, run: Run, pace: Pace | None) -> None:
        self._run = run
        self._pace = pace
        self._setup = run.setup
        self._config = run.setup.config
        self._inputs = run.setup.inputs
        self._processes = run.setup.processes
        self._watcher = run.setup.watcher
        self._profiler = run.setup.profiler
        self._epochs = epochs_by_step(run.setup.inputs.plan, run.setup.inputs.dataset)
        done = run.log.next_step
        self._last = done if done and self._overfits() else run.setup.last
        self._begun: BegunStep | None = None
        self._empty = EmptySteps(run.objective.settings)  # counts answers alone
        self._ended = 0.0  # when the step before ended, by `time.perf_counter`

    def follow_plan(self) -> RunResult:
        """Trains the remaining steps and writes the trained model."""
        log, plan, processes = self._run.log, self._inputs.plan, self._processes
        done = log.next_step
        if self._profiler.is_wanted:
            self._profiler.use(profiled_device())
        self._watcher.on_start(self._inputs.checked, done, self._last)
        self._restore_policy(done)
        self._estimate_pace()
        before = f"stopped before step {done + 1}; run the same command to continue"
        if is_due(self._config, done, self._last) and not self._run.evaluator.run(done):
            raise self._stopped(done, before)
        if done < self._last and self._pace is not None and processes.any(self._pace.is_over()):
            raise self._stopped(done, before)
        cursor = PlanCursor(
            plan,
            rank=processes.rank,
            world_size=processes.size,
            micro_rows=self._run.micro_batch_rows,
            next_step=done,
        )
        has_mixture = len(plan.metadata.sources) > 1
        mixtures = count_mixture(plan, done) if has_mixture else itertools.repeat(None)
        for share, mixture in zip(cursor, mixtures, strict=False):
            if share.step.index >= self._last:
                break
            with self._profiler.step(share.step.index + 1):
                self._do(share, mixture)
        self._conclude()
        self._warn(self._empty.at_end())
        self._check_weights(log.next_step)
        if processes.is_first:
            log.finished(self._run.state.finish(self._setup.folder.final, self._inputs.template))
        self._log_box("finished")
        processes.check_same(steps=log.next_step)
        return RunResult(self._setup.folder.final, log.next_step, len(plan), log.head, log.data_head)

    def _do(self, share: RankStep, mixture: StepMixture | None) -> None:
        """A step, and what follows it; a step of one graph is begun, and the step before it is logged."""
        whole = self._run.whole_step
        is_whole = whole is not None and sum(map(bool, share.micro_batches)) == 1
        with contextlib.nullcontext() if self._pace is None else self._pace.step(share.step.tokens):
            if whole is not None and is_whole:
                done = self._begin(whole, share, mixture)
            else:
                self._conclude()
                done = self._step(share, mixture)
        if done is not None:
            self._after(done)

    def _restore_policy(self, done: int) -> None:
        """Restores what the choice of prompts and the adapted `beta` know of earlier steps."""
        on_policy, log = self._run.on_policy, self._run.log
        if on_policy is None or not done:
            return
        sent = "" if not self._processes.is_first else repr(log.last_metric(BETA))
        beta = next(part for part in self._processes.gather(sent.encode()) if part).decode()
        drawn = [line for line in log.drawn() if line["step"] <= done]
        on_policy.resume(drawn, None if beta == "None" else float(beta))

    def _begin(self, whole: WholeStep, share: RankStep, mixture: StepMixture | None) -> int | None:
        """Starts a step on the device, then logs the step before it. Waits for a step only if something follows that
        needs its weights. Returns the steps done then, and None otherwise.
        """
        step, began = share.step, time.perf_counter()
        rate = learning_rate(self._config.optimizer, step.index, len(self._inputs.plan))
        mx.random.seed(step_seed(self._config.seed, step.index, self._processes.rank))  # for dropout
        rows = next(rows for rows in share.micro_batches if rows)
        with self._profiler.phase("read batch"):
            (batch,) = self._run.batches.micro_batch(rows, step, {})
        arrays = whole(batch, int(self._inputs.units[step.index]), rate)
        done = step.index + 1
        ema = self._run.state.ema
        if ema is not None:
            ema.update(done, waits=False)
        self._conclude(BegunStep(share, mixture, rate, arrays, began))
        config = self._config
        is_saved = config.save_every and done % config.save_every == 0
        stops = self._watcher.should_stop() or (self._pace is not None and self._pace.is_over())
        if done != self._last and not is_saved and not stops and not is_due(config, done, self._last):
            return None
        self._conclude()
        return done

    def _conclude(self, following: BegunStep | None = None) -> None:
        """Waits for the step that the device computes, starts the following one, and logs the finished one.

        Args:
            following: The next step, prepared; None if there is none yet.
        """
        begun, self._begun = self._begun, following
        with self._profiler.phase("whole step") if begun is not None else contextlib.nullcontext():
            found = None if begun is None else check_finite(begun.share.step, begun.arrays.read())
        ended = time.perf_counter()
        if following is not None:
            ema = self._run.state.ema
            following.arrays.begin([] if ema is None else ema.state())
        if begun is not None and found is not None:
            report = self._report(begun.share.step, found, begun.rate, ended - max(begun.began, self._ended))
            self._log(begun.share, replace(report, mixture=begun.mixture))
            self._ended = ended

    def _step(self, share: RankStep, mixture: StepMixture | None) -> int:
        """One step: gradients, update, logs. Returns the steps done."""
        step = share.step
        rate = learning_rate(self._config.optimizer, step.index, len(self._inputs.plan))
        report = self._learn(share, rate) if self._run.on_policy is None else self._learn_on_policy(step, rate)
        self._log(share, replace(report, mixture=mixture))
        return report.step

    def _log(self, share: RankStep, report: StepReport) -> None:
        step = share.step
        units = int(self._inputs.units[step.index])
        with self._profiler.phase("row digests"):
            digest = StepDigest.of(encode_step(self._inputs.plan, step.index), self._row_digests(share))
        with self._profiler.phase("log"):
            self._run.log.step(report, self._run.objective.unit, units, digest)
        self._watcher.on_step(report)

    def _learn(self, share: RankStep, rate: float) -> StepReport:
        """Updates the weights by the rows of a step."""
        began, step = time.perf_counter(), share.step
        gradients = self._gradients(share, int(self._inputs.units[step.index]))
        with self._profiler.phase("optimizer"):
            self._update(gradients, rate)
            self._average(step.index + 1)
        return self._report(step, gradients, rate, time.perf_counter() - began)

    def _report(self, step: Step, found: Gradients, rate: float, seconds: float) -> StepReport:
        return StepReport(
            step=step.index + 1,
            loss=found.loss,
            metrics=found.metrics,
            rate=rate,
            norm=found.norm,
            tokens=step.tokens,
            seconds=seconds,
            epochs=float(self._epochs[step.index]),
        )

    def _learn_on_policy(self, step: Step, rate: float) -> StepReport:
        """Updates the weights by answers to the prompts of a step."""
        began, on_policy = time.perf_counter(), self._run.on_policy
        assert on_policy is not None, "called for objectives that draw answers"

        def apply(gradients: Gradients) -> None:
            if not math.isfinite(gradients.loss) or not math.isfinite(gradients.norm):
                raise NonFinite(
                    f"step {step.index + 1}: loss {gradients.loss}, gradient norm {gradients.norm} on the drawn answers; the weights "
                    "were not updated. Train again with a lower `learning_rate` into another folder",
                    "LR-E220",
                )
            self._update(gradients, rate)

        with self._profiler.phase("answers and updates"):
            learned = on_policy.step(step, apply)
        self._average(step.index + 1)
        warning = self._empty.warning(learned.rollouts)
        if step.index + 1 < self._last:  # else the run says it at its end
            self._warn(warning)
        self._run.log.rollouts([each.to_json() for each in learned.rollouts])
        return StepReport(
            step=step.index + 1,
            loss=learned.loss,
            metrics=learned.metrics,
            rate=rate,
            norm=learned.norm,
            tokens=step.tokens,
            seconds=time.perf_counter() - began,
            epochs=float(self._epochs[step.index]),
            rollouts=learned.digest,
            speeds=learned.speeds,
        )

    def _warn(self, words: str | None) -> None:
        if words is not None:
            self._watcher.on_warning(words)

    def _update(self, gradients: Gradients, rate: float) -> None:
        self._run.state.optimizer.update(gradients.tree, rate)
        self._run.state.optimizer.evaluate()

    def _average(self, done: int) -> None:
        if self._run.state.ema is not None:
            self._run.state.ema.update(done)

    def _gradients(self, share: RankStep, units: int) -> Gradients:
        """Gradients of a step over all processes.

        Raises:
            NonFinite: Loss or gradient is NaN or infinite.
        """
        run, step = self._run, share.step
        mx.random.seed(step_seed(self._config.seed, step.index, self._processes.rank))  # for dropout
        statistics = run.statistics.of_step(share)
        made = (run.batches.micro_batch(rows, step, statistics) for rows in share.micro_batches if rows)
        batches = profiled_batches(self._profiler, made) if self._profiler.is_active else made
        limit = self._config.optimizer.max_grad_norm
        found = compute_gradients(run.replicas, run.gradients, batches, units, limit, processes=self._processes)
        return check_finite(step, found)

    def _row_digests(self, share: RankStep) -> list[bytes]:
        """Digests of the step's rows, each from the process that trained on it."""
        table = np.zeros((len(share.step.rows), 32), dtype=np.uint8)
        mine = [row for rows in share.micro_batches for row in rows]
        for row, digest in zip(mine, row_digests(mine, self._inputs.dataset), strict=True):
            table[row.number] = np.frombuffer(digest, dtype=np.uint8)
        return [row.tobytes() for row in self._processes.join_bytes(table)]

    def _after(self, done: int) -> None:
        """Evaluates and saves when due; stops on request."""
        config = self._config
        with self._profiler.phase("evaluation") if is_due(config, done, self._last) else contextlib.nullcontext():
            is_given_up = is_due(config, done, self._last) and not self._run.evaluator.run(done)
        overfits = self._overfits()
        self._last = done if overfits else self._last
        is_last = done == self._last
        has_no_time = self._pace is not None and self._pace.is_over()
        stops = is_given_up or (not is_last and self._processes.any(has_no_time or self._watcher.should_stop()))
        if is_last or stops or (config.save_every and done % config.save_every == 0):
            with self._profiler.phase("checkpoint"):
                self._save(done)
        if overfits:
            self._watcher.on_warning(
                f"stopped after step {done}: the held-out loss rises while the training loss falls"
            )
        if stops:
            words = f"stopped after step {done} of {self._last}; the checkpoint is written; run the same command to continue"
            raise self._stopped(done, words)

    def _estimate_pace(self) -> None:
        """Estimates what a step and a checkpoint take from what earlier calls measured."""
        if self._pace is not None:
            folder = self._setup.folder
            known = read_lines(folder.throughput), save_seconds(folder.time_boxes)
            self._pace.estimate(self._run.state.lm.model, *known)

    def _stopped(self, done: int, words: str) -> Interrupted:
        """The reason of a stop: a request, or the end of the time box, whose checkpoint is read back.

        Args:
            done: Steps done.
            words: Message of a requested stop.

        Raises:
            CorruptCheckpoint: The checkpoint is not on the disk as it was written.
        """
        pace = self._pace
        if pace is None or self._processes.any(pace.asked()):
            self._log_box("stopped")
            return Interrupted(words, "LR-E230")
        checkpoint = checkpoint_path(self._setup.folder.checkpoints, done)
        is_saved = checkpoint.is_dir()
        if is_saved and self._processes.is_first:
            read_state(checkpoint)
        self._log_box("time is up")
        tokens = int(tokens_by_step(self._inputs.plan)[done : self._last].sum())
        left = Left(done, self._last - done, tokens, pace.seconds_for(tokens), checkpoint if is_saved else None)
        return pace.time_is_up(left, self._last)

    def _log_box(self, ended: Ending) -> None:
        """Records the time box outside of what identifies the run."""
        pace = self._pace
        if pace is None or not self._processes.is_first:
            return
        began = datetime.fromtimestamp(pace.box.wall_start).astimezone()
        slowest = max(pace.saves, default=None)
        line = BoxLine(
            *(self._run.log.next_step, pace.trained, ended, began, pace.box.limit_s, pace.box.elapsed_s), slowest
        )
        append_box(self._setup.folder.time_boxes, line)

    def _overfits(self) -> bool:
        """Whether to stop early. The process that writes the metrics decides."""
        settings, decides = self._config.early_stop, self._config.deciding_set
        if settings is None or decides is None:
            return False
        return self._processes.any(is_overfitting(self._run.log.metrics(), decides, settings))

    def _check_weights(self, done: int) -> None:
        """Checks the weights after an update. The loss of a step is computed before it."""
        name = self._run.state.first_not_finite()
        if name is not None:
            raise NonFinite(
                f"after step {done} the weights `{name}` contain NaN or infinity; they were not saved. Train again with a "
                "lower `learning_rate` into another folder",
                "LR-E221",
            )

    def _save(self, done: int) -> None:
        self._check_weights(done)
        with contextlib.nullcontext() if self._pace is None else self._pace.saving():
            self._write(done)

    def _write(self, done: int) -> None:
        run, log = self._run, self._run.log
        moments = run.state.optimizer.state()
        if self._processes.is_first:
            log.flush()
            logs = log.logs()
            stored = {
                "plan": PlanCursor(self._inputs.plan).state(done, log.head),
                "trajectory": self._config.resume_key(),
                "base": run.base.digest,
                "base_files": dict(run.base.files),
                "logs": logs,
                "micro_rows": run.micro_batch_rows,
            }
            path = checkpoint_path(self._setup.folder.checkpoints, done)
            written = write_checkpoint(path, stored, lambda folder: run.state.write(folder, moments))
            log.saved(written, logs)
            tidy_checkpoints(self._setup, log)
