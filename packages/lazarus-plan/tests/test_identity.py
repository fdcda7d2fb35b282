"""`plan_id` covers what a plan was made from: no edit with every digest made again keeps a pinned plan_id."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.canonical import canonical_digest
from lazarus_plan import (
    BatchPlan,
    LengthCache,
    LengthRow,
    PlanConfig,
    PlanError,
    build_plan,
    load_plan,
    rebase_plan,
    save_plan,
)
from lazarus_plan.checks.documents import identity_of, load_documents
from lazarus_plan.checks.pin import check_pin, resolve_pin
from lazarus_plan.errors import CheckFailed, StalePlan
from lazarus_plan.format.fingerprint import PLAN_INPUTS, plan_id, plan_identity, prefixes_digest, source_identities
from lazarus_plan.format.store import checksum, read_artifact
from lazarus_plan.locks.lock import write_lock
from lazarus_plan.plan import Metadata
from lazarus_plan.verify import verify_plan

OTHER = "sha256:" + "0" * 64
FILES = {"data": {"files": [{"name": "a.jsonl", "bytes": 9, "sha256": "1" * 64}]}}
DOCUMENTS = ("metadata", "fingerprints", "stats")


@pytest.fixture
def pinned(make_cache: Callable[..., LengthCache], tmp_path: Path) -> Path:
    """A plan that names a data file, in a folder."""
    cache = make_cache(parts=FILES)
    save_plan(build_plan(cache, PlanConfig(token_budget=128, row_len=64, epochs=2)), tmp_path / "pinned")
    return tmp_path / "pinned"


def seal(folder: Path, edit: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]) -> None:
    """Edits the documents, then makes every digest in them again, as a careful forger does."""
    metadata, prints, stats = (json.loads((folder / f"{name}.json").read_bytes()) for name in DOCUMENTS)
    edit(metadata, prints, stats)
    metadata.pop("checksum")
    for link in ("data", "template", "tokenizer", "lengths"):
        absent = "absent" in prints[link]["sources"] and link != "lengths"
        prints[link]["digest"] = "absent" if absent else canonical_digest(prints[link]["sources"])
    prints["config"]["digest"] = canonical_digest(metadata["config"])
    read = Metadata.model_validate_json(json.dumps(metadata))
    sources = source_identities(prints, [source.count for source in read.sources])
    identity = plan_identity(read.config, sources, prints["merkle_root"], prints["plan"]["count"], read.parent)
    prints["plan_id"] = prints["plan"]["digest"] = plan_id(identity)
    metadata["checksum"] = checksum(metadata, prints, stats)
    for name, members in zip(DOCUMENTS, (metadata, prints, stats), strict=True):
        text = json.dumps(members, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, "utf-8", newline="\n")


def forge_rows(folder: Path, prints: dict[str, Any]) -> None:
    artifact = read_artifact(folder)
    assert artifact.prefixes is not None, "its lengths had digests"
    prefixes = artifact.prefixes ^ 1
    (folder / "plan.rows").write_bytes(prefixes.astype("<u4").tobytes())
    prints["lengths"]["parts"][0]["rows"] = prefixes_digest(prefixes)


FORGERIES: dict[str, Callable[[Path, dict[str, Any], dict[str, Any]], object]] = {
    "other data": lambda _, m, f: f["data"].update(sources=[OTHER]),
    "no data": lambda _, m, f: f["data"].update(sources=["absent"]),
    "other template": lambda _, m, f: f["template"].update(sources=[OTHER]),
    "other tokenizer": lambda _, m, f: f["tokenizer"].update(sources=[OTHER]),
    "other lengths": lambda _, m, f: (f["lengths"].update(sources=[OTHER]), m["sources"][0].update(lengths=OTHER)),
    "other encoding": lambda _, m, f: f["lengths"]["parts"][0].update(encoding={"max_length": 65}),
    "other file": lambda _, m, f: f["data"]["parts"][0]["files"][0].update(sha256="2" * 64),
    "no files": lambda _, m, f: f["data"]["parts"][0].pop("files"),
    "other rows": lambda folder, m, f: forge_rows(folder, f),
    "a parent": lambda _, m, f: m.update(
        parent={"plan_id": OTHER, "steps": 1, "prefix_root": "0" * 64, "token_budget": 128}
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_plan_that_claims_other_inputs_has_another_id(pinned: Path, name: str):
    identity = load_plan(pinned).plan_id
    seal(pinned, lambda metadata, prints, _: FORGERIES[name](pinned, metadata, prints) and None)
    assert json.loads((pinned / "fingerprints.json").read_bytes())["plan_id"] != identity
    for sample in (None, 3):
        with pytest.raises(CheckFailed):
            list(verify_plan(pinned, expect=identity, sample=sample))
    with pytest.raises(StalePlan, match="pinned"):
        check_pin(read_artifact(pinned).fingerprints["plan_id"], identity)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_claim_under_the_old_id_contradicts_it(pinned: Path, name: str):
    identity = load_plan(pinned).plan_id

    def edit(metadata: dict[str, Any], prints: dict[str, Any], _: object) -> None:
        FORGERIES[name](pinned, metadata, prints)

    seal(pinned, edit)
    metadata, prints, stats = (json.loads((pinned / f"{each}.json").read_bytes()) for each in DOCUMENTS)
    prints["plan_id"] = prints["plan"]["digest"] = identity
    del metadata["checksum"]
    metadata["checksum"] = checksum(metadata, prints, stats)
    for each, members in zip(DOCUMENTS, (metadata, prints, stats), strict=True):
        (pinned / f"{each}.json").write_text(json.dumps(members, indent=2) + "\n", "utf-8")
    for check in (load_plan, load_documents, lambda path: list(verify_plan(path, expect=identity, sample=2))):
        with pytest.raises(CheckFailed) as caught:
            check(pinned)
        assert caught.value.code == "LP-E151"


@given(st.data())
def test_no_consistent_edit_of_the_identity_keeps_the_id(data: st.DataObject):
    cache = LengthCache.from_rows([LengthRow(f"s{n}", 1 + n % 7) for n in range(12)])
    plan = build_plan(cache, PlanConfig(token_budget=16, row_len=8))
    identity = plan_identity(
        plan.metadata.config,
        source_identities(plan.fingerprints, [12]),
        plan.fingerprints["merkle_root"],
        len(plan),
    )
    assert plan_id(identity) == plan.plan_id
    changed = json.loads(json.dumps(identity))
    target, name = data.draw(
        st.sampled_from([(where, name) for where in (changed, changed["config"]) for name in where])
    )
    value = data.draw(st.one_of(st.integers(0, 99), st.text(max_size=5), st.none(), st.just([])))
    if target[name] != value:
        target[name] = value
        assert plan_id(changed) != plan.plan_id


def test_altered_prefixes_are_found_before_samples_are_compared(pinned: Path):
    rows = (pinned / "plan.rows").read_bytes()
    (pinned / "plan.rows").write_bytes(bytes([rows[0] ^ 1]) + rows[1:])
    for check in (load_plan, lambda path: list(verify_plan(path, sample=2))):
        with pytest.raises(CheckFailed) as caught:
            check(pinned)
        assert caught.value.code == "LP-E153"


def test_the_documents_hold_the_identity(pinned: Path):
    artifact = load_documents(pinned)
    assert plan_id(identity_of(artifact)) == artifact.fingerprints["plan_id"] == load_plan(pinned).plan_id
    assert artifact.fingerprints["plan"]["inputs"] == list(PLAN_INPUTS)


def test_a_parent_that_was_made_up_does_not_match_the_first_lines(plan: BatchPlan, cache: LengthCache, tmp_path: Path):
    child = rebase_plan(plan, 3, cache, plan.metadata.config.model_copy(update={"seed": 7}))
    save_plan(child, tmp_path / "child")
    save_plan(plan, tmp_path / "parent")
    assert "recomputed; its first 3 steps" in list(verify_plan(tmp_path / "child", parent=tmp_path / "parent"))[2]
    save_plan(child, tmp_path / "other")
    with pytest.raises(StalePlan, match="the parent is"):
        list(verify_plan(tmp_path / "child", parent=tmp_path / "other"))
    with pytest.raises(PlanError, match="no parent"):
        list(verify_plan(tmp_path / "parent", parent=tmp_path / "child"))
    seal(tmp_path / "child", lambda metadata, *_: metadata["parent"].update(prefix_root="0" * 64))
    with pytest.raises(CheckFailed, match="`parent` does not match"):
        load_plan(tmp_path / "child")


def test_nothing_to_compare_with_is_refused(pinned: Path):
    with pytest.raises(PlanError, match="nothing to compare") as caught:
        list(verify_plan(pinned))
    assert (caught.value.code, caught.value.exit_code) == ("LP-E009", 2)


def test_a_pin_is_an_id_of_16_digits_or_a_lock(pinned: Path, tmp_path: Path):
    identity = load_plan(pinned).plan_id
    write_lock(pinned, tmp_path / "lock")
    for pin in (
        identity,
        identity[7:],
        identity[7:23],
        identity.upper().replace("SHA", "sha"),
        tmp_path / "lock",
        str(pinned),
    ):
        check_pin(identity, pin)
    with pytest.raises(PlanError, match="has 4 digits: give at least 16"):
        resolve_pin(identity[7:11])
    for nonsense in ("", "sha256:", "zz" * 20, "0" * 65, str(tmp_path / "nothing")):
        with pytest.raises(PlanError, match="no plan_id and no folder"):
            resolve_pin(nonsense)


def test_an_edited_lock_is_no_pin(pinned: Path, tmp_path: Path):
    write_lock(pinned, tmp_path / "lock")
    prints = (tmp_path / "lock" / "fingerprints.json").read_text("utf-8")
    (tmp_path / "lock" / "fingerprints.json").write_text(prints.replace("sha256:ddd", "sha256:ddc"), "utf-8")
    with pytest.raises(CheckFailed):
        resolve_pin(tmp_path / "lock")


@pytest.mark.parametrize(
    "member", ["data", "template", "lengths", "config", "plan", "plan_id", "merkle_root", "plan_sha256"]
)
@pytest.mark.parametrize("value", [None, [], {}, 7, "x", {"sources": 3}, {"sources": [], "parts": [[]]}])
def test_a_mistyped_fingerprint_is_one_finding(pinned: Path, member: str, value: object):
    prints = json.loads((pinned / "fingerprints.json").read_bytes())
    prints[member] = value
    (pinned / "fingerprints.json").write_text(json.dumps(prints, indent=2) + "\n", "utf-8")
    for check in (load_plan, load_documents):
        with pytest.raises(CheckFailed) as caught:
            check(pinned)
        assert caught.value.code == "LP-E151"


def test_a_pin_that_cannot_be_read_is_refused_before_anything_is_said(pinned: Path):
    with pytest.raises(PlanError, match="at least 16"):
        next(verify_plan(pinned, expect="d5de"))
