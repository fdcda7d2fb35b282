"""FORMAT.md: its golden vectors hold, and a reader in another language that knows nothing else agrees."""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from lazarus_plan import (
    BatchPlan,
    CorruptPlan,
    LengthCache,
    LengthRow,
    PlanConfig,
    assign,
    build_plan,
    load_plan,
    save_plan,
)
from lazarus_plan.codec import encode_lines
from lazarus_plan.config import AS_STORED
from lazarus_plan.lock import materialise, write_lock
from lazarus_plan.verification import verify_plan

FORMAT = (Path(__file__).parents[1] / "FORMAT.md").read_text("utf-8")
READER = Path(__file__).with_name("read_plan.mjs")

GOLDEN = {
    "token_budget 2048, row_len 512, epochs 2, seed 42": PlanConfig(token_budget=2048, row_len=512, epochs=2, seed=42),
    "token_budget 512, row_len 128, oversize split": PlanConfig(token_budget=512, row_len=128, oversize="split"),
    "token_budget 1024, row_len 256, align 8": PlanConfig(token_budget=1024, row_len=256, align=8),
    "token_budget 1024, row_len 256, window 100": PlanConfig(token_budget=1024, row_len=256, window=100),
    "token_budget 1024, row_len 256, mode stable": PlanConfig(token_budget=1024, row_len=256, mode="stable"),
    "token_budget 2048, row_len 256, mode padded": PlanConfig(token_budget=2048, row_len=256, mode="padded"),
    "token_budget 2048, mode bucketed, bucket_edges 64, 128, 256": PlanConfig(
        token_budget=2048, mode="bucketed", bucket_edges=(64, 128, 256)
    ),
}


def golden_plan(name: str) -> BatchPlan:
    cache = LengthCache.from_rows(LengthRow(f"s{n}", 1 + n * n % 181) for n in range(1000))
    return build_plan(cache, GOLDEN[name])


@pytest.mark.parametrize("name", GOLDEN)
def test_the_bytes_are_those_of_every_earlier_version(name: str):
    # Changing this breaks stored plans: raise the format version.
    plan = golden_plan(name)
    sha256 = hashlib.sha256(b"".join(encode_lines(plan))).hexdigest()
    assert f"| {name} | `{sha256}` | `{plan.plan_id[7:]}` |" in FORMAT


@pytest.mark.parametrize("name", GOLDEN)
def test_a_reader_in_javascript_finds_the_same_identity_and_ranks(name: str, tmp_path: Path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    plan = golden_plan(name)
    save_plan(plan, tmp_path / "plan")

    def read(*arguments: object) -> str:
        command = [node, READER, tmp_path / "plan", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()

    assert read() == plan.plan_id
    rows = plan.step(2).rows
    dealt = [[[s.sample for s in rows[row].segments] for row in share] for share in assign(rows, 3)]
    assert json.loads(read(2, 3)) == dealt


def test_the_reader_fits_a_page():
    assert len(READER.read_text("utf-8").splitlines()) <= 60


def test_every_member_of_the_documents_is_in_the_format(folder: Path):
    documents = [json.loads((folder / name).read_bytes()) for name in ("metadata.json", "fingerprints.json")]
    missing = {name for name in chain(*documents) if f"`{name}`" not in FORMAT}
    assert not missing


@pytest.fixture
def earlier(cache: LengthCache, tmp_path: Path) -> BatchPlan:
    """A plan in `tmp_path/earlier`, of a version that did not know the last member of the configuration."""
    *known, (last, _) = PlanConfig(token_budget=128, row_len=64, epochs=2).canonical().items()
    assert last == "zero_length"
    config = PlanConfig.model_validate_json(json.dumps(dict(known)), context=AS_STORED)
    plan = build_plan(cache, config)
    save_plan(plan, tmp_path / "earlier")
    assert last not in json.loads((tmp_path / "earlier" / "metadata.json").read_bytes())["config"]
    return plan


def test_a_plan_keeps_its_identity_when_a_later_version_adds_a_member(
    earlier: BatchPlan, plan: BatchPlan, cache: LengthCache, tmp_path: Path
):
    read = load_plan(tmp_path / "earlier")
    assert read.plan_id == earlier.plan_id != plan.plan_id
    assert read.metadata.config == plan.metadata.config
    said = list(verify_plan(tmp_path / "earlier", expect=read.plan_id, caches=[cache], rebuild=True))
    assert said[-1] == "rebuild: the same plan, to the byte"
    write_lock(tmp_path / "earlier", tmp_path / "lock")
    assert materialise(tmp_path / "lock", [cache], tmp_path / "again").plan_id == earlier.plan_id
    assert load_plan(tmp_path / "again").plan_id == earlier.plan_id


@pytest.mark.parametrize("change", [{"zero_length": "error"}, {"zero_length": "exclude"}, {"seed": 1}])
def test_a_member_that_was_added_or_changed_afterwards_is_noticed(
    earlier: BatchPlan, tmp_path: Path, change: dict[str, object]
):
    document = tmp_path / "earlier" / "metadata.json"
    metadata = json.loads(document.read_bytes())
    metadata["config"].update(change)
    metadata["seed"] = metadata["config"]["seed"]
    document.write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
    with pytest.raises(CorruptPlan, match="`config` does not match") as caught:
        load_plan(tmp_path / "earlier")
    assert caught.value.code == "LP-E151"


def test_what_is_built_spells_out_every_member(plan: BatchPlan):
    assert set(plan.metadata.config.canonical()) == set(PlanConfig.model_fields)


def dispatched() -> list[str]:
    """Instruction sets that numpy chooses at run time on this machine."""
    umath = importlib.import_module(
        "numpy._core._multiarray_umath" if np.__version__ >= "2" else "numpy.core._multiarray_umath"
    )
    return [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["all", "without AVX-512", "baseline"])
def test_the_bytes_do_not_depend_on_the_processor(level: str):
    is_off = {
        "all": lambda _: False,
        "without AVX-512": lambda name: "512" in name or name == "X86_V4",
        "baseline": lambda _: True,
    }
    off = " ".join(filter(is_off[level], dispatched()))
    script = (
        "from lazarus_plan import LengthCache, LengthRow, PlanConfig, build_plan\n"
        "cache = LengthCache.from_rows(LengthRow(f's{n}', 1 + n * n % 181) for n in range(1000))\n"
        "print(build_plan(cache, PlanConfig(token_budget=2048, row_len=512, epochs=2, seed=42)).plan_id)"
    )
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": off}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True, encoding="utf-8"
    )
    assert f"`{done.stdout.strip()[7:]}`" in FORMAT
