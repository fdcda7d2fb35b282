"""Laws of the tasks and of their verifier."""

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym import KINDS, Kind, Task, TaskError, generate_tasks, verify

seeds = st.integers(-(2**70), 2**70)
sets = st.lists(st.sampled_from(KINDS), min_size=1, unique=True)


@given(seeds, sets, st.integers(1, 7), st.integers(1, 60))
def test_right_replies_always_verify(seed: int, kinds: list[Kind], digits: int, count: int):
    tasks = generate_tasks(count, seed=seed, kinds=kinds, digits=digits)
    assert all(verify(task, task.reply).correct for task in tasks)


@given(seeds, st.integers(), st.text(), st.text(alphabet=st.characters(exclude_categories=["Nd"])))
def test_wrong_numbers_never_verify(seed: int, number: int, before: str, after: str):
    for task in generate_tasks(len(KINDS), seed=seed):
        verdict = verify(task, f"{before} {number} {after}")
        assert verdict.found == str(number)
        assert verdict.correct == (number == task.answer)


@given(st.text(alphabet=st.characters(exclude_categories=["Nd"])))
def test_replies_without_a_number_are_wrong(reply: str):
    verdict = verify(generate_tasks(1)[0], reply)
    assert (verdict.correct, verdict.found) == (False, None)


@given(seeds, sets, st.integers(1, 40), st.integers(0, 40))
def test_a_shorter_set_is_a_prefix_of_a_longer_one(seed: int, kinds: list[Kind], n: int, more: int):
    longer = generate_tasks(n + more, seed=seed, kinds=kinds)
    assert generate_tasks(n, seed=seed, kinds=kinds) == longer[:n]


@given(seeds, seeds)
def test_seeds_differ(a: int, b: int):
    prompts = [[task.prompt for task in generate_tasks(20, seed=seed)] for seed in (a, b)]
    assert (prompts[0] == prompts[1]) == (a == b)


def test_a_kind_keeps_its_tasks_whatever_stands_beside_it():
    alone = generate_tasks(10, kinds=["comparison"])
    among = [task for task in generate_tasks(50) if task.kind == "comparison"]
    assert alone == among


@pytest.mark.parametrize(
    ("kind", "size"), [("addition", 100), ("subtraction", 100), ("multiplication", 100), ("comparison", 90)]
)
def test_every_question_of_one_digit_comes_once(kind: Kind, size: int):
    prompts = {task.prompt for task in generate_tasks(size, kinds=[kind], digits=1)}
    assert len(prompts) == size
    with pytest.raises(TaskError, match=f"{size} different {kind} questions"):
        generate_tasks(size + 1, kinds=[kind], digits=1)


def test_every_story_of_one_digit_comes_once():
    size = 8 * 6 * 8 * (36 + 64)  # names, things, the last number, pairs that give and pairs of bags
    tasks = generate_tasks(size, kinds=["word_problem"], digits=1)
    assert len({task.prompt for task in tasks}) == size
    assert min(task.answer for task in tasks) >= 2
    with pytest.raises(TaskError):
        generate_tasks(size + 1, kinds=["word_problem"], digits=1)


def test_answers_follow_from_the_prompt_alone():
    for task in generate_tasks(500, digits=3):
        a, b, *c = map(int, re.findall(r"\d+", task.prompt))
        expected = {
            "addition": a + b,
            "subtraction": a - b,
            "multiplication": a * b,
            "comparison": max(a, b),
            "word_problem": (a * b if "bags" in task.prompt else a - b) + sum(c),
        }[task.kind]
        assert task.answer == expected, task


def test_ids_tell_kind_digits_and_seed_apart():
    sets = [generate_tasks(20, seed=seed, digits=digits) for seed in (0, 1) for digits in (2, 3)]
    for one, other in combinations([{task.id for task in tasks} for tasks in sets], 2):
        assert len(one) == 20
        assert one.isdisjoint(other)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (1234, "1,234"),
        (1234, "so 1234.00 apples."),
        (1234567, "It is **1,234,567**!"),
        (4, "3, 4"),
        (-18, "12 - 30 = -18"),
        (-18, "x=\u221218"),
        (12, "30-12"),
        (7, "(+007)"),
        (0, "-0"),
        (2345, "1,2345"),
    ],
)
def test_numbers_are_read_as_people_write_them(answer: int, reply: str):
    assert verify(Task("a", "addition", "?", "", answer), reply).correct


def test_fractions_and_endless_numbers_are_plain_wrong():
    task = Task("a", "addition", "?", "", 42)
    assert verify(task, "42.5").found == "42.5"
    assert not verify(task, "9" * 10_000).correct


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"count": 0}, "LG-E101"),
        ({"digits": 0}, "LG-E102"),
        ({"digits": 8}, "LG-E102"),
        ({"kinds": ["division"]}, "LG-E103"),
        ({"kinds": []}, "LG-E104"),
        ({"kinds": ["addition", "addition"]}, "LG-E104"),
    ],
)
def test_tasks_that_do_not_exist_are_refused(wrong: dict[str, object], code: str):
    with pytest.raises(TaskError) as caught:
        generate_tasks(**({"count": 1} | wrong))  # pyright: ignore[reportArgumentType]
    assert caught.value.code == code
