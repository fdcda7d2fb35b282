"""reasoning-gym 0.1.25 in a scratch environment: what the audit finds, name by name, and that it is harmless in the jail.

The package comes from the registry and two of its dependencies are compiled, so these tests run with `--thorough` only.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from lazarus_gym import make_environment
from lazarus_gym.audit import AuditConfig, audit_subjects, find_target
from lazarus_gym.rewards import Answer, ComposedReward, RewardFile

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
EXECUTE = {
    *(
        "spiral_matrix",
        "n_queens",
        "string_insertion",
        "binary_matrix",
        "polynomial_multiplication",
        "simple_integration",
    ),
    *("intermediate_integration", "puzzle24", "countdown"),
}
PAY = {"game_of_life_halting", "coin_flip"}
CHANGE = {"codeio", "isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
CRASH = {"prime_factorization", "boxnet"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("reasoning") / "venv"
    subprocess.run([uv, "venv", "-q", folder], check=True)
    words = [uv, "pip", "install", "-q", "-p", folder / "bin/python", "reasoning-gym==0.1.25"]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"reasoning-gym cannot be installed: {done.stderr.decode()[-200:]}")
    return folder / "bin/python"


def test_the_known_faults_are_found_by_name(python: Path):
    wanted = sorted(EXECUTE | PAY | CHANGE | CRASH | {"spell_backward", "bitwise_arithmetic"})
    report = audit_subjects(find_target(f"reasoning-gym:{','.join(wanted)}", python=python), AuditConfig())
    assert set(report.of_check("executes")) == EXECUTE
    assert set(report.of_check("wrong")) >= PAY
    assert set(report.of_check("hash_seed")) >= CHANGE
    assert set(report.of_check("crash")) >= CRASH
    assert not report.of_check("canary_file")
    assert not report.of_check("attempts")
    assert not {each.check for each in report.findings if each.subject == "spell_backward"} - {"overlap"}


def test_its_tasks_are_environments_and_rewards(python: Path):
    environment = make_environment("reasoning-gym:spell_backward", python=python)
    environment.reset(seed=3)
    right = environment.solution()[0]
    assert environment.step(right).reward == 1.0
    part = {"type": "environment", "environment": "reasoning-gym:spell_backward", "python": str(python)}
    with ComposedReward(RewardFile.model_validate({"rewards": {"p": part}})) as reward:
        found = reward.score([Answer("", right, {"seed": 3}), Answer("", "no", {"seed": 3})])
    assert [each.reward for each in found] == [1.0, 0.0]
