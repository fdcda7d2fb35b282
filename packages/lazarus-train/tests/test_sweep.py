"""The search by laws, the trials by running them."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_train.errors import SetupError
from lazarus_train.tune.measure import Measured, Setup, full_batches
from lazarus_train.tune.search import Sweep, Trial, largest_that_fits, read_trials, run_sweep, summary
from suite import repeats


@given(st.integers(0, 300), st.integers(1, 200))
def test_the_search_finds_the_largest_and_asks_for_each_number_once(limit, most):
    asked: list[int] = []

    def fits(rows):
        asked.append(rows)
        return rows <= limit

    assert largest_that_fits(fits, most) == min(limit, most)
    assert len(asked) == len(set(asked)) <= 2 * most.bit_length()
    assert all(1 <= rows <= most for rows in asked)


def trial(rows, speed=None, **members) -> Trial:
    setup = Setup(model=Path("m"), row_len=64, rows=rows, **members)
    measured = Measured(tokens_per_s=speed, step_seconds=1.0, peak_bytes=2**20 * rows) if speed else None
    return Trial(setup=setup, outcome="fits" if speed else "out of memory", measured=measured)


def test_the_summary_names_the_fastest_not_the_largest():
    text = summary([trial(1, 10.0), trial(2, 30.0), trial(4, 25.0), trial(8), trial(1, 20.0, lora_rank=4)])
    assert "| 64 | all | no | 4 (out of memory beyond) | 2 | 30 | 2 MiB | 0.9 M |" in text
    assert "rows of 64 tokens, 2 at once" in text
    assert "a multiple of 128" in text
    assert "`micro_rows=2`" in text


def test_where_nothing_fits_the_summary_says_what_to_try():
    assert "Nothing fits: try shorter rows" in summary([trial(1)])


def test_a_cut_off_last_line_is_left_out_and_any_other_refused(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_text(trial(1, 5.0).model_dump_json() + "\n" + trial(2, 5.0).model_dump_json()[:30])
    assert [each.setup.rows for each in read_trials(path)] == [1]
    path.write_text('{"x": 1}\n' + trial(1, 5.0).model_dump_json() + "\n")
    with pytest.raises(SetupError, match=r"trials\.jsonl:1 is not a trial"):
        read_trials(path)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(2, 8))
def test_the_batches_of_a_set_up_are_its_rows_and_tokens(rows, threads, row_len):
    batches = full_batches(Setup(model=Path("m"), row_len=row_len, rows=rows), 50, min(rows, threads))
    assert sum(batch.ids.shape[0] for batch in batches) == rows
    assert sum(batch.is_label.sum().item() for batch in batches) == rows * (row_len - 1)
    assert {batch.ids.shape[1] for batch in batches} == {row_len}


@pytest.mark.slow
def test_trials_are_run_written_down_and_not_run_again(setup):
    most = repeats(2, 1)  # each trial is an interpreter of its own
    asked = Sweep(model=setup.model, row_lens=(32,), lora_ranks=(0, 2), max_rows=most, steps=1)
    found = run_sweep(asked, setup.folder / "sweep")
    assert [(each.setup.lora_rank, each.setup.rows, each.outcome) for each in found] == [
        (rank, rows, "fits") for rank in (0, 2) for rows in range(1, most + 1)
    ]
    assert all(each.measured is not None and each.measured.peak_bytes > 100_000 for each in found)
    lines = (setup.folder / "sweep/trials.jsonl").read_text().splitlines()
    assert len(lines) == 2 * most
    doctored = [json.loads(line) for line in lines]
    doctored[0]["measured"]["tokens_per_s"] = 123456.0
    (setup.folder / "sweep/trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in doctored) + '{"setup"')
    again = run_sweep(asked, setup.folder / "sweep")
    assert again[0].measured is not None
    assert again[0].measured.tokens_per_s == 123456.0
    assert again[1:] == found[1:]
    assert len((setup.folder / "sweep/trials.jsonl").read_text().splitlines()) == 2 * most


@pytest.mark.slow
def test_a_trial_beyond_its_memory_or_time_or_model_ends_alone(setup):
    few = Sweep(model=setup.model, row_lens=(32,), max_rows=1, steps=1, memory_bytes=50_000_000)
    assert run_sweep(few, setup.folder / "memory")[0].outcome == "out of memory"
    short = Sweep(model=setup.model, row_lens=(32,), max_rows=1, steps=1, time_limit_s=0.05)
    assert run_sweep(short, setup.folder / "time")[0].outcome == "out of time"
    (setup.model / "model.safetensors").write_bytes(b"nothing")
    failed = run_sweep(Sweep(model=setup.model, row_lens=(32,), max_rows=1), setup.folder / "failed")[0]
    assert failed.outcome == "failed"
    assert "model.safetensors" in failed.words


@pytest.mark.slow
def test_a_sweep_of_which_nothing_runs_says_why_and_tries_again_once_it_is_mended(setup):
    from typer.testing import CliRunner

    from lazarus_train.cli.app import app

    weights = (setup.model / "model.safetensors").read_bytes()
    (setup.model / "model.safetensors").write_bytes(b"nothing")
    options = ["--model", setup.model, "-o", setup.folder / "sweep", "--row-len", 32, "--max-rows", 1, "--steps", 1]
    failed = CliRunner().invoke(app, ["sweep", *map(str, options)])
    assert failed.exit_code == 1
    assert "Every trial failed; the table shows the reasons" in failed.output
    assert "lazarus_models.errors" not in failed.output
    (setup.model / "model.safetensors").write_bytes(weights)
    assert CliRunner().invoke(app, ["sweep", *map(str, options)]).exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nothing"], "--model nothing does not exist: give one with config.json"),
        (["--row-len", "a"], "give whole numbers"),
        (["--row-len", "1"], "2 is the least"),
        (["--lora-rank", "-1"], "0 is the least"),
    ],
)
def test_bad_usage_is_exit_2(setup, options, words):
    from typer.testing import CliRunner

    from lazarus_train.cli.app import app

    needed = {"--model": str(setup.model), "--output": str(setup.folder / "sweep")}
    needed |= dict(zip(options[::2], options[1::2], strict=True))
    result = CliRunner().invoke(app, ["sweep", *(word for pair in needed.items() for word in pair)])
    assert result.exit_code == 2
    assert words in result.output
    assert not (setup.folder / "sweep").exists()
