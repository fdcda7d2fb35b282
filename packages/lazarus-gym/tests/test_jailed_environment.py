"""Tasks of other packages as environments, with the toy tasks of the audit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lazarus_gym import Environment, make_environment
from lazarus_gym.environments import JailedEnvironment
from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.jail import Jail, JailConfig

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    config = JailConfig(path=(HERE,), wall_s=1.0)
    with Jail({name: f"audit_toys:{name}" for name in ("item", "score")}, config) as jail:
        yield jail


def test_an_episode_is_a_question_and_an_answer(jail: Jail):
    environment: Environment = JailedEnvironment("toys:clean", "clean", jail)
    assert environment.reset(seed=5).text == "5: 0 + 1000?"
    assert not environment.state().done
    step = environment.step("1000")
    assert (step.reward, step.done, step.truncated, step.info["solved"]) == (1.0, True, False, True)
    assert environment.state().solved
    environment.reset(seed=6)
    assert environment.step("1001").reward == 0.0
    with pytest.raises(EnvironmentUseError) as found:
        environment.step("1000")
    assert found.value.code == "LG-E132"


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        ("crash", "no", "ValueError"),
        ("hang", "True", "no reply within 1 s"),
        ("ends", "True", "the worker ended with code 3"),
        ("executes", "__import__('os').getpid()", "it tried exec"),
        ("attempts", "1000", "it tried open"),
    ],
)
def test_an_aborted_verdict_is_no_reward(jail: Jail, task: str, answer: str, reason: str):
    environment = JailedEnvironment(f"toys:{task}", task, jail)
    environment.reset(seed=0)
    step = environment.step(answer)
    assert (step.reward, step.done, step.truncated, step.info["status"]) == (0.0, False, True, "aborted")
    assert step.info["reason"].startswith(reason)
    environment.reset(seed=0)
    assert environment.step(environment.solution()[0]).reward == (0.0 if task == "attempts" else 1.0)


def test_misuse_is_one_line(jail: Jail):
    environment = JailedEnvironment("toys:clean", "clean", jail)
    for work, code in [
        (lambda: environment.step("1"), "LG-E132"),
        (lambda: environment.reset(seed=-1), "LG-E131"),
        (lambda: environment.reset(seed=0, task="hard"), "LG-E131"),
        (lambda: JailedEnvironment("toys:item", "item", jail).reset(seed=0), "LG-E131"),
    ]:
        with pytest.raises(EnvironmentUseError) as found:
            work()
        assert found.value.code == code
    with pytest.raises(EnvironmentUseError, match="reasoning-gym is not installed here") as found:
        make_environment("reasoning-gym:spiral_matrix")
    assert found.value.code == "LG-E136"
