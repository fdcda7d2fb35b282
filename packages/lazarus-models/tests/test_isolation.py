"""An answer alone is the answer in a crowd, and the self-test notices when it is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lazarus_models import GenerationConfig
from lazarus_models.cli.app import app
from lazarus_models.components.batch_kv_cache import BatchKVCache
from lazarus_models.generation import generate_tokens
from lazarus_models.generation.batch import BatchRunner, Entry, SeparateRunner
from lazarus_models.generation.constraint import Grammars
from lazarus_models.generation.prompt_scores import read_scored
from lazarus_models.serving.engine import Engine
from lazarus_models.serving.self_test import LONGEST_TEXT, SETTINGS, requests, run_self_test
from suite import examples, thinned


def texts_of(runner, entries, joins):
    """The tokens of entries that join a runner a few at a time."""
    waiting, texts = list(entries), {}
    while waiting or len(texts) < len(entries):
        runner.join([waiting.pop(0) for _ in range(min(joins, len(waiting)))])
        for row, ended in runner.step():
            if ended:
                texts[row.index] = row.ids
    return [texts[entry.index] for entry in entries]


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(12))
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), min_size=2, max_size=6),
    joins=st.integers(1, 3),
    kind=st.sampled_from([BatchRunner, SeparateRunner]),
)
def test_texts_that_join_and_leave_at_any_time_are_those_of_each_alone(stories, sizes, joins, kind):
    entries = [
        Entry(
            place,
            [1, *(3 + (7 * place + 5 * at) % 500 for at in range(length))],
            GenerationConfig(max_new_tokens=new, temperature=0.9 if place % 2 else 0.0, seed=place),
            is_scored=place % 3 == 0,
        )
        for place, (length, new) in enumerate(sizes)
    ]
    alone = [list(generate_tokens(stories.model, entry.ids, entry.config)) for entry in entries]
    assert texts_of(kind(stories.model), entries, joins) == alone


def test_the_requests_of_a_self_test_are_mixed_and_the_same_every_time(stories):
    asked = requests(stories, 64)
    assert asked == requests(stories, 64)
    assert {one.kind for one in asked} == set(SETTINGS)
    assert len({len(one.ids) for one in asked}) > 30
    assert max(one.config.max_new_tokens for one in asked) <= LONGEST_TEXT


@pytest.mark.parametrize("is_exact", thinned([False, True], [True]))
def test_a_self_test_of_a_right_model_finds_every_answer_equal(stories, is_exact):
    done = []
    result = run_self_test(stories, 14, batch_size=4, is_exact=is_exact, on_done=done.append)
    assert (result.equal, len(result.outcomes), done) == (14, 14, list(range(1, 29)))


def ask(*words):
    return CliRunner().invoke(app, ["serve", *map(str, words)])


@pytest.mark.thorough
def test_the_command_prints_a_table_and_ends_with_1_when_an_answer_leaks(stories, monkeypatch):
    right = ask("--model", stories.path, "--self-test", 7)
    assert (right.exit_code, "7 of 7 equal" in right.stdout) == (0, True)
    assert all(kind in right.stdout for kind in SETTINGS)
    make_mask = BatchKVCache.make_mask

    def leaking(self, *given, **more):
        mask = make_mask(self, *given, **more)
        return mask | True  # every text sees its padding

    monkeypatch.setattr(BatchKVCache, "make_mask", leaking)
    wrong = ask("--model", stories.path, "--self-test", 7)
    assert (wrong.exit_code, "token" in wrong.stdout, "--exact" in wrong.stderr) == (1, True, True)
    assert ask("--model", stories.path, "--self-test", 7, "--exact").exit_code == 0


def test_scores_of_a_prompt_are_the_same_bits_in_any_company(stories):
    ids = [1, *stories.tokenizer.encode("Once upon a time there was a dog")]
    expected = read_scored(stories.model, ids, 2)[2]
    engine = Engine(stories.model, batch_size=4)
    try:
        config = GenerationConfig(max_new_tokens=9, logprobs=2)
        jobs = [engine.submit(ids[: 4 + place] if place else ids, config, is_scored=True) for place in range(4)]
        assert all(list(job.tokens()) for job in jobs)
    finally:
        engine.stop()
    assert jobs[0].prompt_logprobs == expected
    assert [len(job.prompt_logprobs) for job in jobs[1:]] == [4, 5, 6]


def test_a_grammar_that_cannot_go_on_fails_its_own_text_only(stories):
    engine = Engine(stories.model, batch_size=2)
    config = GenerationConfig(max_new_tokens=6)
    constraint = Grammars(stories).json({"enum": ["a"]})
    constraint.take(300)  # no token of this grammar
    try:
        failing = engine.submit([1, 5], config, constraint=constraint)
        other = engine.submit([1, 6], config)
        with pytest.raises(type(constraint.error), match="the grammar of the answer cannot go on"):
            list(failing.tokens())
        assert list(other.tokens()) == list(generate_tokens(stories.model, [1, 6], config))
    finally:
        engine.stop()


@pytest.mark.parametrize("when", [2, 7])
def test_a_self_test_that_is_stopped_leaves_what_waits(stories, monkeypatch, when):
    jobs, submit = [], Engine.submit

    def noted(self, *given, **settings):
        jobs.append(submit(self, *given, **settings))
        return jobs[-1]

    def stop(done):
        if done == when:
            raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "submit", noted)
    with pytest.raises(KeyboardInterrupt):
        run_self_test(stories, 6, batch_size=2, is_exact=False, on_done=stop)
    assert len(jobs) == (2 if when == 2 else 12) and all(job.is_left.is_set() for job in jobs)
