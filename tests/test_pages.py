"""The laws of every HTML page that a command writes. `tools/pages.py` lists and builds them; it also takes screenshots.

A new command with `--html`, or a new module that makes a page, has to be in that list.
"""

import ast
import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

import commands
from html_pages import Read, between, plain

ROOT = Path(__file__).parents[1]
TIME = 1_700_000_000
"""A `SOURCE_DATE_EPOCH`: 2023-11-14 22:13:20 UTC."""
MAX_BYTES = 250_000
pytestmark = pytest.mark.slow


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools/pages.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    def run(words: Sequence[str], folder: Path) -> None:
        commands.run([sys.executable, "-m", "lazarus_cli", *words], cwd=folder, check=True)

    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(TIME))
        return {
            name: path.read_text("utf-8")
            for name, path in TOOL.build(folder, run, rows=24, steps=3, is_real=False).items()
        }


def options(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Every command of `lazarus` with its options."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from options(command.get_command(None, name), (*names, name))
    else:
        yield " ".join(names), {each for param in command.params for each in param.opts}


def makers() -> set[str]:
    """Modules that import `page` of `lazarus_core.html`."""
    found: set[str] = set()
    for source in ROOT.glob("*/*/src"):
        for path in source.rglob("*.py"):
            text = path.read_text("utf-8")
            if "lazarus_core.html" in text and any(map(imports_page, ast.walk(ast.parse(text)))):
                found.add(".".join(path.relative_to(source).with_suffix("").parts))
    return found


def imports_page(node: ast.AST) -> bool:
    if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith("lazarus_core.html"):
        return False
    return "page" in {each.name for each in node.names}


def test_every_command_with_a_page_is_listed():
    from lazarus_cli.main import app

    aliases = "introspect moe-expert "  # older names of `introspect moe`
    with_pages = {
        name for name, names in options(get_command(app)) if "--html" in names and not name.startswith(aliases)
    }
    assert len(with_pages) >= 8
    listed = [page.command for page in TOOL.PAGES]
    assert [name for name in with_pages if not any(each.startswith(f"{name} ") for each in listed)] == []


def test_every_module_that_makes_a_page_is_listed():
    assert makers() == {page.maker for page in TOOL.PAGES}


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.name)
def test_a_page_says_what_it_is_of_and_where_it_comes_from(pages: dict[str, str], page: Any):
    text = pages[page.name]
    heading, title = plain(between(text, "h1")), unescape(between(text, "title"))
    assert text.count("<h1") == 1 and title.startswith(heading)
    assert all(name in heading for name in page.of)
    footer = plain(between(text, "footer"))
    assert footer.startswith(shlex.join(["lazarus", *shlex.split(page.command)]))
    distribution = page.maker.partition(".")[0].replace("_", "-")
    assert re.search(rf"{distribution} \d+\.\d+\.\d+\S*, 2023-11-14 22:13:20 UTC$", footer)


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.name)
def test_a_page_is_whole_small_and_loads_nothing(pages: dict[str, str], page: Any):
    text = pages[page.name]
    read = Read(text)
    assert read.wrong == []
    assert len(text.encode()) < MAX_BYTES
    assert not re.search(r"https?:|//\w+\.\w|@import|url\(", text)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form", "a"} & {each.tag for each in read.elements}
    assert not [each for each in read.elements if {"src", "href", "srcset"} & set(each.attributes)]
    assert not [each for each in read.elements for name in each.attributes if name.startswith("on")]
    meta = {
        each.attributes.get("name", each.attributes.get("http-equiv", "")): each.attributes
        for each in read.elements
        if each.tag == "meta"
    }
    assert meta["viewport"]["content"] == "width=device-width, initial-scale=1"
    assert meta["Content-Security-Policy"]["content"].startswith("default-src 'none';")
    ids = [each.attributes["id"] for each in read.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    assert "nan" not in re.findall(r"\w+", plain(between(text, "main")).lower())
    assert "None" not in plain(re.sub("<script.*?</script>", "", between(text, "main"), flags=re.DOTALL)).split()


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.name)
def test_a_page_is_read_on_a_narrow_screen(pages: dict[str, str], page: Any):
    read = Read(pages[page.name])
    for each in read.elements:
        if each.tag == "table":
            assert each.inside[-1] == "div.scroll", "wide tables scroll in their box"
        if each.attributes.get("class") == "scroll":
            assert each.attributes["tabindex"] == "0" and each.attributes["aria-label"], "the keyboard scrolls it"
        assert each.tag not in ("pre", "text"), "labels are text of HTML, which does not shrink"
        assert "width" not in each.attributes or each.tag == "rect"
        style = each.attributes.get("style", "")
        assert re.fullmatch(r"(?:(?:left|bottom|width):(?:0|-?[\d.]+%|max\(2px, [\d.]+%\)))?", style)
        share = re.search(r"([\d.]+)%", style)
        assert share is None or float(share[1]) <= 100.0


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.name)
def test_charts_have_axes_ticks_titles_and_values(pages: dict[str, str], page: Any):
    text = pages[page.name]
    charts = re.findall(r'<figure class="chart">(.*?)</figure>', text, re.DOTALL)
    has_other = page.name in ("tokenizer-diff", "bench-infer") or page.maker == "lazarus_introspect.pictures.document"
    assert len(charts) == text.count("<svg") and (charts or has_other)
    assert bool(charts) == ("plot.onkeydown" in text)
    for chart in charts:
        assert re.search(r'<div class="up-title">[^<]+</div>', chart) and re.search(r'class="axis-title">[^<]+<', chart)
        for axis in ("up", "across"):
            box = re.search(rf'<div class="{axis}" aria-hidden="true">(.*?)</div>', chart)
            is_point = axis == "across" and re.search(r'data-first="(\d+)" data-last="\1"', chart)
            assert box and box[1].count("<span") >= (1 if is_point else 2), axis
        plot = re.search(r'<div class="plot" tabindex="0" role="group" aria-label="([^"]+)"', chart)
        assert plot and any(digit in plot[1] for digit in "0123456789")
        grid = between(chart, "g")
        assert grid.count("<line") >= 3
        points = re.findall(r'data-points="([^"]+)"', chart)
        assert points
        for each in re.findall(r'<path class="curve path(\d)"[^>]*data-points="([^"]+)"', chart):
            if len(each[1].split(";")) <= 30:
                assert f'<path class="dots path{each[0]}"' in chart


def test_several_runs_have_a_legend_and_one_has_none(pages: dict[str, str]):
    charts = pages["runs"].count('<figure class="chart">')
    assert pages["runs"].count('<ul class="legend"') == charts
    assert 'class="legend"' not in re.sub("<style>.*?</style>", "", pages["run"], flags=re.DOTALL)


def test_the_same_command_writes_the_same_bytes_at_a_stated_time(pages: dict[str, str], tmp_path: Path):
    """Pages of a plan and of a tokenizer depend on nothing else; those of runs and benchmarks show measured speeds."""
    rows = '{"prompt": "a", "completion": "b"}\n'
    made: list[bytes] = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "rows.jsonl").write_text(rows)
        words = shlex.split("tokenizer analyze entropy -t byte -d rows.jsonl --html page.html")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SOURCE_DATE_EPOCH", str(TIME))
            commands.run([sys.executable, "-m", "lazarus_cli", *words], cwd=folder, check=True)
        made.append((folder / "page.html").read_bytes())
    assert made[0] == made[1] and "2023-11-14" in made[0].decode()


def test_a_browser_finds_nothing_wrong(pages: dict[str, str], tmp_path: Path):
    """No sideways scroll at 400 pixels, and no error of a script. Needs a Chromium."""
    import shutil
    import subprocess

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    frames = ""
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(
            text.replace("</head>", f"<script>{_REPORT}</script></head>", 1), "utf-8"
        )
        frames += f'<iframe src="{name}.html" width="400" height="800"></iframe>'
    (tmp_path / "all.html").write_text(f"<!doctype html><body>{frames}<script>{_COLLECT}</script></body>", "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    options += ["--allow-file-access-from-files", "--virtual-time-budget=20000", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [browser, *options, (tmp_path / "all.html").as_uri()],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    found = unescape(between(done.stdout, "title"))
    read = {name: rest.split(":") for name, _, rest in (each.partition(":") for each in found.split(" "))}
    assert read.keys() == pages.keys()
    for name, (width, errors, values) in read.items():
        assert int(width) <= 400 and (errors, values) == ("0", "ok"), name


_REPORT = "window.errors = []; addEventListener('error', event => errors.push(event.message));"
_COLLECT = """
addEventListener('load', () => {
  document.title = [...document.querySelectorAll('iframe')].map(frame => {
    const page = frame.contentWindow, root = page.document.documentElement, plots = [...page.document.querySelectorAll('.plot')];
    const read = plots.map(plot => {
      plot.dispatchEvent(new page.KeyboardEvent('keydown', {key: 'End'}));
      return plot.querySelector('.tip').textContent;
    });
    const name = frame.getAttribute('src').replace('.html', '');
    return `${name}:${root.scrollWidth}:${page.errors.length}:${read.every(text => /[0-9]/.test(text)) ? 'ok' : read}`;
  }).join(' ');
});
"""
