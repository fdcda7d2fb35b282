"""Rewards of lazarus-gym score the maths answers of an evaluation, by the entry points that training uses."""

from fractions import Fraction

import pytest

from lazarus_models.evaluation.tasks.gsm8k import ScoredAnswer, final_number, load_scorer, verdicts

COMPLETIONS = ["3 + 4 = 7\n#### 7", "#### 1,200", "The answer is 7.", "none", "#### 8"]


@pytest.mark.parametrize("name", ["gsm8k", "number"])
def test_installed_scorers_and_the_final_number_agree_where_they_are_defined_alike(name):
    row = {"question": "How many?", "answer": "So it is\n#### 7" if name == "gsm8k" else "7"}
    answers = [ScoredAnswer("How many?", text, row, row["answer"]) for text in COMPLETIONS]
    found = verdicts(load_scorer(name), name, answers)
    own = [float(final_number(text) == Fraction(7)) for text in COMPLETIONS]
    marked = [place for place, text in enumerate(COMPLETIONS) if "####" in text or name == "number"]
    assert [found[place] or 0.0 for place in marked] == [own[place] for place in marked]
