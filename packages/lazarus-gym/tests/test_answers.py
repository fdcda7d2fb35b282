"""Numbers are read exactly, and text that is no number earns nothing."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym import Task, reward
from lazarus_gym.answers import gsm8k_answer, last_number


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_decimals_are_read_exactly(number: int, places: int):
    text = f"{Fraction(number, 10**places) if not places else ''}"
    if places:
        digits = str(abs(number)).rjust(places + 1, "0")
        text = f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    assert last_number(f"so x = {text}.") == Fraction(number, 10**places)
    assert gsm8k_answer(f"steps 1 2 3\n#### {text}") == Fraction(number, 10**places)


@given(st.integers(0, 10**15))
def test_thousands_may_be_separated(number: int):
    assert last_number(f"${number:,} in all") == number
    assert gsm8k_answer(f"#### ${number:,}") == number


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_fractions_are_exact(above: int, below: int):
    assert last_number(f"{above}/{below}") == Fraction(above, below)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#### 72", 72),
        ("#### 18 dollars", 18),
        ("####5", 5),
        ("a #### 1\nb #### 2", 2),
        ("#### -3", -3),
        ("#### \u22123", -3),
        ("#### 12.50", Fraction(25, 2)),
        ("#### 50%", Fraction(1, 2)),
        ("#### 1/3", Fraction(1, 3)),
        ("#### .5", Fraction(1, 2)),
        ("72", None),
        ("#### ", None),
        ("####\n72 and 73", None),
        ("#### 72 or 73", None),
        ("#### 1 2 3 4 5 72", None),
        ("#### \u0667\u0662", None),
        ("#### 1/0", None),
        ("#### " + "9" * 100_000, None),
        ("#### (36 * 2)", None),
        ("#### 36*2", None),
        ("#### 0x48", None),
        ("#### __import__('os')", None),
        ("#### 1e2", None),
        ("#### seventy-two", None),
    ],
)
def test_answers_of_gsm8k(text: str, value: Fraction | int | None):
    assert gsm8k_answer(text) == value


def test_a_tenth_is_a_tenth():
    assert last_number("0.1") == Fraction(1, 10) != Fraction(0.1)


@given(st.text(alphabet="0123456789.,/-+%$# \n", max_size=60))
def test_any_text_is_read(text: str):
    for found in (last_number(text), gsm8k_answer(text)):
        assert found is None or isinstance(found, Fraction)


def test_long_texts_take_little_time():
    for text in ("1," * 50_000, "9" * 100_000, "1/" * 50_000, "-" * 100_000, ". " * 50_000):
        begin = time.process_time()
        last_number(text)
        gsm8k_answer(f"#### {text}")
        assert time.process_time() - begin < 2


def test_the_reward_of_gsm8k_wants_the_mark():
    task = Task("a", "addition", "?", "", 72)
    of = reward("gsm8k")
    assert [of(task, reply) for reply in ("#### 72", "#### 72.0", "72", "#### 73", "")] == [1, 1, 0, 0, 0]
