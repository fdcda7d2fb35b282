"""The part of the token budget that whole rows leave unused, and the nearest settings that leave nothing."""

from math import lcm
from typing import NamedTuple

from lazarus_plan.plan import BatchPlan

_MAX_FACTOR = 10_000
"""Largest trial divisor of a budget."""


class BudgetFit(NamedTuple):
    """How the rows of a plan divide its token budget.

    Args:
        unused: Tokens of all steps that no whole row can take.
        share: `unused` as a share of the budget of all steps.
        budgets: The nearest budgets, at most one below and one above, that every row length divides.
        row_lens: The nearest row lengths, at most one below and one above, that divide the budget. Of mode bucketed, the
            edges raised to the next ones that do.
    """

    unused: int
    share: float
    budgets: tuple[int, ...]
    row_lens: tuple[int, ...]


def budget_fit(plan: BatchPlan) -> BudgetFit:
    """Compute the unused part of a plan's budget, and what leaves none.

    A proposal is at most twice the present value. In mode padded every step has its own row length, so there are none.
    """
    config = plan.metadata.config
    budget, full = config.token_budget, len(plan) * config.token_budget
    unused = full - int((budget // plan.row_lens * plan.row_lens).sum())
    if not unused or config.mode == "padded":
        return BudgetFit(unused, unused / full, (), ())
    edges = config.bucket_edges or (plan.row_len,)
    common = lcm(*edges)
    budgets = tuple(
        each for each in (budget // common * common, -(-budget // common) * common) if 0 < each <= 2 * budget
    )
    return BudgetFit(unused, unused / full, budgets, _row_lens(plan, edges))


def _row_lens(plan: BatchPlan, edges: tuple[int, ...]) -> tuple[int, ...]:
    config = plan.metadata.config
    found = [each for each in divisors(config.token_budget) if each % config.align == 0]
    if len(edges) > 1:
        raised = [next((each for each in found if edge <= each <= 2 * edge), 0) for edge in edges]
        return tuple(sorted(set(raised))) if all(raised) else ()
    longest, row_len = int(plan.length.max()), plan.row_len
    below = [each for each in found if longest <= each < row_len]
    above = [each for each in found if row_len < each <= 2 * row_len]
    return (*below[-1:], *above[:1])


def divisors(number: int) -> list[int]:
    """All divisors, ascending.

    Factors above `_MAX_FACTOR` are not searched: a product of two of them counts as prime, and its divisors are missing.
    """
    found, rest, factor = [1], number, 2
    while rest > 1:
        while factor * factor <= rest and factor < _MAX_FACTOR and rest % factor:
            factor += 1
        prime = factor if rest % factor == 0 else rest
        power, multiples = 1, found
        while rest % prime == 0:
            rest, power = rest // prime, power * prime
            multiples = multiples + [each * power for each in found]
        found = multiples
    return sorted(found)


def budget_words(plan: BatchPlan) -> str:
    """The unused part of the budget in words; empty if whole rows take all of it."""
    fit, config = budget_fit(plan), plan.metadata.config
    if not fit.unused:
        return ""
    text = f"{100 * fit.unused / (len(plan) * config.token_budget):.2f} % of the budget ({fit.unused:,} tokens)"
    if config.mode == "padded":
        return f"{text}, as each step has its own row length; a larger budget leaves a smaller share"
    edges = config.bucket_edges or (plan.row_len,)
    if len(edges) == 1:
        rows, rest = divmod(config.token_budget, plan.row_len)
        text += f": {config.token_budget:,} = {rows:,} x {plan.row_len:,} + {rest:,}"
        lengths = " or ".join(f"{each:,}" for each in fit.row_lens)
        lengths = f"rows of {lengths}" if lengths else ""
    else:
        lengths = f"bucket edges {', '.join(map(str, fit.row_lens))}" if fit.row_lens else ""
    budgets = " or ".join(f"{each:,}" for each in fit.budgets)
    ways = [each for each in (f"a budget of {budgets}" if budgets else "", lengths) if each]
    return f"{text}; none with {', or '.join(ways)}" if ways else f"{text}; a larger budget leaves a smaller share"
