"""The page of `stats --html`, opened in a real browser where there is one."""

import re
import shutil
import subprocess
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from html_pages import NAMES, Read
from lazarus_core.html.charts import Curve, curves, lines
from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, Stage, build_plan
from lazarus_plan.packing.baselines import fill_by_packer
from lazarus_plan.report.budget import budget_fit, budget_words, divisors
from lazarus_plan.report.explain import explain_sample
from lazarus_plan.report.page import report, waste_by_cause
from lazarus_plan.report.summary import receipt
from lazarus_plan.testing import plans


@given(plans())
def test_real_tokens_and_waste_add_up_to_the_budget(plan: BatchPlan):
    wasted = waste_by_cause(plan)
    assert all(tokens >= 0 for tokens in wasted.values())
    assert int(plan.tokens.sum()) + sum(wasted.values()) == len(plan) * plan.metadata.config.token_budget


def mixed_plan(names: tuple[str, str] = ("chat", "code & <more>")) -> BatchPlan:
    rng = np.random.default_rng(3)
    caches = [
        LengthCache.from_rows(
            (LengthRow(f"{n}", int(each)) for n, each in enumerate(rng.integers(1, 64, 200))), name=name
        )
        for name in names
    ]
    return build_plan(caches, PlanConfig(token_budget=256, row_len=64, stages=(Stage(sources=(0, 1), weights=(3, 1)),)))


@pytest.mark.parametrize(
    ("settings", "lengths", "why"),
    [
        ({"oversize": "exclude"}, [9, 80, 8], "excluded by policy: 1 oversize"),
        (
            {"stages": (Stage(sources=(0, 1), weights=(1, 9), until="first"),)},
            [60] * 9,
            "the mixture takes a part of its source only",
        ),
    ],
)
def test_a_sample_without_a_place_has_a_reason(settings: dict[str, Any], lengths: list[int], why: str):
    caches = [
        LengthCache.from_rows([LengthRow(f"{n}", each) for n, each in enumerate(found)], name=name)
        for name, found in (("a", lengths), ("b", [60] * 9))
    ]
    plan = build_plan(caches, PlanConfig(token_budget=64, row_len=64, **settings))
    nowhere = sorted(set(range(len(lengths))) - set(plan.sample.tolist()))
    assert nowhere and explain_sample(plan, nowhere[0])["why"].startswith(why)


def test_the_page_loads_nothing_and_names_every_picture():
    page = report(mixed_plan())
    assert not re.search(r"(src|href)=|https?:|@import", page)
    for title in ("Lengths", "Fill of rows", "Waste by cause", "Samples per step", "Mixture drift", "Other packers"):
        assert title in page
    assert "code &amp; &lt;more&gt;" in page and "nan" not in page
    assert "<h1>Batch plan of chat and code &amp; &lt;more&gt;</h1>" in page
    assert page == report(mixed_plan()), "no clock without an origin"


@given(NAMES.filter(bool))
def test_no_name_of_a_source_changes_the_structure(name: str):
    read = Read(report(mixed_plan((name, "other"))))
    assert read.wrong == []
    assert read.shape() == harmless_shape(min(len(name), 25))


@cache
def harmless_shape(length: int) -> list[tuple[str, tuple[str, ...]]]:
    return Read(report(mixed_plan(("x" * length, "other")))).shape()


def test_settings_at_their_defaults_are_in_a_closed_part():
    page = report(mixed_plan())
    listed, closed = page[page.index("<h2>Settings") :].split("<details>")
    assert re.findall("<dt>([^<]*)</dt>", listed) == ["token_budget", "row_len", "seed", "stages"]
    assert "<dt>epochs</dt><dd>1</dd>" in closed


@pytest.mark.slow
def test_a_browser_draws_every_picture(tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    count = "<script>document.title=[...document.querySelectorAll('svg, .bars')].map(s=>s.getBoundingClientRect().height>20).join()</script>"
    (tmp_path / "page.html").write_text(report(mixed_plan()) + count, "utf-8")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()], capture_output=True, check=True, encoding="utf-8", timeout=60
    )
    assert f"<title>{','.join(['true'] * 7)}</title>" in done.stdout


def test_other_packers_never_fill_more_than_there_is():
    for tokens, room in fill_by_packer(np.arange(1, 65), row_len=64, rows_per_batch=4).values():
        assert tokens <= room


def test_few_points_have_markers():
    one = curves([Curve(np.array([3]), np.array([0.5]), 0)], "nats")
    assert re.search(r'class="dots path0" d="M500.0,[0-9.]+h0"', one)
    assert 'class="dots' in lines([np.array([0.5])], "step", "rows")
    many = np.arange(100)
    assert 'class="dots' not in curves([Curve(many, many * 0.5, 0)], "nats")


def plan_of(lengths: list[int], **settings: Any) -> BatchPlan:
    cache = LengthCache.from_rows((LengthRow(f"{n}", each) for n, each in enumerate(lengths)), name="rows")
    return build_plan([cache], PlanConfig(**settings))


def test_the_receipt_says_what_part_of_the_budget_rows_do_not_divide():
    plan = plan_of([30] * 20, token_budget=100, row_len=31)
    assert budget_fit(plan) == (len(plan) * 7, 0.07, (93, 124), (50,))
    words = "7.00 % of the budget (49 tokens): 100 = 3 x 31 + 7; none with a budget of 93 or 124, or rows of 50"
    assert f"unused    {words}\n" in receipt(plan)
    assert escape(words) in report(plan)
    assert "unused" not in receipt(plan_of([30] * 20, token_budget=93, row_len=31))


def test_shorter_rows_are_proposed_only_if_the_longest_sample_fits():
    assert budget_fit(plan_of([20] * 9, token_budget=100, row_len=31)).row_lens == (25, 50)
    assert budget_fit(plan_of([26] * 9, token_budget=100, row_len=31)).row_lens == (50,)
    assert budget_fit(plan_of([20] * 9, token_budget=96, row_len=28, align=4)).row_lens == (24, 32)


def test_bucket_edges_are_raised_todivisors():
    plan = plan_of([5, 9, 12, 12], token_budget=100, mode="bucketed", bucket_edges=(6, 12))
    fit = budget_fit(plan)
    assert fit.budgets == (96, 108) and fit.row_lens == (10, 20)
    assert "bucket edges 10, 20" in budget_words(plan)


def test_padded_rows_have_no_budget_that_fits():
    plan = plan_of([5, 9, 12, 12], token_budget=26, mode="padded")
    assert budget_fit(plan).budgets == () and "a larger budget leaves a smaller share" in budget_words(plan)


@given(plans())
def test_what_the_receipt_proposes_leaves_nothing(plan: BatchPlan):
    config, fit = plan.metadata.config, budget_fit(plan)
    assert fit.unused == waste_by_cause(plan)["budget not divisible"]
    edges = config.bucket_edges or (plan.row_len,)
    for budget in fit.budgets:
        assert all(budget % edge == 0 for edge in edges) and abs(budget - config.token_budget) <= config.token_budget
    for row_len in fit.row_lens:
        assert config.token_budget % row_len == 0 and row_len % config.align == 0
    if fit.row_lens:
        assert max(fit.row_lens) >= int(plan.length.max())


@given(st.integers(1, 10**7))
def testdivisors_are_all_of_them(number: int):
    small = [each for each in range(1, int(number**0.5) + 1) if number % each == 0]
    assert divisors(number) == sorted({*small, *(number // each for each in small)})
