"""Every code block of the guides and of the READMEs runs, in order, in an empty folder, and prints what is shown."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

import documents
import suite

ROOT = documents.ROOT
DOCUMENTS = list(dict.fromkeys([*documents.GUIDES, *documents.READMES]))
LONG = [
    documents.ROOT / "README.md",
    *(
        documents.DOCS / f"{name}.md"
        for name in (
            "batching",
            "evaluation",
            "getting-started",
            "images",
            "inference",
            "introspection",
            "recipes",
            "training",
        )
    ),
    *(documents.ROOT / f"packages/lazarus-{name}/README.md" for name in ("introspect", "train")),
]
"""Documents whose blocks take longest. The default run plays them where they were changed since the last commit."""
REASONS = (
    "needs the network",
    "needs an address",
    "takes a minute",
    "runs until ctrl-c",
    "needs pytorch",
    "changes your shell",
    "sizes and speeds differ",
    "digests of weights differ",
    "times differ",
)
"""Why a block may stay unrun. Its section says the same to the reader."""
INSTALLATIONS = [
    f"packages/lazarus-{name}" for name in ("corpus", "gym", "introspect", "models", "plan", "tokenkit", "train")
]
NOT_RUN = {
    "README.md": 4,
    "apps/lazarus-cli/docs/operations.md": 4,
    "apps/lazarus-cli/docs/training.md": 1,
    "apps/lazarus-cli/docs/getting-started.md": 2,
    "apps/lazarus-cli/docs/recipes.md": 1,
    "apps/lazarus-cli/docs/models.md": 1,
    "apps/lazarus-cli/docs/inference.md": 2,
    "apps/lazarus-cli/docs/real-model.md": 5,
    "apps/lazarus-cli/docs/server.md": 1,
    "apps/lazarus-cli/README.md": 1,
    "apps/lazarus-cli/docs/environment.md": 1,
    **{f"{package}/README.md": 1 for package in INSTALLATIONS},
    "packages/lazarus-models/README.md": 2,  # and MLX for CUDA
    "packages/lazarus-gym/README.md": 4,  # and a model of the hub, reasoning-gym and TRL
    "packages/lazarus-plan/README.md": 3,  # and two trainers
}
"""Number of blocks that are not run, by document."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.every_parameter
@pytest.mark.parametrize(
    "document",
    suite.thinned(DOCUMENTS, [each for each in DOCUMENTS if each not in LONG or each in documents.uncommitted()]),
    ids=name_of,
)
def test_every_block_runs_and_prints_what_is_shown(
    document: Path, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in (*documents.ENVIRONMENT, "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # restored after the test
    folder = documents.prepare(document, tmp_path)
    monkeypatch.chdir(folder)
    python = {example.start_line: example for example in find_examples(document) if example.prefix == "python"}
    names: dict[str, object] = {}
    for block in documents.blocks(document.read_text("utf-8")):
        if block.language == "python" and block.note != "not run":
            if not documents.runs_python_itself(document):
                names = check_python(python[block.line], eval_example, names)
            continue
        now = documents.play(block, folder)
        assert now == block.text, f"line {block.line}: python tests/support/documents.py --write {name_of(document)}"


def check_python(example: CodeExample, eval_example: EvalExample, names: dict[str, object]) -> dict[str, object]:
    """Runs a block with the names of the blocks before it, and returns all names."""
    if eval_example.update_examples:
        return eval_example.run_print_update(example, module_globals=names)
    return eval_example.run_print_check(example, module_globals=names)


def test_every_block_has_a_language_that_runs_or_a_reason():
    for document in DOCUMENTS:
        for block in documents.blocks(document.read_text("utf-8")):
            assert block.note or block.language in documents.LANGUAGES, f"{name_of(document)}:{block.line}"


def test_few_blocks_are_not_run_and_their_sections_say_why():
    found: dict[str, int] = {}
    for document in DOCUMENTS:
        for block in documents.blocks(document.read_text("utf-8")):
            if block.note == "not run":
                assert block.detail.lower() in REASONS, f"{name_of(document)}:{block.line}"
                assert block.detail.lower() in block.section.lower(), (
                    f"{name_of(document)}:{block.line}: say it in the text"
                )
                found[name_of(document)] = found.get(name_of(document), 0) + 1
    assert found == {name: count for name, count in NOT_RUN.items() if (ROOT / name).is_file()}


@pytest.mark.parametrize("readme", documents.READMES, ids=name_of)
def test_a_readme_needs_the_clone_only(readme: Path):
    text = readme.read_text("utf-8")
    assert "../shared" not in text
    for folder in re.findall(r"(?:\./|subdirectory=)((?:packages|apps)/lazarus-\w+)", text):
        assert (ROOT / folder / "pyproject.toml").is_file(), folder
    from_a_registry = r"(?:uv add|uvx|uv tool install|pip install) +\"?lazarus-\w+(?:\[\w+\])?(?![\w\[]| @)"
    assert not re.findall(from_a_registry, text), "no registry has the packages: install from a clone or by git"


def test_blocks_are_found_with_their_comments():
    text = "# A\n\nIt needs PyTorch.\n\n<!-- not run: needs PyTorch -->\n```bash\nb\n```\n## B\n\n<!-- file: c.toml -->\n```toml\nd = 1\n```\n"
    first, second = documents.blocks(text)
    assert (first.language, first.text, first.line, first.note, first.detail) == (
        *("bash", "b\n", 6, "not run", "needs PyTorch"),
    )
    assert "needs PyTorch" in first.section
    assert (second.note, second.detail, second.section.strip()) == ("file", "c.toml", "## B")
    assert text[slice(*second.span)] == second.text == "d = 1\n"


def test_commands_are_found_with_their_output():
    first, second = documents.console_commands("$ a \\\n    --b  # exit 2\none\ntwo\n$ c\n")
    assert (first.line, first.shown, first.exit_code) == ("a --b  # exit 2", ["one", "two"], 2)
    assert first.typed == "$ a \\\n    --b  # exit 2"
    assert (second.line, second.shown, second.exit_code) == ("c", [], 0)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["3 rows"], ["3 rows"], True),
        (["3 rows"], ["4 rows"], False),
        (["in 3 s"], ["in 4.5 s"], True),
        (["loss 3.1"], ["loss 2.9"], True),
        (["padding 3.1 %"], ["padding 2.9 %"], False),
        ([f"audit head {'a' * 64}, data head {'c' * 64}"], [f"audit head {'b' * 64}, data head {'c' * 64}"], True),
        ([f"audit head {'a' * 64}, data head {'c' * 64}"], [f"audit head {'a' * 64}, data head {'d' * 64}"], False),
        (["data head  recomputed: " + "c" * 64], ["data head  recomputed: " + "d" * 64], False),
        (["a", "...", "d"], ["a", "b", "c", "d"], True),
        (["a", "...", "d"], ["a", "d"], True),
        (["a", "...", "d"], ["a", "b", "e"], False),
        (["a ... b"], ["a 1 b"], True),
        (["a ... b"], ["a 1 c"], False),
        (["a"], ["a", "b"], False),
        ([], ["a"], False),
    ],
)
def test_output_is_compared_without_what_varies(shown: list[str], printed: list[str], same: bool):
    assert documents.agree(shown, printed) is same
    assert (documents.rewritten(shown, printed) == shown) is same


def test_new_output_is_shortened_as_before():
    assert documents.rewritten(["a", "...", "d"], ["b", "c", "d", "e"]) == ["b", "...", "e"]
    assert documents.rewritten(["a", "..."], ["b", "c", "d", "e"]) == ["b", "..."]
    assert documents.rewritten(["in 3 s", "a ... b"], ["in 4 s", "a 1 b"]) == ["in 3 s", "a ... b"]
    assert documents.rewritten(["in 3 s", "a ... b"], ["in 4 s", "a 1 b"], fresh=True) == ["in 4 s", "a ... b"]
    assert documents.rewritten(["3 rows | ... |"], ["4 rows | 5 | 6 |"]) == ["4 rows | ... |"]
    assert documents.rewritten(["3 rows | ... |"], ["4 lines | 5 | 6 |"]) == ["4 lines | 5 | 6 |"]
    assert documents.rewritten(["in 3 s", "a"], ["in 4 s", "b"]) == ["in 4 s", "b"]


def test_a_block_that_fails_or_is_of_no_kind_is_named(tmp_path: Path):
    def play(text: str) -> str:
        return documents.play(documents.blocks(text)[0], tmp_path)

    assert play("```console\n$ lazarus explain LP-E0  # exit 2\n...\n```\n").endswith("...\n")
    with pytest.raises(documents.Stale, match="exit 2, not 0: lazarus explain LP-E0"):
        play("```console\n$ lazarus explain LP-E0\n```\n")
    with pytest.raises(documents.Stale, match="exit 3"):
        play("```bash\n\ntrue  # no\n(exit 3)\n(exit 4)\n```\n")
    with pytest.raises(documents.Stale, match="line 1: a block of `text` is not run"):
        play("```text\nno\n```\n")
    assert play("<!-- file: a/b.txt -->\n```text\nyes\n```\n") == (tmp_path / "a/b.txt").read_text() == "yes\n"


def test_a_plain_command_prints_the_same_with_and_without_a_shell(tmp_path: Path):
    documents.prepare(ROOT / "no.md", tmp_path)
    plain = documents.run("lazarus explain 'LP-E107' 2> /dev/null", tmp_path)
    assert plain == documents.run("lazarus explain LP-E107 | cat", tmp_path) != ""
    assert documents.run("lazarus explain LP-E107 > page.txt  # a file", tmp_path) == ""
    assert (tmp_path / "page.txt").read_text("utf-8") == plain


def test_the_picture_of_the_concepts_has_the_digests_of_its_example():
    digests = re.findall(r"[0-9a-f]{8}(?=\u2026)", (documents.DOCS / "concepts.svg").read_text("utf-8"))
    page = (documents.DOCS / "concepts.md").read_text("utf-8")
    assert len(digests) == 6
    assert [each for each in digests if each not in page] == []


@pytest.mark.parametrize("name", ["cli_reference", "api_reference"])
def test_a_reference_is_made_from_the_code(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # for its classes
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.page(), f"python tools/{name}.py --write"
