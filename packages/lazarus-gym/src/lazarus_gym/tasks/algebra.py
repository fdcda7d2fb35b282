"""Algebra with whole solutions, worked step by step."""

from lazarus_gym.tasks.questions import AlgebraKind, Question, Questions


def _signed(number: int) -> str:
    """A number as a further term: ` + 3`, ` - 3`."""
    return f" {'-' if number < 0 else '+'} {abs(number)}"


def _num_equations(bound: int) -> int:
    return (bound - 2) * (2 * bound - 1) * (bound - 1) * 2


def _equation(number: int, bound: int) -> Question:
    """`a*x + b = c` with a whole x."""
    number, a = divmod(number, bound - 2)
    number, x = divmod(number, 2 * bound - 1)
    sign, b = divmod(number, bound - 1)
    a, x, b = a + 2, x - (bound - 1), (b + 1) * (1 - 2 * sign)
    c = a * x + b
    steps = f"{a}*x = {c}{_signed(-b)} = {c - b}\nx = {c - b} / {a} = {x}"
    return Question(f"Solve for x: {a}*x{_signed(b)} = {c}", steps, x)


def _num_values(bound: int) -> int:
    return (bound - 2) * (bound - 1) * (2 * bound - 1)


def _value(number: int, bound: int) -> Question:
    """`a*x + b` for a given x."""
    number, a = divmod(number, bound - 2)
    x, b = divmod(number, bound - 1)
    a, b, x = a + 2, b + 1, x - (bound - 1)
    answer = a * x + b
    return Question(
        f"What is {a}*x + {b} for x = {x}?", f"{a}*{f'({x})' if x < 0 else x} + {b} = {a * x} + {b} = {answer}", answer
    )


def _num_proportions(bound: int) -> int:
    return (bound - 2) ** 3


def _proportion(number: int, bound: int) -> Question:
    """`a` things cost `a*k`, so `c` things cost `c*k`."""
    m = bound - 2
    number, a = divmod(number, m)
    k, c = divmod(number, m)
    a, k, c = a + 2, k + 2, c + 2
    return Question(
        f"If {a} tickets cost {a * k} euros, how many euros do {c} tickets cost?",
        f"One ticket costs {a * k} / {a} = {k} euros.\n{c} * {k} = {c * k}",
        c * k,
    )


QUESTIONS: dict[AlgebraKind, Questions] = {
    "linear_equation": Questions(_num_equations, _equation),
    "expression_value": Questions(_num_values, _value),
    "proportion": Questions(_num_proportions, _proportion),
}
