"""What somebody knows to be right: the plan before a run, plan and audit head after it."""

import json

import pytest

from lazarus_plan import PlanError, load_plan
from lazarus_plan.errors import StalePlan
from lazarus_plan.locks.lock import write_lock
from lazarus_train import train, verify_run
from lazarus_train.errors import ForeignCheckpoint, SetupError
from lazarus_train.run_dir import How
from lazarus_train.verify import Pins


def test_a_plan_that_is_not_the_expected_one_is_refused_before_anything_is_written(setup):
    with pytest.raises(StalePlan, match="the pinned one is 0000000000000000"):
        train(setup.config(expect_plan="0" * 16))
    assert not (setup.folder / "run").exists()


def test_an_expected_plan_is_an_id_its_first_digits_or_a_lock(setup):
    write_lock(setup.plan, setup.folder / "lock")
    identity = load_plan(setup.plan).plan_id
    for pin in (identity, identity[7:], identity[7:23], str(setup.folder / "lock"), str(setup.plan)):
        train(setup.config(f"run-{pin[-4:]}", max_steps=1, expect_plan=pin))
    recorded = json.loads((setup.folder / "run-lock/config.json").read_bytes())["config"]["expect_plan"]
    assert recorded == identity


@pytest.mark.parametrize("pin", ["d5de", "", "xyz", "0" * 15, "0" * 65])
def test_a_pin_that_tells_no_plans_apart_is_refused(setup, pin):
    with pytest.raises(PlanError) as caught:
        train(setup.config(expect_plan=pin))
    assert caught.value.exit_code == 2


def pinned(setup):
    result = train(setup.config(max_steps=4))
    return load_plan(setup.plan).plan_id, result.audit_head


def words(setup, **pins):
    return {link.name: link for link in verify_run(setup.folder / "run", pins=Pins(**pins))}["pins"]


def test_pins_that_hold_are_said_and_those_that_lack_too(setup):
    plan, head = pinned(setup)
    assert words(setup).how == How.NOT_PROVEN and "none given" in words(setup).proof
    assert "only the plan_id was given" in words(setup, plan=plan).proof
    both = words(setup, plan=plan[:23], audit_head=head[:16])
    assert (both.how, both.proof) == (How.COMPARED, "plan_id and audit head match")


def test_pins_of_another_run_are_refused(setup):
    plan, head = pinned(setup)
    with pytest.raises(StalePlan, match="the pinned one is"):
        words(setup, plan="0" * 64, audit_head=head)
    with pytest.raises(ForeignCheckpoint, match="the audit head is"):
        words(setup, plan=plan, audit_head="0" * 64)


@pytest.mark.parametrize("head", ["", "00", "0" * 15, "g" * 16, "0" * 65, "sha256:" + "0" * 64])
def test_a_head_that_is_none_is_refused(setup, head):
    with pytest.raises(SetupError, match="give 16 to 64 hexadecimal digits"):
        Pins(audit_head=head).resolved()
