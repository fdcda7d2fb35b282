"""Stable codes: every one that the source can give is provoked by some test."""

import re
from pathlib import Path

import numpy as np
import pytest

import lazarus_plan
from lazarus_plan import (
    AuditLog,
    BatchPlan,
    LengthCache,
    LengthRow,
    PlanConfig,
    PlanError,
    build_plan,
    check_audit,
    prove,
    rebase_plan,
    save_plan,
    validate,
)
from lazarus_plan.audit import StepDigest
from lazarus_plan.audit.line import data_genesis, line_of
from lazarus_plan.errors import PlanningError, StalePlan
from lazarus_plan.format import encode_step
from lazarus_plan.verify import verify_plan

CODE = re.compile(r"LP-[EW]\d{3}")


def test_every_code_is_provoked_by_a_test():
    source = "".join(path.read_text("utf-8") for path in Path(lazarus_plan.__file__).parent.rglob("*.py"))
    core = Path(__file__).parents[2] / "lazarus-core" / "tests"  # codes of reading files are provoked there
    tests = "".join(path.read_text("utf-8") for folder in (Path(__file__).parent, core) for path in folder.glob("*.py"))
    assert set(CODE.findall(source)) <= set(CODE.findall(tests))


def test_a_build_time_that_is_no_number_is_lp_e005(cache: LengthCache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    with pytest.raises(PlanningError) as caught:
        build_plan(cache, PlanConfig(token_budget=128))
    assert caught.value.code == "LP-E005"


def test_a_step_that_is_not_there_is_lp_e008(folder: Path):
    with pytest.raises(PlanError) as caught:
        prove(folder, 10_000)
    assert caught.value.code == "LP-E008"


def test_data_that_the_plan_does_not_know_are_lp_e009(folder: Path, tmp_path: Path):
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(PlanError) as caught:
        list(verify_plan(folder, data=[tmp_path / "rows.jsonl"]))
    assert caught.value.code == "LP-E009"


def test_what_cannot_be_rebased_is_lp_e134(plan: BatchPlan, cache: LengthCache):
    for config in (
        plan.metadata.config.model_copy(update={"row_len": 128}),
        PlanConfig(token_budget=128, mode="padded"),
    ):
        with pytest.raises(PlanningError) as caught:
            rebase_plan(plan, 2, cache, config)
        assert caught.value.code == "LP-E134"


def test_uneven_steps_are_lp_w203(tmp_path: Path):
    # Eight rows a step, one step of long samples and one of short ones: padded rows would be worse, these are possible.
    cache = LengthCache.from_rows(LengthRow(f"s{n}", 64 if n < 3 else 1) for n in range(3 + 64 * 13))
    save_plan(build_plan(cache, PlanConfig(token_budget=512, row_len=64)), tmp_path / "plan")
    assert "LP-W203" in {finding.code for finding in validate(tmp_path / "plan")}


def test_an_old_log_of_a_child_begins_where_its_parent_stopped(plan: BatchPlan, cache: LengthCache, tmp_path: Path):
    child = rebase_plan(plan, 3, cache)
    head, lines = data_genesis(child.plan_id), [{"lazarus_audit": 1, "plan_id": child.plan_id, "first_step": 3}]
    for index in range(3, len(child)):
        digest = StepDigest.of(encode_step(child, index), [bytes(32)])
        head = digest.chain(head)
        lines.append({"step": index, "leaf": digest.leaf.hex(), "rows": digest.rows.hex(), "head": head.hex()})
    (tmp_path / "log").write_bytes(b"".join(map(line_of, lines)))
    found = check_audit(tmp_path / "log", child)
    assert (found.findings, found.version, found.first_step, found.steps) == ((), 1, 3, len(child) - 3)
    assert found.head == head.hex()
    lines[0]["first_step"] = 4
    (tmp_path / "log").write_bytes(b"".join(map(line_of, [lines[0], *lines[2:]])))
    assert {finding.code for finding in check_audit(tmp_path / "log", child).findings} >= {"LP-E170"}


def test_an_old_log_is_not_gone_on_with(plan: BatchPlan, tmp_path: Path):
    (tmp_path / "log").write_bytes(line_of({"lazarus_audit": 1, "plan_id": plan.plan_id}))
    with pytest.raises(StalePlan, match="audit format 1, which binds no weights"):
        AuditLog.resume(tmp_path / "log", plan.plan_id, 0, data_genesis(plan.plan_id).hex())


def test_a_damaged_number_is_not_wrapped_into_a_valid_one(folder: Path, plan: BatchPlan):
    lines = (folder / "plan.jsonl").read_bytes()
    sample = int(plan.sample[0])
    wrapped = lines.replace(b'"samples":[%d' % sample, b'"samples":[%d' % (sample + 2**32), 1)
    (folder / "plan.jsonl").write_bytes(wrapped)
    assert "LP-E122" in {finding.code for finding in validate(folder)}


@pytest.mark.slow
def test_starts_are_right_beyond_four_billion_tokens():
    length = np.full(1 << 20, 2040)
    header = lazarus_plan.LengthsHeader(len(length))
    cache = LengthCache("lengths", header, "sha256:00", range(len(length)), length * 2 + 1)  # pyright: ignore[reportArgumentType] # ids are not asked for
    plan = build_plan(cache, PlanConfig(token_budget=1 << 15, row_len=1 << 12))
    assert int(plan.tokens.sum()) > 2**32 - 2**24
    assert (plan.start % 4096 == 0).all() and (plan.start < 1 << 15).all()
