"""The page of `stats --html`, opened in a real browser where there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from lazarus_core.html.charts import Curve, curves, lines
from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, Stage, build_plan
from lazarus_plan.packing.baselines import fill_by_packer
from lazarus_plan.report.page import report, waste_by_cause
from lazarus_plan.testing import plans


@given(plans())
def test_real_tokens_and_waste_add_up_to_the_budget(plan: BatchPlan):
    wasted = waste_by_cause(plan)
    assert all(tokens >= 0 for tokens in wasted.values())
    assert int(plan.tokens.sum()) + sum(wasted.values()) == len(plan) * plan.metadata.config.token_budget


def mixed_plan() -> BatchPlan:
    rng = np.random.default_rng(3)
    caches = [
        LengthCache.from_rows(
            (LengthRow(f"{n}", int(each)) for n, each in enumerate(rng.integers(1, 64, 200))), name=name
        )
        for name in ("chat", "code & <more>")
    ]
    return build_plan(caches, PlanConfig(token_budget=256, row_len=64, stages=(Stage(sources=(0, 1), weights=(3, 1)),)))


def test_the_page_loads_nothing_and_names_every_picture():
    page = report(mixed_plan())
    assert not re.search(r"(src|href)=|https?:|@import|<script", page)
    for title in ("Lengths", "Fill of rows", "Waste by cause", "Samples a step", "Mixture drift", "Other packers"):
        assert title in page
    assert "code &amp; &lt;more&gt;" in page and "nan" not in page


@pytest.mark.slow
def test_a_browser_draws_every_picture(tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    count = "<script>document.title=[...document.querySelectorAll('svg')].map(s=>s.getBoundingClientRect().height>20).join()</script>"
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


def test_a_curve_of_one_point_is_drawn():
    curve = curves([Curve(np.array([3]), np.array([0.5]), 0)], "nats")
    assert re.search(r'd="M[0-9.]+,[0-9.]+h4"', curve)
    assert re.search(r'd="M[0-9.]+,[0-9.]+h4"', lines([np.array([0.5])], "step", "rows"))
    assert "h4" not in curves([Curve(np.array([3, 4]), np.array([0.5, 0.4]), 0)], "nats")
