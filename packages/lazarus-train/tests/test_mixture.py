"""Several data files by weights: the plan's mixture, one source after the other in numbers."""

import json

import pytest

from lazarus_plan import PlanConfig, Stage, build_plan, load_plan, rebase_plan, save_plan
from lazarus_plan.errors import StalePlan
from lazarus_plan.report import StepMixture, count_mixture
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
from lazarus_train import Watcher, train, verify_run
from lazarus_train.cli.progress import mixture_note
from lazarus_train.data.dataset import Dataset, read_dataset
from lazarus_train.errors import CorruptCheckpoint, SetupError
from lazarus_train.preflight.inputs import check_run
from lazarus_train.run_dir.report import as_json, report_runs
from lazarus_train.verify.metrics_check import check_metrics, read_metrics


@pytest.fixture
def mixed(setup):
    """The questions and a second file of texts, two rows of the first for each of the second."""
    more = setup.folder / "more.jsonl"
    more.write_text("".join(json.dumps({"text": f"{n} sheep"}) + "\n" for n in range(10)))
    encoder = Encoder(load_tokenizer(str(setup.model)))
    lengths = [read_dataset(path, encoder, FieldNames()).lengths for path in (setup.data, more)]
    config = PlanConfig(token_budget=64, row_len=32, stages=(Stage(sources=(0, 1), weights=(2, 1)),))
    save_plan(build_plan(lengths, config), setup.plan)
    return setup


def grow(mixed, steps):
    """Appends a row to the first of the two sources and rebases the plan after some steps, as `child`."""
    rows = mixed.data.read_text()
    mixed.data.write_text(rows + rows.splitlines(keepends=True)[3])
    encoder = Encoder(load_tokenizer(str(mixed.model)))
    lengths = [read_dataset(path, encoder, FieldNames()).lengths for path in (mixed.data, mixed.folder / "more.jsonl")]
    child = rebase_plan(load_plan(mixed.plan), steps, lengths)
    save_plan(child, mixed.folder / "child")
    return child


def config(mixed, output="run", names=("data.jsonl", "more.jsonl"), **settings):
    return mixed.config(output, **{"max_steps": 3, **settings}).model_copy(
        update={"data": tuple(mixed.folder / name for name in names)}
    )


def test_samples_are_numbered_as_the_plan_numbers_them(mixed):
    enforced = check_run(config(mixed))
    assert len(enforced.dataset) == 34
    tokenizer = enforced.encoder.tokenizer
    assert tokenizer.decode(enforced.dataset.sample(24 + 7)[0].tolist(), skip_special=True) == "7 sheep"
    assert enforced.plan.metadata.sources[1].offset == 24


def test_a_mixture_is_trained_verified_and_drawn(mixed):
    train(config(mixed))
    links = {link.name: link for link in verify_run(mixed.folder / "run")}
    assert all(link.holds for link in links.values())
    assert links["data"].proof.count("sha256:") == 2
    page = report_runs([mixed.folder / "run"])
    assert "sheep" in page[page.index('id="rows0"') :]


def test_a_changed_row_of_the_second_source_is_named(mixed):
    more = mixed.folder / "more.jsonl"
    more.write_text(more.read_text().replace("3 sheep", "3 goats"))
    with pytest.raises(StalePlan, match=r"row 3 \(id '3', line 4\) of more\.jsonl changed"):
        check_run(config(mixed))


def test_sources_in_another_order_or_number_are_refused(mixed):
    with pytest.raises(StalePlan, match="data: "):
        check_run(config(mixed, names=("more.jsonl", "data.jsonl")))
    with pytest.raises(SetupError, match=r"has 2 sources .* give `data` once for each, in this order; 1 given"):
        check_run(config(mixed, names=("data.jsonl",)))


def test_a_run_goes_on_after_rows_were_appended_to_the_first_of_two_sources(mixed):
    train(config(mixed, max_steps=2))
    child = grow(mixed, 2)
    assert child.metadata.numbering == ((0, 24), (1, 10), (0, 1))
    settings = config(mixed, max_steps=None).model_copy(update={"batch_plan": mixed.folder / "child"})
    inputs = check_run(settings)
    places = [inputs.dataset.place(number) for number in (3, 24, 34)]
    assert places == [
        f"sample 3 of {mixed.data}",
        f"sample 0 of {mixed.folder}/more.jsonl",
        f"sample 24 of {mixed.data}",
    ]
    ids = [inputs.dataset.sample(number)[0].tolist() for number in (3, 34, 24 + 7)]
    assert ids[0] == ids[1]
    assert inputs.encoder.tokenizer.decode(ids[2], skip_special=True) == "7 sheep"
    result = train(settings)
    assert result.steps == len(child)
    links = verify_run(mixed.folder / "run")
    assert all(link.holds for link in links), [link for link in links if not link.holds]
    lines = read_metrics(mixed.folder / "run/metrics.jsonl")
    assert sum(lines[-1]["mixture"]["seen_tokens"]) == int(child.tokens.sum())
    assert list(lines[-1]["mixture"]["seen_rows"]) == list(list(count_mixture(child))[-1].seen_rows)
    assert "Rows of the steps" in report_runs([mixed.folder / "run"])


def test_joined_sources_keep_their_samples_and_parts(mixed):
    encoder = Encoder(load_tokenizer(str(mixed.model)))
    (mixed.folder / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    names = ("data.jsonl", "pairs.jsonl", "more.jsonl", "pairs.jsonl")
    sources = [read_dataset(mixed.folder / name, encoder, FieldNames()) for name in names]
    joined = Dataset.joined(sources)
    assert sorted(joined.parts) == [24, 35]
    flat = [source.sample(index) for source in sources for index in range(len(source))]
    for index, (ids, loss_mask) in enumerate(flat):
        assert joined.sample(index)[0].tolist() == ids.tolist()
        assert joined.sample(index)[1].tolist() == loss_mask.tolist()


@pytest.mark.slow
def test_every_step_records_its_mixture_and_a_resumed_run_records_the_same(mixed):
    train(config(mixed, "whole", max_steps=4))
    train(config(mixed, "resumed", max_steps=2))
    train(config(mixed, "resumed", max_steps=4))
    whole, resumed = ((mixed.folder / name / "metrics.jsonl").read_bytes() for name in ("whole", "resumed"))
    assert whole == resumed
    plan = load_plan(mixed.plan)
    lines = list(map(json.loads, whole.splitlines()))
    seen = {0: 0, 24: 0}
    for line, index in zip(lines, range(4), strict=True):
        mixture = line["mixture"]
        assert mixture["asked"] == [2, 1]
        for row in plan.step(index).rows:
            seen[24 if row.segments[0].sample >= 24 else 0] += 1
        assert mixture["seen_rows"] == list(seen.values())
        assert sum(mixture["tokens"]) == line["tokens"]
        assert sum(mixture["seen_tokens"]) == sum(each["tokens"] for each in lines[: index + 1])


def test_a_run_with_one_source_records_no_mixture(setup):
    train(setup.config(max_steps=2))
    assert "mixture" not in (setup.folder / "run/metrics.jsonl").read_text()
    assert "Mixture" not in report_runs([setup.folder / "run"])
    assert "mixture" not in as_json([setup.folder / "run"])[0]


def test_a_changed_mixture_is_found_and_an_older_run_has_none(mixed):
    settings = config(mixed, max_steps=3)
    train(settings)
    path = mixed.folder / "run/metrics.jsonl"
    inputs, lines = check_run(settings), read_metrics(path)
    rest = inputs.plan, inputs.units, settings.optimizer
    assert check_metrics(path, lines, *rest, 0) == 3
    older = [{name: value for name, value in line.items() if name != "mixture"} for line in lines]
    assert check_metrics(path, [*older[:2], lines[2]], *rest, 0) == 3  # resumed by this version
    for name in ("asked", "rows", "tokens", "seen_rows", "seen_tokens"):
        edited = lines[1]["mixture"] | {name: [7, 7]}
        for wrong in (edited, {}, None, [1]):
            with pytest.raises(CorruptCheckpoint, match="`mixture` of step 2 is"):
                check_metrics(path, [lines[0], lines[1] | {"mixture": wrong}, lines[2]], *rest, 0)
        # The plan before a rebase may have had other shares, but not other rows.
        changed = [lines[0], lines[1] | {"mixture": edited}, lines[2]]
        if name == "asked":
            assert check_metrics(path, changed, *rest, 2) == 3
        else:
            with pytest.raises(CorruptCheckpoint, match="`mixture` of step 2 is"):
                check_metrics(path, changed, *rest, 2)


def test_the_bar_and_the_report_show_the_shares(mixed):
    notes: list[str] = []
    train(
        config(mixed, max_steps=3),
        watcher=Watcher(on_step=lambda report: notes.append(mixture_note(report.mixture))),
    )
    lines = read_metrics(mixed.folder / "run/metrics.jsonl")
    rows = lines[-1]["mixture"]["seen_rows"]
    first, second = (100 * each / sum(rows) for each in rows)
    assert notes[-1] == f"mixture {first:.1f}/{second:.1f} % of rows, asked 66.7/33.3"
    shares = as_json([mixed.folder / "run"])[0]["mixture"]
    assert [(each["name"], each["rows"]) for each in shares] == list(
        zip(("data.jsonl", "more.jsonl"), rows, strict=True)
    )
    assert [each["weight"] for each in shares] == [each["due"] for each in shares] == pytest.approx([2 / 3, 1 / 3])
    page = report_runs([mixed.folder / "run"])
    assert f"{second:.2f} % ({rows[1]})" in page[page.index("Mixture of run") :]


def test_the_note_of_many_sources_is_the_largest_difference():
    mixture = StepMixture((1,) * 5, *[(20, 20, 20, 20, 20)] * 2, (22, 20, 20, 20, 18), (1,) * 5, (20.0,) * 5)
    assert mixture_note(mixture) == "mixture within 2.0 % of rows"


def test_the_page_leaves_out_a_mixture_that_was_edited(mixed):
    train(config(mixed, max_steps=2))
    path = mixed.folder / "run/metrics.jsonl"
    lines = read_metrics(path)
    for wrong in (
        None,
        3,
        {},
        {"rows": "ab"},
        lines[0]["mixture"] | {"asked": [0, 0]},
        lines[0]["mixture"] | {"rows": [1]},
    ):
        path.write_text("".join(json.dumps(line | {"mixture": wrong}) + "\n" for line in lines))
        assert "Mixture" not in report_runs([mixed.folder / "run"])


@pytest.mark.slow
def test_the_command_plans_a_mixture_by_weights(mixed):
    from typer.testing import CliRunner

    from lazarus_train.cli.app import app

    given = ["--model", mixed.model, "--data", mixed.data, "--data", mixed.folder / "more.jsonl", "--build-plan"]
    words = ["sft", *map(str, given), "-b", "64", "--row-len", "32", "--predictable", "--max-steps", "1"]
    result = CliRunner().invoke(app, [*words, "--weights", "2,1", "-o", str(mixed.folder / "run")])
    assert result.exit_code == 0, result.output
    built = load_plan(mixed.folder / "run/batch_plan")
    assert built.metadata.config.stages == (Stage(sources=(0, 1), weights=(2, 1)),)
    for wrong in ("2", "2,x", "2,0", "1,2,3"):
        result = CliRunner().invoke(app, [*words, "--weights", wrong, "-o", str(mixed.folder / "other")])
        assert result.exit_code == 2
        assert "give a whole number for each --data" in result.output
