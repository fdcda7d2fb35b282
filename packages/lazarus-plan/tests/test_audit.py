import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lazarus_plan import AuditLog, BatchPlan, check_audit
from lazarus_plan.audit import StepDigest, row_digest
from lazarus_plan.audit.line import Binding, line_of
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_plan.format import encode_step
from lazarus_plan.format.merkle import leaf_hash
from suite import examples


def digest(plan: BatchPlan, index: int) -> StepDigest:
    rows = [row_digest([np.arange(s.end - s.start) + s.sample for s in row.segments]) for row in plan.step(index).rows]
    return StepDigest.of(encode_step(plan, index), rows)


def write_log(plan: BatchPlan, path: Path, steps: int) -> AuditLog:
    log = AuditLog.start(path, plan.plan_id)
    for index in range(steps):
        log.append(index, digest(plan, index))
    return log


def test_a_row_digest_is_what_the_format_says():
    ids = [np.array([5, 6], dtype=np.int32), np.array([7], dtype=np.int64)]
    content = b"\x02" + struct.pack("<3I", 5, 6, 7) + struct.pack("<2I", 2, 3)
    assert row_digest(ids) == hashlib.sha256(content).digest()


def test_a_resumed_log_is_that_of_the_uninterrupted_run_after_every_step(plan: BatchPlan, tmp_path: Path):
    write_log(plan, tmp_path / "whole", len(plan))
    for stop in range(len(plan) + 1):
        path = tmp_path / f"stopped-{stop}"
        head = write_log(plan, path, stop).head.hex()
        log = AuditLog.resume(path, plan.plan_id, stop, head)
        for index in range(stop, len(plan)):
            log.append(index, digest(plan, index))
        assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_steps_after_the_checkpoint_stay_visible_as_a_fork(plan: BatchPlan, tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    head = write_log(plan, path, 3).head.hex()
    write_log(plan, path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    AuditLog.resume(path, plan.plan_id, 3, head)
    assert path.read_bytes() == b"".join(lines[:4])
    fork = (tmp_path / "audit.jsonl.rewound").read_bytes()
    assert b'"rewound_to":3' in fork and fork.endswith(b"".join(lines[4:]))


def test_the_log_of_another_plan_is_refused(plan: BatchPlan, tmp_path: Path):
    log = write_log(plan, tmp_path / "log", 2)
    with pytest.raises(StalePlan):
        AuditLog.resume(tmp_path / "log", "sha256:" + "0" * 64, 2, log.head.hex())


@pytest.mark.parametrize(("before", "after"), [(b'"leaf":"', b'"leaf":"0'), (b'"rows":"', b'"rows":"zz'), (b"{", b"[")])
def test_a_damaged_log_is_refused(plan: BatchPlan, tmp_path: Path, before: bytes, after: bytes):
    path = tmp_path / "log"
    log = write_log(plan, path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(before, after, 1), *lines[2:]]))
    with pytest.raises(CorruptPlan) as caught:
        AuditLog.resume(path, plan.plan_id, 3, log.head.hex())
    assert caught.value.code == "LP-E174"


def test_a_log_that_is_too_short_is_refused(plan: BatchPlan, tmp_path: Path):
    head = write_log(plan, tmp_path / "log", 5).head.hex()
    write_log(plan, tmp_path / "log", 4)
    with pytest.raises(CorruptPlan, match="does not reach"):
        AuditLog.resume(tmp_path / "log", plan.plan_id, 5, head)


START = {name: "sha256:" + f"{number}" * 64 for number, name in enumerate(("settings", "model", "environment"))}


def bound_log(plan: BatchPlan, path: Path, steps: int) -> AuditLog:
    """A log of a run that saved after every second step."""
    log = AuditLog.start(path, plan.plan_id, START)
    for index in range(steps):
        log.append(index, digest(plan, index))
        if index % 2:
            log.bind(Binding("checkpoint", b"manifest %d" % index))
    return log


def test_head_and_leaf_are_what_the_format_says(plan: BatchPlan, tmp_path: Path):
    log = bound_log(plan, tmp_path / "log", 2)
    header, *lines = (tmp_path / "log").read_bytes().splitlines()
    head = hashlib.sha256(b"\x04" + header).digest()
    for line in map(json.loads, lines):
        bind = line.get("bind", "").encode()
        head = hashlib.sha256(head + bytes.fromhex(line["leaf"]) + bytes.fromhex(line["rows"]) + bind).digest()
        assert line["head"] == head.hex()
    assert log.head == head
    assert json.loads(lines[-1])["leaf"] == hashlib.sha256(b"\x00manifest 1").hexdigest()
    data = bytes.fromhex(plan.plan_id.removeprefix("sha256:"))
    for line in map(json.loads, lines[:2]):
        data = hashlib.sha256(data + bytes.fromhex(line["leaf"]) + bytes.fromhex(line["rows"])).digest()
    assert check_audit(tmp_path / "log", plan).data_head == data.hex()


def test_a_binding_line_that_a_kill_cut_off_is_added_again(plan: BatchPlan, tmp_path: Path):
    whole = bound_log(plan, tmp_path / "whole", 4).path.read_bytes()
    lines = whole.splitlines(keepends=True)
    before = json.loads(lines[-2])["head"]
    for torn in (b"", lines[-1][:40], lines[-1][:-1]):
        path = tmp_path / "log"
        path.write_bytes(b"".join(lines[:-1]) + torn)
        AuditLog.resume(path, plan.plan_id, 4, before, checkpoint=Binding("checkpoint", b"manifest 3"))
        assert path.read_bytes() == whole


def test_another_checkpoint_than_the_bound_one_is_not_gone_on_from(plan: BatchPlan, tmp_path: Path):
    log = bound_log(plan, tmp_path / "log", 4)
    before = json.loads(log.path.read_bytes().splitlines()[-2])["head"]
    with pytest.raises(CorruptPlan, match="binds another checkpoint after 4 steps"):
        AuditLog.resume(log.path, plan.plan_id, 4, before, checkpoint=Binding("checkpoint", b"other"))


def test_what_is_bound_already_is_not_bound_again(plan: BatchPlan, tmp_path: Path):
    log = AuditLog.start(tmp_path / "log", plan.plan_id, {**START, "settings": Binding("settings", b"{}").digest})
    log.bind(Binding("settings", b"{}"))
    assert log.bindings == []
    for content in (b"{1}", b"{1}", b"{}", b"{}"):
        log.bind(Binding("settings", content))
    assert [entry.leaf for entry in log.bindings] == [leaf_hash(b"{1}"), leaf_hash(b"{}")]


def reversed_members(line: bytes) -> bytes:
    return line_of(dict(reversed(json.loads(line).items())))


MANGLED = {
    "space": lambda line: line.replace(b":", b": ", 1),
    "order": reversed_members,
    "unknown": lambda line: line.replace(b"{", b'{"more":1,', 1),
    "twice": lambda line: line.replace(b"{", b'{"step":1,', 1),
    "float": lambda line: line.replace(b'"step":1', b'"step":1.0'),
    "true": lambda line: line.replace(b'"step":1', b'"step":true'),
    "kind": lambda line: line.replace(b'"leaf"', b'"bind":"other","leaf"'),
    "upper": lambda line: line.upper().replace(b"STEP", b"step").replace(b"LEAF", b"leaf").replace(b"ROWS", b"rows"),
    "cut": lambda line: line[:-1],
    "empty": lambda line: b"\n",
    "nested": lambda line: b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("how", MANGLED)
def test_a_line_in_another_spelling_is_lp_e176(plan: BatchPlan, tmp_path: Path, how: str):
    lines = write_log(plan, tmp_path / "log", 3).path.read_bytes().splitlines(keepends=True)
    lines[2] = MANGLED[how](lines[2])
    (tmp_path / "log").write_bytes(b"".join(lines))
    (found,) = check_audit(tmp_path / "log", plan).findings
    assert found.code in ("LP-E176", "LP-E174") and found.message.startswith("line 3: ")


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(200))
def test_no_edit_of_a_log_keeps_its_head(plan: BatchPlan, tmp_path: Path, data: st.DataObject):
    path = tmp_path / "log"
    head = bound_log(plan, path, 5).head.hex()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["change", "delete", "insert", "cut"]))
    byte = data.draw(st.integers(0, 255))
    if kind == "change":
        content[place] = byte
    elif kind == "delete":
        del content[place]
    elif kind == "insert":
        content.insert(place, byte)
    else:
        del content[place:]
    if bytes(content) == path.read_bytes():
        return
    path.write_bytes(content)
    found = check_audit(path, plan)
    assert found.findings or found.head != head
