"""Proofs, locks, rebuilds, audits: what convinces someone who was not there."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.errors import LazarusError
from lazarus_plan import (
    AuditLog,
    BatchPlan,
    LengthCache,
    PlanConfig,
    PlanCursor,
    PlanError,
    build_plan,
    load_plan,
    save_plan,
)
from lazarus_plan.audit import StepDigest, row_digest
from lazarus_plan.audit.check import check_audit
from lazarus_plan.checks import diff
from lazarus_plan.checks.diff import diff_plans
from lazarus_plan.checks.proof import check_proof, prove
from lazarus_plan.cursor import check_state
from lazarus_plan.errors import CorruptPlan, FormatError, PlanningError, StalePlan
from lazarus_plan.format import encode_step
from lazarus_plan.format.merkle import leaf_hash, merkle_path, merkle_root, root_of_path
from lazarus_plan.format.reader import PlanReader
from lazarus_plan.locks.lock import materialise, write_lock
from lazarus_plan.rebase import rebase_plan
from lazarus_plan.report.attestation import attest
from lazarus_plan.report.simulate import simulate
from lazarus_plan.testing import plans
from lazarus_plan.verify import verify_plan
from suite import repeats


@given(st.integers(1, 70), st.data())
def test_a_merkle_path_leads_to_the_root_and_is_short(size: int, data: st.DataObject):
    leaves = [bytes([n]) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = merkle_path([leaf_hash(leaf) for leaf in leaves], index)
    assert len(path) <= (size - 1).bit_length()
    assert root_of_path(leaf_hash(leaves[index]), index, size, path) == merkle_root(leaves)
    assert root_of_path(leaf_hash(b"other"), index, size, path) != merkle_root(leaves)


def test_every_step_can_be_proven_from_its_proof_alone(folder: Path, plan: BatchPlan):
    for step in range(len(plan)):
        assert check_proof(json.loads(json.dumps(prove(folder, step))), plan.plan_id[7:30]) == plan.plan_id


@pytest.mark.parametrize("name", ["line", "path", "step", "steps", "config", "lengths", "merkle_root", "plan_id"])
@pytest.mark.parametrize("value", [None, True, 1.5, "x", [], {}, [[]], [1], 2**63, "of another step"])
def test_a_changed_proof_is_refused(folder: Path, name: str, value: object):
    proof, other = prove(folder, 1), prove(folder, 2)
    proof[name] = other[name] if value == "of another step" and name in ("line", "path", "step") else value
    with pytest.raises(CorruptPlan) as caught:
        check_proof(proof)
    assert caught.value.code == "LP-E152"


def test_a_proof_with_a_member_more_or_less_is_refused(folder: Path):
    proof = prove(folder, 1)
    fewer = [{name: value for name, value in proof.items() if name != each} for each in proof]
    for changed in ({**proof, "note": 1}, {}, *fewer):
        with pytest.raises(CorruptPlan):
            check_proof(changed)
    with pytest.raises(FormatError, match="make it again") as caught:
        check_proof(proof | {"lazarus_proof": 1})
    assert caught.value.code == "LP-E161"


def test_an_edited_plan_proves_nothing(folder: Path):
    text = (folder / "fingerprints.json").read_text("utf-8")
    (folder / "fingerprints.json").write_text(text.replace("sha256:ddd", "sha256:ccc"), "utf-8")
    for make in (lambda: prove(folder, 1), lambda: attest(folder), lambda: write_lock(folder, folder / "lock")):
        with pytest.raises(CorruptPlan):
            make()


def test_the_proof_of_another_plan_is_refused(folder: Path):
    with pytest.raises(StalePlan):
        check_proof(prove(folder, 1), "0" * 64)
    with pytest.raises(PlanError):
        prove(folder, 10_000)


def test_a_lock_gives_the_plan_back_to_the_byte(folder: Path, cache: LengthCache, tmp_path: Path):
    write_lock(folder, tmp_path / "lock")
    assert sum(path.stat().st_size for path in (tmp_path / "lock").iterdir()) < 8192
    save_plan(materialise(tmp_path / "lock", [cache]), tmp_path / "again")
    assert (tmp_path / "again" / "plan.jsonl").read_bytes() == (folder / "plan.jsonl").read_bytes()


def test_a_lock_replaces_a_lock_and_nothing_else(folder: Path, tmp_path: Path):
    lock = tmp_path / "lock"
    lock.mkdir()
    (lock / "README").touch()
    for _ in range(2):
        write_lock(folder, lock)
    assert (lock / "README").exists()
    (lock / "metadata.json").write_text('{"title":"mine"}\n', "utf-8")
    with pytest.raises(LazarusError, match="not those of a lock"):
        write_lock(folder, lock)
    assert (lock / "metadata.json").read_text("utf-8") == '{"title":"mine"}\n'


def test_a_lock_of_other_lengths_names_the_link(folder: Path, make_cache: Callable[..., LengthCache], tmp_path: Path):
    write_lock(folder, tmp_path / "lock")
    with pytest.raises(StalePlan, match="`tokenizer` was") as caught:
        materialise(tmp_path / "lock", [make_cache(tokenizer="sha256:" + "0" * 64)])
    assert caught.value.code == "LP-E150"


def test_verify_says_what_holds(folder: Path, plan: BatchPlan, cache: LengthCache):
    assert list(verify_plan(folder, expect=plan.plan_id, caches=[cache], rebuild=True)) == [
        "plan: valid, 10 steps",
        f"identity: {plan.plan_id}, the pinned plan",
        "data: not compared with any file",
        "lengths: recomputed, as planned",
        "data, template, tokenizer, encoding, token ids: lengths.jsonl states the same digests as the plan; not recomputed",
        "rebuild: the same plan, to the byte",
    ]
    assert list(verify_plan(folder, expect=plan.plan_id[7:23], sample=3))[1:] == [
        f"identity: {plan.plan_id}, the pinned plan",
        "data: not compared with any file",
        "steps: 3 of 10 parsed",
    ]
    assert "not pinned" in list(verify_plan(folder, caches=[cache]))[1]


@pytest.mark.parametrize("sample", [None, 2])
def test_another_plan_than_expected_is_refused(folder: Path, sample: int | None):
    with pytest.raises(StalePlan) as caught:
        list(verify_plan(folder, expect="0" * 16, sample=sample))
    assert caught.value.code == "LP-E150"


def test_a_valid_plan_that_was_not_built_from_these_lengths_is_found_by_a_rebuild(cache: LengthCache, tmp_path: Path):
    honest = build_plan(cache, PlanConfig(token_budget=128, row_len=64))
    other = build_plan(cache, PlanConfig(token_budget=128, row_len=64, seed=1))
    metadata = honest.metadata.model_copy(update={"epochs": other.metadata.epochs})
    from dataclasses import replace

    from lazarus_plan.format.fingerprint import fingerprint_plan
    from lazarus_plan.format.step_codec import encode_lines

    forged = replace(other, metadata=metadata)
    forged = replace(forged, fingerprints=fingerprint_plan([cache], metadata.config, encode_lines(forged)))
    save_plan(forged, tmp_path / "forged")
    load_plan(tmp_path / "forged")  # nothing contradicts itself
    with pytest.raises(StalePlan, match=r"plan\.jsonl was edited"):
        list(verify_plan(tmp_path / "forged", caches=[cache], rebuild=True))


def test_data_files_are_compared_byte_by_byte(make_cache: Callable[..., LengthCache], tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("one\ntwo\n", "utf-8")
    files = [{"name": rows.name, "bytes": 8, "sha256": hashlib.sha256(rows.read_bytes()).hexdigest()}]
    plan = build_plan(make_cache(parts={"data": {"files": files}}), PlanConfig(token_budget=128))
    save_plan(plan, tmp_path / "plan")
    list(verify_plan(tmp_path / "plan", data=[rows]))
    rows.write_text("one\ntoo\n", "utf-8")
    with pytest.raises(StalePlan) as caught:
        list(verify_plan(tmp_path / "plan", data=[rows]))
    assert caught.value.code == "LP-E140"


def test_a_diff_names_links_steps_and_samples(make_cache: Callable[..., LengthCache]):
    config = PlanConfig(token_budget=128, row_len=64)
    old = build_plan(make_cache([10] * 20), config)
    new = build_plan(make_cache([10] * 24), config)
    found = diff_plans(old, new)
    assert (found["links"], found["config"]) == (["lengths", "plan"], {})
    assert (found["added"], found["removed"]) == (4, 0) and found["first_step"] is not None
    assert diff_plans(old, old)["first_step"] is None
    reseeded = build_plan(make_cache([10] * 20), config.model_copy(update={"seed": 1}))
    assert diff_plans(old, reseeded)["config"] == {"seed": [0, 1]}


@given(plans())
def test_a_step_read_by_itself_is_the_plans_step(tmp_path_factory: pytest.TempPathFactory, plan: BatchPlan):
    path = tmp_path_factory.mktemp("reader") / "plan"
    save_plan(plan, path)
    with PlanReader(path) as reader:
        assert [reader.step(index) for index in range(len(reader))] == [plan.step(i) for i in range(len(plan))]


@pytest.mark.parametrize("note", ["7", "[1,2,3]", "[[1,2],[3,4],[5,6]]"])
def test_a_reader_passes_over_unknown_members(
    folder: Path, plan: BatchPlan, monkeypatch: pytest.MonkeyPatch, note: str
):
    with PlanReader(folder) as reader:
        line = reader.line(0)[:-2] + b',"note":%s}\n' % note.encode()
        monkeypatch.setattr(reader, "line", lambda _: line)
        assert reader.step(0) == plan.step(0)


def test_a_reader_refuses_a_line_that_lacks_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with PlanReader(folder) as reader:
        line = reader.line(0).replace(b'"packing":[[0,', b'"packing":[[')
        monkeypatch.setattr(reader, "line", lambda _: line)
        with pytest.raises(CorruptPlan):
            reader.step(0)


def test_a_reader_does_not_follow_an_index_of_another_plan(folder: Path, plan: BatchPlan):
    offsets = np.frombuffer((folder / "plan.idx").read_bytes(), dtype="<i8")
    for place in range(1, len(plan)):
        for by in (-1, 1, int(offsets[place + 1] - offsets[place])):
            moved = offsets.copy()
            moved[place] += by
            (folder / "plan.idx").write_bytes(moved.tobytes())
            with PlanReader(folder) as reader, pytest.raises(CorruptPlan, match=r"plan\.idx does not lead"):
                list(map(reader.step, range(len(plan))))
    (folder / "plan.idx").write_bytes(offsets[1:].tobytes())
    with pytest.raises(CorruptPlan, match="is not the index"):
        PlanReader(folder)


def test_a_child_keeps_the_trained_steps_and_every_sample_once(plan: BatchPlan, cache: LengthCache, tmp_path: Path):
    for steps in range(1, len(plan)):
        child = rebase_plan(plan, steps, cache, plan.metadata.config.model_copy(update={"token_budget": 192}))
        assert [child.step(i) for i in range(steps)] == [plan.step(i) for i in range(steps)]
        save_plan(child, tmp_path / "child")
        assert load_plan(tmp_path / "child").plan_id == child.plan_id  # checks that every sample stands once an epoch
        assert check_state(child, PlanCursor(plan).state(steps, "00")) == steps
        said = list(verify_plan(tmp_path / "child", caches=[cache], rebuild=True))
        assert (said[2][:7], said[-1]) == ("parent:", "rebuild: the same plan, to the byte")
    with pytest.raises(StalePlan):
        check_state(child, PlanCursor(plan).state(1, "00"))


def test_a_child_takes_appended_and_mended_rows(
    plan: BatchPlan, make_cache: Callable[..., LengthCache], tmp_path: Path
):
    lengths = plan_lengths(plan)
    late = plan.step(len(plan) // 2 - 1).samples[0]  # not among the samples of step 0
    lengths[late] = 3
    child = rebase_plan(plan, 1, make_cache([*lengths, 20, 21]))
    save_plan(child, tmp_path / "child")
    assert load_plan(tmp_path / "child").metadata.epochs[0].samples == len(lengths) + 2
    lengths[plan.step(0).samples[0]] -= 1
    with pytest.raises(StalePlan, match="was trained and has another length"):
        rebase_plan(plan, 1, make_cache(lengths))


def plan_lengths(plan: BatchPlan) -> list[int]:
    lengths = [0] * plan.metadata.sources[0].count
    for sample, start, end in zip(plan.sample, plan.start, plan.end, strict=True):
        lengths[sample] = int(end - start)
    return lengths


@pytest.mark.parametrize("steps", [0, 10_000])
def test_nothing_to_keep_or_nothing_left_is_refused(plan: BatchPlan, cache: LengthCache, steps: int):
    with pytest.raises(PlanningError):
        rebase_plan(plan, steps, cache)


def ids(segment: object) -> np.ndarray:
    return np.arange(segment.end - segment.start) + segment.sample  # pyright: ignore[reportAttributeAccessIssue] # a Segment


def write_log(plan: BatchPlan, path: Path) -> list[bytes]:
    log = AuditLog.start(path, plan.plan_id)
    for index in range(len(plan)):
        rows = [row_digest([ids(segment) for segment in row.segments]) for row in plan.step(index).rows]
        log.append(index, StepDigest.of(encode_step(plan, index), rows))
    return path.read_bytes().splitlines(keepends=True)


def test_an_honest_log_passes_also_against_the_data(plan: BatchPlan, tmp_path: Path):
    write_log(plan, tmp_path / "log")
    found = check_audit(tmp_path / "log", plan, ids)
    assert (found.findings, found.steps) == ((), len(plan))


def rechained(header: bytes, entries: list[dict[str, object]]) -> bytes:
    """A log whose chain is intact, whatever it says: what a liar would write."""
    head, lines = hashlib.sha256(b"\x04" + header.removesuffix(b"\n")).digest(), []
    for entry in entries:
        digest = StepDigest(bytes.fromhex(str(entry["leaf"])), bytes.fromhex(str(entry["rows"])))
        head = digest.chain(head)
        lines.append(json.dumps({**entry, "head": head.hex()}, separators=(",", ":")).encode() + b"\n")
    return b"".join(lines)


LIES = {
    "LP-E170": lambda entries: entries.pop(2),
    "LP-E171": lambda entries: entries.insert(2, entries[1]),
    "LP-E172": lambda entries: entries[2].update(leaf=entries[3]["leaf"]),
    "LP-E173": lambda entries: entries.insert(1, entries.pop(2)),
    "LP-E175": lambda entries: entries[2].update(rows=entries[3]["rows"]),
}


@pytest.mark.parametrize("code", LIES)
def test_a_log_that_lies_is_found_out(plan: BatchPlan, tmp_path: Path, code: str):
    lines = write_log(plan, tmp_path / "log")
    entries = [json.loads(line) for line in lines[1:]]
    LIES[code](entries)
    (tmp_path / "log").write_bytes(lines[0] + rechained(lines[0], entries))
    assert [finding.code for finding in check_audit(tmp_path / "log", plan, ids).findings] == [code]


def test_a_broken_chain_is_found(plan: BatchPlan, tmp_path: Path):
    lines = write_log(plan, tmp_path / "log")
    (tmp_path / "log").write_bytes(b"".join([*lines[:2], lines[2].replace(b'"rows":"', b'"rows":"00'), *lines[3:]]))
    assert "LP-E174" in {finding.code for finding in check_audit(tmp_path / "log", plan).findings}


@pytest.mark.parametrize("policy", ["contiguous", "stride", "snake", "lpt"])
def test_a_killed_run_that_goes_on_with_other_ranks_trains_the_same_rows(plan: BatchPlan, policy: str):
    for kill_at in range(len(plan) + 1):
        assert simulate(plan, 6, kill_at, 5, policy)["is_equal"]  # pyright: ignore[reportArgumentType] # a Policy


def test_the_statement_names_the_files_by_their_digests(folder: Path):
    statement = attest(folder)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    for subject in statement["subject"]:
        assert subject["digest"]["sha256"] == hashlib.sha256((folder / subject["name"]).read_bytes()).hexdigest()


@pytest.mark.slow
def test_every_one_of_5000_accidents_to_any_file_is_caught_with_the_root_pinned(folder: Path, plan: BatchPlan):
    rng = random.Random(11)
    names = ["plan.jsonl", "metadata.json", "fingerprints.json", "stats.json"]
    whole = {name: (folder / name).read_bytes() for name in names}
    for _ in range(repeats(5000, 1000)):
        name = rng.choice(names)
        damaged = bytearray(whole[name])
        for _ in range(rng.choice([1, 1, 3])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        if bytes(damaged) != whole[name]:
            (folder / name).write_bytes(damaged)
            with pytest.raises(PlanError):
                list(verify_plan(folder, expect=plan.plan_id))
            (folder / name).write_bytes(whole[name])


def test_a_diff_tells_the_first_step_of_a_sample_across_blocks(cache: LengthCache, monkeypatch: pytest.MonkeyPatch):
    plan = build_plan(cache, PlanConfig(token_budget=64, row_len=64, epochs=3))
    whole = diff._first_steps(plan).tolist()
    assert whole == [next(at for at in range(len(plan)) if sample in plan.step(at).samples) for sample in range(20)]
    for size in (1, 2, 5):
        monkeypatch.setattr(diff, "BLOCK_STEPS", size)
        assert diff._first_steps(plan).tolist() == whole
