"""Nothing is trained on but what was planned: each link of the chain, broken once."""

import json
import shutil

import pytest

from lazarus_core.errors import LazarusError
from lazarus_plan.checks.against_data import LINKS
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_train import train
from lazarus_train.errors import SetupError
from lazarus_train.preflight.inputs import check_run


def edit_lines(path, edit):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(edit(lines)))


def refused(setup, kind: type[LazarusError], code: str) -> str:
    """The message of a run that is refused with exit 1 before anything is written."""
    with pytest.raises(kind) as caught:
        train(setup.config())
    assert (caught.value.exit_code, caught.value.code) == (1, code)
    assert not (setup.folder / "run").exists()
    return caught.value.message


def test_one_changed_character_names_the_row(setup):
    edit_lines(setup.data, lambda lines: [*lines[:7], lines[7].replace(b"make", b"mahe"), *lines[8:]])
    assert "row 7 (id '7', line 8) of data.jsonl changed" in refused(setup, StalePlan, "LP-E140")


def test_a_change_that_leaves_the_length_alone_is_found(setup):
    edit_lines(setup.data, lambda lines: [*lines[:3], lines[3].replace(b"make 3", b"make 4"), *lines[4:]])
    assert "row 3 " in refused(setup, StalePlan, "LP-E140")


def test_swapped_rows_are_named(setup):
    edit_lines(setup.data, lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]])
    message = refused(setup, StalePlan, "LP-E141")
    assert "2 rows" in message
    assert "another order" in message
    assert "row 4 " in message


def test_a_removed_and_an_added_row_are_counted(setup):
    edit_lines(setup.data, lambda lines: lines[:-1])
    assert "has 24 rows, data.jsonl has 23" in refused(setup, StalePlan, "LP-E141")
    edit_lines(setup.data, lambda lines: [*lines, lines[-1], b'{"prompt":"a","completion":"b"}\n'])
    assert "has 24 rows, data.jsonl has 25" in refused(setup, StalePlan, "LP-E141")


def test_data_that_is_only_written_otherwise_is_accepted(setup):
    rows = [json.loads(line) for line in setup.data.read_text().splitlines()]
    setup.write_rows([{"note": "new", **dict(reversed(row.items()))} for row in rows])
    assert len(check_run(setup.config()).dataset) == 24


def test_two_swapped_merges_are_named(setup):
    path = setup.model / "tokenizer.json"
    content = json.loads(path.read_text())
    merges = content["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]
    path.write_text(json.dumps(content))
    assert "merges changed" in refused(setup, StalePlan, "LP-E144")


def test_another_special_token_is_named(setup):
    path = setup.model / "tokenizer_config.json"
    path.write_text(json.dumps({"bos_token": "<s>", "eos_token": "<s>"}))
    message = refused(setup, StalePlan, "LP-E142")  # the template writes the end of text: its link comes first
    assert "template" in message


def test_another_template_is_named(setup):
    (setup.folder / "mine.jinja").write_text("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
    with pytest.raises(StalePlan, match="template") as caught:
        check_run(setup.config(template=str(setup.folder / "mine.jinja")))
    assert caught.value.code == "LP-E142"


def test_an_edited_line_is_named(setup):
    def one_token_more(line: bytes) -> bytes:
        members = json.loads(line)
        return json.dumps({**members, "tokens": members["tokens"] + 1}, separators=(",", ":")).encode() + b"\n"

    edit_lines(setup.plan / "plan.jsonl", lambda lines: [lines[0], one_token_more(lines[1]), *lines[2:]])
    assert "plan.jsonl:2" in refused(setup, CorruptPlan, "LP-E110")


def test_swapped_samples_are_found_though_every_line_is_sound(setup):
    def swap(lines):
        first, second = json.loads(lines[0]), json.loads(lines[1])
        first["samples"][0], second["samples"][0] = second["samples"][0], first["samples"][0]
        spell = [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in (first, second)]
        return [*spell, *lines[2:]]

    edit_lines(setup.plan / "plan.jsonl", swap)
    assert "edited after it was built" in refused(setup, CorruptPlan, "LP-E151")


def test_swapped_lines_are_named(setup):
    edit_lines(setup.plan / "plan.jsonl", lambda lines: [lines[1], lines[0], *lines[2:]])
    assert "another order" in refused(setup, CorruptPlan, "LP-E112")


@pytest.mark.parametrize("cut", [1, 40], ids=["in the line feed", "in a line"])
def test_a_truncated_plan_is_refused(setup, cut):
    path = setup.plan / "plan.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert "cut off" in refused(setup, CorruptPlan, "LP-E102")


def test_a_plan_truncated_at_a_line_end_is_refused(setup):
    edit_lines(setup.plan / "plan.jsonl", lambda lines: lines[:-1])
    assert "truncated" in refused(setup, CorruptPlan, "LP-E114")


def test_a_step_without_loss_is_refused_before_training(setup):
    setup.build_plan(token_budget=4, row_len=4, oversize="truncate")  # four tokens end within every prompt
    with pytest.raises(SetupError, match="step 0 has no token that carries loss"):
        check_run(setup.config())


def test_a_plan_of_bare_lengths_is_held_to_the_lengths(setup):
    from lazarus_plan import LengthCache, LengthRow, PlanConfig, build_plan, save_plan

    rows = [LengthRow(sample_id, int(length)) for sample_id, length in zip(*_lengths(setup), strict=True)]
    shutil.rmtree(setup.plan)
    save_plan(build_plan(LengthCache.from_rows(rows), PlanConfig(token_budget=64, row_len=32)), setup.plan)
    assert len(check_run(setup.config()).dataset) == 24
    rows[5] = rows[5]._replace(length=rows[5].length + 1)
    save_plan(build_plan(LengthCache.from_rows(rows), PlanConfig(token_budget=64, row_len=32)), setup.plan)
    assert "sample 5 (id '5', line 6)" in refused(setup, StalePlan, "LP-E130")


def _lengths(setup):
    cache = setup.build_plan()
    return cache.ids, cache.length


def test_a_plan_of_two_sources_is_refused(setup):
    from lazarus_plan import PlanConfig, build_plan, save_plan

    lengths = setup.build_plan()
    shutil.rmtree(setup.plan)
    save_plan(build_plan([lengths, lengths], PlanConfig(token_budget=64, row_len=32)), setup.plan)
    with pytest.raises(SetupError, match="has 2 sources"):
        check_run(setup.config())


def test_a_template_that_fails_on_another_tokenizer_names_the_tokenizer(setup):
    """The plan's template needs a turn end that the model's tokenizer lacks: the cause is the tokenizer."""
    from lazarus_plan import PlanConfig, build_plan, save_plan
    from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
    from lazarus_train.data.dataset import read_dataset

    encoder = Encoder(load_tokenizer("byte"), template="chatml")
    lengths = read_dataset(setup.data, encoder, FieldNames()).lengths
    save_plan(build_plan(lengths, PlanConfig(token_budget=256, row_len=256)), setup.plan)
    assert "tokenizer" in refused(setup, StalePlan, "LP-E147")


def test_every_link_is_recomputed_from_the_rows(setup):
    checked = check_run(setup.config()).checked
    assert (checked.checked, checked.claimed, dict(checked.unchecked)) == (LINKS, (), {})
