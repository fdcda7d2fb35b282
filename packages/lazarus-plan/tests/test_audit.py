import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from lazarus_plan import AuditLog, BatchPlan, CorruptPlan, StalePlan, StepDigest, encode_step, row_digest


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
