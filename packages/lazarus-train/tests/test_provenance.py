import json
import shutil
from pathlib import Path

import pytest

from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_train import LoraConfig, check_run, train, verify_run
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint, SetupError
from lazarus_train.run_dir.chain import RunAudit
from lazarus_train.run_dir.checkpoint import read_state
from lazarus_train.run_dir.sealed_write import as_json
from lazarus_train.verify.metrics_check import check_metrics, read_metrics

BEFORE = ["checkpoint", "first model", "settings", "environment"]
CHAIN = ["audit log", "audit head", "data head", "plan", "lengths", "tokenizer", "template", "data"]
LINKS = [*BEFORE, "final", "metrics", *CHAIN, "not looked at", "pins"]


@pytest.fixture(params=["full", "lora"])
def run(setup, request):
    train(setup.config(max_steps=4, lora=LoraConfig(rank=2, alpha=4.0) if request.param == "lora" else None))
    return setup


def names(path):
    return [link.name for link in verify_run(path)]


def test_every_link_holds_from_the_run_its_final_and_each_checkpoint(run):
    folder = run.folder / "run"
    assert names(folder) == names(folder / "final") == names(folder / "checkpoints/step-0000004") == LINKS
    assert names(folder / "checkpoints/step-0000002") == [name for name in LINKS if name not in ("final", "metrics")]


@pytest.mark.parametrize(
    "name", ["nothing", "checkpoints/step-0000099", "checkpoints.rewound/step-0000002", "metrics.jsonl", "batch_plan"]
)
def test_what_is_no_part_of_the_chain_is_not_taken_for_the_newest_checkpoint(setup, name):
    train(setup.config(max_steps=4))
    train(setup.config(max_steps=2), resume=str(setup.folder / "run/checkpoints/step-0000002"))
    aside = setup.folder / "run/checkpoints.rewound"
    (aside / "step-0000004").rename(aside / "step-0000002")
    (setup.folder / "run/batch_plan").mkdir()
    with pytest.raises(
        SetupError,
        match=r"(does not exist|is not a run, its `final` or one of its checkpoints): give the folder of a run",
    ):
        names(setup.folder / "run" / name)


def test_a_link_to_a_checkpoint_is_that_checkpoint(setup):
    train(setup.config(max_steps=4))
    assert names(setup.folder / "run/checkpoints/latest") == LINKS


@pytest.mark.parametrize(
    ("inside", "path"),
    [("", "."), ("", "final"), ("final", "."), ("final", ".."), ("checkpoints", "latest"), ("checkpoints/latest", ".")],
)
def test_a_relative_path_may_begin_inside_the_run(setup, monkeypatch, inside, path):
    train(setup.config(max_steps=2))
    monkeypatch.chdir(setup.folder / "run" / inside)
    assert names(Path(path)) == LINKS


def test_changed_weights_are_found(run):
    final = run.folder / "run/final"
    path = final / "adapters/adapters.safetensors"
    path = path if path.is_file() else final / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match="was changed"):
        names(run.folder / "run")


@pytest.mark.slow
def test_changed_metrics_are_found(setup):
    train(setup.config(max_steps=4))
    path = setup.folder / "run/metrics.jsonl"
    log = path.read_bytes()
    lines = log.splitlines(keepends=True)
    equal_size = log.replace(b'"loss":', b'"lost":', 1)
    for edited in (equal_size, b"".join(reversed(lines)), log + lines[-1], b"".join(lines[:-1]), log[:-1]):
        path.write_bytes(edited)
        with pytest.raises(
            CorruptCheckpoint, match=r"metrics\.jsonl was changed: its digest differs from the audit log"
        ):
            names(setup.folder / "run")
    path.write_bytes(log)
    assert names(setup.folder / "run") == LINKS


def test_values_of_the_metrics_that_plan_and_settings_determine_are_recomputed(setup):
    config = setup.config(max_steps=4)
    train(config)
    path = setup.folder / "run/metrics.jsonl"
    inputs, lines = check_run(config), read_metrics(path)
    rest = inputs.plan, inputs.units, config.optimizer, 0
    assert check_metrics(path, lines, *rest) == 4
    for name in ("step", "tokens", "loss_tokens", "learning_rate"):
        for value in (lines[2][name] + 1, str(lines[2][name]), None):
            edited = [*lines[:2], lines[2] | {name: value}, lines[3]]
            with pytest.raises(CorruptCheckpoint, match=f"`{name}` of step 3 is {value!r}, but plan and settings give"):
                check_metrics(path, edited, *rest)
        with pytest.raises(CorruptCheckpoint, match=f"`{name}` of step 3 is"):  # an equal number of another type
            other = float(lines[2][name]) if isinstance(lines[2][name], int) else None
            check_metrics(path, [*lines[:2], lines[2] | {name: other}, lines[3]], *rest)


def test_a_changed_first_model_is_found(run):
    path = run.model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ForeignCheckpoint,
        match=r"the run started from another model, sha256:.*`model\.safetensors` was [0-9a-f]{8}, is now",
    ):
        names(run.folder / "run")
    path.unlink()
    link = next(link for link in verify_run(run.folder / "run") if link.name == "first model")
    assert (link.holds, link.proof) == (False, f"{run.model} has no weights")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_any_changed_file_of_final_is_found(run, name):
    path = run.folder / "run/final" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CorruptCheckpoint, match=f"{name} was changed"):
        names(run.folder / "run")


def test_a_final_sealed_anew_around_other_weights_is_found(run):
    from lazarus_train.run_dir.sealed_write import seal

    final = run.folder / "run/final"
    content = {file.relative_to(final): file.read_bytes() for file in final.rglob("*.safetensors")}

    def write(folder):
        for name, data in content.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    seal(final, write)
    with pytest.raises(CorruptCheckpoint, match=r"final was changed: its digest differs from audit\.jsonl"):
        names(run.folder / "run")


def test_a_run_is_verified_from_any_folder_and_after_its_parts_moved(setup, monkeypatch, tmp_path_factory):
    from lazarus_train import TrainConfig
    from lazarus_train.verify import Elsewhere

    monkeypatch.chdir(setup.folder)
    relative = {"model": "model", "data": "data.jsonl", "batch_plan": "plan", "output": "run"}
    train(TrainConfig(**relative, max_steps=1))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert names(setup.folder / "run") == LINKS
    setup.data.rename("moved.jsonl")
    with pytest.raises(SetupError, match=r"data\.jsonl does not exist: give its current location as `data`"):
        names(setup.folder / "run")
    found = [link.name for link in verify_run(setup.folder / "run", Elsewhere(data=(Path("moved.jsonl"),)))]
    assert found == LINKS


def test_the_template_file_of_a_run_is_looked_for_where_the_run_began(setup, monkeypatch, tmp_path_factory):
    (setup.folder / "templates").mkdir()
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    (setup.folder / "templates/mine.jinja").write_text(source)
    monkeypatch.chdir(setup.folder)
    setup.build_plan(template="templates/mine.jinja", row_len=64)
    train(setup.config(max_steps=1, template="templates/mine.jinja"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert names(setup.folder / "run") == LINKS
    Path("templates").mkdir()
    Path("templates/mine.jinja").write_text(source.replace(": ", "; "))  # another one of that name
    assert names(setup.folder / "run") == LINKS


def test_what_a_run_made_for_itself_is_looked_for_where_the_run_is_now(setup):
    from lazarus_train.build_plan import plan_run

    config = setup.config(max_steps=1)
    config = config.model_copy(update={"batch_plan": config.output / "batch_plan"})
    plan_run(config, {"token_budget": 64, "row_len": 32, "seed": 0}, resume="auto")
    train(config)
    shutil.copytree(setup.folder / "run", setup.folder / "copy")
    assert names(setup.folder / "copy") == LINKS
    (setup.folder / "copy/batch_plan/metadata.json").unlink()
    with pytest.raises(CorruptPlan):
        names(setup.folder / "copy")
    shutil.rmtree(setup.folder / "copy")
    (setup.folder / "run").rename(setup.folder / "copy")
    assert names(setup.folder / "copy") == LINKS


def test_what_the_plan_does_not_know_is_said(setup):
    from lazarus_plan import PlanConfig, build_plan, read_lengths, save_plan

    lengths = setup.build_plan()
    bare = setup.folder / "bare.jsonl"
    bare.write_text("".join(f'{{"id":"{i}","length":{n}}}\n' for i, n in enumerate(lengths.length.tolist())))
    save_plan(build_plan(read_lengths(bare), PlanConfig(token_budget=64, row_len=32)), setup.plan)
    train(setup.config(max_steps=1))
    unknown = {link.name for link in verify_run(setup.folder / "run") if not link.holds}
    assert unknown == {"data", "template", "tokenizer"}


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"config": {}}', '{"config": 1, "plan_id": 2}'])
def test_a_record_that_is_none_is_refused(run, record):
    (run.folder / "run/config.json").write_text(record)
    with pytest.raises(SetupError, match="is not the record of a run"):
        names(run.folder / "run")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("python", "2.7"),
        ("versions", {}),
        ("device", "none"),
        ("processes", 7),
        ("eval_data", {"x": "y"}),
        ("plan_id", "z"),
    ],
)
def test_any_edit_of_what_the_record_says_of_the_machine_is_found(setup, name, value):
    train(setup.config(max_steps=1))
    path = setup.folder / "run/config.json"
    path.write_bytes(as_json({**json.loads(path.read_bytes()), name: value}))
    with pytest.raises((ForeignCheckpoint, StalePlan, SetupError)):
        names(setup.folder / "run")


@pytest.mark.parametrize(
    ("name", "value"), [("max_steps", 3), ("save_every", 7), ("keep_checkpoints", 9), ("sample_prompts", ["Why?"])]
)
def test_any_edit_of_the_settings_that_decide_no_weights_is_found_too(setup, name, value):
    train(setup.config(max_steps=2))
    path = setup.folder / "run/config.json"
    members = json.loads(path.read_bytes())
    members["config"][name] = value
    path.write_bytes(as_json(members))
    with pytest.raises(ForeignCheckpoint, match=r"config\.json was changed: the settings"):
        names(setup.folder / "run")


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
    from lazarus_plan import AuditLog, load_plan
    from lazarus_plan.audit import StepDigest
    from lazarus_plan.format import encode_step

    plan = load_plan(run.plan)
    path = run.folder / "run/audit.jsonl"
    start = json.loads(path.read_bytes().splitlines()[0])["start"]
    state = read_state(run.folder / "run/checkpoints/step-0000004")
    log = AuditLog.start(path, plan.plan_id, start)
    for step in range(4):
        log.append(step, StepDigest.of(encode_step(plan, step), [bytes(32)]))
    ids = check_run(run.config()).dataset
    with pytest.raises(CorruptPlan) as caught:
        RunAudit.read(path).check_steps(plan, lambda segment: ids.sample(segment.sample, segment.span)[0])
    assert caught.value.code == "LP-E175"
    with pytest.raises(CorruptCheckpoint, match="binds no checkpoint of step 4"):
        RunAudit.read(path).check_checkpoint(state, state.resume_key)


def test_a_log_that_ends_too_soon_is_found(run):
    log = run.folder / "run/audit.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(CorruptCheckpoint, match=r"final is not bound by audit\.jsonl"):
        names(run.folder / "run")


def test_what_is_no_run_is_refused(setup):
    with pytest.raises(SetupError, match="not a run"):
        names(setup.model)
