"""What the identity of a plan is made of, as an audit log binds it where a run goes on with a rebased plan."""

from itertools import islice
from pathlib import Path

from lazarus_core.canonical import JSON
from lazarus_plan import BatchPlan
from lazarus_plan.audit import read_log
from lazarus_plan.errors import StalePlan
from lazarus_plan.format import encode_step, leaf_hash, plan_id, plan_identity, root_of_leaves, short, source_identities


def identity_of(plan: BatchPlan) -> JSON:
    """The members whose canonical digest is `plan_id`, the plan's parent among them."""
    about = plan.metadata
    sources = source_identities(plan.fingerprints, [source.count for source in about.sources])
    identity = plan_identity(about.config, sources, plan.fingerprints["merkle_root"], len(plan), about.parent)
    assert plan_id(identity) == plan.plan_id, "a loaded plan holds its own identity"
    return identity


def check_continues(log: Path, plan: BatchPlan) -> None:
    """Makes sure that the steps that a rebased plan keeps are those that the run did.

    Args:
        log: The run's audit log, up to where the plan was rebased.
        plan: With a parent.

    Raises:
        StalePlan: The plan says that it was rebased from the run's plan, and was not.
    """
    parent = plan.metadata.parent
    assert parent is not None, "a rebased plan"
    steps = (entry for entry in read_log(log)[1] if entry.kind is None)
    done = [entry.leaf for entry in islice(steps, parent.steps)]
    kept = [leaf_hash(encode_step(plan, step).removesuffix(b"\n")) for step in range(parent.steps)]
    if done != kept or root_of_leaves(done).hex() != parent.prefix_root:
        raise StalePlan(
            f"plan {short(plan.plan_id)} keeps other steps than the run did: it was not rebased from plan "
            f"{short(parent.plan_id)}, whatever its metadata says",
            "LP-E172",
        )
