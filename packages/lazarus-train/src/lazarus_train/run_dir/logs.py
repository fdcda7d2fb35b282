"""Records of a run in progress: settings, audit log, metrics. One process writes."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lazarus_core.atomic import flush
from lazarus_core.canonical import canonical_json
from lazarus_plan import AuditLog, BatchPlan
from lazarus_plan.audit import Binding, StepDigest, data_head, read_log
from lazarus_train.callbacks.reports import HeldOut, StepReport
from lazarus_train.config import TrainConfig
from lazarus_train.run_dir.checkpoint import State
from lazarus_train.run_dir.identity import identity_of
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.manifest import environment_of, settings_of, write_manifest
from lazarus_train.run_dir.metrics import append_line, finite_or_none, keep_lines, read_lines
from lazarus_train.run_dir.sealed_read import Sealed


class RunLog:
    """The logs of a run, made by `start` or `resume`.

    Args:
        folder: The run's folder.
        config: Settings of the run.
        plan: The current plan.
        audit: The audit log; None on a process that does not write.
        done: Steps done.
        covered: Sizes and digests of metrics and samples in the newest checkpoint.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        plan: BatchPlan,
        audit: AuditLog | None,
        *,
        done: int = 0,
        covered: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = folder
        self._config = config
        self._plan = plan
        self._audit = audit
        self._done = done
        self._covered = dict(covered or {})

    @classmethod
    def start(
        cls, folder: RunFolder, config: TrainConfig, plan: BatchPlan, about: Mapping[str, Any] | None, base: str
    ) -> "RunLog":
        """Starts the logs at step 0. An earlier run in the folder is removed.

        Args:
            folder: The run's folder.
            config: Settings of the run.
            plan: The plan to follow; the audit log starts with its id.
            about: Content of `config.json`; None on a process that does not write.
            base: Digest of the initial model.
        """
        if about is None:
            return cls(folder, config, plan, None)
        members = dict(about)
        folder.clear()
        write_manifest(folder.config, members)
        settings, environment = settings_of(members).digest, environment_of(members).digest
        bound = {"settings": settings, "model": base, "environment": environment}
        return cls(folder, config, plan, AuditLog.start(folder.audit, plan.plan_id, bound))

    @classmethod
    def resume(
        cls,
        folder: RunFolder,
        config: TrainConfig,
        plan: BatchPlan,
        about: Mapping[str, Any] | None,
        state: State,
        *,
        is_due: bool,
    ) -> "RunLog":
        """Continues from a checkpoint; later lines are removed.

        Args:
            folder: The run's folder.
            config: Settings of the run.
            plan: The plan from here on.
            about: Content of `config.json`; None on a process that does not write.
            state: State of the checkpoint.
            is_due: Whether an evaluation is due at the checkpoint. A run that ended there has its results. A run
                that continues keeps them only if they are due.
        """
        done = state.next_step
        if about is None:
            return cls(folder, config, plan, None, done=done)
        audit = AuditLog.resume(
            folder.audit,
            state.plan_id,
            done,
            state.audit_head,
            checkpoint=state.sealed.binding("checkpoint"),
            goes_on_with=plan.plan_id,
        )
        if audit.plan_id != plan.plan_id:
            audit.bind(Binding.of_plan(identity_of(plan)))

        def is_kept(line: dict[str, Any]) -> bool:
            is_extra = (
                any(name in line for name in ("eval_loss", "prompt", "pixels")) and line["step"] == done and not is_due
            )
            return line["step"] <= done and not is_extra

        for log in (folder.metrics, folder.throughput, folder.samples, folder.images, folder.rollouts):
            keep_lines(log, is_kept)
        members = dict(about)
        audit.bind(settings_of(members))
        audit.bind(environment_of(members))
        write_manifest(folder.config, members)
        return cls(folder, config, plan, audit, done=done, covered=state.logs)

    @property
    def next_step(self) -> int:
        """Steps done."""
        return self._done

    @property
    def head(self) -> str:
        """Hash of the audit chain, 64 hex; empty if another process writes."""
        return "" if self._audit is None else self._audit.head.hex()

    @property
    def data_head(self) -> str:
        """Hash of the chain over the steps alone, 64 hex; empty if another process writes."""
        return "" if self._audit is None else data_head(self._plan.plan_id, read_log(self._folder.audit)[1])

    def bind_references(self, references: Mapping[str, str]) -> None:
        """Binds the reference log-probabilities of preference training.

        Args:
            references: Digest of each manifest, by name.
        """
        if self._audit is not None and references:
            self._audit.bind(Binding("reference", canonical_json(dict(references))))

    def saved(self, checkpoint: Sealed, logs: dict[str, Any]) -> None:
        """Binds a new checkpoint.

        Args:
            checkpoint: The sealed folder of the checkpoint.
            logs: Sizes and digests of metrics and samples in the checkpoint.
        """
        assert self._audit is not None, "only the first process saves"
        self._covered = logs
        self._audit.bind(checkpoint.binding("checkpoint"))
        flush(self._folder.audit)

    def finished(self, final: Sealed) -> None:
        """Binds the trained model, and evaluations since the last checkpoint."""
        assert self._audit is not None, "only the first process finishes"
        logs = self.logs()
        if logs != self._covered:
            self._audit.bind(Binding("logs", canonical_json(logs)))
        self._audit.bind(final.binding("final"))
        flush(self._folder.audit)

    def logs(self) -> dict[str, Any]:
        """Length and SHA-256 of the existing metrics and samples, by file name."""
        return log_digests(self._folder)

    def step(self, report: StepReport, unit: str, units: int, digest: StepDigest) -> None:
        """Logs a finished step.

        Args:
            report: Result of the step.
            unit: Unit of the loss.
            units: Number of units.
            digest: Digest of the step's rows.
        """
        self._done = report.step
        if self._audit is not None:
            self._audit.append(report.step - 1, digest)
        self._append(
            self._folder.metrics,
            {
                "step": report.step,
                "loss": report.loss,
                **report.metrics,
                "learning_rate": report.rate,
                "grad_norm": report.norm,
                "tokens": report.tokens,
                f"loss_{unit}s": units,
                **({} if report.mixture is None else {"mixture": report.mixture.to_json()}),
                **({} if report.rollouts is None else {"rollouts": report.rollouts}),
            },
        )
        self._append(
            self._folder.throughput,
            {
                "step": report.step,
                "seconds": round(report.seconds, 6),
                "tokens_per_s": round(report.tokens / report.seconds, 1),
                **{name: round(value, 1) for name, value in report.speeds.items()},
            },
        )

    def rollouts(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Logs the roll-outs of a step.

        Args:
            lines: Their members, in order.
        """
        for line in lines:
            self._append(self._folder.rollouts, dict(line))

    def drawn(self) -> list[dict[str, Any]]:
        """The roll-outs so far, on every process."""
        return read_lines(self._folder.rollouts)

    def held_out(self, done: int, eval_set: str, result: HeldOut, mean: HeldOut | None) -> None:
        """Logs a held-out loss.

        Args:
            done: Steps done.
            eval_set: Name of the held-out set.
            result: Result of the model.
            mean: Result of the EMA weights, if any.
        """
        members: dict[str, Any] = {"step": done, "eval_set": eval_set, "eval_loss": finite_or_none(result.loss)}
        if result.unit == "token":
            members |= {
                "eval_perplexity": finite_or_none(result.perplexity),
                "eval_bits_per_byte": finite_or_none(result.bits_per_byte),
            }
        members |= {f"eval_{name}": finite_or_none(value) for name, value in result.metrics.items()}
        if result.accuracy is not None:
            members |= {"eval_accuracy_interval": result.interval, "eval_accuracy_baseline": result.baseline}
        if mean is not None:
            members["eval_ema_loss"] = finite_or_none(mean.loss)
        members[f"eval_{result.unit}s"] = result.units
        self._append(self._folder.metrics, members)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the metrics so far; empty if another process writes."""
        return read_lines(self._folder.metrics) if self._audit is not None else []

    def last_metric(self, name: str) -> float | None:
        """A metric of the last step; None if it has none.

        Args:
            name: Name of the metric.
        """
        lines = [line for line in self.metrics() if "loss" in line]
        return lines[-1].get(name) if lines else None

    def is_measured(self, done: int, eval_set: str) -> bool:
        """Whether the metrics contain a held-out loss after `done` steps.

        Args:
            done: Steps done.
            eval_set: Name of the held-out set.
        """
        return any(line.get("eval_set") == eval_set and line["step"] == done for line in self.metrics())

    def answers(self, done: int, answers: Mapping[str, str]) -> None:
        """Logs the sampled answers after `done` steps, and replaces incomplete ones.

        Args:
            done: Steps done.
            answers: Answers by prompt.
        """
        if self._audit is not None:
            keep_lines(self._folder.samples, lambda line: line["step"] != done)
        for prompt, text in answers.items():
            self._append(self._folder.samples, {"step": done, "prompt": prompt, "text": text})

    def has_answered(self, done: int) -> bool:
        """Whether all answers after `done` steps are logged."""
        lines = read_lines(self._folder.samples) if self._audit is not None else []
        return {line["prompt"] for line in lines if line["step"] == done} >= set(self._config.sample_prompts)

    def images(self, members: Mapping[str, Any]) -> None:
        """Logs the images of an evaluation.

        Args:
            members: From `image_line`.
        """
        self._append(self._folder.images, dict(members))

    def has_images(self, done: int) -> bool:
        """Whether the images after `done` steps are logged."""
        lines = read_lines(self._folder.images) if self._audit is not None else []
        return any(line["step"] == done for line in lines)

    def flush(self) -> None:
        """Flushes the logs to the disk. A checkpoint may refer to them only afterwards."""
        for log in (self._folder.audit, *bound_logs(self._folder)) if self._audit is not None else ():
            if log.exists():
                flush(log)

    def _append(self, path: Path, members: dict[str, Any]) -> None:
        if self._audit is not None:
            append_line(path, members)


def log_digests(folder: RunFolder) -> dict[str, Any]:
    """Length and SHA-256 of a run's existing metrics, samples, images and roll-outs, by file name."""
    contents = {log.name: log.read_bytes() for log in bound_logs(folder) if log.is_file()}
    return {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }


def bound_logs(folder: RunFolder) -> tuple[Path, ...]:
    """The logs whose bytes checkpoints bind."""
    return folder.metrics, folder.samples, folder.images, folder.rollouts
