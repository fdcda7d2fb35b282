"""Exported files run by themselves, replay the plan to the token and write a log that proves it."""

import ast
import hashlib
import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from lazarus_plan import (
    BatchPlan,
    LengthCache,
    LengthRow,
    LengthsHeader,
    PlanConfig,
    PlanCursor,
    PlanError,
    build_plan,
    check_audit,
    load_plan,
    rebase_plan,
    save_plan,
)
from lazarus_plan.audit.encoded import encoded_token_ids
from lazarus_plan.audit.log import AuditLog as OurLog
from lazarus_plan.audit.log import StepDigest, read_log, row_digest
from lazarus_plan.cli.app import app
from lazarus_plan.exports import Target, export
from lazarus_plan.exports.audit_log import AuditLog, row_digests
from lazarus_plan.exports.encoded import EncodedSamples
from lazarus_plan.exports.rows import PlannedBatches
from lazarus_plan.exports.steps import PlanRefused, PlanSteps
from lazarus_plan.exports.trainer_settings import check_settings, choose_loss
from lazarus_plan.format.step_codec import encode_step
from lazarus_plan.format.store import ROWS

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58]
SETTINGS: list[dict[str, Any]] = [{}, {"mode": "padded"}, {"row_len": 48, "oversize": "split"}, {"align": 8}]
PROMPT = 3
"""Tokens of each sample that are not predicted."""
LINKS = {"data": "sha256:" + "d" * 64, "template": "sha256:" + "e" * 64, "tokenizer": "sha256:" + "f" * 64}
ENCODING = {"encode_version": 2}


def ids_of(sample: int, length: int) -> list[int]:
    return [100 * sample + token for token in range(length)]


def cache_of(samples: list[list[int]], **changes: Any) -> LengthCache:
    rows = [
        LengthRow(
            f"s{n}", len(ids), h=hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()[:8], row=f"{n:08x}"
        )
        for n, ids in enumerate(samples)
    ]
    header = LengthsHeader(len(rows), **{**LINKS, "encoding": ENCODING, **changes})
    return LengthCache.from_rows(rows, header, name="lengths.jsonl")


@pytest.fixture
def data() -> list[dict[str, list[int]]]:
    return [
        {"input_ids": ids_of(n, length), "mask": [0] * PROMPT + [1] * (length - PROMPT)}
        for n, length in enumerate(LENGTHS)
    ]


def saved(path: Path, **settings: Any) -> BatchPlan:
    cache = cache_of([ids_of(n, length) for n, length in enumerate(LENGTHS)])
    plan = build_plan(cache, PlanConfig(**{"token_budget": 192, "row_len": 64, "epochs": 2, **settings}))
    save_plan(plan, path)
    return plan


def encoded(path: Path, rows: list[dict[str, list[int]]], /, **changes: Any) -> str:
    """Writes a file as `lazarus-tokenkit encode` does."""
    header = {"lazarus_encoded": 1, "count": len(rows), **LINKS, "encoding": ENCODING, "parts": {}, **changes}
    lines = [header, *({"id": f"s{n}", **row, "row": f"{n:08x}"} for n, row in enumerate(rows))]
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return str(path)


def run_through(log: AuditLog, batches: PlannedBatches, stop: int | None = None) -> None:
    """Consumes every step from the log's next one."""
    size = batches.plan.micro_batches
    for step in range(log.next_step, batches.plan.steps if stop is None else stop):
        log.consumed(*(batches[step * size + part] for part in range(size)))


def refused(code: str, action: Callable[[], object], *words: str) -> None:
    with pytest.raises(PlanRefused) as caught:
        action()
    assert caught.value.code == code, str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# The exported files


@pytest.mark.parametrize("target", get_args(Target))
def test_an_exported_file_names_everything_it_uses_and_imports_no_lazarus(target: Target, tmp_path: Path):
    source = export(target)
    ast.parse(source, feature_version=(3, 10))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    others = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    frameworks = {"torch": {"torch"}, "trl": {"torch", "transformers"}, "grain": {"numpy"}, "mlx": {"mlx", "mlx_lm"}}
    assert others == frameworks[target]
    (tmp_path / "loader.py").write_text(source)
    checked = ["ruff", "check", "--isolated", "--no-cache", "--select", "F,I,D100,D103,E9", str(tmp_path / "loader.py")]
    done = subprocess.run([sys.executable, "-m", *checked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    shaped = [
        "ruff",
        "format",
        "--isolated",
        "--no-cache",
        "--check",
        "--line-length",
        "120",
        str(tmp_path / "loader.py"),
    ]
    done = subprocess.run([sys.executable, "-m", *shaped], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"--to {target}" in (ast.get_docstring(ast.parse(source)) or "")


@pytest.mark.parametrize("target", get_args(Target))
def test_the_example_in_the_docstring_calls_what_is_there(target: Target):
    tree = ast.parse(export(target))
    example = "\n".join(
        line[4:] for line in (ast.get_docstring(tree) or "").splitlines() if line.startswith("    ")
    ).replace("..", "pass")
    defined = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    called = [
        node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    own = [node for node in called if node.func.id in defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(own) >= 2
    for call in own:
        node = defined[call.func.id]  # pyright: ignore[reportAttributeAccessIssue]
        function = (
            node
            if isinstance(node, ast.FunctionDef)
            else next((n for n in node.body if isinstance(n, ast.FunctionDef)), None)
        )
        names = {argument.arg for argument in function.args.args} if function else set[str]()
        assert {keyword.arg for keyword in call.keywords} <= names or target == "trl", ast.unparse(call)


def load(target: Target) -> ModuleType:
    module = ModuleType(f"exported_{target}")
    sys.modules[module.__name__] = module
    exec(compile(export(target), f"<{target}>", "exec"), module.__dict__)
    return module


def test_the_grain_source_gives_arrays(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    module = load("grain")
    source = module.PlanSource(module.PlanSteps(str(tmp_path / "plan")), data)
    assert len(source) == len(plan)
    log = module.AuditLog(str(tmp_path / "audit.jsonl"), source.plan)
    for index in range(len(plan)):
        batch = source[index]
        assert batch["labels"].dtype == np.int32 and batch["labels"].shape == batch["input_ids"].shape
        log.consumed(batch)
    assert not check_audit(tmp_path / "audit.jsonl", plan).findings


@pytest.mark.parametrize("is_guarded", [True, False])
def test_worker_processes_that_would_run_the_script_again_are_lp_e194(data: Any, tmp_path: Path, is_guarded: bool):
    saved(tmp_path / "plan")
    (tmp_path / "planned.py").write_text(export("grain"))
    encoded(tmp_path / "encoded.jsonl", data)
    lines = [
        "import pickle",
        "from planned import EncodedSamples, PlanSource, PlanSteps",
        "plan = PlanSteps('plan')",
        "source = PlanSource(plan, EncodedSamples('encoded.jsonl', plan))",
        "assert (pickle.loads(pickle.dumps(source))[0]['labels'] == source[0]['labels']).all()",
    ]
    if is_guarded:
        lines = ["if __name__ == '__main__':", *(f"    {line}" for line in lines)]
    (tmp_path / "script.py").write_text("\n".join(lines) + "\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is is_guarded, done.stderr
    assert ("LP-E194: worker processes run" in done.stderr) is not is_guarded


# Rows


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("micro_batches", [1, 2, 5])
def test_the_places_are_those_of_the_cursor(tmp_path: Path, settings: dict[str, Any], micro_batches: int):
    plan = saved(tmp_path / "plan", **settings)
    for rank in range(3):
        steps = PlanSteps(str(tmp_path / "plan"), rank, 3, micro_batches)
        assert len(steps) == len(plan) * micro_batches
        for index, share in enumerate(PlanCursor(plan, rank, 3)):
            due = [[tuple(segment) for segment in row.segments] for batch in share.micro_batches for row in batch]
            found: list[list[Any]] = []
            for part in range(micro_batches):
                mine = steps.share(index * micro_batches + part)
                assert mine.step == index and mine.row_len == share.step.row_len
                rows: list[list[Any]] = [[] for _ in mine.rows]
                for place in mine.places:
                    size = place.end - place.start
                    span = None if place.is_whole else (place.first, place.first + size)
                    rows[place.row].append((place.sample, place.start, place.end, span))
                found += rows
            assert [[each[:3] for each in row] for row in found] == [[each[:3] for each in row] for row in due]
            assert [[each[3] for each in row if each[3]] for row in found] == [
                [each[3] for each in row if each[3] and each[3] != (0, each[2] - each[1])]
                or [e[3] for e in row if e[3]]
                for row in due
            ]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_rows_hold_the_tokens_of_the_plan_and_the_labels_of_the_data(
    data: Any, tmp_path: Path, settings: dict[str, Any]
):
    plan = saved(tmp_path / "plan", **settings)
    batches = PlannedBatches(PlanSteps(str(tmp_path / "plan")), data)
    for index in range(len(plan)):
        batch, step = batches[index], plan.step(index)
        assert batch["step"] == index and batch["row_numbers"] == list(range(len(step.rows)))
        for number, row in enumerate(step.rows):
            due = {
                name: [value] * step.row_len
                for name, value in (("input_ids", 0), ("position_ids", 0), ("segment_ids", 0))
            }
            labels = [-100] * step.row_len
            for at, segment in enumerate(row.segments, 1):
                first, size = (segment.span or (0, 0))[0], segment.end - segment.start
                for token in range(size):
                    place, ids = segment.start + token, data[segment.sample]["input_ids"]
                    due["input_ids"][place] = ids[first + token]
                    due["position_ids"][place], due["segment_ids"][place] = token, at
                    if token and first + token >= PROMPT:
                        labels[place] = ids[first + token]
            assert {name: batch[name][number] for name in due} == due
            assert batch["labels"][number] == labels


def test_rows_are_cut_into_micro_batches_of_equal_size(tmp_path: Path):
    saved(tmp_path / "plan")
    for micro_batches, expected in ((2, [(0, 1), (2,)]), (3, [(0,), (1,), (2,)]), (4, [(0,), (1,), (2,), ()])):
        steps = PlanSteps(str(tmp_path / "plan"), micro_batches=micro_batches)
        assert [steps.share(part).rows for part in range(micro_batches)] == expected


def test_a_process_without_rows_gets_a_row_of_padding_that_counts_for_nothing(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"), 7, 8)
    batch = PlannedBatches(steps, data)[0]
    assert batch["row_numbers"] == [-1] and batch["input_ids"] == [[0] * 64] and batch["labels"] == [[-100] * 64]
    assert row_digests(batch) == {}


LABELS: dict[str, Callable[[list[int]], list[int]]] = {
    "labels": lambda ids: [-100] * PROMPT + ids[PROMPT:],
    "mask": lambda ids: [0] * PROMPT + [1] * (len(ids) - PROMPT),
    "completion_mask": lambda ids: [0] * PROMPT + [1] * (len(ids) - PROMPT),
    "assistant_masks": lambda ids: [0] * PROMPT + [1] * (len(ids) - PROMPT),
}


@pytest.mark.parametrize("name", LABELS)
def test_every_form_of_labels_gives_the_same(data: Any, tmp_path: Path, name: str):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    other = [{"input_ids": row["input_ids"], name: LABELS[name](row["input_ids"])} for row in data]
    assert PlannedBatches(steps, other)[0] == PlannedBatches(steps, data)[0]
    kind = "assistant" if name == "assistant_masks" else "completion"
    assert PlannedBatches(steps, other, kind)[0] == PlannedBatches(steps, data)[0]


def test_masks_that_are_there_all_count(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    trl_made = [{**row, "labels": row["input_ids"]} for row in data]  # TRL's labels of data without `labels`
    assert PlannedBatches(steps, trl_made)[0] == PlannedBatches(steps, data)[0]
    later = [{"input_ids": row["input_ids"], "labels": LABELS["labels"](row["input_ids"])} for row in data]
    later = [{**row, "completion_mask": [1] * len(row["input_ids"])} for row in later]
    assert PlannedBatches(steps, later)[0] == PlannedBatches(steps, data)[0]


def test_a_loss_that_was_asked_for_and_is_absent_is_lp_e190(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    bare = [{"input_ids": row["input_ids"]} for row in data]
    turns = [{**row, "assistant_masks": [1] * len(row["input_ids"])} for row in bare]
    completions = [{**row, "completion_mask": [1] * len(row["input_ids"])} for row in bare]
    refused(
        "LP-E190",
        lambda: PlannedBatches(steps, bare)[0],
        "labels, mask, completion_mask, assistant_masks",
        "loss_on='all'",
    )
    refused("LP-E190", lambda: PlannedBatches(steps, turns, "completion")[0], "'completion'")
    refused("LP-E190", lambda: PlannedBatches(steps, completions, "assistant")[0], "'assistant'")
    refused("LP-E190", lambda: PlannedBatches(steps, data, "prompts"))  # pyright: ignore[reportArgumentType] # a wrong name
    everything = PlannedBatches(steps, data, "all")[0]
    assert everything == PlannedBatches(steps, bare, "all")[0]
    starts = sum(
        position == 0 and segment > 0
        for rows in zip(everything["position_ids"], everything["segment_ids"], strict=True)
        for position, segment in zip(*rows, strict=True)
    )
    labels = sum(label != -100 for row in everything["labels"] for label in row)
    assert labels == sum(segment > 0 for row in everything["segment_ids"] for segment in row) - starts


def test_labels_and_masks_that_do_not_fit_are_lp_e191(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))

    def with_labels(**changes: Any) -> Callable[[], object]:
        return lambda: [
            PlannedBatches(steps, [{**row, **{k: v(row["input_ids"]) for k, v in changes.items()}} for row in data])[0]
        ]

    refused("LP-E191", with_labels(labels=lambda ids: [*ids[1:], -100]), "shifted")
    refused("LP-E191", with_labels(completion_mask=lambda ids: [2] * len(ids)), "0 or 1")
    refused("LP-E191", with_labels(mask=lambda ids: [1] * (len(ids) - 1)), "`mask` for")


def test_other_tokens_than_planned_are_lp_e193(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))

    def through(rows: list[Any]) -> Callable[[], object]:
        return lambda: [PlannedBatches(steps, rows)[index] for index in range(len(steps))]

    swapped = [data[1], data[0], *data[2:]]
    changed = [{**data[0], "input_ids": [7, *data[0]["input_ids"][1:]]}, *data[1:]]
    longer = [{name: [*values, 1] for name, values in data[0].items()}, *data[1:]]
    for rows in (swapped, changed, longer):
        refused("LP-E193", through(rows), "sample")
    refused("LP-E193", through(data[:-1]), "9 samples", "10")
    # Without digests of the tokens, lengths are still compared.
    (tmp_path / "plan" / ROWS).unlink()
    steps = PlanSteps(str(tmp_path / "plan"))
    through(changed)()
    for rows in (swapped, longer):
        refused("LP-E193", through(rows), "tokens, the plan places")


def test_what_is_no_text_is_lp_e198(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    pairs = [{**row, "parts": [5, len(row["input_ids"]) - 5]} for row in data]
    texts = [{"text": "a"} for _ in data]
    refused("LP-E198", lambda: PlannedBatches(steps, pairs)[0], "chosen and rejected")
    refused("LP-E198", lambda: PlannedBatches(steps, texts)[0], "no `input_ids` but text")


def test_no_number_of_a_batch_starts_the_plan_again(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    batches = PlannedBatches(PlanSteps(str(tmp_path / "plan"), micro_batches=2), data)
    for index in (-1, len(batches)):
        with pytest.raises(IndexError, match="no other steps"):
            batches[index]
    assert len(list(iter(batches.__getitem__, None)) if False else [batches[n] for n in range(len(batches))]) == len(
        batches
    )


# Plans


def test_a_damaged_plan_is_lp_e196(tmp_path: Path):
    plan = saved(tmp_path / "plan")
    folder = tmp_path / "plan"
    assert (
        PlanSteps(str(folder), expect=plan.plan_id).plan_id == PlanSteps(str(folder), expect=plan.plan_id[7:30]).plan_id
    )
    refused("LP-E196", lambda: PlanSteps(str(folder), expect="sha256:" + "0" * 64), "expected")
    refused("LP-E196", lambda: PlanSteps(str(folder), expect=plan.plan_id[7:12]), "expected")
    refused("LP-E196", lambda: PlanSteps(str(tmp_path)), "does not exist")
    edits = {
        "plan.jsonl": (b'"samples":[', b'"samples":[1'),
        "metadata.json": (b'"seed": 0', b'"seed": 1'),
        "fingerprints.json": (b"d" * 64, b"c" * 64),
    }
    for name, (old, new) in edits.items():
        whole = (folder / name).read_bytes()
        assert old in whole, name
        (folder / name).write_bytes(whole.replace(old, new))
        refused("LP-E196", lambda: PlanSteps(str(folder)), "lazarus-plan validate")
        (folder / name).write_bytes(whole)
    prefixes = (folder / ROWS).read_bytes()
    (folder / ROWS).write_bytes(prefixes[4:] + prefixes[:4])
    refused("LP-E196", lambda: PlanSteps(str(folder)))
    (folder / ROWS).write_bytes(prefixes)
    (folder / "metadata.json").write_bytes(b"[]")
    refused("LP-E196", lambda: PlanSteps(str(folder)), "no JSON object")
    (folder / "metadata.json").write_bytes(b"{")
    refused("LP-E196", lambda: PlanSteps(str(folder)), "no JSON")


def test_the_identity_is_that_of_the_plan_for_every_kind_of_plan(tmp_path: Path):
    plan = saved(tmp_path / "plan")
    child = rebase_plan(plan, 2, cache_of([ids_of(n, length) for n, length in enumerate([*LENGTHS, 20])]))
    save_plan(child, tmp_path / "child")
    bare = build_plan(
        LengthCache.from_rows(LengthRow(f"s{n}", n % 30 + 1) for n in range(50)), PlanConfig(token_budget=64)
    )
    save_plan(bare, tmp_path / "bare")
    for name, expected in (("plan", plan), ("child", child), ("bare", bare)):
        assert PlanSteps(str(tmp_path / name)).plan_id == expected.plan_id


def test_the_steps_travel_to_worker_processes_without_their_lines(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    path = encoded(tmp_path / "encoded.jsonl", data)
    steps = PlanSteps(str(tmp_path / "plan"))
    batches = PlannedBatches(steps, EncodedSamples(path, steps))
    first = batches[0]
    small = pickle.dumps(batches)
    assert steps.lines[0] not in small and pickle.loads(small)[0] == first
    assert "_offsets" in batches.data.__dict__ and "_offsets" not in batches.data.__getstate__()


# Encoded files


def test_an_encoded_file_gives_the_samples(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    samples = EncodedSamples(encoded(tmp_path / "encoded.jsonl", data), steps)
    assert len(samples) == len(data)
    assert [dict(sample) for sample in samples] == [{"id": f"s{n}", **row} for n, row in enumerate(data)]
    assert samples[2:4] == [samples[2], samples[3]] and samples[-1] == samples[9]
    assert PlannedBatches(steps, samples)[0] == PlannedBatches(steps, data)[0]


def test_parquet_gives_the_same(data: Any, tmp_path: Path):
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from pyarrow import parquet

    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    lines = Path(encoded(tmp_path / "encoded.jsonl", data)).read_text().splitlines()
    columns = {name: [row[name] for row in map(json.loads, lines[1:])] for name in ("id", "input_ids", "mask", "row")}
    table = arrow.table(columns).replace_schema_metadata({"lazarus": lines[0]})
    parquet.write_table(table, tmp_path / "encoded.parquet")
    samples = EncodedSamples(str(tmp_path / "encoded.parquet"), steps)
    assert list(samples) == list(EncodedSamples(str(tmp_path / "encoded.jsonl"), steps))
    assert pickle.loads(pickle.dumps(samples))[3] == samples[3]


@pytest.mark.parametrize(
    ("component", "value"),
    [
        ("data", "sha256:" + "0" * 64),
        ("template", "absent"),
        ("tokenizer", "sha256:" + "1" * 64),
        ("encoding", {}),
        ("count", 9),
    ],
)
def test_an_encoded_file_of_something_else_is_lp_e192(data: Any, tmp_path: Path, component: str, value: Any):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    path = encoded(tmp_path / "encoded.jsonl", data, **{component: value})
    refused("LP-E192", lambda: EncodedSamples(path, steps), f"`{component}`")


def test_what_is_no_encoded_file_is_lp_e192(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps, path = PlanSteps(str(tmp_path / "plan")), tmp_path / "encoded.jsonl"
    refused("LP-E192", lambda: EncodedSamples(str(path), steps), "does not exist")
    refused("LP-E192", lambda: EncodedSamples([], steps), "0 encoded file(s) for 1")
    encoded(path, data, lazarus_encoded=2)
    refused("LP-E192", lambda: EncodedSamples(str(path), steps), "format 2")
    encoded(path, data)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    refused("LP-E192", lambda: EncodedSamples(str(path), steps), "no header")
    path.write_text("".join(lines[:-1]))
    refused("LP-E192", lambda: EncodedSamples(str(path), steps), "9 samples, its header says 10")
    path.write_text("\x00")
    refused("LP-E192", lambda: EncodedSamples(str(path), steps), "no header")


def test_several_sources_follow_one_another(data: Any, tmp_path: Path):
    caches = [cache_of([row["input_ids"] for row in part]) for part in (data[:4], data[4:])]
    save_plan(build_plan(caches, PlanConfig(token_budget=192, row_len=64)), tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    paths = [encoded(tmp_path / f"{n}.jsonl", part) for n, part in enumerate((data[:4], data[4:]))]
    samples = EncodedSamples(paths, steps)
    assert [sample["input_ids"] for sample in samples] == [row["input_ids"] for row in data]
    assert PlannedBatches(steps, samples)[0] == PlannedBatches(steps, data)[0]


@pytest.fixture
def grown(data: Any, tmp_path: Path) -> tuple[PlanSteps, list[str], list[dict[str, list[int]]]]:
    """A plan that was rebased after a row was appended to the first of two sources; its encoded files; their rows."""
    parts = [[*data[:4], {"input_ids": ids_of(50, 20), "mask": [1] * 20}], data[4:]]
    caches = [cache_of([row["input_ids"] for row in part]) for part in (data[:4], *parts)]
    parent = build_plan([caches[0], caches[2]], PlanConfig(token_budget=192, row_len=64, epochs=2))
    save_plan(rebase_plan(parent, 1, caches[1:]), tmp_path / "grown")
    paths = [encoded(tmp_path / f"{n}.jsonl", part) for n, part in enumerate(parts)]
    return PlanSteps(str(tmp_path / "grown")), paths, [*parts[0], *parts[1]]


def test_a_plan_with_ranges_of_numbers_gives_positions_in_the_data(
    grown: tuple[PlanSteps, list[str], list[dict[str, list[int]]]], tmp_path: Path
):
    steps, paths, rows = grown
    plan = load_plan(tmp_path / "grown")
    assert plan.metadata.numbering == ((0, 4), (1, 6), (0, 1)) and steps.plan_id == plan.plan_id
    samples = EncodedSamples(paths, pickle.loads(pickle.dumps(steps)))
    assert [sample["input_ids"] for sample in samples] == [row["input_ids"] for row in rows]
    batches = PlannedBatches(steps, samples)
    log = AuditLog(str(tmp_path / "log"), steps)
    run_through(log, batches)
    found = check_audit(tmp_path / "log", plan, encoded_token_ids(paths, tmp_path / "grown"))
    assert not found.findings and found.steps == len(plan)
    by_number = [*rows[:4], *rows[5:], rows[4]]
    assert (tmp_path / "log").read_bytes() == our_log(plan, tmp_path / "ours", by_number).read_bytes()
    prefixes = bytearray((tmp_path / "grown" / ROWS).read_bytes())
    prefixes[-1] ^= 1
    (tmp_path / "grown" / ROWS).write_bytes(prefixes)
    refused("LP-E196", lambda: PlanSteps(str(tmp_path / "grown")), "damaged")


# Audit logs


def our_log(plan: BatchPlan, path: Path, data: Any) -> Path:
    """The log that our own trainer writes, less what it binds besides."""
    log = OurLog.start(path, plan.plan_id)
    for index in range(len(plan)):
        rows = []
        for row in plan.step(index).rows:
            cut = [(s.sample, (s.span or (0, 0))[0], s.end - s.start) for s in row.segments]
            rows.append(row_digest([np.array(data[n]["input_ids"][a : a + size]) for n, a, size in cut]))
        log.append(index, StepDigest.of(encode_step(plan, index), rows))
    return path


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_log_is_that_of_our_trainer_to_the_byte(
    data: Any, tmp_path: Path, settings: dict[str, Any], micro_batches: int
):
    plan = saved(tmp_path / "plan", **settings)
    steps = PlanSteps(str(tmp_path / "plan"), micro_batches=micro_batches)
    run_through(AuditLog(str(tmp_path / "run" / "audit.jsonl"), steps), PlannedBatches(steps, data))
    ours = our_log(plan, tmp_path / "ours.jsonl", data)
    assert (tmp_path / "run" / "audit.jsonl").read_bytes() == ours.read_bytes()
    tokens = encoded_token_ids([encoded(tmp_path / "encoded.jsonl", data)], tmp_path / "plan")
    found = check_audit(tmp_path / "run" / "audit.jsonl", plan, tokens)
    assert not found.findings and found.steps == len(plan)


def test_several_processes_write_the_log_of_one(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    ranks = [PlanSteps(str(tmp_path / "plan"), rank, 5) for rank in range(5)]
    batches = [PlannedBatches(steps, data) for steps in ranks]
    log = AuditLog(str(tmp_path / "audit.jsonl"), ranks[0], gather=lambda own: [own, *others])
    others: list[dict[int, bytes]] = []
    for step in range(len(plan)):
        others[:] = [row_digests(each[step]) for each in batches[1:]]
        log.consumed(batches[0][step])
    assert (tmp_path / "audit.jsonl").read_bytes() == our_log(plan, tmp_path / "ours", data).read_bytes()
    every = [row_digests(each[0]) for each in batches]
    other = AuditLog(str(tmp_path / "none"), ranks[1], gather=lambda own: every)
    other.add(every[1], 0)
    assert other.next_step == 1 and not (tmp_path / "none").exists()
    refused("LP-E197", lambda: AuditLog(str(tmp_path / "none"), ranks[1]), "gather")


def test_a_log_goes_on_after_every_checkpoint_and_keeps_what_was_repeated(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    whole = our_log(plan, tmp_path / "ours", data).read_bytes()
    steps = PlanSteps(str(tmp_path / "plan"))
    for checkpoint in range(len(plan) + 1):
        path = tmp_path / f"{checkpoint}.jsonl"
        run_through(AuditLog(str(path), steps), PlannedBatches(steps, data))
        with path.open("ab") as log:
            log.write(b'{"step":')  # cut off by a crash
        run_through(AuditLog(str(path), steps, checkpoint), PlannedBatches(steps, data))
        assert path.read_bytes() == whole
        lines = whole.splitlines(keepends=True)
        rewound = path.with_name(f"{path.name}.rewound").read_bytes().splitlines(keepends=True)
        assert json.loads(rewound[0])["rewound_to"] == checkpoint
        assert b"".join(rewound[1:]) == b"".join(lines[checkpoint + 1 :]) + b'{"step":\n'


def test_a_log_of_our_trainer_goes_on_here_and_back(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    path = our_log(plan, tmp_path / "log", data)
    kept = path.read_bytes()
    AuditLog(str(path), PlanSteps(str(tmp_path / "plan")), 2)
    ours = OurLog.resume(path, plan.plan_id, 2, AuditLog(str(path), PlanSteps(str(tmp_path / "plan")), 2).head.hex())
    assert ours.next_step == 2 and kept.startswith(path.read_bytes())


def test_a_rebased_plan_is_bound(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    more = [*data, {"input_ids": ids_of(10, 20), "mask": [1] * 20}]
    child = rebase_plan(plan, 2, cache_of([row["input_ids"] for row in more]))
    save_plan(child, tmp_path / "child")
    steps, later = PlanSteps(str(tmp_path / "plan")), PlanSteps(str(tmp_path / "child"))
    run_through(AuditLog(str(tmp_path / "log"), steps), PlannedBatches(steps, data), stop=3)
    run_through(AuditLog(str(tmp_path / "log"), later, 2), PlannedBatches(later, more), stop=4)
    run_through(AuditLog(str(tmp_path / "log"), later, 4), PlannedBatches(later, more))
    found = check_audit(tmp_path / "log", child)
    assert not found.findings and found.steps == len(child) and [each.kind for each in found.bindings] == ["plan"]
    run_through(AuditLog(str(tmp_path / "other"), steps), PlannedBatches(steps, data))
    refused("LP-E197", lambda: AuditLog(str(tmp_path / "other"), later, 3), "log of plan")


def test_what_was_not_trained_in_order_and_whole_is_lp_e195(data: Any, tmp_path: Path):
    saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"), micro_batches=2)
    batches = PlannedBatches(steps, data)
    log = AuditLog(str(tmp_path / "log"), steps)
    refused("LP-E195", lambda: log.consumed(batches[2], batches[3]), "step 1", "step 0")  # skipped
    refused("LP-E195", lambda: log.consumed(batches[0]), "rows")  # a micro-batch left out
    refused("LP-E195", lambda: log.consumed(batches[0], batches[0]), "twice")
    refused("LP-E195", lambda: log.consumed(batches[0], batches[3]), "step 0 and 1")
    refused("LP-E195", lambda: log.consumed(), "without batches")
    run_through(log, batches)
    refused("LP-E195", lambda: log.consumed(batches[0], batches[1]), "stop there")  # the plan starts again
    refused("LP-E195", lambda: log.add({}, steps.steps), "after the plan's")
    assert not check_audit(tmp_path / "log", load_plan(tmp_path / "plan")).findings


def test_a_log_that_cannot_go_on_is_lp_e197(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    saved(tmp_path / "other", seed=5)
    steps, other = PlanSteps(str(tmp_path / "plan")), PlanSteps(str(tmp_path / "other"))
    path = tmp_path / "log"
    refused("LP-E197", lambda: AuditLog(str(path), steps, 2), "does not exist")
    run_through(AuditLog(str(path), steps), PlannedBatches(steps, data), stop=3)
    kept = path.read_bytes()
    refused("LP-E197", lambda: AuditLog(str(path), other), "the log of plan")
    assert path.read_bytes() == kept
    refused("LP-E197", lambda: AuditLog(str(path), steps, 4), "ends after 3 steps")
    path.write_bytes(kept.replace(b'"leaf":"', b'"leaf":"00', 1))
    refused("LP-E197", lambda: AuditLog(str(path), steps, 3), "line 2")
    path.write_bytes(b"{}\n")
    refused("LP-E197", lambda: AuditLog(str(path), steps), "no audit log")
    assert path.read_bytes() == b"{}\n" and len(plan) == 4


def test_a_log_of_a_swapped_changed_or_left_out_sample_is_refused(data: Any, tmp_path: Path):
    """By a loader without the checks: what it trained on is what it says."""
    plan = saved(tmp_path / "plan")
    steps = PlanSteps(str(tmp_path / "plan"))
    path = encoded(tmp_path / "encoded.jsonl", data)
    swapped = [data[0], data[6], *data[2:6], data[1], *data[7:]]
    swapped = [
        {**other, "input_ids": (other["input_ids"] * 2)[: len(row["input_ids"])], "mask": row["mask"]}
        for row, other in zip(data, swapped, strict=True)
    ]
    changed = [{**row, "input_ids": [*row["input_ids"][:-1], 9]} for row in data]
    steps.prefixes = None
    for name, rows in (("swapped", swapped), ("changed", changed)):
        run_through(AuditLog(str(tmp_path / name), steps), PlannedBatches(steps, rows))
    log = AuditLog(str(tmp_path / "left out"), steps)
    for index in range(len(plan)):
        batch = PlannedBatches(steps, data)[index]
        batch["segment_ids"] = [[0 if segment == 1 else segment for segment in row] for row in batch["segment_ids"]]
        log.consumed(batch)
    tokens = encoded_token_ids([path], tmp_path / "plan")
    for name in ("swapped", "changed", "left out"):
        codes = [finding.code for finding in check_audit(tmp_path / name, plan, tokens).findings]
        assert codes == ["LP-E175"], name
    command = ["audit", "-p", str(tmp_path / "plan"), "--encoded", path, "--log"]
    run_through(
        AuditLog(str(tmp_path / "good"), PlanSteps(str(tmp_path / "plan"))),
        PlannedBatches(PlanSteps(str(tmp_path / "plan")), data),
    )
    assert CliRunner().invoke(app, [*command, str(tmp_path / "good")]).exit_code == 0
    done = CliRunner().invoke(app, [*command, str(tmp_path / "swapped")])
    assert done.exit_code == 1 and "LP-E175" in done.output


def test_the_tokens_of_another_encoded_file_prove_nothing(data: Any, tmp_path: Path):
    plan = saved(tmp_path / "plan")
    log = our_log(plan, tmp_path / "log", data)
    changed = [{**row, "input_ids": [*row["input_ids"][:-1], 9]} for row in data]
    tokens = encoded_token_ids([encoded(tmp_path / "encoded.jsonl", changed)], tmp_path / "plan")
    with pytest.raises(PlanError) as caught:
        check_audit(log, plan, tokens)
    assert caught.value.code == "LP-E193"
    with pytest.raises(PlanError) as caught:
        encoded_token_ids([encoded(tmp_path / "encoded.jsonl", data, data="sha256:" + "0" * 64)], tmp_path / "plan")
    assert caught.value.code == "LP-E192"
    assert len(list(read_log(log)[1])) == len(plan)


# Settings of transformers' trainers


def trainer_args(**changes: Any) -> SimpleNamespace:
    """What `TrainingArguments` have by default, as far as it is looked at."""
    members: dict[str, Any] = {
        "max_steps": -1,
        "num_train_epochs": 1.0,
        "gradient_accumulation_steps": 1,
        "world_size": 1,
        "n_gpu": 0,
        "train_sampling_strategy": "random",
        "average_tokens_across_devices": True,
    }
    return SimpleNamespace(**{**members, **changes})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"max_steps": 11}, "max_steps=11 is beyond the plan's 10 steps"),
        ({"num_train_epochs": 3.0}, "num_train_epochs=3.0 would repeat the plan"),
        ({"dataloader_drop_last": True}, "dataloader_drop_last"),
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy='group_by_length'"),
        ({"group_by_length": True}, "group_by_length"),
        ({"packing": True}, "packing"),
        ({"shuffle_dataset": True}, "shuffle_dataset"),
        ({"padding_free": True}, "padding_free"),
        ({"ignore_data_skip": True}, "ignore_data_skip"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size"),
        ({"n_gpu": 2}, "several GPUs in one process"),
        ({"world_size": 2, "average_tokens_across_devices": False}, "average_tokens_across_devices"),
    ],
    ids=str,
)
def test_settings_that_would_break_the_plan_are_lp_e194(changes: dict[str, Any], word: str):
    refused("LP-E194", lambda: check_settings(trainer_args(**changes), 10, counts_tokens=True), word)


def test_settings_that_follow_the_plan_pass():
    for changes in (
        {},
        {"max_steps": 10, "num_train_epochs": 3.0},
        {"max_steps": 4},
        {"gradient_accumulation_steps": 4},
        {"world_size": 2},
    ):
        check_settings(trainer_args(**changes), 10, counts_tokens=True)
    check_settings(trainer_args(), 10, counts_tokens=False)
    for changes in ({"gradient_accumulation_steps": 2}, {"world_size": 2}):
        refused(
            "LP-E194",
            lambda changes=changes: check_settings(trainer_args(**changes), 10, counts_tokens=False),
            "num_items_in_batch",
        )


def test_a_rank_that_is_not_there_is_lp_e194(tmp_path: Path):
    saved(tmp_path / "plan")
    for rank, world_size, micro_batches in ((2, 2, 1), (-1, 1, 1), (0, 1, 0)):
        refused("LP-E194", lambda r=rank, w=world_size, m=micro_batches: PlanSteps(str(tmp_path / "plan"), r, w, m))


@pytest.mark.parametrize(
    ("columns", "settings", "asked", "expected"),
    [
        (["input_ids", "labels"], {}, None, "data"),
        (["input_ids", "labels"], {"completion_only_loss": True}, None, "completion"),
        (["input_ids", "completion_mask"], {"completion_only_loss": True}, None, "completion"),
        (["input_ids", "completion_mask"], {}, None, "data"),
        (["input_ids", "mask", "id"], {}, None, "data"),
        (["input_ids", "assistant_masks"], {}, None, "data"),
        (["prompt", "completion"], {}, None, "data"),
        (["prompt", "completion"], {"completion_only_loss": False}, None, "data"),
        (["messages"], {"assistant_only_loss": True}, None, "data"),
        (["text"], {}, None, "data"),
        (["input_ids"], {}, "all", "all"),
        (["input_ids", "labels"], {}, "completion", "completion"),
    ],
)
def test_the_loss_is_what_the_data_and_the_settings_say(
    columns: list[str], settings: dict[str, Any], asked: Any, expected: str
):
    assert choose_loss(trainer_args(**settings), columns, asked) == expected


@pytest.mark.parametrize(
    ("columns", "settings", "asked", "word"),
    [
        (["input_ids"], {"completion_only_loss": True}, None, "completions alone was asked for"),
        (["input_ids", "assistant_masks"], {"completion_only_loss": True}, None, "completions alone was asked for"),
        (["input_ids"], {}, "completion", "completions alone was asked for"),
        (["input_ids", "completion_mask"], {"assistant_only_loss": True}, None, "assistant's turns"),
        (["input_ids", "completion_mask"], {}, "assistant", "assistant's turns"),
        (["input_ids"], {}, None, "it is unknown whether the loss includes prompts"),
        (["messages"], {}, None, "it is unknown whether the loss includes prompts"),
        (["input_ids", "completion_mask"], {"completion_only_loss": False}, None, "completion_only_loss=False"),
    ],
)
def test_a_loss_that_nothing_states_is_refused(columns: list[str], settings: dict[str, Any], asked: Any, word: str):
    refused("LP-E190", lambda: choose_loss(trainer_args(**settings), columns, asked), word)
