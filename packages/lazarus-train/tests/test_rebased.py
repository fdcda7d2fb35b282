"""A run that goes on with a rebased plan: one log, both parts proven."""

import json

import pytest

from lazarus_plan import PlanConfig, load_plan, rebase_plan, save_plan
from lazarus_plan.audit.log import read_log
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_train import check_run, train, verify_run
from lazarus_train.errors import SetupError


@pytest.fixture
def lengths(setup):
    return setup.build_plan(epochs=3)


def rebase(setup, lengths, steps, name, **changes):
    """Keeps some steps of the plan that stands in `plan` and plans the rest anew."""
    parent = load_plan(setup.plan)
    config = PlanConfig.model_validate({**parent.metadata.config.model_dump(), **changes})
    child = rebase_plan(parent, steps, lengths, config)
    save_plan(child, setup.folder / name)
    return child


def follow(setup, name):
    return setup.config(max_steps=None).model_copy(update={"batch_plan": setup.folder / name})


def kinds(setup):
    return [(entry.step, entry.kind) for entry in read_log(setup.folder / "run/audit.jsonl")[1] if entry.kind]


def test_a_run_goes_on_with_the_rebased_plan_and_both_parts_are_proven(setup, lengths):
    train(setup.config(max_steps=6))
    child = rebase(setup, lengths, 4, "child", token_budget=96)
    result = train(follow(setup, "child"))
    assert result.steps == len(child)
    assert (4, "plan") in kinds(setup)
    assert [path.name for path in (setup.folder / "run/checkpoints.rewound").iterdir()] == ["step-0000006"]
    found = {link.name: link for link in verify_run(setup.folder / "run")}
    assert "the plan was rebased after 4" in found["audit log"].proof
    assert all(link.holds for link in found.values())
    assert found["data head"].proof == result.data_head


def test_it_comes_to_the_data_head_of_a_run_that_followed_the_child_from_the_start(setup, lengths):
    train(setup.config(max_steps=4))
    rebase(setup, lengths, 4, "child", token_budget=96)
    gone_on = train(follow(setup, "child"))
    fresh = train(follow(setup, "child").model_copy(update={"output": setup.folder / "fresh"}))
    assert gone_on.data_head == fresh.data_head
    assert all(link.holds for link in verify_run(setup.folder / "fresh"))


def test_grandchildren_too(setup, lengths):
    train(setup.config(max_steps=2))
    rebase(setup, lengths, 2, "child", token_budget=96)
    train(follow(setup, "child").model_copy(update={"max_steps": 6}))
    (setup.folder / "plan").rename(setup.folder / "first")
    (setup.folder / "child").rename(setup.folder / "plan")
    rebase(setup, lengths, 6, "grandchild", token_budget=64, epochs=4)
    train(follow(setup, "grandchild"))
    assert [each for each in kinds(setup) if each[1] == "plan"] == [(2, "plan"), (6, "plan")]
    assert all(link.holds for link in verify_run(setup.folder / "run"))


def test_killed_after_it_went_on_and_resumed_it_is_the_same(setup, lengths, stop_after):
    rebase(setup, lengths, 4, "child", token_budget=96)
    logs = []
    for name in ("straight", "killed"):
        train(setup.config(name, max_steps=4))
        config = follow(setup, "child").model_copy(update={"output": setup.folder / name})
        if name == "killed":
            from lazarus_train import Watcher

            class Killed(BaseException):
                pass

            def kill(report):
                if report.step == 5:
                    raise Killed

            with pytest.raises(Killed):
                train(config, watcher=Watcher(on_step=kill))
        train(config)
        logs.append(setup.audit(name))
    assert logs[0] == logs[1]


def test_a_plan_that_was_rebased_where_the_run_has_no_checkpoint_is_refused(setup, lengths):
    train(setup.config(max_steps=6))
    rebase(setup, lengths, 3, "child", token_budget=96)
    with pytest.raises(SetupError, match=r"rebased after step 3, where the run has no checkpoint: .* 2, 4, 6"):
        train(follow(setup, "child"))


def test_the_parent_is_gone_on_with_again_from_the_same_checkpoint(setup, lengths):
    train(setup.config(max_steps=4))
    rebase(setup, lengths, 4, "child", token_budget=96)
    train(follow(setup, "child"))
    checkpoint = setup.folder / "run/checkpoints/step-0000004"
    train(setup.config(), resume=str(checkpoint))
    assert "plan" not in {kind for _, kind in kinds(setup)}
    assert all(link.holds for link in verify_run(setup.folder / "run"))


def test_the_child_of_another_plan_is_refused(setup, lengths):
    train(setup.config(max_steps=4))
    setup.build_plan(epochs=3, seed=5)
    rebase(setup, lengths, 4, "child", token_budget=96)
    with pytest.raises(StalePlan, match="the checkpoint followed plan"):
        train(follow(setup, "child"))


def test_a_made_up_parent_is_refused(setup, lengths):
    """The child of another plan says that it is the child of the run's, every digest made again."""
    from dataclasses import replace

    from lazarus_plan.format.fingerprint import plan_id, plan_identity, source_identities

    train(setup.config(max_steps=6))
    before = setup.audit("run")
    true = load_plan(setup.plan)
    setup.build_plan(epochs=3, seed=5)
    child = rebase(setup, lengths, 4, "child", token_budget=96)
    for root in (child.metadata.parent.prefix_root, rebase_plan(true, 4, lengths).metadata.parent.prefix_root):
        parent = child.metadata.parent.model_copy(update={"plan_id": true.plan_id, "prefix_root": root})
        about = child.metadata.model_copy(update={"parent": parent})
        held = source_identities(child.fingerprints, [source.count for source in about.sources])
        identity = plan_id(plan_identity(about.config, held, child.fingerprints["merkle_root"], len(child), parent))
        prints = {**child.fingerprints, "plan_id": identity}
        prints["plan"] = {**prints["plan"], "digest": identity}
        save_plan(replace(child, metadata=about, fingerprints=prints), setup.folder / "forged")
        with pytest.raises(
            (StalePlan, CorruptPlan), match=r"has other first steps than the run did|`parent` does not match"
        ):
            train(follow(setup, "forged"))
        assert setup.audit("run") == before, "nothing is cut off for a plan that is refused"


def test_a_plan_binding_that_does_not_continue_the_run_is_found(setup, lengths):
    train(setup.config(max_steps=4))
    rebase(setup, lengths, 4, "child", token_budget=96)
    train(follow(setup, "child"))
    from lazarus_plan import check_audit

    plan = check_run(follow(setup, "child")).plan
    log = setup.folder / "run/audit.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if b'"bind":"plan"' in line)
    entry = json.loads(lines[place])
    entry["plan"]["parent"]["steps"] = 3
    log.write_bytes(
        b"".join([*lines[:place], json.dumps(entry, separators=(",", ":")).encode() + b"\n", *lines[place + 1 :]])
    )
    assert [finding.code for finding in check_audit(log, plan).findings] == ["LP-E176"]
