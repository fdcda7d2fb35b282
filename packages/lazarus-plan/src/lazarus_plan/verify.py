"""Holds a plan against the world it was made from: data, template, tokenizer, parameters, lengths.

The chain is walked from its root, and the first broken link is named in words that a person can act on.
"""

import numpy as np

from lazarus_plan.canonical import JSON, changed_members
from lazarus_plan.errors import StalePlan
from lazarus_plan.lengths import ABSENT, LengthCache
from lazarus_plan.plan import WHOLE, BatchPlan


def check_lengths(plan: BatchPlan, found: LengthCache) -> None:
    """Holds a plan against freshly measured lengths and the digests they came with.

    Walks the chain from its root: data, template, tokenizer, parameters, lengths.

    Args:
        plan: A plan of one source.
        found: What the data, template and tokenizer at hand give.

    Raises:
        StalePlan: Names the first broken link, and the row, component or sample where it is known.
    """
    _check_data(plan, found)
    for link in ("template", "tokenizer"):
        _check_link(plan, found, link)
    expected = _parts(plan, "lengths").get("encoding")
    if expected and expected != found.header.encoding:
        names = ", ".join(f"`{name}`" for name in changed_members(expected, found.header.encoding))
        raise StalePlan(f"the encoding parameters changed: {names}; build lengths and plan again", "LP-E146")
    _check_samples(plan, found)


_LINK_CODES = {
    "template": "LP-E142",
    "vocab": "LP-E143",
    "merges": "LP-E144",
    "added_tokens": "LP-E145",
    "special_ids": "LP-E145",
    "truncation": "LP-E146",
    "behavioural": "LP-E147",
}
_INFORMATION = {"library", "files"}
"""Members of `parts` that inform and are not part of any digest."""


def _check_data(plan: BatchPlan, found: LengthCache) -> None:
    expected = _digest(plan, "data")
    if ABSENT in (expected, found.header.data) or expected == found.header.data:
        return
    count = plan.metadata.sources[0].count
    again = "build lengths and plan again, or restore the data"
    row = _first_changed_row(plan, found)
    if count != len(found):
        where = f"; the first row that differs is row {row} (id {found.ids[row]!r})" if row is not None else ""
        raise StalePlan(f"data: the plan knows {count} rows, {found.name} has {len(found)}{where}; {again}", "LP-E141")
    if row is None:
        raise StalePlan(f"data: a row of {found.name} changed; {again}", "LP-E140")
    assert plan.prefixes is not None and found.row_prefix is not None, "a changed row was found by its prefix"
    changed = np.flatnonzero(plan.prefixes[:, 0] != found.row_prefix)
    if len(changed) > 1 and sorted(plan.prefixes[:, 0].tolist()) == sorted(found.row_prefix.tolist()):
        raise StalePlan(
            f"data: {len(changed)} rows of {found.name} stand in another order, the first is row {row} "
            f"(id {found.ids[row]!r}); {again}",
            "LP-E141",
        )
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    raise StalePlan(f"data: row {row} (id {found.ids[row]!r}){more} of {found.name} changed; {again}", "LP-E140")


def _first_changed_row(plan: BatchPlan, found: LengthCache) -> int | None:
    if plan.prefixes is None or found.row_prefix is None:
        return None
    size = min(len(plan.prefixes), len(found))
    changed = np.flatnonzero(plan.prefixes[:size, 0] != found.row_prefix[:size])
    if len(changed):
        return int(changed[0])
    return size if size < len(found) else None


def _check_link(plan: BatchPlan, found: LengthCache, link: str) -> None:
    digest = str(getattr(found.header, link))
    if ABSENT in (_digest(plan, link), digest) or _digest(plan, link) == digest:
        return
    names = [
        name
        for name in changed_members(_parts(plan, link), found.header.parts.get(link, {}))
        if name not in _INFORMATION
    ]
    # A changed component changes behaviour too; the cause is named first.
    names.sort(key=lambda name: name == "behavioural")
    what = f"{link}: {', '.join(names)} changed" if names else f"the {link} changed"
    code = _LINK_CODES.get(link) or _LINK_CODES.get(names[0] if names else "", "LP-E146")
    raise StalePlan(f"{what}; lengths are stale: build lengths and plan again, or restore the {link}", code)


def _check_samples(plan: BatchPlan, found: LengthCache) -> None:
    """Lengths, and where known the token digests, of every sample."""
    is_whole = plan.span_start == WHOLE
    sample, planned = plan.sample[is_whole], (plan.end - plan.start)[is_whole]
    differs = np.flatnonzero(found.length[sample] != planned)
    if len(differs):
        which = int(sample[differs].min())
        length = int(planned[differs][sample[differs] == which][0])
        raise StalePlan(
            f"lengths: sample {which} (id {found.ids[which]!r}) has {int(found.length[which])} tokens, the plan says "
            f"{length} ({len(np.unique(sample[differs]))} samples differ); build lengths and plan again",
            "LP-E130",
        )
    last = np.where(is_whole, 0, plan.span_start + plan.end - plan.start)
    beyond = np.flatnonzero(last > found.length[plan.sample])
    if len(beyond):
        which = int(plan.sample[beyond[0]])
        raise StalePlan(
            f"lengths: sample {which} (id {found.ids[which]!r}) has {int(found.length[which])} tokens, the plan uses "
            f"{int(last[beyond[0]])}; build lengths and plan again",
            "LP-E130",
        )
    if plan.prefixes is not None and found.token_prefix is not None:
        changed = np.flatnonzero(plan.prefixes[:, 1] != found.token_prefix)
        if len(changed):
            which = int(changed[0])
            raise StalePlan(
                f"lengths: sample {which} (id {found.ids[which]!r}) has other token ids ({len(changed)} samples differ); "
                "build lengths and plan again",
                "LP-E147",
            )


def _digest(plan: BatchPlan, link: str) -> str:
    return str(plan.fingerprints[link]["sources"][0])


def _parts(plan: BatchPlan, link: str) -> JSON:
    return dict(plan.fingerprints[link]["parts"][0])
