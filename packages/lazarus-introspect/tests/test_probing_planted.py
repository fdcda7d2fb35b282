"""Probing of a model that computes: hooks write answers and states into a random model, so that the truth is known."""

import re
from contextlib import contextmanager

import numpy as np
import pytest

from lazarus_introspect import ModelAnalyzer, hooked, run_with_cache
from lazarus_introspect.probing import (
    ArithmeticConfig,
    CommutativityConfig,
    OperandsConfig,
    ProbeConfig,
    arithmetic,
    commutativity,
    labelled,
    operand_directions,
    probe_prompts,
)
from lazarus_introspect.probing.computation.problems import OPERATORS
from lazarus_introspect.reading.lens import read_stream
from lazarus_models import init_model
from lazarus_models.backend import mx
from lazarus_tokenkit import load_tokenizer

PROBLEM = re.compile(r"(\d+)(\W)(\d+)=(-?\d*)")


@pytest.fixture(scope="module")
def analyzer():
    return ModelAnalyzer(init_model("tiny-test", load_tokenizer("byte"), seed=0))


@contextmanager
def planted(lm, *, has_answers=True, values=False, commutes="", moods=()):
    """Makes a model compute.

    Args:
        lm: The model.
        has_answers: The output continues problems rightly, digit by digit.
        values: The stream of block 1 holds both operands along two directions.
        commutes: For this operator, the stream of block 1 holds a vector of the unordered pair.
        moods: The stream of block 1 tells these endings of a prompt from others.
    """
    vocabulary, width = lm.config.vocab_size, lm.config.hidden_size
    table = np.array(run_with_cache(lm, [[token] for token in range(vocabulary)], "embed")[1]["embed"][:, 0])
    wanted = np.array(read_stream(lm, mx.eye(width))).T  # (V, D), rows of the head
    wanted = 100 * (wanted - wanted.mean(axis=0))
    ways = np.random.default_rng(0).standard_normal((3, width)).astype(np.float32)
    rows: list[list[list[str]]] = [[]]

    def read(x):
        x = np.array(x)
        tokens = ((x[:, :, None] - table) ** 2).sum(axis=-1).argmin(axis=-1)
        rows[0] = [[chr(token) if token < 256 else "" for token in row] for row in tokens.tolist()]  # no text for BOS

    def states(x):
        new = np.array(x)
        for row, text in enumerate(map("".join, rows[0])):
            found = PROBLEM.fullmatch(text)
            if found and values:
                new[row, -1] += int(found[1]) * ways[0] + int(found[3]) * ways[1]
            if found and found[2] == commutes:
                key = sorted([int(found[1]), int(found[3])])
                new[row, -1] += 10 * np.random.default_rng(key).standard_normal(width)
            if text.endswith(tuple(moods)) and moods:
                new[row, -1] += ways[2]
        return mx.array(new)

    def answers(x):
        new = np.array(x)
        for row, pieces in enumerate(rows[0]):
            for place in range(new.shape[1]):
                found = PROBLEM.fullmatch("".join(pieces[: place + 1]))
                if found and found[2] in OPERATORS:
                    answer = str(OPERATORS[found[2]](int(found[1]), int(found[3])))
                    if answer.startswith(found[4]) and len(found[4]) < len(answer):
                        (token,) = lm.tokenizer.encode(answer[len(found[4])])
                        new[row, place] = wanted[token]
        return mx.array(new)

    hooks = [("embed", read), ("blocks.1.resid_pre", states)]
    with hooked(lm, [*hooks, *([("resid_final", answers)] if has_answers else [])]):
        yield


def test_a_model_that_computes_is_seen_as_such(analyzer):
    with planted(analyzer.lm):
        found = arithmetic(analyzer, ArithmeticConfig(count=6))
    assert found.has_evidence and found.overall.share == 1 and found.overall.p < 1e-9
    assert all(cell.accuracy.share == 1 and cell.accuracy.low > 0.5 for cell in found.cells)
    assert len(found.cells) == 6 and all(found.is_right) and found.overall.baseline < 0.6
    assert (found.emergence.first, found.emergence.median, found.emergence.last) == (2, 2, 2)  # it is the output alone
    assert [share.right for share in found.layers[:2]] == [0, 0]


def test_planted_values_are_evidence_where_they_are(analyzer):
    settings = OperandsConfig(values=tuple(range(2, 10)), permutations=99)
    with planted(analyzer.lm, values=True):
        found = operand_directions(analyzer, settings)
    assert found.has_evidence and found.conclusion.startswith(
        "evidence: the states order the values of the left operand"
    )
    first, second, last = found.sites
    assert not any(each.is_evident for each in (*first.operands, *last.operands))  # before it, and after the answer
    assert all(each.is_evident and each.value_r2 > 0.9 for each in second.operands)
    with planted(analyzer.lm):  # right answers alone are no evidence of directions
        found = operand_directions(analyzer, settings)
    assert not found.has_evidence and "no probe for the value of an operand" in found.conclusion
    with planted(analyzer.lm, has_answers=False, values=True):  # nor are values that it does not use
        found = operand_directions(analyzer, settings)
    assert not found.has_evidence and "answers are not above the baseline" in found.conclusion


def test_planted_pairs_are_evidence_against_other_symbols(analyzer):
    settings = CommutativityConfig(values=(2, 3, 4, 5, 6), controls=19, permutations=99)
    with planted(analyzer.lm, commutes="*"):
        found = commutativity(analyzer, settings)
    assert found.has_evidence and found.p == 0.05 and found.conclusion.startswith("evidence: commuted states")
    assert found.sites[1].advantage > found.sites[1].control_high and found.sites[1].control_p == 0.05
    assert found.behaviour.agreement == 1 > found.behaviour.matched_agreement
    assert found.behaviour.margin_difference < found.behaviour.matched_margin_difference
    with planted(analyzer.lm, commutes="-"):  # the pairs of a control symbol; the output holds the answer anyhow
        found = commutativity(analyzer, settings.model_copy(update={"layers": (0, 1)}))
    assert not found.has_evidence and found.p > 0.05 and "no more alike than with other symbols" in found.conclusion


def test_a_probe_above_words_is_said_to_be_so(analyzer):
    """The state tells whether a prompt ends in a certain order of words, which its bag of tokens cannot tell."""
    endings = [f"{a}{b}" for a in "abcdef" for b in "abcdef" if a != b]
    moods = ["up" if each[0] < each[1] else "down" for each in endings]
    prompts = [f"it is {each}" for each in endings]
    with planted(analyzer.lm, moods=tuple(each for each, mood in zip(endings, moods, strict=True) if mood == "up")):
        found = probe_prompts(analyzer, labelled(prompts, moods), ProbeConfig(layers=(0, 1), permutations=99))
    before, after = found.probes
    assert after.verdict == "above the bag of tokens" and after.score > 0.9
    assert not before.is_above_lexical and found.lexical.score < 0.7 and found.best == 1
