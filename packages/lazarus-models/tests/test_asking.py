"""Where `infer` takes its prompts from, what its JSON has, and the lines of `chat` and the completion mode."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lazarus_core.errors import LazarusError
from lazarus_models.cli.app import app
from lazarus_models.cli.conversation import CHAT_COMMANDS, _command
from lazarus_models.cli.prompts import read_prompts

FEW = ("--raw", "--max-tokens", 5)


def invoke(*arguments, **settings):
    return CliRunner().invoke(app, list(map(str, arguments)), **settings)


def answers(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def refusal(*arguments, **settings):
    done = invoke(*arguments, **settings)
    assert isinstance(done.exception, LazarusError), done.output
    assert (done.exception.exit_code, "\n" in done.exception.message, done.stdout) == (2, False, "")
    return done.exception.message


@pytest.fixture
def rows(tmp_path):
    """A file of prompts, one a row."""

    def write(*members):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in members), "utf-8")
        return tmp_path / "rows.jsonl"

    return write


def test_every_source_of_a_prompt_gives_the_same(stories, tmp_path, monkeypatch):
    (tmp_path / "p.txt").write_text("Once upon a\n", "utf-8")
    said = invoke("infer", "--model", stories.path, "--prompt", "Once upon a", *FEW).stdout
    for words in (["Once upon a"], ["-p", "Once upon a"], ["--prompt-file", tmp_path / "p.txt"]):
        assert invoke("infer", "-m", stories.path, *words, *FEW).stdout == said
    assert invoke("infer", "-m", stories.path, *FEW, input="Once upon a\n").stdout == said
    monkeypatch.setenv("LAZARUS_MODEL", str(stories.path))
    assert invoke("infer", "Once upon a", *FEW).stdout == said
    assert invoke("infer", "-m", tmp_path, "Once upon a", *FEW).exception is not None  # the option comes first


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_of_a_prompt_file_is_a_prompt_whatever_else_it_has(stories, tmp_path, end):
    prompts = ["Once upon", "a\x0cb\u2028c\x85d", "The dog"]
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbf" + end.join([*prompts, ""]).encode())
    done = invoke("infer", "-m", stories.path, "--prompt-file", tmp_path / "p.txt", *FEW, "--json")
    assert [row["prompt"] for row in answers(done)] == prompts
    piped = invoke("infer", "-m", stories.path, *FEW, "--json", input=b"\xef\xbb\xbfOnce upon" + end.encode())
    assert [row["prompt"] for row in answers(piped)] == ["Once upon"]


def test_a_prompt_of_the_command_line_leaves_standard_input_alone(stories):
    done = invoke("infer", "-m", stories.path, "-p", "Once", *FEW, "--json", input="Lily\n")
    assert [row["prompt"] for row in answers(done)] == ["Once"]


@pytest.mark.parametrize("content", ["", "\n\n", "  \n"])
def test_an_empty_source_is_refused(stories, tmp_path, content):
    (tmp_path / "empty").write_text(content, "utf-8")
    some = ("infer", "-m", stories.path)
    assert "empty has no prompt; write one on each line" in refusal(*some, "--prompt-file", tmp_path / "empty")
    assert "standard input is empty" in refusal(*some, input=content)
    assert "standard input is empty" in refusal(*some, "--prompt-file", "-", input=content)
    assert "the prompt is empty" in refusal(*some, "-p", content)


def test_a_missing_model_or_prompt_is_said(stories, monkeypatch):
    monkeypatch.delenv("LAZARUS_MODEL", raising=False)
    assert "needs --model or the variable LAZARUS_MODEL" in refusal("infer", "-p", "x")
    assert "needs --model" in refusal("infer", "--chat")


def test_rows_are_answered_with_their_ids(stories, rows):
    path = rows({"id": "a", "prompt": "Once upon a"}, {"id": "b", "prompt": "Lily and"})
    found = answers(invoke("infer", "-m", stories.path, "--prompts", path, *FEW, "--json"))
    assert [(row["id"], row["prompt"]) for row in found] == [("a", "Once upon a"), ("b", "Lily and")]
    alone = answers(invoke("infer", "-m", stories.path, "Lily and", *FEW, "--json"))[0]
    assert alone["id"] == "1"
    assert found[1]["response"] == found[1]["text"] == alone["response"]
    assert 0 < alone["first_token_s"] < alone["seconds"]
    lines = invoke("infer", "-m", stories.path, "--prompts", path, *FEW).stdout.splitlines()
    assert lines[1] == f"[b] {alone['text']}"


def test_one_row_keeps_its_id(stories, rows):
    path = rows({"id": "only", "prompt": "Once"})
    assert answers(invoke("infer", "-m", stories.path, "--prompts", path, *FEW, "--json"))[0]["id"] == "only"


def test_a_conversation_is_asked_up_to_the_last_question(stories, rows):
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    path = rows({"id": "a", "messages": [*turns, {"role": "assistant", "content": "Hi"}], "answer": 3})
    some = ("infer", "-m", stories.path, "--max-tokens", 4, "--json")
    found = answers(invoke(*some, "--prompts", path, "--system", "Not this."))[0]
    asked = answers(invoke(*some, "--system", "Be kind.", "Hello"))[0]
    assert (found["prompt"], found["ids"], found["prompt_tokens"]) == ("Hello", asked["ids"], asked["prompt_tokens"])
    assert "has earlier messages" in refusal(*some, "--prompts", path, "--raw")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "A document."}, "rows.jsonl:1: a text without a question"),
        ({"prompt": "  "}, "rows.jsonl:1: the prompt is empty"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "rows.jsonl:1"),
    ],
)
def test_a_row_that_asks_nothing_is_named(stories, rows, row, words):
    assert words in refusal("infer", "-m", stories.path, "--prompts", rows(row))


def test_files_and_options_that_exclude_each_other_are_refused(stories, rows):
    path = rows({"prompt": "x"})
    assert "`--prompts` has the ids" in refusal("infer", "-m", stories.path, "--prompts", path, "-p", "x")
    for words in (["x"], ["--prompts", path], ["--json"], ["--draft", stories.path]):
        assert "read lines from the terminal" in refusal("infer", "-m", stories.path, "--chat", *words)
    assert "`--raw` has no effect with `--chat`" in refusal("infer", "-m", stories.path, "--chat", "--raw")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1), max_size=5))
def test_prompts_keep_their_order_and_text(texts):
    texts = [text for text in texts if text.strip()] or ["x"]
    found = read_prompts(texts, None, None)
    assert [each.prompt for each in found] == texts
    assert [each.id for each in found] == [str(number) for number in range(1, len(texts) + 1)]


@pytest.mark.parametrize("prompts", [["Once upon a"], ["Once upon a", "Lily and"]])
def test_reading_writing_and_memory_are_reported(stories, prompts):
    words = [word for prompt in prompts for word in ("-p", prompt)]
    line = invoke("infer", "-m", stories.path, *words, *FEW).stderr
    assert line.count("\n") == 1
    head, _, rest = line.partition(" s: ")
    assert head.startswith(f"{5 * len(prompts)} tokens ")
    prompt, answer, whole = (float(part.split()[1]) for part in rest.partition(";")[0].split(", "))
    assert min(prompt, answer, whole) > 0
    assert whole < max(prompt, answer) + answer
    assert rest.rstrip().endswith(" MB")
    assert float(rest.rpartition("peak memory ")[2].removesuffix(" MB\n").replace(",", "")) >= 1


def test_an_unknown_command_is_refused_and_never_asked(stories):
    lines = "/unknown\n/reset now\n/help\n/history\n/exit\n"
    for words in (("chat",), ("infer", "--chat")):
        done = invoke(*words, "-m", stories.path, input=lines)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "there is no command /unknown; commands: /reset, /history, /help, /exit." in done.stderr
        assert "/reset takes no words" in done.stderr
        assert "/history: show the messages" in done.stderr
        assert "tok/s" not in done.stderr


@given(st.from_regex(r"/[a-z]{1,12}( [a-z]+)?", fullmatch=True))
def test_a_word_after_a_slash_is_never_text(line):
    assert _command(line, CHAT_COMMANDS) is not None
    assert _command(f" {line}", CHAT_COMMANDS) is None


@pytest.mark.parametrize("line", ["/usr/bin is a folder", "// a comment", "/* a comment */", "1/2", "/1"])
def test_text_with_a_slash_is_text(line):
    assert _command(line, CHAT_COMMANDS) is None


def test_a_line_with_a_space_first_is_asked(stories):
    done = invoke("chat", "-m", stories.path, "--max-tokens", 3, input=" /unknown\n/history\n")
    assert "user: /unknown\n" in done.stdout


def test_the_completion_mode_continues_lines(stories):
    done = invoke("infer", "-m", stories.path, "--interactive", *FEW[1:], input="Once upon a\n\n/nothing\n/exit\nno\n")
    assert done.exit_code == 0, done.output
    continued = invoke("infer", "-m", stories.path, "Once upon a", *FEW).stdout
    assert done.stdout == f"Once upon a{continued}"
    assert "there is no command /nothing" in done.stderr
    two = invoke("infer", "-m", stories.path, "--interactive", "--raw", *FEW[1:], input="Lily\\\nand\n")
    assert two.stdout.startswith("Lily\nand")
    assert "`--system` has no effect here" in refusal("infer", "-m", stories.path, "--interactive", "--system", "x")


def test_interactive_chats_if_the_model_has_a_template(stories, tiny_directory):
    some = ("--interactive", "--max-tokens", 2)
    assert "/reset" in invoke("infer", "-m", tiny_directory, *some, input="").stderr
    assert "completion" in invoke("infer", "-m", tiny_directory, *some, "--raw", input="").stderr
    assert "completion" in invoke("infer", "-m", stories.path, *some, input="").stderr
    assert "/reset" in invoke("infer", "-m", stories.path, "--chat", input="").stderr
