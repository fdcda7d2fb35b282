from datetime import UTC, datetime

import numpy as np
import pytest

from lazarus_plan import PlanConfig
from lazarus_plan.checks.geometry import check_geometry
from lazarus_plan.format.step_codec import Columns
from lazarus_plan.plan import WHOLE, Metadata

ROW_LEN = 8
METADATA = Metadata(
    plan_format_version=1,
    tool_version="",
    seed=0,
    created_at=datetime.now(UTC),
    config=PlanConfig(token_budget=2 * ROW_LEN, row_len=ROW_LEN, align=2),
    sources=(),
    epochs=(),
)


def step_with(start: int, end: int) -> Columns:
    def column(value: int) -> np.ndarray:
        return np.array([value])

    one, none = column(1), column(WHOLE)
    return Columns(column(0), column(end - start), column(0), one, column(0), column(start), column(end), none, none)


@pytest.mark.parametrize("start", range(2 * ROW_LEN + 1))
def test_a_range_stands_in_one_row_of_the_step_and_on_its_alignment(start: int):
    for end in range(start + 1, 3 * ROW_LEN):
        is_odd = start // ROW_LEN != (end - 1) // ROW_LEN or end > 2 * ROW_LEN or start % 2
        found = {finding.code for finding in check_geometry(step_with(start, end), METADATA, 0)}
        assert found == ({"LP-E109"} if is_odd else set()), (start, end)


@pytest.mark.parametrize(("start", "end"), [(4, 4), (4, 2)])
def test_an_empty_or_reversed_range_is_named(start: int, end: int):
    assert "LP-E108" in {finding.code for finding in check_geometry(step_with(start, end), METADATA, 0)}
