import json

import pytest

from lazarus_plan import CorruptPlan, StalePlan
from lazarus_train import CorruptCheckpoint, LoraSettings, SetupError, sft, verify_run

LINKS = ["checkpoint", "final", "audit log", "plan", "lengths", "tokenizer", "template", "data"]


@pytest.fixture(params=["full", "lora"])
def run(setup, request):
    sft(setup.config(max_steps=4, lora=LoraSettings(rank=2, alpha=4.0) if request.param == "lora" else None))
    return setup


def names(path):
    return [link.name for link in verify_run(path)]


def test_every_link_holds_from_the_run_its_final_and_each_checkpoint(run):
    folder = run.folder / "run"
    assert names(folder) == names(folder / "final") == names(folder / "checkpoints/step-0000004") == LINKS
    assert names(folder / "checkpoints/step-0000002") == [name for name in LINKS if name != "final"]


def test_changed_weights_are_found(run):
    final = run.folder / "run/final"
    path = final / "adapters/adapters.safetensors"
    path = path if path.is_file() else final / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match="was changed"):
        names(run.folder / "run")


def test_a_changed_row_is_found_after_the_training(run):
    run.data.write_text(run.data.read_text().replace("make 3", "make 4", 1))
    with pytest.raises(StalePlan, match="row 3"):
        names(run.folder / "run")


def test_an_audit_log_of_other_tokens_is_found(run):
    log = run.folder / "run/audit.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[2])
    entry["rows"] = entry["rows"][::-1]
    log.write_bytes(b"".join([*lines[:2], json.dumps(entry, separators=(",", ":")).encode() + b"\n", *lines[3:]]))
    with pytest.raises(CorruptPlan) as caught:
        names(run.folder / "run")
    assert caught.value.code == "LP-E174"


def test_an_audit_log_that_was_chained_anew_over_other_tokens_is_found(run):
    from lazarus_plan import AuditLog, StepDigest, encode_step, load_plan

    plan = load_plan(run.plan)
    log = AuditLog.start(run.folder / "run/audit.jsonl", plan.plan_id)
    for step in range(4):
        log.append(step, StepDigest.of(encode_step(plan, step), [bytes(32)]))
    with pytest.raises(CorruptPlan) as caught:
        names(run.folder / "run")
    assert caught.value.code == "LP-E175"


def test_a_log_that_ends_too_soon_is_found(run):
    log = run.folder / "run/audit.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(CorruptPlan, match="does not come to the checkpoint's head after 4 steps"):
        names(run.folder / "run")


def test_what_is_no_run_is_refused(setup):
    with pytest.raises(SetupError, match="not a run"):
        names(setup.model)
