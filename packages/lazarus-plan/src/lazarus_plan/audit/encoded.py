"""Encoded rows as the tokens of a plan: what row digests of an audit log are computed from again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.audit.check import TokenIds
from lazarus_plan.errors import PlanError
from lazarus_plan.exports.encoded import EncodedSamples
from lazarus_plan.exports.steps import PlanRefused, PlanSteps
from lazarus_plan.plan import Segment


def encoded_token_ids(paths: Sequence[Path | str], plan: Path | str) -> TokenIds:
    """The token ids of segments, from files of `lazarus-tokenkit encode`.

    Args:
        paths: One file for each data source of the plan, in their order.
        plan: Folder of the plan.

    Returns:
        A function from a segment to its ids. It raises PlanError where a sample has other tokens than the plan.

    Raises:
        PlanError: A file is of other data, another template, tokenizer or encoding than the plan (LP-E192).
    """
    try:
        steps = PlanSteps(str(plan))
        samples = EncodedSamples([str(path) for path in paths], steps)
    except PlanRefused as error:
        raise PlanError(error.problem, error.code) from error

    def token_ids(segment: Segment) -> NDArray[np.int64]:
        position = segment.sample if steps.positions is None else steps.positions[segment.sample]
        ids: list[int] = samples[position]["input_ids"]
        try:
            steps.check_sample(position, ids)
        except PlanRefused as error:
            raise PlanError(error.problem, error.code) from error
        first = segment.span[0] if segment.span else 0
        return np.array(ids[first : first + segment.end - segment.start], dtype=np.int64)

    return token_ids
