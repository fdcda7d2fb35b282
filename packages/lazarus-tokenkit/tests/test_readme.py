from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.parametrize(
    "example", [example for example in find_examples(README) if example.prefix == "python"], ids=str
)
def test_examples_in_the_readme_hold(
    example: CodeExample, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    eval_example.set_config(line_length=120)
    eval_example.run_print_check(example)
