"""The README's code prints what the README says. The model that it names is a tiny one in the current folder."""

from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

TINYLLAMA = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


@pytest.mark.parametrize("example", list(find_examples(Path(__file__).parents[1] / "README.md")), ids=str)
def test_readme_code_prints_what_it_says(example: CodeExample, eval_example: EvalExample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if TINYLLAMA in example.source:
        from lazarus_models import init_model, save
        from lazarus_tokenkit import load_tokenizer

        save(init_model("nano", load_tokenizer("byte"), seed=0), Path(TINYLLAMA))
    eval_example.run_print_check(example)
