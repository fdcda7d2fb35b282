"""Builds every HTML page that a command writes, from small data, into a folder; optionally with screenshots.

    uv run python tools/pages.py OUT
    uv run --with playwright python tools/pages.py OUT --browser /usr/bin/chromium

With `--browser` each page is opened at 1280 and 400 pixels, light and dark. `OUT/NAME-WIDTH-THEME.png` are the pictures. The exit
code is 1 if a page scrolls sideways, has small or overlapping labels, writes an error to the console, or asks the network.

The data are the first problems of GSM8K in `LAZARUS_TEST_DATA` (default: `../shared/data`), or sums if that folder is absent.
`tests/test_pages.py` builds the same list and checks every page without a browser.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LAZARUS_TEST_DATA", ROOT.parent / "shared" / "data"))
WIDTHS = (1280, 400)
THEMES = ("light", "dark")

Run = Callable[[Sequence[str], Path], object]
"""Runs `lazarus WORDS...` in a folder."""


class Page(NamedTuple):
    """A page and the command that writes it.

    Args:
        name: File name of the page, without its ending.
        command: The command line, without `lazarus`.
        made: Path of the page that the command writes.
        maker: Module whose function makes the page.
        of: What its title must name.
    """

    name: str
    command: str
    made: str
    maker: str
    of: tuple[str, ...]


RECIPE = """
data.rows = "rows.jsonl"
data.held = "held.jsonl"
[tokenizer]
kind = "char"
data = ["rows", "held"]
[lengths]
data = "rows"
tokenizer = "tokenizer"
[plan]
lengths = ["lengths"]
token_budget = 4096
row_len = 2048
epochs = 40
[model]
preset = "nano"
tokenizer = "tokenizer"
[sft]
model = "model"
plan = "plan"
eval_data = { held = "held" }
optimizer = { learning_rate = 3e-3 }
[answer]
model = "sft"
prompts = ["How much is 3 and 4?"]
max_new_tokens = 8
"""


def _inputs(steps: int) -> list[str]:
    every = max(1, steps // 4)
    train = (
        "train sft --model model --data rows.jsonl --batch-plan plan --eval-data held=held.jsonl"
        f" --max-steps {steps} --eval-every {every}"
    )
    build = "data batchplan build -l rows.lengths.jsonl --predictable"
    return [
        "model new --preset nano -t byte -o model",
        "model new --preset nano -t byte --seed 1 -o other",
        "tokenizer lengths build -t model -d rows.jsonl -o rows.lengths.jsonl",
        "tokenizer lengths build -t model -d held.jsonl -o held.lengths.jsonl",
        f"{build} -b 4000 -e 8 -o plan",
        f"{build} -l held.lengths.jsonl --weights 3,1 -b 4800 -o mixed",
        f"{build} --mode padded -b 4000 -o padded",
        "train sft --model model --data rows.jsonl --data held.jsonl --batch-plan mixed"
        f" --max-steps {min(steps, 8)} --learning-rate 3e-3 -o mixture",
        *(
            f"introspect probe -m model -d labelled.jsonl --raw --permutations 19 --direction {name} -o {name}.json"
            for name in ("lda", "ridge")
        ),
        *(
            f"eval run -m {model} -t perplexity=texts.jsonl -o {name}.json"
            for name, model in (("first", "model"), ("second", "other"))
        ),
        f"{train} --sample-prompt 'How much is 3 and 4?' --learning-rate 3e-3 -o fast",
        f"{train} --learning-rate 3e-4 -o slow",
        f"run recipe.toml --set sft.max_steps={steps} -o recipe",
    ]


def _pages() -> list[Page]:
    rows = "rows.lengths.jsonl"
    found: list[Page] = []

    def add(maker: str, name: str, command: str, *of: str) -> None:
        found.append(Page(name, f"{command} {name}.html", f"{name}.html", maker, of))

    add("lazarus_plan.report.page", "plan", "data batchplan stats -p plan --html", rows)
    add("lazarus_plan.report.page", "plan-mixture", "data batchplan stats -p mixed --html", rows, "held.lengths.jsonl")
    add("lazarus_plan.report.page", "plan-padded", "data batchplan stats -p padded --html", rows)
    add("lazarus_train.run_dir.report", "run", "train report fast -o", "fast")
    add("lazarus_train.run_dir.report", "run-mixture", "train report mixture -o", "mixture")
    add("lazarus_cli.recipes.page", "recipe", "report recipe -o", "recipe")
    add("lazarus_train.run_dir.report", "runs", "train report fast slow -o", "fast", "slow")
    analyze = "tokenizer analyze"
    for name, command in {
        "coverage": f"{analyze} coverage -t byte -d rows.jsonl --html",
        "coverage-by-file": f"{analyze} coverage --by-file -t byte -d rows.jsonl -d held.jsonl --html",
        "efficiency": f"{analyze} efficiency -t byte -d rows.jsonl --html",
        "entropy": f"{analyze} entropy -t byte -d rows.jsonl --html",
        "fit-score": f"{analyze} fit-score -t byte -d rows.jsonl --html",
        "vocab-suggest": f"{analyze} vocab-suggest -t byte -d rows.jsonl --html",
        "words": f"{analyze} words -t byte -d rows.jsonl --html",
        "diff": f"{analyze} diff -t1 byte -t2 'char:0123456789 etaoinshr' -d rows.jsonl --html",
    }.items():
        add("lazarus_tokenkit.analysis.page", f"tokenizer-{name}", command, "byte", "rows.jsonl")
    infer = "bench infer model --batch-sizes 1,2 --prompt-tokens 8,16 --new-tokens 4 --repeats 3 --html"
    add("lazarus_models.cli.benchmarking", "bench-infer", infer, "model")
    add("lazarus_models.evaluation.page", "evaluation", "eval report first.json --format html -o", "first")
    series = "eval report first.json second.json --format html -o"
    add("lazarus_models.evaluation.page", "evaluations", series, "first", "second")
    for name, command in {
        "analyze": "-m model -p 'How much is it?' --track '3,4' --raw",
        "compare": "-m1 model -m2 other -p 'How much is it?' --track '3' --raw",
        "hooks": "-m model -p 'How much?' --raw",
        "attention": "-m model -p 'How much is it? How much is it?' --raw",
        "ablate": "-m model -p 'How much' -c 3 --max-tokens 8 --raw",
        "patch": "-m model --source '7*8=' --target '7+8=' --raw",
        "attribute": "-m model -p 'How much is it?' --raw",
        "steer": "-m model -p 'How' --positive 'much' --negative 'many' --layer 0 --max-tokens 8 --raw",
    }.items():
        of = ("model", "other") if name == "compare" else ("model",)
        add("lazarus_introspect.pictures.document", f"introspect-{name}", f"introspect {name} {command} --html", *of)
    for name, command in {
        "moe route": "-m routed -p '7 + 8' --raw --html",
        "moe utilisation": "-m routed --layers 0 --html",
        "moe co-activation": "-m routed --layers 0 --html",
        "moe vocab-contrib": "-m routed --layers 0 --html",
        "moe compression": "-m routed --layers 0 --html",
        "moe specialists": "-m routed --layers 0 --permutations 99 --routers 19 --html",
        "moe ablate": "-m routed --layers 0 -p '7 + 8' --raw --html",
        "moe pipeline": "-m routed --layers 0-1 --num-prompts 1 --html",
        "directions": "lda.json ridge.json --html",
        "probe": "-m model -d labelled.jsonl --raw --permutations 19 --html",
        "clusters": "-m model -d labelled.jsonl --raw --nulls 19 --html",
        "neurons": "-m model -d labelled.jsonl --raw --html",
        "embedding": "-m model -n 10 --permutations 19 --html",
        "operand-directions": "-m model --values 2-5 --permutations 19 --html",
        "commutativity": "-m model --values 2-5 --controls 19 --permutations 19 --html",
        "arithmetic": "-m model -n 2 --digits 1 --html",
        "uncertainty": "-m model -p 'How much' --raw --html",
        "weight-diff": "model other --html",
        "activation-diff": "model other -p 'How much' --raw --html",
    }.items():
        of = ("routed" if name.startswith("moe") else "lda" if name == "directions" else "model",)
        file = f"introspect-{name.replace(' ', '-')}"
        add("lazarus_introspect.pictures.document", file, f"introspect {name} {command}", *of)
    evolve = "introspect evolve fast -p 'How much is it?' --raw --html"
    add("lazarus_introspect.pictures.document", "introspect-evolve", evolve, "fast")
    bench = "bench -d rows.jsonl -t byte -b 4096 --num-samples 24 --steps 1 -o bench"
    found.append(Page("bench", bench, "bench/bench.html", "lazarus_cli.bench_report", ("rows.jsonl", "byte", "nano")))
    return found


PAGES = _pages()


def build(folder: Path, run: Run, *, rows: int = 60, steps: int = 40, is_real: bool = True) -> dict[str, Path]:
    """Builds every page in a folder and returns their paths by name.

    Args:
        folder: An existing folder for inputs and pages.
        run: Runs a command.
        rows: Number of training rows.
        steps: Training steps of each run.
        is_real: Whether rows are taken from `DATA` if it is there.
    """
    problems = _problems(rows + rows // 3, DATA if is_real else folder)
    for name, part in (("rows", problems[:rows]), ("held", problems[rows:])):
        text = "".join(json.dumps({"prompt": question, "completion": answer}) + "\n" for question, answer in part)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    (folder / "recipe.toml").write_text(RECIPE, "utf-8")
    labelled = [{"prompt": f"{who} was {word}", "label": word} for who in "abcdefgh" for word in ("sad", "glad")]
    texts = [{"text": question} for question, _ in problems[:4]]
    (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts), "utf-8")
    (folder / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled), "utf-8")
    _save_routed(folder / "routed")
    for command in [*_inputs(steps), *(page.command for page in PAGES)]:
        run(shlex.split(command), folder)
    return {page.name: folder / page.made for page in PAGES}


def _save_routed(folder: Path) -> None:
    """Makes a model with four random experts in each of two layers."""
    from lazarus_models import init_model, save
    from lazarus_models.families import canonical
    from lazarus_tokenkit import load_tokenizer

    said = {"model_type": "mixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    said |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4, "vocab_size": 260}
    save(init_model(canonical(said, "routed"), load_tokenizer("byte"), seed=0), folder)


def _problems(count: int, data: Path) -> list[tuple[str, str]]:
    try:
        with (data / "datasets/gsm8k/test.jsonl").open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in islice(lines, count)]
    except FileNotFoundError:
        return [(f"What is {n} and {n * n}?" + " Show how." * (n % 7), f"It is {n + n * n}.") for n in range(count)]
    return [(each["question"], each["answer"]) for each in found]


def _run(words: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lazarus_cli", *words], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"lazarus {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")


def screenshots(pages: dict[str, Path], folder: Path, browser: str) -> list[str]:
    """Takes the pictures and returns what is wrong with the pages.

    Args:
        pages: Paths of the pages by name.
        folder: Folder of the pictures.
        browser: Path of a Chromium.
    """
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports] (uv run --with playwright)

    wrong: list[str] = []
    with sync_playwright() as library:
        opened = library.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for width, theme in ((width, theme) for width in WIDTHS for theme in THEMES):
            for name, path in pages.items():
                tab = opened.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                where = f"{name}, {width}, {theme}"
                tab.on("console", lambda said, where=where: wrong.append(f"{where}: {said.text}"))
                tab.on("pageerror", lambda error, where=where: wrong.append(f"{where}: {error}"))
                tab.on(
                    "request",
                    lambda asked, where=where: asked.url.startswith("file:") or wrong.append(f"{where}: {asked.url}"),
                )
                tab.goto(path.resolve().as_uri())
                wide = tab.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    wrong.append(f"{where}: {wide} pixels wide")
                small = tab.evaluate(_SMALL_TEXT)
                if small:
                    wrong.append(f"{where}: text below 11 pixels: {small}")
                if tab.evaluate(_OVERLAPPING):
                    wrong.append(f"{where}: labels of ticks overlap")
                tab.screenshot(path=str(folder / f"{name}-{width}-{theme}.png"), full_page=True)
                tab.close()
        opened.close()
    return wrong


_SMALL_TEXT = """[...document.querySelectorAll('main *, footer *')].filter(each =>
  [...each.childNodes].some(node => node.nodeType == 3 && node.data.trim())
  && parseFloat(getComputedStyle(each).fontSize) < 11).map(each => each.textContent.slice(0, 40)).join(' | ')"""


_OVERLAPPING = """[...document.querySelectorAll('.across')].some(axis =>
  [...axis.children].map(each => each.getBoundingClientRect()).some((box, at, all) => at && box.left < all[at - 1].right + 2))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="OUT", help="a new or empty folder")
    parser.add_argument("--browser", help="a Chromium for screenshots, as /usr/bin/chromium; needs playwright")
    asked = parser.parse_args()
    folder: Path = asked.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SystemExit(f"{folder} exists and is not an empty folder: give another name")
    (folder / "work").mkdir(parents=True)
    pages = build(folder / "work", _run)
    for name, path in pages.items():
        (folder / f"{name}.html").write_bytes(path.read_bytes())
    print(f"{len(pages)} pages in {folder}")
    if asked.browser:
        wrong = screenshots({name: folder / f"{name}.html" for name in pages}, folder, asked.browser)
        print("\n".join(wrong) or "nothing wrong: no sideways scroll, small or overlapping label, error or request")
        raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
