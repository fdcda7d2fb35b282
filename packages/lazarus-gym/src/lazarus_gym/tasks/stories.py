"""Word problems of several steps, each step worked in a line of the reply."""

from lazarus_gym.tasks.questions import (
    FEWEST,
    NAMES,
    THINGS,
    Question,
    Questions,
    StoryKind,
    descending_pair,
    num_descending_pairs,
)


def _num_boxes(bound: int) -> int:
    m = bound - FEWEST
    return m * m * num_descending_pairs(m) * len(NAMES) * len(THINGS)


def _boxes(number: int, bound: int) -> Question:
    m = bound - FEWEST
    number, name = divmod(number, len(NAMES))
    number, thing = divmod(number, len(THINGS))
    number, a = divmod(number, m)
    pair, b = divmod(number, m)
    a, b = a + FEWEST, b + FEWEST
    c, d = (each + FEWEST for each in descending_pair(pair))
    who, things = NAMES[name], THINGS[thing]
    total = a * b + c
    return Question(
        f"{who} buys {a} boxes of {b} {things} and {c} single {things}, then gives {d} away. How many {things} are left?",
        f"In the boxes: {a} * {b} = {a * b}\nWith the single ones: {a * b} + {c} = {total}\nLeft: {total} - {d} = {total - d}",
        total - d,
    )


def _num_journeys(bound: int) -> int:
    return (bound - FEWEST) ** 4


def _journey(number: int, bound: int) -> Question:
    m = bound - FEWEST
    values: list[int] = []
    for _ in range(4):
        number, value = divmod(number, m)
        values.append(value + FEWEST)
    a, b, c, d = values
    return Question(
        f"A train goes {a} km an hour for {b} hours, then {c} km an hour for {d} hours. How many km does it go?",
        f"First: {a} * {b} = {a * b}\nThen: {c} * {d} = {c * d}\nTogether: {a * b} + {c * d} = {a * b + c * d}",
        a * b + c * d,
    )


def _num_comparisons(bound: int) -> int:
    m = bound - FEWEST
    return m**3 * len(NAMES) * (len(NAMES) - 1) * len(THINGS)


def _times_as_many(number: int, bound: int) -> Question:
    m = bound - FEWEST
    number, thing = divmod(number, len(THINGS))
    number, name = divmod(number, len(NAMES))
    number, other = divmod(number, len(NAMES) - 1)
    number, a = divmod(number, m)
    c, b = divmod(number, m)
    a, b, c = a + FEWEST, b + FEWEST, c + FEWEST
    who, friend, things = NAMES[name], NAMES[other + (other >= name)], THINGS[thing]
    return Question(
        f"{who} has {a} {things}. {friend} has {b} times as many and finds {c} more. How many {things} do they have together?",
        f"{friend}: {a} * {b} + {c} = {a * b + c}\nTogether: {a} + {a * b + c} = {a + a * b + c}",
        a + a * b + c,
    )


QUESTIONS: dict[StoryKind, Questions] = {
    "boxes": Questions(_num_boxes, _boxes),
    "journey": Questions(_num_journeys, _journey),
    "times_as_many": Questions(_num_comparisons, _times_as_many),
}
