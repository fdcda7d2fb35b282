"""The identity of a plan, as the audit log binds it when a run continues with a rebased plan."""

from itertools import islice
from pathlib import Path

from lazarus_core.canonical import JSON
from lazarus_plan import BatchPlan
from lazarus_plan.audit import read_log
from lazarus_plan.errors import StalePlan
from lazarus_plan.format import encode_step, leaf_hash, plan_id, plan_identity, root_of_leaves, short, source_identities


def identity_of(plan: BatchPlan) -> JSON:
    """The members whose canonical digest is `plan_id`, including the plan's parent."""
    about = plan.metadata
    sources = source_identities(plan.fingerprints, [source.count for source in about.sources])
    root = plan.fingerprints["merkle_root"]
    identity = plan_identity(about.config, sources, root, len(plan), about.parent, about.numbering)
    assert plan_id(identity) == plan.plan_id, "a loaded plan has its own identity"
    return identity


def check_continues(log: Path, plan: BatchPlan) -> None:
    """Checks that a rebased plan keeps exactly the steps that the run did.

    Args:
        log: The run's audit log, up to the rebase.
        plan: A plan with a parent.

    Raises:
        StalePlan: The plan was not rebased from the run's plan.
    """
    parent = plan.metadata.parent
    assert parent is not None, "a rebased plan"
    steps = (entry for entry in read_log(log)[1] if entry.kind is None)
    done = [entry.leaf for entry in islice(steps, parent.steps)]
    kept = [leaf_hash(encode_step(plan, step).removesuffix(b"\n")) for step in range(parent.steps)]
    if done != kept or root_of_leaves(done).hex() != parent.prefix_root:
        raise StalePlan(
            f"plan {short(plan.plan_id)} has other first steps than the run did: it was not rebased from plan "
            f"{short(parent.plan_id)}, although its metadata names it",
            "LP-E172",
        )
