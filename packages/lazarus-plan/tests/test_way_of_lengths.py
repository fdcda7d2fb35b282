"""CONTRIBUTING lists the way of lengths to a plan file. This test runs it and compares the order of calls."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from lazarus_plan import LengthRow, LengthsHeader, LengthsWriter, PlanConfig, build_plan, read_lengths

PAGE = Path(__file__).parents[3] / ".github" / "CONTRIBUTING.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the page lies in the repository, not in the package")
def test_the_hops_are_called_in_the_order_of_the_page(tmp_path: Path):
    section = PAGE.read_text("utf-8").partition("### The way of lengths to a plan file")[2].partition("\n#")[0]
    hops = re.findall(r"^\d+\. `([\w.]+)`: ", section, re.MULTILINE)
    with LengthsWriter(tmp_path / "lengths.jsonl") as writer:
        for place in range(60):
            writer.add(LengthRow(f"s{place}", 5 + place * 7 % 50))
        writer.finish(LengthsHeader(60))
    called: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        if event == "call" and name in hops and name not in called:
            called.append(name)

    sys.setprofile(note)
    try:
        build_plan(
            [read_lengths(tmp_path / "lengths.jsonl")], PlanConfig(token_budget=256, row_len=64), tmp_path / "plan"
        )
    finally:
        sys.setprofile(None)
    assert len(hops) == 12
    assert called == hops
