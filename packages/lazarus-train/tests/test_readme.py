from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples


@pytest.mark.slow
@pytest.mark.parametrize("example", list(find_examples(Path(__file__).parents[1] / "README.md")), ids=str)
def test_readme_code_prints_what_it_says(example: CodeExample, eval_example: EvalExample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    eval_example.run_print_check(example)
