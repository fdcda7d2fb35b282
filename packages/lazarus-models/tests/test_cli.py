import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lazarus_models.cli import app


def command(*arguments):
    """Runs the console script as a person does."""
    code = "from lazarus_models.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_infer_prints_the_text_and_one_line_of_statistics(stories):
    done = invoke("infer", "--model", stories.path, "--prompt", "Once upon a", "--raw", "--max-tokens", 8)
    assert done.exit_code == 0
    assert done.stdout == " time, there was a little gir\n"
    assert done.stderr.startswith("8 tokens in ")
    assert done.stderr.endswith(" tok/s)\n")


def test_infer_json_holds_the_same(stories):
    done = invoke("infer", "--model", stories.path, "--prompt", "Once upon a", "--raw", "--max-tokens", 8, "--json")
    said = json.loads(done.stdout)
    assert said["text"] == " time, there was a little gir"
    assert (len(said["ids"]), said["prompt_tokens"], said["finish_reason"]) == (8, 4, "length")


def test_info_reads_headers_only(tiny_directory):
    said = json.loads(invoke("info", "--model", tiny_directory, "--json").stdout)
    assert (said["family"], said["layers"], said["dtype"]) == ("llama", 2, "F32")
    assert said["parameters"] == 64 * said["vocab_size"] + 2 * (4 * 64 * 64 + 3 * 64 * 176 + 128) + 64
    assert "parameters" in invoke("info", "--model", tiny_directory).stdout


@pytest.mark.slow
def test_doctor_names_the_blas_and_its_speed():
    said = json.loads(command("doctor", "--json").stdout)
    assert said["gflops"] > 1
    assert said["blas"]["library"]
    assert "GFLOP/s" in command("doctor").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("infer", "--model", "absent", "--prompt", "x"), "absent: no such directory"),
        (("info", "--model", "absent"), "no such file"),
        (("infer", "--model", "absent", "--prompt", "x", "--top-p", "0.9"), "`top_p` has no effect"),
    ],
)
def test_an_expected_failure_is_one_line_and_exit_2(arguments, words):
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help_loads_no_array_library():
    code = (
        "import sys; from lazarus_models.cli import app; from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['infer', '--help']).exit_code == 0\n"
        "print([m for m in ('mlx', 'numpy', 'tokenizers', 'transformers', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
