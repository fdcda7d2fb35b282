"""The benchmark of generation: what is run, what is measured, and how it is reported."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lazarus_core.errors import LazarusError
from lazarus_models.backend import mx
from lazarus_models.benchmark import Case, InferenceBenchmark, Sample, benchmark_inference, describe_model
from lazarus_models.cli.app import app
from lazarus_models.components.taps import tapped
from lazarus_models.errors import GenerationError
from lazarus_models.generation import DiffusionConfig

PAUSE_S = 0.01


class Counting:
    """A tap that notes the shape of the ids of every forward pass, and makes a pass take a while."""

    def __init__(self):
        self.passes = []

    def starts(self, body, before):
        pass

    def wants(self, layer, name):
        return False

    def __call__(self, layer, name, x):
        if name == "embed":
            self.passes.append(x.shape[:2])
            time.sleep(PAUSE_S)
        return x


@pytest.fixture
def counted(stories):
    """The model, and the shape of the ids of every forward pass."""
    with tapped(counting := Counting()):
        yield stories, counting.passes


def bench(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_run_reads_its_prompts_once_and_writes_the_whole_answer(counted, batch_size):
    lm, passes = counted
    settings = InferenceBenchmark(batch_sizes=(batch_size,), prompt_tokens=(5, 9), new_tokens=4, repeats=2, warm_up=1)
    cases = list(benchmark_inference(lm, settings))
    assert [(case.batch_size, case.prompt_tokens, case.new_tokens) for case in cases] == [
        (batch_size, 5, 4),
        (batch_size, 9, 4),
    ]
    tokens = sum(rows * length for rows, length in passes)
    assert tokens == 3 * batch_size * sum(length + 4 - 1 for length in (5, 9))
    assert {len(case.samples) for case in cases} == {2}
    for sample in (sample for case in cases for sample in case.samples):
        assert PAUSE_S <= sample.first_token_s < sample.total_s
        assert len(sample.waits_s) == 3
        assert 0 < sum(sample.waits_s) <= sample.total_s - sample.first_token_s + 1e-9
        assert sample.total_s >= 4 * PAUSE_S  # a pass for the prompts, and one for each later token


def test_a_pass_of_masked_diffusion_is_a_step(counted):
    lm, passes = counted
    settings = InferenceBenchmark(batch_sizes=(1,), prompt_tokens=(5,), repeats=2, warm_up=0)
    config = DiffusionConfig(mask_id=5, length=6, block=6, steps=3)
    (case,) = benchmark_inference(lm, settings, diffusion=config)
    assert passes == [(1, 11)] * 6
    assert (case.new_tokens, case.steps, case.read_tokens_per_s) == (6, 3, None)
    for sample in case.samples:
        assert sample.first_token_s == sample.total_s >= 3 * PAUSE_S


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=9),
    st.integers(1, 64),
    st.integers(1, 999),
    st.integers(2, 999),
)
def test_speeds_times_seconds_are_tokens(times, batch_size, prompt, new):
    samples = tuple(Sample(first, first + later) for first, later in times)
    case = Case(batch_size, prompt, new, samples, 0)
    firsts, laters = sorted(first for first, _ in times), [each.total_s - each.first_token_s for each in samples]
    for spread in (case.first_token_s, case.total_s, case.read_tokens_per_s, case.write_tokens_per_s):
        assert spread.low <= spread.median <= spread.high
    assert case.read_tokens_per_s.high * firsts[0] == pytest.approx(batch_size * prompt)
    assert case.write_tokens_per_s.low * max(laters) == pytest.approx(batch_size * (new - 1))
    assert Case(batch_size, prompt, 1, samples, 0).write_tokens_per_s is None
    assert case.wait_s is None


def test_the_waits_of_all_runs_have_percentiles():
    samples = (Sample(1.0, 9.0, tuple(float(each) for each in range(1, 51))), Sample(1.0, 9.0, tuple(range(51, 102))))
    wait = Case(1, 4, 51, samples, 0).wait_s
    assert wait is not None
    assert tuple(wait) == (51.0, 91.0, 100.0)  # of 1 to 101, where the hundredths are whole numbers


def test_prompts_are_those_of_the_seed_and_memory_holds_the_weights(stories):
    settings = InferenceBenchmark(batch_sizes=(1, 2), prompt_tokens=(8,), new_tokens=2, repeats=1)
    runs = []
    cases = list(benchmark_inference(stories, settings, on_run=lambda: runs.append(1)))
    assert len(runs) == 2 * (1 + 1)
    assert all(case.peak_bytes >= 4 * describe_model(stories)["parameters"] for case in cases)


def test_memory_used_before_does_not_count(stories):
    size = 100 << 20
    mx.eval(mx.zeros(size, dtype=mx.uint8) + 1)
    (case,) = benchmark_inference(stories, InferenceBenchmark(batch_sizes=(1,), prompt_tokens=(8,), repeats=1))
    assert case.peak_bytes < size


def test_the_command_prints_a_table_json_and_a_page(stories, tmp_path):
    few = ["--batch-sizes", "1,2", "--prompt-tokens", 4, "--new-tokens", 3, "--repeats", 2]
    done = bench(stories.path, *few, "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    about, head, *rows = done.stdout.splitlines()
    assert about.startswith("stories260k: llama, 260,032 parameters; MLX ") and "median of 2 runs" in about
    assert head.split()[:3] == ["texts", "prompt", "answer"]
    assert [row.split()[:3] for row in rows] == [["1", "4", "3"], ["2", "4", "3"]]
    page = (tmp_path / "page.html").read_text()
    assert "<title>Latency of stories260k</title>" in page and page.count("<tr>") == 3 and "2 x 4" in page
    found = json.loads(bench(stories.path, *few, "--json").stdout)
    assert (found["bench_infer_version"], found["settings"]["batch_sizes"]) == (1, [1, 2])
    for case in found["cases"]:
        assert len(case["samples"]) == 2
        assert 0 < case["wait_s"]["p50"] <= case["wait_s"]["p90"] <= case["wait_s"]["p99"] <= case["total_s"]["high"]
        assert case["first_token_s"]["low"] == min(each["first_token_s"] for each in case["samples"])
    masked = json.loads(bench(stories.path, "--mask-token", 5, "--steps", 2, *few[2:], "--json").stdout)
    assert [(case["batch_size"], case["steps"]) for case in masked["cases"]] == [(1, 2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt-tokens", 500, "--new-tokens", 64], "`--prompt-tokens` 500 and `--new-tokens` 64 exceed"),
        (["--mask-token", 5, "--batch-sizes", "1,2"], "one prompt at a time; measure `--batch-sizes` 1"),
        (["--steps", 5], "give `--mask-token`"),
        (["--mask-token", 5, "--total-length", 9], "`--total-length` has no effect here"),
    ],
)
def test_what_cannot_be_measured_is_one_line(stories, arguments, words):
    done = bench(stories.path, *arguments)
    assert isinstance(done.exception, LazarusError), done.output
    assert words in done.exception.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-sizes", "1,x"], "--batch-sizes 1,x: give whole numbers"),
        (["--batch-sizes", "0"], "--batch-sizes: must be at least"),
        (["--prompt-tokens", "-4"], "--prompt-tokens -4: give whole numbers"),
        (["--prompt-tokens", "9999999999"], "give whole numbers"),
        (["--batch-sizes", "2000"], "--batch-sizes: must be at most"),
        ([""], "MODEL"),
    ],
)
def test_a_wrong_option_is_named(stories, arguments, words):
    done = bench(*([stories.path] if arguments != [""] else []), *(arguments if arguments != [""] else []))
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_a_context_that_is_too_short_is_named_before_any_run(stories):
    settings = InferenceBenchmark(batch_sizes=(1,), prompt_tokens=(4, 500))
    with pytest.raises(GenerationError, match="exceed the model's context of 512"):
        next(benchmark_inference(stories, settings))
