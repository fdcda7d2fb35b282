"""Some steps parsed, and a sample of each encoded again by whoever offers it."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from lazarus_plan import LengthCache, LengthRow, PlanError, verify_plan
from lazarus_plan.checks import sampled as spot
from lazarus_plan.checks.sampled import Recipe, parse_some
from lazarus_plan.errors import StalePlan

RECIPE = Recipe([Path("rows.jsonl")], "some")


@pytest.fixture
def encode(cache: LengthCache, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Installs an encoder that gives the rows of the plan, changed: `asked = encode(h="..")`."""

    def install(**changes: Any) -> list[int]:
        asked: list[int] = []

        def measure(recipe: Recipe, encoding: dict[str, Any], positions: Sequence[int]) -> Iterator[LengthRow]:
            assert (recipe, encoding) == (RECIPE, {"max_length": 64})
            asked.extend(positions)
            for place in positions:
                row = LengthRow(f"s{place}", int(cache.length[place]), None, None, f"{place + 100:08x}", f"{place:08x}")
                yield row._replace(**changes)

        monkeypatch.setattr(EntryPoint, "load", lambda _: measure)
        monkeypatch.setattr(spot, "entry_points", lambda **_: [EntryPoint("measure", "x:y", spot.GROUP)])
        return asked

    return install


def test_one_sample_of_each_parsed_step_is_encoded(folder: Path, encode: Callable[..., list[int]]):
    asked = encode()
    *_, said = verify_plan(folder, sample=4, recipe=RECIPE)
    assert (
        said == f"samples: {len(asked)} encoded again, lengths and the first 32 bits of rows and token ids as planned"
    )
    steps = parse_some(folder, 4)
    assert asked == sorted(set(asked)) and all(set(asked) & set(step.samples) for step in steps)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"row": "ffffffff"}, "LP-E140"),
        ({"length": 1}, "LP-E130"),
        ({"length": 65}, "LP-E130"),
        ({"h": "f" * 8}, "LP-E147"),
    ],
)
def test_what_is_not_as_planned_is_named(folder: Path, encode: Any, changes: dict[str, Any], code: str):
    encode(**changes)
    with pytest.raises(StalePlan, match=r"\(id 's\d+'\)") as caught:
        list(verify_plan(folder, sample=4, recipe=RECIPE))
    assert caught.value.code == code


def test_without_digests_of_rows_only_lengths_are_said_to_hold(folder: Path, encode: Any):
    (folder / "plan.rows").unlink()
    encode(h="f" * 8, row="f" * 8)
    *_, said = verify_plan(folder, sample=1, recipe=RECIPE)
    assert said == "samples: 1 encoded again, lengths as planned"


def test_who_encodes_must_be_installed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spot, "entry_points", lambda **_: [])
    with pytest.raises(PlanError, match="install lazarus-tokenkit") as caught:
        list(verify_plan(folder, sample=1, recipe=RECIPE))
    assert (caught.value.code, caught.value.exit_code) == ("LP-E009", 2)
