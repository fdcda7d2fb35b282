import subprocess
import sys
from pathlib import Path

import commands
from lazarus_models.families import ModelFamilyType

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return commands.run([sys.executable, "-c", commands.RUN_SCRIPT, EXAMPLES / name, *arguments], check=True)


def test_every_family_answers_without_a_download():
    done = example("ask.py", "--test-tiny")
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted(set(ModelFamilyType) - {ModelFamilyType.COMPOSED})
    assert all(line.endswith(" tokens") for line in lines)


def test_every_example_says_what_it_shows(stories):
    done = example("ask.py", stories.path, "Once upon a time")
    assert done.stderr.splitlines()[-1].endswith("tok/s)")


def test_a_function_is_called_without_a_download():
    assert example("call_functions.py", "--test-tiny").stdout == "17 * 23 = 391\n"
