"""Checks the audit log, the plan, the training data and the held-out data."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lazarus_plan.checks import check_pin
from lazarus_plan.errors import StalePlan
from lazarus_plan.format import short
from lazarus_train.data.dataset import field_names, read_dataset
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.run_dir.checkpoint import State
from lazarus_train.run_dir.links import How, Link
from lazarus_train.verify.evidence import RunEvidence

if TYPE_CHECKING:
    from lazarus_plan.audit import Audit


def check_audit_log(run: RunEvidence, inputs: RunInputs) -> "Audit":
    """Checks that the plan is the run's and the pinned one, and recomputes the audit log from plan and data.

    Args:
        run: The run, with its pins.
        inputs: Plan and data.

    Returns:
        Steps, heads and bindings of the recomputed log.

    Raises:
        StalePlan: The plan is not the run's, or not the pinned one.
        CorruptPlan: The run did not follow the plan, or was trained on other tokens.
    """
    plan = inputs.plan
    if plan.plan_id != run.members["plan_id"]:
        raise StalePlan(
            f"the run followed plan {short(run.members['plan_id'])}, but {run.config.batch_plan} has plan {short(plan.plan_id)}",
            "LP-E172",
        )
    if run.pins.plan is not None:
        check_pin(plan.plan_id, run.pins.plan, str(run.config.batch_plan))
    return run.audit.check_steps(plan, lambda segment: inputs.dataset.sample(segment.sample, segment.span)[0])


def step_links(audit: "Audit", inputs: RunInputs, state: State) -> Iterator[Link]:
    """Links of the audit log, both heads and the plan.

    Args:
        audit: Result of `check_audit_log`.
        inputs: Plan and data.
        state: State of the verified checkpoint.
    """
    plan = inputs.plan
    later_steps = audit.steps - state.next_step
    after = f", {later_steps} of them after the checkpoint" if later_steps else ""
    rebased = [entry.step for entry in audit.bindings if entry.kind == "plan"]
    rebases = f"; the plan was rebased after {', '.join(map(str, rebased))}" if rebased else ""
    yield Link(
        "audit log",
        f"{audit.steps} steps{after}{rebases}: chain, plan lines and token ids recomputed",
    )
    yield Link("audit head", audit.head)
    yield Link("data head", audit.data_head)
    yield Link("plan", f"{plan.plan_id}, {len(plan)} steps")


def data_links(inputs: RunInputs) -> Iterator[Link]:
    for name in ("lengths", "tokenizer", "template", "data"):
        reason = inputs.checked.unchecked.get(name)
        digests = ", ".join(map(str, inputs.plan.fingerprints[name]["sources"]))
        yield Link(name, reason or digests, How.NOT_CHECKED if reason else How.RECOMPUTED)


def held_out_links(run: RunEvidence, inputs: RunInputs) -> Iterator[Link]:
    """Checks the digest of each held-out set. A missing file is reported as not proven.

    Args:
        run: The run, with the recorded digests.
        inputs: The encoder of the run.

    Raises:
        StalePlan: Held-out rows changed.
    """
    for name, path in run.config.eval_data.items():
        if not path.exists():
            yield Link(f"held-out {name}", f"{path} does not exist", How.NOT_PROVEN)
            continue
        found = read_dataset(path, inputs.encoder, field_names(run.config)).lengths.header.data
        if found != run.members["eval_data"][name]:
            raise StalePlan(
                f"{path}: the held-out rows `{name}` changed since the run measured them: restore the file", "LR-E213"
            )
        yield Link(f"held-out {name}", found)
