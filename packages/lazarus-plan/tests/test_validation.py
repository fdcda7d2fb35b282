import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from lazarus_core.errors import LazarusError
from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, build_plan, load_plan, save_plan, validate
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.format.store import checksum

DOCUMENTS = ("metadata", "fingerprints", "stats")


def read(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "plan.jsonl").read_bytes().splitlines()]


def write(folder: Path, lines: list[dict[str, object]]) -> None:
    spelt = [json.dumps(line, separators=(",", ":")) + "\n" for line in lines]
    (folder / "plan.jsonl").write_bytes("".join(spelt).encode())


def edit_document(folder: Path, name: str, change: Callable[[dict], object]) -> None:
    members = json.loads((folder / name).read_text("utf-8"))
    change(members)
    (folder / name).write_text(json.dumps(members, indent=2) + "\n", "utf-8")


def drop_segment(lines: list[dict]) -> None:
    lines[1]["tokens"] -= lines[1]["packing"][-1][1] - lines[1]["packing"][-1][0]
    lines[1]["samples"].pop()
    lines[1]["packing"].pop()


def move_range(lines: list[dict], place: int, by: int) -> None:
    lines[1]["packing"][place] = [edge + by for edge in lines[1]["packing"][place]]


def swap_ids(lines: list[dict]) -> None:
    lines[1]["samples"][0] = lines[1]["samples"][1]


MUTATIONS = {
    "LP-E107 a range is missing": lambda lines: lines[1]["packing"].pop(),
    "LP-E108 a range overlaps": lambda lines: move_range(lines, 1, -1),
    "LP-E108 a range is reversed": lambda lines: lines[1]["packing"][0].reverse(),
    "LP-E109 a range straddles rows": lambda lines: move_range(lines, -1, 64 - lines[1]["packing"][-1][0] - 1),
    "LP-E109 a range is beyond the step": lambda lines: move_range(lines, -1, 64),
    "LP-E110 tokens are wrong": lambda lines: lines[1].update(tokens=lines[1]["tokens"] + 1),
    "LP-E111 a line is missing": lambda lines: lines.pop(1),
    "LP-E112 lines are swapped": lambda lines: lines.insert(0, lines.pop(1)),
    "LP-E113 a line occurs twice": lambda lines: lines.insert(1, lines[1]),
    "LP-E114 the last line is missing": lambda lines: lines.pop(),
    "LP-E120 a sample occurs twice": swap_ids,
    "LP-E122 a sample is out of range": lambda lines: lines[0]["samples"].__setitem__(0, 20),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_edited_line_has_its_code(folder: Path, name: str):
    lines = read(folder)
    MUTATIONS[name](lines)
    write(folder, lines)
    assert name[:7] in {finding.code for finding in validate(folder)}
    with pytest.raises(CorruptPlan):
        load_plan(folder)


def test_a_missing_sample_is_found_when_the_counts_were_edited_too(folder: Path):
    lines = read(folder)
    tokens = lines[1]["tokens"]
    drop_segment(lines)
    write(folder, lines)

    def recount(metadata: dict) -> None:
        metadata["epochs"][0]["samples"] -= 1
        metadata["epochs"][0]["tokens"] -= tokens - lines[1]["tokens"]

    edit_document(folder, "metadata.json", recount)
    assert "LP-E121" in {finding.code for finding in validate(folder)}


def test_a_sample_recorded_as_excluded_is_not_placed(folder: Path):
    edit_document(folder, "metadata.json", lambda metadata: metadata["excluded"].update(oversize=1))
    assert "LP-E123" in {finding.code for finding in validate(folder)}


RECORDS = {
    "metadata.json, epochs": lambda m: m["epochs"][0].update(tokens=1),
    "metadata.json, seed": lambda m: m["config"].update(seed=9),
    "metadata.json, budget": lambda m: m["config"].update(token_budget=129),
    "metadata.json, lengths": lambda m: m["sources"][0].update(lengths="sha256:00"),
    "metadata.json, no epochs": lambda m: m.pop("epochs"),
    "fingerprints.json, plan_id": lambda m: m.update(plan_id="sha256:00"),
    "fingerprints.json, root": lambda m: m.update(merkle_root="00"),
    "fingerprints.json, data": lambda m: m["data"].update(digest="sha256:00"),
    "fingerprints.json, no template": lambda m: m.pop("template"),
    "stats.json, rows": lambda m: m.update(rows=1),
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_disagree_with_the_plan_are_found(folder: Path, name: str):
    edit_document(folder, name.split(",")[0], RECORDS[name])
    with pytest.raises(CorruptPlan) as caught:
        load_plan(folder)
    assert caught.value.code == "LP-E151"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["plan.idx", "plan.rows"])
@pytest.mark.parametrize("place", [0, 8, 21, -8, -1])
def test_an_altered_cache_is_named(folder: Path, name: str, place: int):
    flip(folder / name, place)
    assert [(each.code, each.message.split()[0]) for each in validate(folder)] == [("LP-E153", name)]
    with pytest.raises(CorruptPlan, match="delete it"):
        load_plan(folder)
    (folder / name).unlink()
    assert validate(folder) == []


@pytest.mark.parametrize("name", ["plan.idx", "plan.rows"])
@pytest.mark.parametrize(
    "change",
    [lambda content: content[:-8], lambda content: content + bytes(8), lambda _: b"x"],
    ids=["short", "long", "x"],
)
def test_a_cache_of_another_size_is_named(folder: Path, name: str, change: Callable[[bytes], bytes]):
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(CorruptPlan, match=name) as caught:
        load_plan(folder)
    assert caught.value.code == "LP-E153"


def test_a_newer_format_is_refused(folder: Path):
    edit_document(folder, "metadata.json", lambda metadata: metadata.update(plan_format_version=4))
    with pytest.raises(LazarusError, match="upgrade lazarus-plan") as caught:
        load_plan(folder)
    assert (caught.value.code, caught.value.exit_code) == ("LP-E160", 2)


def test_a_plan_whose_id_does_not_cover_its_data_is_refused_by_its_format(folder: Path):
    edit_document(folder, "metadata.json", lambda metadata: metadata.update(plan_format_version=1))
    with pytest.raises(LazarusError, match="format 1, whose plan_id does not cover the data") as caught:
        load_plan(folder)
    assert (caught.value.code, caught.value.exit_code) == ("LP-E161", 2)
    save_plan(build_plan(LengthCache.from_rows([LengthRow("a", 3)]), PlanConfig(token_budget=8)), folder)  # replaces it


def test_unknown_members_of_this_version_are_read(folder: Path):
    members = {name: json.loads((folder / f"{name}.json").read_bytes()) for name in DOCUMENTS}
    del members["metadata"]["checksum"]
    members["metadata"]["note"] = "kept"
    members["metadata"]["checksum"] = checksum(**members)
    edit_document(folder, "metadata.json", lambda metadata: metadata.update(members["metadata"]))
    assert load_plan(folder).metadata.model_dump()["note"] == "kept"


@pytest.mark.parametrize("name", ["plan.jsonl", "metadata.json", "fingerprints.json", "stats.json"])
def test_a_missing_file_is_damage(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(CorruptPlan, match="is missing"):
        load_plan(folder)


def test_a_plan_that_is_sound_has_no_finding_or_only_warnings(folder: Path, plan: BatchPlan):
    assert [finding.code for finding in validate(folder)] == []
    assert load_plan(folder).plan_id == plan.plan_id


def test_warnings_name_what_a_person_may_not_have_meant(tmp_path: Path):
    cache = LengthCache.from_rows(LengthRow(f"s{place}", 40) for place in range(3))
    save_plan(build_plan(cache, PlanConfig(token_budget=64, row_len=64, epochs=5)), tmp_path / "a")
    assert {finding.code for finding in validate(tmp_path / "a")} == {"LP-W201", "LP-W204", "LP-W205"}
    save_plan(build_plan(cache, PlanConfig(token_budget=32, oversize="truncate")), tmp_path / "b")
    assert "LP-W202" in {finding.code for finding in validate(tmp_path / "b")}


def damage(content: bytes, rng: random.Random) -> bytes:
    """One accident: a bit, a digit, a byte, two lines swapped, a line gone or doubled, a cut."""
    place = rng.randrange(len(content))
    lines = content.splitlines(keepends=True)
    match rng.randrange(7):
        case 0:
            return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        case 1:
            digits = [at for at, byte in enumerate(content) if 48 <= byte < 58]
            at = rng.choice(digits)
            return content[:at] + str(rng.randrange(10)).encode() + content[at + 1 :]
        case 2:
            return content[:place] + content[place + 1 :]
        case 3:
            first, second = rng.sample(range(len(lines)), 2)
            lines[first], lines[second] = lines[second], lines[first]
        case 4:
            del lines[rng.randrange(len(lines))]
        case 5:
            at = rng.randrange(len(lines))
            lines.insert(at, lines[at])
        case _:
            return content[:place]
    return b"".join(lines)


@pytest.mark.slow
def test_every_one_of_1000_accidents_to_the_plan_is_caught(folder: Path):
    rng = random.Random(5)
    whole = (folder / "plan.jsonl").read_bytes()
    for _ in range(1000):
        damaged = damage(whole, rng)
        (folder / "plan.jsonl").write_bytes(damaged)
        if damaged != whole:
            with pytest.raises(CorruptPlan):
                load_plan(folder)
