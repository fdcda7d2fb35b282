"""Several data files by weights: the plan's mixture, one source after the other in numbers."""

import json

import pytest

from lazarus_plan import PlanConfig, Stage, build_plan, load_plan, save_plan
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
from lazarus_train import train, verify_run
from lazarus_train.data.dataset import Dataset, read_dataset
from lazarus_train.errors import SetupError
from lazarus_train.preflight.inputs import check_run
from lazarus_train.run_dir.report import report_runs


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
