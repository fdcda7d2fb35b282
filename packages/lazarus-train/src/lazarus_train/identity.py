"""What the identity of a rebased plan is made of, as an audit log binds it."""

from lazarus_plan import BatchPlan
from lazarus_plan.canonical import JSON, canonical_digest


def plan_identity(plan: BatchPlan) -> JSON:
    """The members whose canonical digest is `plan_id`."""
    identity: JSON = {
        "config": plan.metadata.config.canonical(),
        "lengths": plan.fingerprints["lengths"]["digest"],
        "merkle_root": plan.fingerprints["merkle_root"],
        "steps": len(plan),
    }
    assert canonical_digest(identity) == plan.plan_id, "the identity of the plan"
    return identity
