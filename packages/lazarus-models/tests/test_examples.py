import subprocess
import sys
from pathlib import Path

from lazarus_models.families import ModelFamilyType

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_family_answers_without_a_download():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "ask.py", "--test-tiny"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted(set(ModelFamilyType) - {ModelFamilyType.COMPOSED})
    assert all(line.endswith(" tokens") for line in lines)


def test_every_example_says_what_it_shows(stories):
    command = [sys.executable, EXAMPLES / "ask.py", stories.path, "Once upon a time"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1].endswith("tok/s)")


def test_a_function_is_called_without_a_download():
    command = [sys.executable, EXAMPLES / "call_functions.py", "--test-tiny"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "17 * 23 = 391\n"
