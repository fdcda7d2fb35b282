"""The guard of text that somebody else evaluates."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym.jail import unsafe_reason
from lazarus_gym.jail.inside.text_guard import SYMPY

VALUES = st.recursive(
    st.integers(-(10**9), 10**9) | st.text(max_size=5) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_every_literal_passes(value: object):
    assert unsafe_reason(repr(value)) is None


@given(
    VALUES,
    st.sampled_from(["f({})", "({}).a", "({})[0]", "[x for x in {}]", "lambda: {}", "{} if 1 else 2", "{} and 1"]),
)
def test_no_form_around_a_literal_passes(value: object, form: str):
    assert unsafe_reason(form.replace("{}", f"({value!r})")) is not None


@given(st.text(max_size=60))
def test_any_text_is_answered_and_what_passes_has_no_call(text: str):
    if unsafe_reason(text) is None:
        allowed = (
            ast.Constant,
            ast.List,
            ast.Tuple,
            ast.Set,
            ast.Dict,
            ast.UnaryOp,
            ast.BinOp,
            ast.Name,
            ast.Expression,
        )
        extra = (ast.operator, ast.unaryop, ast.expr_context)
        assert all(isinstance(node, (*allowed, *extra)) for node in ast.walk(ast.parse(text.strip(), mode="eval")))


@given(st.lists(st.integers(0, 99), min_size=2, max_size=6), st.lists(st.sampled_from("+-*/"), min_size=5, max_size=5))
def test_arithmetic_passes(numbers: list[int], signs: list[str]):
    text = str(numbers[0]) + "".join(f" {sign} {n}" for n, sign in zip(numbers[1:], signs, strict=False))
    assert unsafe_reason(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9**9**9", "a power that is too large"),
        ("(9**999)**99", "a power that is too large"),
        ("2**x", "a power that is too large"),
        ("2**-99999999", "a power that is too large"),
        ("1 << 99", "an operator"),
        ("'a' * 9", "an operation on texts"),
        ("[1] + [2]", "an operation on texts"),
        ("x" * 5000, "more than 4096 characters"),
        ("(" * 65, "more than 64 nested brackets"),
        ("-" * 200 + "1", "more than 96 nested operations"),
        ("os", "a name"),
        ("S('x')", "a call"),
        ("1; 2", "no expression"),
        ("", "no expression"),
        ("\x00", "no expression"),
        ("{**{}}", "an unpacked dictionary"),
        ("b'x'", "something that is no literal"),
    ],
)
def test_refused_text_has_a_reason(text: str, words: str):
    assert (unsafe_reason(text) or "").startswith(words)


def test_answers_of_algebra_pass():
    for text in ("-exp(x)*sin(x) + C", "x**2 + 3*x*y - 1/2", "C + 5*x**3/3", "x**(1/2)", "-12*x1 + 4"):
        assert unsafe_reason(text) is None


@pytest.mark.parametrize(
    ("text", "is_safe"),
    [
        ("Integer (2 )*Symbol ('x' )**Integer (2 )+Float ('1.5' )", True),
        ("sin (Symbol ('x' ))/Integer (3 )", True),
        ("Integer (9 )**Integer (9 )**Integer (9 )", False),
        ("Integer (9 )**Integer (999999 )", False),
        ("Symbol ('x' )**Symbol ('y' )", False),
        ("Function ('f' )(Integer (1 ))", False),
        ("Symbol ('x' ).func", False),
        ("Symbol (Symbol ('x' ))", False),
        ("Symbol (*'x')", False),
        ("Symbol ('x', integer=True)", False),
        ("Symbol ('" + "x" * 65 + "')", False),
        ("eval ('1')", False),
    ],
)
def test_what_sympy_makes_of_arithmetic_passes_where_it_is_allowed(text: str, is_safe: bool):
    assert (unsafe_reason(text, SYMPY) is None) == is_safe
    assert unsafe_reason(text) is not None
