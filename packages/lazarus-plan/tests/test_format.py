"""FORMAT.md: its golden vectors hold, and a reader in another language that knows nothing else agrees."""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from lazarus_plan import (
    BatchPlan,
    LengthCache,
    LengthRow,
    LengthsHeader,
    PlanConfig,
    Stage,
    build_plan,
    load_plan,
    prove,
    rebase_plan,
    save_plan,
)
from lazarus_plan.audit import row_digest
from lazarus_plan.config import AS_STORED
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.format import merkle_root
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.locks.lock import materialise, write_lock
from lazarus_plan.shard import assign
from lazarus_plan.verify import verify_plan

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


TWO_SOURCES = {
    "token_budget 2048, row_len 512, stages: sources 0, 1 with weights 3, 1": PlanConfig(
        token_budget=2048, row_len=512, stages=(Stage(sources=(0, 1), weights=(3, 1)),)
    ),
    "token_budget 2048, row_len 512, repeats 1, 4": PlanConfig(token_budget=2048, row_len=512, repeats=(1, 4)),
    "token_budget 2048, row_len 512, stages: source 0, then sources 0, 1": PlanConfig(
        token_budget=2048, row_len=512, stages=(Stage(sources=(0,)), Stage(sources=(0, 1)))
    ),
}
REBASED = "the first plan of the first table, rebased at step 20 with s1000..s1099 appended"
NUMBERED = "the first plan of the second table, rebased at step 10 with s1000..s1049 and t300..t319 appended"
ALL = (*GOLDEN, *TWO_SOURCES, REBASED, NUMBERED)


def golden_caches(name: str) -> list[LengthCache]:
    """The length caches of the golden vectors of FORMAT.md."""
    first, second = {REBASED: (1100, 300), NUMBERED: (1050, 320)}.get(name, (1000, 300))
    caches = [
        LengthCache.from_rows(LengthRow(f"s{n}", 1 + n * n % 181) for n in range(first)),
        LengthCache.from_rows(LengthRow(f"t{n}", 1 + 7 * n % 97) for n in range(second)),
    ]
    return caches if name in (*TWO_SOURCES, NUMBERED) else caches[:1]


def any_golden_plan(name: str) -> BatchPlan:
    if name == REBASED:
        return rebase_plan(golden_plan(next(iter(GOLDEN))), 20, golden_caches(name))
    if name == NUMBERED:
        return rebase_plan(any_golden_plan(next(iter(TWO_SOURCES))), 10, golden_caches(name))
    return build_plan(golden_caches(name), (GOLDEN | TWO_SOURCES)[name])


@pytest.mark.parametrize("name", [*TWO_SOURCES, REBASED, NUMBERED])
def test_weighted_repeated_staged_and_rebased_plans_keep_their_bytes(name: str):
    # Changing this breaks stored plans: raise the format version.
    plan = any_golden_plan(name)
    sha256 = hashlib.sha256(b"".join(encode_lines(plan))).hexdigest()
    assert f"| {name} | `{sha256}` | `{plan.plan_id[7:]}` |" in FORMAT


@pytest.fixture
def read_with_node() -> Callable[..., str]:
    """The reader in JavaScript, which was written from FORMAT.md alone."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")

    def read(*arguments: object, code: int = 0) -> str:
        done = subprocess.run([node, READER, *map(str, arguments)], capture_output=True, check=False, encoding="utf-8")
        assert done.returncode == code, done.stderr
        return done.stdout.strip() if code == 0 else done.stderr

    return read


@pytest.mark.parametrize("name", ALL)
def test_a_reader_in_javascript_agrees_on_every_document(name: str, tmp_path: Path, read_with_node):
    plan = any_golden_plan(name)
    save_plan(plan, tmp_path / "plan")
    files = [tmp_path / f"{number}.jsonl" for number, _ in enumerate(golden_caches(name))]
    for path, cache in zip(files, golden_caches(name), strict=True):
        path.write_bytes(b"".join(LengthRow(i, int(n)).line() for i, n in zip(cache.ids, cache.length, strict=True)))
    assert read_with_node("check", tmp_path / "plan", *files) == plan.plan_id
    rows = plan.step(2).rows
    dealt = [[[s.sample for s in rows[row].segments] for row in share] for share in assign(rows, 3)]
    assert json.loads(read_with_node("deal", tmp_path / "plan", 2, 3)) == dealt
    (tmp_path / "proof.json").write_text(json.dumps(prove(tmp_path / "plan", 2)), "utf-8")
    assert read_with_node("proof", tmp_path / "proof.json") == plan.plan_id


@pytest.mark.parametrize(
    "name", ["metadata.json", "fingerprints.json", "stats.json", "plan.jsonl", "plan.rows", "plan.idx"]
)
def test_the_reader_in_javascript_refuses_a_changed_digit_of_any_file(folder: Path, read_with_node, name: str):
    content = bytearray((folder / name).read_bytes())
    digits = [
        at for at, byte in enumerate(content) if chr(byte) in "12345678" and name.startswith(("m", "f", "s", "plan.j"))
    ]
    at = digits[-1] if digits else len(content) - 8
    content[at] ^= 1
    (folder / name).write_bytes(content)
    assert "Error" in read_with_node("check", folder, code=1)


def test_the_reader_in_javascript_reads_length_caches_with_headers(folder: Path, lengths_file: Path, read_with_node):
    assert read_with_node("check", folder, lengths_file) == load_plan(folder).plan_id
    lengths_file.write_bytes(lengths_file.read_bytes().replace(b'"id":"s3"', b'"id":"x3"'))
    assert "length caches" in read_with_node("check", folder, lengths_file, code=1)


def test_the_reader_of_every_document_stays_small():
    assert len(READER.read_text("utf-8").splitlines()) <= 150


EXAMPLE_TEXTS = ("one", "two", "three")


def write_example(folder: Path) -> None:
    """The plan, lengths and proof of the examples in FORMAT.md: three rows, a byte a token."""
    data = b"".join(b'{"text":"%b"}\n' % text.encode() for text in EXAMPLE_TEXTS)
    digests = [hashlib.sha256(b'{"text":"%b"}' % text.encode()).digest() for text in EXAMPLE_TEXTS]
    rows = [
        LengthRow(
            str(number),
            len(text),
            loss_tokens=len(text),
            h=hashlib.sha256(np.frombuffer(text.encode(), dtype=np.uint8).astype("<u4").tobytes()).hexdigest()[:8],
            row=digest.hex()[:8],
        )
        for number, (text, digest) in enumerate(zip(EXAMPLE_TEXTS, digests, strict=True))
    ]
    file = {"name": "rows.jsonl", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    header = LengthsHeader(
        count=3,
        data=f"sha256:{merkle_root(digests).hex()}",
        template=f"sha256:{hashlib.sha256(b'template').hexdigest()}",
        tokenizer=f"sha256:{hashlib.sha256(b'tokenizer').hexdigest()}",
        encoding={"encode_version": 1},
        parts={"data": {"files": [file]}},
    )
    cache = LengthCache.from_rows(rows, header, "lengths.jsonl")
    plan = build_plan(cache, PlanConfig(token_budget=8, row_len=8))
    stamp = {"created_at": datetime(2026, 1, 1, tzinfo=UTC), "tool_version": "lazarus-plan 0.1.0"}
    save_plan(replace(plan, metadata=plan.metadata.model_copy(update=stamp)), folder)
    (folder.parent / "lengths.jsonl").write_bytes(header.line() + b"".join(row.line() for row in rows))
    (folder.parent / "proof.json").write_text(json.dumps(prove(folder, 1), indent=2) + "\n", "utf-8")


@pytest.mark.parametrize(
    "name", ["lengths.jsonl", "plan.jsonl", "metadata.json", "fingerprints.json", "stats.json", "proof.json"]
)
def test_the_examples_of_the_format_are_what_is_written(name: str, tmp_path: Path):
    write_example(tmp_path / "plan")
    path = tmp_path / name if (tmp_path / name).exists() else tmp_path / "plan" / name
    assert f"### {name}\n\n```\n{path.read_text('utf-8')}```\n" in FORMAT


def test_the_digests_of_the_format_are_those_of_the_code(tmp_path: Path):
    write_example(tmp_path / "plan")
    content = hashlib.sha256(b'{"text":"one"}').hexdigest()
    row = row_digest([np.array([1, 2, 3]), np.array([4, 5])]).hex()
    lengths = json.loads((tmp_path / "plan" / "metadata.json").read_bytes())["sources"][0]["lengths"]
    rows = (tmp_path / "plan" / "plan.rows").read_bytes().hex()
    for found in (content, row, lengths, rows):
        assert f"`{found}`" in FORMAT


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
