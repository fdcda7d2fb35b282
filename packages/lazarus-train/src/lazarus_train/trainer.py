"""Supervised fine-tuning by a plan: enforced before, audited during, resumable after every checkpoint."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_models import supports_packing
from lazarus_models.backend import mx
from lazarus_plan import AuditLog, BatchPlan, PlanCursor, RankStep, StepDigest, check_state, encode_step
from lazarus_train.batches import make_batch, row_digests
from lazarus_train.checkpoint import checkpoint_path, checkpoints, clear_leftovers, read_state, write_checkpoint
from lazarus_train.config import SftConfig
from lazarus_train.dataset import Dataset, read_dataset
from lazarus_train.enforce import Enforced, enforce, fields
from lazarus_train.errors import ForeignCheckpoint, Interrupted, NonFinite, SetupError
from lazarus_train.evaluate import HeldOut, held_out, plan_held_out
from lazarus_train.folder import RunFolder
from lazarus_train.learner import Learner, weights_digest
from lazarus_train.manifest import write_manifest
from lazarus_train.metrics import append_line, keep_steps
from lazarus_train.schedule import learning_rate
from lazarus_train.step import compute_gradients

AUTO, NONE = "auto", "none"
"""Resume from the newest checkpoint of the output folder, or from none and replace what is there."""


@dataclass(frozen=True)
class StepReport:
    """One finished step.

    Args:
        step: Steps done, this one included.
        loss: Nats a label token, over the whole step.
        rate: Learning rate of the update.
        norm: Global gradient norm before clipping.
        tokens: Real tokens of the step; padding does not count.
        seconds: From the first row to the updated weights.
    """

    step: int
    loss: float
    rate: float
    norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Watcher:
    """Who wants to know how far a run is, and may stop it.

    Args:
        on_rows: Given the number of rows encoded since the last call.
        on_start: Given the first step to do and the step to end after.
        on_step: Given each finished step.
        on_held_out: Given the step and the held-out loss after it.
        should_stop: Asked after each step; true ends the run with a checkpoint.
    """

    on_rows: Callable[[int], object] = lambda _: None
    on_start: Callable[[int, int], object] = lambda first, last: None
    on_step: Callable[[StepReport], object] = lambda _: None
    on_held_out: Callable[[int, HeldOut], object] = lambda step, result: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Args:
        final: Folder of the trained model.
        steps: Steps done since the run began, resumed ones included.
        plan_steps: Steps of the whole plan.
        audit_head: Hash of the audit chain.
    """

    final: Path
    steps: int
    plan_steps: int
    audit_head: str


def sft(config: SftConfig, *, resume: str = AUTO, watcher: Watcher = Watcher()) -> RunResult:
    """Fine-tunes a model on exactly what a plan says.

    Args:
        config: Model, data, plan, output and how to learn.
        resume: `auto` (the newest checkpoint in the output folder, else from the start), `none` (from the start;
            an earlier run in the folder is replaced), or a checkpoint's path.
        watcher: Is told how far the run is, and may stop it.

    Raises:
        CorruptPlan: The plan contradicts itself.
        StalePlan: The plan is of other data, tokenizer, template or lengths; nothing was trained.
        CorruptCheckpoint: The checkpoint to resume from is damaged.
        ForeignCheckpoint: It is of another run.
        NonFinite: Loss or gradient is NaN or infinite; the last checkpoint is kept.
        Interrupted: `should_stop` said so; the checkpoint is written.
    """
    enforced = enforce(config, watcher.on_rows)
    evaluation = _read_evaluation(config, enforced)
    base = weights_digest(config.model)
    folder = RunFolder(config.output)
    folder.check_is_ours()
    with folder.held():
        run = _Run(config, enforced, base, evaluation, watcher)
        checkpoint = _find_checkpoint(folder, resume)
        if checkpoint is None:
            run.start()
        else:
            run.restore(checkpoint, _check_checkpoint(checkpoint, config, enforced.plan, base))
        return run.follow_plan()


def _read_evaluation(config: SftConfig, enforced: Enforced) -> tuple[Dataset, BatchPlan] | None:
    if config.eval_data is None:
        return None
    dataset = read_dataset(config.eval_data, enforced.encoder, fields(config))
    return dataset, plan_held_out(dataset)


def _find_checkpoint(folder: RunFolder, resume: str) -> Path | None:
    match resume:
        case "none":
            return None
        case "auto":
            found = checkpoints(folder.checkpoints)
            return found[-1] if found else None
        case _:
            path = Path(resume)
            if not path.is_dir():
                raise SetupError(f"--resume {resume}: no such checkpoint; give `auto`, `none` or its folder", "LR-E103")
            if path.resolve().parent != folder.checkpoints.resolve():
                raise SetupError(
                    f"--resume {resume}: a checkpoint of another run than {folder.path}, whose audit log it would lack; "
                    "copy that run's folder and give the copy as --output",
                    "LR-E109",
                )
            return path


def _check_checkpoint(checkpoint: Path, config: SftConfig, plan: BatchPlan, base: str) -> dict[str, Any]:
    """The state of a checkpoint that is whole and of this run."""
    state = read_state(checkpoint)
    check_state(plan, state["plan"])
    settings = config.trajectory()
    changed = [name for name, value in settings.items() if state["trajectory"].get(name) != value]
    changed += ["model"] if state["base_weights"] != base else []
    if changed:
        raise ForeignCheckpoint(
            f"{checkpoint} was trained with other settings: {', '.join(f'`{name}`' for name in changed)} differ; give "
            "the same ones, another --output, or --resume none to start again",
            "LR-E210",
        )
    return state


class _Run:
    """One run in progress: what `sft` sets up, follows and finishes."""

    def __init__(
        self,
        config: SftConfig,
        enforced: Enforced,
        base: str,
        evaluation: tuple[Dataset, BatchPlan] | None,
        watcher: Watcher,
    ) -> None:
        self._config = config
        self._plan = enforced.plan
        self._dataset = enforced.dataset
        self._labels = enforced.labels
        self._template = enforced.template
        self._base = base
        self._evaluation = evaluation
        self._watcher = watcher
        self._last = min(len(self._plan), config.max_steps or len(self._plan))
        self._folder = RunFolder(config.output)
        self._learner: Learner
        self._audit: AuditLog

    def start(self) -> None:
        """Begins at step 0; an earlier run in the folder gives way."""
        self._learner = self._supported(Learner.fresh(self._config))
        self._folder.clear()
        write_manifest(self._folder.config, self._config, self._plan)
        self._audit = AuditLog.start(self._folder.audit, self._plan.plan_id)

    def restore(self, checkpoint: Path, state: dict[str, Any]) -> None:
        """Goes on where a verified checkpoint stopped; log lines beyond it are done again."""
        self._learner = self._supported(Learner.restored(self._config, checkpoint))
        clear_leftovers(checkpoint.parent)
        place = state["plan"]
        self._audit = AuditLog.resume(self._folder.audit, self._plan.plan_id, place["next_step"], place["audit_head"])
        for log in (self._folder.metrics, self._folder.throughput):
            keep_steps(log, place["next_step"])
        write_manifest(self._folder.config, self._config, self._plan)

    def follow_plan(self) -> RunResult:
        """Does the steps that are left, and writes the trained model."""
        self._watcher.on_start(self._audit.next_step, self._last)
        if self._audit.next_step == 0:
            self._measure(0)
        cursor = PlanCursor(self._plan, micro_rows=self._config.micro_rows, next_step=self._audit.next_step)
        for share in cursor:
            if share.step.index >= self._last:
                break
            self._do(share)
        self._learner.finish(self._folder.final, self._template)
        return RunResult(self._folder.final, self._audit.next_step, len(self._plan), self._audit.head.hex())

    def _supported(self, learner: Learner) -> Learner:
        """Refuses what the model cannot do with this plan."""
        if not supports_packing(learner.lm):
            raise SetupError(
                f"a {learner.lm.family} model carries state from one sample to the next and cannot train on packed "
                "rows; plan it with one sample a row",
                "LR-E101",
            )
        highest = int(self._dataset.ids.max())
        if highest >= learner.lm.config.vocab_size:
            raise SetupError(
                f"the data holds token id {highest}, the model knows {learner.lm.config.vocab_size}: "
                "tokenizer and model do not belong together",
                "LR-E102",
            )
        return learner

    def _do(self, share: RankStep) -> None:
        """One step: gradients, update, logs, and what is due after it."""
        began = time.perf_counter()
        step, config = share.step, self._config
        mx.random.seed(_step_seed(config.seed, step.index))  # dropout's; the order of the data is the plan's
        batches = (make_batch(rows, self._dataset, step.row_len) for rows in share.micro_batches if rows)
        labels = int(self._labels[step.index])
        model = self._learner.lm.model
        gradients = compute_gradients(model, batches, labels, config.optimizer.max_grad_norm)
        if not math.isfinite(gradients.loss) or not math.isfinite(gradients.norm):
            raise NonFinite(
                f"step {step.index}: loss {gradients.loss}, gradient norm {gradients.norm}, samples "
                f"{list(step.samples)}; nothing was updated. Resume with a lower --learning-rate into another folder, "
                "or look at these samples",
                "LR-E220",
            )
        rate = learning_rate(config.optimizer, step.index, len(self._plan))
        self._learner.optimizer.update(gradients.tree, rate)
        self._learner.optimizer.evaluate()
        seconds = time.perf_counter() - began
        self._record(StepReport(step.index + 1, gradients.loss, rate, gradients.norm, step.tokens, seconds), labels)
        self._audit.append(
            step.index, StepDigest.of(encode_step(self._plan, step.index), row_digests(step.rows, self._dataset))
        )
        self._after(step.index + 1)

    def _record(self, report: StepReport, labels: int) -> None:
        append_line(
            self._folder.metrics,
            {
                "step": report.step,
                "loss": report.loss,
                "learning_rate": report.rate,
                "grad_norm": report.norm,
                "tokens": report.tokens,
                "loss_tokens": labels,
            },
        )
        append_line(
            self._folder.throughput,
            {
                "step": report.step,
                "seconds": round(report.seconds, 6),
                "tokens_per_s": round(report.tokens / report.seconds, 1),
            },
        )
        self._watcher.on_step(report)

    def _after(self, done: int) -> None:
        """Measures and saves when it is due; stops when asked to."""
        config = self._config
        is_last = done == self._last
        if is_last or (config.eval_every and done % config.eval_every == 0):
            self._measure(done)
        stops = not is_last and self._watcher.should_stop()
        if is_last or stops or (config.save_every and done % config.save_every == 0):
            self._save(done)
        if stops:
            raise Interrupted(
                f"stopped after step {done} of {self._last}; the checkpoint is written, the same command goes on",
                "LR-E230",
            )

    def _measure(self, done: int) -> None:
        if self._evaluation is None:
            return
        dataset, plan = self._evaluation
        result = held_out(self._learner.lm.model, dataset, plan, self._learner.lm.tokenizer)
        append_line(
            self._folder.metrics,
            {
                "step": done,
                "eval_loss": result.loss,
                "eval_perplexity": result.perplexity,
                "eval_bits_per_byte": result.bits_per_byte,
                "eval_tokens": result.labels,
            },
        )
        self._watcher.on_held_out(done, result)

    def _save(self, done: int) -> None:
        cursor = PlanCursor(self._plan)
        state = {
            "plan": cursor.state(done, self._audit.head.hex()),
            "trajectory": self._config.trajectory(),
            "base_weights": self._base,
        }
        write_checkpoint(checkpoint_path(self._folder.checkpoints, done), state, self._learner.write)


def _step_seed(seed: int, step: int) -> int:
    """A seed for one step's random numbers, so that a resumed step draws what the first one drew."""
    text = f"lazarus-train/1|step|{seed}|{step}"
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "little")
