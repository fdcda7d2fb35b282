"""How two plans differ, by their configuration and the digests of their inputs."""

from typing import cast

from lazarus_core.canonical import JSON
from lazarus_core.changed_values import describe_changes
from lazarus_plan.format.fingerprint import UPSTREAM
from lazarus_plan.plan import BatchPlan

LINKS = (*UPSTREAM, "lengths")


def describe_plan_changes(before: BatchPlan, now: BatchPlan) -> str:
    """The settings and inputs that differ between two plans, with both values.

    Args:
        before: The earlier plan.
        now: The present one.
    """
    links = (links_of(each.metadata.config.canonical(), each.fingerprints) for each in (before, now))
    return describe_links(*links)


def describe_links(before: JSON, now: JSON) -> str:
    """The differences between two results of `links_of`, or a text that names what else can differ.

    Args:
        before: Of the earlier plan.
        now: Of the present one.
    """
    return describe_changes(before, now) or "settings and inputs are the same, the steps are others"


def links_of(config: JSON, chain: JSON) -> JSON:
    """Configuration, and digest of each link, of a plan.

    Args:
        config: Its configuration.
        chain: Content of its `fingerprints.json`.
    """
    members: dict[str, object] = {link: chain.get(link) for link in LINKS}
    digests = {
        link: cast("JSON", value).get("digest") if isinstance(value, dict) else None for link, value in members.items()
    }
    return {"config": config, **digests}
