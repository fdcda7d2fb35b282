import pytest

from lazarus_models import GenerationConfig, load
from lazarus_models.generation import generate_tokens
from lazarus_models.generation.batch import BatchRunner
from lazarus_models.serving.engine import Engine

CONFIG = GenerationConfig(max_new_tokens=5)


@pytest.fixture
def engine(stories):
    engine = Engine(stories.model, batch_size=2)
    yield engine
    engine.stop()


@pytest.mark.parametrize("name", ["llama3-rope", "gpt_oss", "granitemoehybrid", "llama4_text"])
def test_a_thread_says_what_the_main_one_says(data, name):
    model = load(data / "models/families" / name).model
    prompts = [[1, 2, 3], [5, 6], [7, 8, 9, 10]]
    expected = [list(generate_tokens(model, prompt, CONFIG)) for prompt in prompts]
    fresh = load(data / "models/families" / name).model  # nothing of it was computed elsewhere
    engine = Engine(fresh, batch_size=2)
    try:
        jobs = [engine.submit(prompt, CONFIG) for prompt in prompts]
        assert [list(job.tokens()) for job in jobs] == expected
    finally:
        engine.stop()


def test_a_failing_step_is_told_to_who_waits_and_the_next_is_answered(engine, stories, monkeypatch):
    step, failures = BatchRunner.step, [RuntimeError("out of memory")]

    def fail_once(self):
        if failures:
            raise failures.pop()
        return step(self)

    monkeypatch.setattr(BatchRunner, "step", fail_once)
    job = engine.submit([1, 2, 3], CONFIG)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(job.tokens())
    assert list(engine.submit([1, 2, 3], CONFIG).tokens()) == list(generate_tokens(stories.model, [1, 2, 3], CONFIG))
