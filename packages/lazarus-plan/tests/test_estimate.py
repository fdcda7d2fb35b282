import resource
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lazarus_plan import LengthCache, LengthsHeader, PlanConfig, build_plan
from lazarus_plan.errors import PlanningError
from lazarus_plan.packing import estimate
from lazarus_plan.packing.estimate import check_room, estimate_plan


def cache_of(lengths: Any) -> LengthCache:
    return LengthCache("lengths", LengthsHeader(len(lengths)), "sha256:00", range(len(lengths)), lengths)  # pyright: ignore[reportArgumentType] # ids are not asked for


@pytest.mark.parametrize("oversize", ["truncate", "split"])
def test_the_estimate_is_right_to_a_factor_of_two(tmp_path: Path, oversize: Any):
    lengths = np.random.default_rng(0).integers(1, 4000, 20_000)
    config = PlanConfig(token_budget=1 << 16, row_len=2048, oversize=oversize)
    expected = estimate_plan([cache_of(lengths)], config)
    plan = build_plan(cache_of(lengths), config, tmp_path / "plan")
    assert expected.places == len(plan.sample)
    size = sum(path.stat().st_size for path in (tmp_path / "plan").iterdir())
    assert expected.disk_bytes / 2 < size < expected.disk_bytes * 2


def test_what_the_machine_cannot_hold_is_refused_before_it_is_built(make_cache: Any, tmp_path: Path):
    config = PlanConfig(token_budget=128, row_len=64, epochs=10**11)
    with pytest.raises(
        PlanningError, match=r"GB of memory: plan fewer `epochs`, and extend the plan later with `rebase_plan`"
    ) as caught:
        build_plan(make_cache(), config, tmp_path / "plan")
    assert (caught.value.code, caught.value.exit_code) == ("LP-E005", 2)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_foreseen(make_cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = PlanConfig(token_budget=128, row_len=64)
    expected = estimate_plan([make_cache()], config)
    monkeypatch.setattr(estimate, "_free_bytes", lambda _: expected.disk_bytes - 1)
    with pytest.raises(PlanningError, match="GB of disk"):
        check_room(expected, config, tmp_path / "not" / "yet" / "there")
    check_room(expected, config, None)


@pytest.mark.skipif(sys.platform != "linux", reason="counts kB, as Linux does")
def test_the_room_is_that_of_the_machine(tmp_path: Path):
    assert estimate._memory_bytes() > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_room_of_a_folder_that_is_not_there_is_that_of_the_nearest_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = list[Path]()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=7))
    assert estimate._free_bytes(tmp_path / "a" / "b") == 7 and asked == [tmp_path]
