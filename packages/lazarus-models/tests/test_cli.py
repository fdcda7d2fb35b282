import json
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import commands
from lazarus_core.errors import LazarusError
from lazarus_models import LoraConfig, apply_lora, load, merge_lora, save
from lazarus_models.adapters import save_adapter
from lazarus_models.adapters.lora import adapter_weights
from lazarus_models.backend import mx
from lazarus_models.benchmark import describe_model
from lazarus_models.cli import serving
from lazarus_models.cli.app import app
from lazarus_models.evaluation.model_card import model_card
from lazarus_models.tensor_files import load_tensors
from lazarus_models.trees import set_weights, weights


def command(*arguments):
    """Runs the console script as a person does."""
    code = "from lazarus_models.__main__ import main; main()"
    return commands.run([sys.executable, "-c", code, *arguments])


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_infer_prints_the_text_and_one_line_of_statistics(stories):
    done = invoke("infer", "--model", stories.path, "--prompt", "Once upon a", "--raw", "--max-tokens", 8)
    assert done.exit_code == 0
    assert done.stdout == " time, there was a little gir\n"
    assert done.stderr.startswith("8 tokens in ")
    assert done.stderr.endswith(" MB\n")


def test_a_draft_changes_nothing_but_the_time(stories, tmp_path):
    q = tmp_path / "draft"
    invoke("convert", "--model", stories.path, "-o", q, "--bits", 4, "--group-size", 32)
    some = (
        "infer",
        "--model",
        stories.path,
        "--prompt",
        "Once upon a",
        "--raw",
        "--max-tokens",
        30,
        "--temperature",
        0.7,
    )
    assert invoke(*some, "--draft", q, "--ahead", 3).stdout == invoke(*some).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["infer", "--prompts", "rows.jsonl", "--draft", "x"], "remove it for several prompts, and for --prompts"),
        (["infer", "Once", "--ahead", 3], "`--ahead` has no effect without `--draft`"),
        (["infer", "Once", "--any-base"], "`--any-base` has no effect without `--adapter`"),
        (["convert", "-o", "q", "--any-base"], "`--any-base` has no effect without `--adapter`"),
        (["eval", "run", "-t", "perplexity=one.txt", "--any-base"], "`--any-base` has no effect without `--adapter`"),
        (["convert", "-o", "q", "--group-size", 32], "`--group-size` has no effect without `--bits`"),
        (["convert", "-o", "q", "--bits", 4, "--recipe", "mixed_2_6"], "`--bits` has no effect with `--recipe`"),
        (["convert", "-o", "q.gguf", "--dtype", "float32"], "`--dtype` float32 has no effect on a GGUF file"),
        (["convert", "-o", "q.GGUF", "--dtype", "float32"], "`--dtype` float32 has no effect on a GGUF file"),
        (["convert", "-o", "q", "--text", "one.txt"], "one.txt has 1 tokens: give a file with text to measure"),
        (["convert", "-o", "q", "--text", "none.txt"], "none.txt has 0 tokens: give a file with text to measure"),
    ],
)
def test_an_option_without_effect_and_a_text_without_tokens_are_refused(stories, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Once"}\n', encoding="utf-8")
    (tmp_path / "one.txt").write_text("a", encoding="utf-8")
    (tmp_path / "none.txt").write_text("", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LazarusError, match=re.escape(said)):
        invoke(*words, "--model", stories.path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("given", [".", "./", "../model", "sub/.."])
def test_a_model_that_is_named_from_inside_has_the_name_of_its_directory(stories, tmp_path, monkeypatch, given):
    shutil.copytree(stories.path, tmp_path / "model")
    (tmp_path / "model" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    served = []
    monkeypatch.setattr(serving, "_run", lambda lm, name, config: served.append((lm.name, name)))
    assert invoke("serve", "--model", given).exit_code == 0
    assert served == [("model", "model")]
    lm = load(given)
    assert lm.summary.endswith(", model")
    assert describe_model(lm)["model"] == model_card(lm, adapters={})["name"] == "model"


def test_an_adapter_of_another_base_names_the_option(stories, tmp_path):
    lm = load(stories.path)
    apply_lora(lm.model, LoraConfig(rank=2), seed=0)
    save_adapter(lm.model, LoraConfig(rank=2), tmp_path / "adapter")
    other = load(stories.path)
    other.model.model.norm.weight = other.model.model.norm.weight * 2
    save(other, tmp_path / "other")
    for words in (["infer", "Once", "--raw"], ["convert", "-o", tmp_path / "merged"]):
        some = [*words, "--model", tmp_path / "other", "--adapter", tmp_path / "adapter"]
        with pytest.raises(LazarusError, match="load it on its own base, or give --any-base"):
            invoke(*some)
        assert invoke(*some, "--any-base").exit_code == 0


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_merged_adapter_is_rounded_after_it_is_merged(stories, tmp_path, kind, dtype):
    lm, config = load(stories.path), LoraConfig(rank=2, kind=kind)
    apply_lora(lm.model, config, seed=0)
    update = {name: tensor + 0.01 for name, tensor in adapter_weights(lm.model).items() if name.endswith("lora_b")}
    set_weights(lm.model, update)
    save_adapter(lm.model, config, tmp_path / "adapter")
    merge_lora(lm.model)
    some = ("convert", "--model", stories.path, "--adapter", tmp_path / "adapter", "--dtype", dtype)
    assert invoke(*some, "-o", tmp_path / "merged").exit_code == 0
    expected = {name: tensor.astype(getattr(mx, dtype)) for name, tensor in weights(lm.model).items()}
    found = load_tensors(tmp_path / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {getattr(mx, dtype)}
    assert found.keys() == expected.keys()
    assert all(mx.array_equal(found[name], expected[name]) for name in found)


def test_infer_json_holds_the_same(stories):
    done = invoke("infer", "--model", stories.path, "--prompt", "Once upon a", "--raw", "--max-tokens", 8, "--json")
    said = json.loads(done.stdout)
    assert said["text"] == " time, there was a little gir"
    assert (len(said["ids"]), said["prompt_tokens"], said["finish_reason"]) == (8, 4, "length")


def test_several_prompts_are_answered_in_their_order(stories, tmp_path):
    (tmp_path / "prompts.txt").write_text("One day\n\nLily and\n", encoding="utf-8")
    some = ("--prompt", "Once upon a", "--prompt-file", tmp_path / "prompts.txt", "--raw", "--max-tokens", 5)
    lines = invoke("infer", "--model", stories.path, *some).stdout.splitlines()
    assert [line[:4] for line in lines] == ["[1] ", "[2] ", "[3] "]
    assert lines[0].startswith("[1]  time, th")
    answers = [
        json.loads(line) for line in invoke("infer", "--model", stories.path, *some, "--json").stdout.splitlines()
    ]
    assert [f"[{number}] {answer['text']}" for number, answer in enumerate(answers, 1)] == lines


def test_a_prompt_comes_from_standard_input(stories):
    arguments = [
        "infer",
        "--model",
        str(stories.path),
        "--prompt-file",
        "-",
        "--raw",
        "--max-tokens",
        "5",
        "--stop",
        "th",
    ]
    assert CliRunner().invoke(app, arguments, input="Once upon a\n").stdout == " time, \n"


def test_names_of_published_models_are_listed():
    assert (
        json.loads(invoke("infer", "--list", "--json").stdout)["smollm2-360m"] == "HuggingFaceTB/SmolLM2-360M-Instruct"
    )


def test_chat_remembers_until_it_is_told_to_forget(stories, tmp_path):
    (tmp_path / "system.txt").write_text("Tell stories.\n", encoding="utf-8")
    arguments = ["chat", "--model", str(stories.path), "--system", f"@{tmp_path / 'system.txt'}", "--max-tokens", "4"]
    done = CliRunner().invoke(app, arguments, input="Hello\n/history\n/reset\n/history\n/exit\nnever\n")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[-4:-2] == ["system: Tell stories.", "user: Hello"]
    assert lines[-2].startswith("assistant: ")
    assert lines[-1] == "system: Tell stories."


@pytest.mark.slow
def test_an_interrupt_stops_an_answer_and_not_the_chat(stories):
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # not so in the background
    code = f"{listening}; from lazarus_models.__main__ import main; main()"
    chat = [sys.executable, "-c", code, "chat", "--model", str(stories.path), "--max-tokens", "400"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*chat, "--system", "Tell stories."], text=True, **pipes) as process:
        process.stdin.write("Hello\n")
        process.stdin.flush()
        process.stdout.read(10)  # the answer has begun
        process.send_signal(signal.SIGINT)
        out, err = process.communicate("/history\nHi\n/exit\n", timeout=60)
    assert process.returncode == 0, err
    assert "stopped; your last message is not part of the conversation" in err
    assert "\nsystem: Tell stories.\n" in f"\n{out}"
    assert "user: Hello" not in out
    assert err.count(" tok/s)") == 1  # the second question was answered


def test_a_model_is_estimated_from_its_config(stories):
    said = json.loads(invoke("estimate", "--model", stories.path, "--bits", 32, "--json").stdout)
    assert (said["parameters"], said["weights_bytes"]) == (260_032, 4 * 260_032)


def test_a_model_is_converted_and_measured(stories, data, tmp_path):
    text = data / "datasets/text/wikitext2-valid.txt"
    (tmp_path / "text.txt").write_text(text.read_text(encoding="utf-8")[:2000], encoding="utf-8")
    some = ("--bits", 8, "--group-size", 32, "--text", tmp_path / "text.txt")
    done = invoke("convert", "--model", stories.path, "-o", tmp_path / "q", *some)
    assert done.exit_code == 0
    assert done.stderr.startswith("perplexity ")
    said = json.loads(invoke("infer", "--model", tmp_path / "q", "--prompt", "Once upon a", "--raw", "--json").stdout)
    assert said["text"].startswith(" time, there was")


def test_info_reads_headers_only(tiny_directory):
    said = json.loads(invoke("info", "--model", tiny_directory, "--json").stdout)
    assert (said["family"], said["layers"], said["dtype"]) == ("llama", 2, "F32")
    assert said["parameters"] == 64 * said["vocab_size"] + 2 * (4 * 64 * 64 + 3 * 64 * 176 + 128) + 64
    assert "parameters" in invoke("info", "--model", tiny_directory).stdout


def test_doctor_names_the_blas_and_its_speed():
    said = command("doctor").stdout
    assert float(re.search(r"float32 +(\d+) GFLOP/s", said)[1]) > 0
    assert re.search(r"blas +\w+", said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("infer", "--model", "absent", "--prompt", "x"), "absent does not exist: give a directory"),
        (("info", "--model", "absent"), "absent does not exist: give a directory"),
        (("infer", "--model", "absent", "--prompt", "x", "--top-p", "0.9"), "`top_p` has no effect"),
    ],
)
def test_an_expected_failure_is_one_line_and_exit_2(arguments, words):
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help_loads_no_array_library():
    code = (
        "import sys; from lazarus_models.cli.app import app; from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['infer', '--help']).exit_code == 0\n"
        "print([m for m in ('mlx', 'numpy', 'tokenizers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def refusal(*arguments, **settings):
    """The one line of an expected failure, without a process of its own."""
    done = CliRunner().invoke(app, list(map(str, arguments)), **settings)
    assert isinstance(done.exception, LazarusError), done.output
    return done.exception.message


def test_what_is_no_text_is_refused(stories, tmp_path):
    (tmp_path / "x.txt").write_bytes(b"ok \xff")
    some = ("infer", "--model", stories.path, "--raw")
    assert "x.txt: not UTF-8 (byte 3)" in refusal(*some, "--prompt-file", tmp_path / "x.txt")
    assert "-: not UTF-8 (byte 0)" in refusal(*some, "--prompt-file", "-", input=b"\xff")
    assert "x.txt: not UTF-8" in refusal(*some, "--prompt", "x", "--system", f"@{tmp_path / 'x.txt'}")


def test_a_system_message_comes_from_a_file(stories, tmp_path):
    from lazarus_models.cli.serving import serve
    from lazarus_models.cli.system import system_message

    (tmp_path / "system.txt").write_text("\ufeffTell stories.\r\nShort ones.\n\n", encoding="utf-8")
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    (tmp_path / "large.txt").write_bytes(b"x" * ((1 << 20) + 1))
    assert "system_file" in serve.__annotations__
    file, empty = tmp_path / "system.txt", tmp_path / "empty.txt"
    assert system_message(None, file) == system_message(f"@{file}", None) == "Tell stories.\nShort ones."
    assert system_message("Be brief.", None) == "Be brief." and system_message(None, None) is None
    some = ["infer", "-m", stories.path, "--max-tokens", 4, "--json", "Hello"]
    given, typed = (
        CliRunner().invoke(app, list(map(str, [*some, *more])))
        for more in (("--system-file", file), ("--system", "Tell stories.\nShort ones."))
    )
    first, second = (json.loads(done.stdout) for done in (given, typed))
    assert (first["prompt_tokens"], first["ids"]) == (second["prompt_tokens"], second["ids"])
    for command in (some, ["chat", "-m", stories.path], ["serve", "-m", stories.path, "--port", 0]):
        assert "empty.txt: the system message is empty" in refusal(*command, "--system-file", empty)
        assert "large.txt" in refusal(*command, "--system-file", tmp_path / "large.txt")
        both = refusal(*command, "--system", "x", "--system-file", file)
        assert both == "give one of `--system` and `--system-file`"
    assert "`--system-file` has no effect with `--raw`" in refusal(*some, "--raw", "--system-file", file)


def test_a_port_in_use_is_named(stories):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal("serve", "--model", stories.path, "--port", port)


@pytest.mark.parametrize("options", [["--api-key", " "], ["--host", "0.0.0.0"], ["--host", "::"]])
def test_a_server_that_lets_anybody_in_is_refused(stories, options):
    assert "`--api-key`" in refusal("serve", "--model", stories.path, "--port", 0, *options)


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/page"])
def test_an_origin_that_is_none_or_too_open_is_refused(stories, origin):
    assert "`--cors-origin`" in refusal("serve", "--model", stories.path, "--port", 0, "--cors-origin", origin)


def test_a_variable_set_to_nothing_is_an_empty_key(stories, monkeypatch):
    monkeypatch.setenv("LAZARUS_API_KEY", "")
    assert "`--api-key` is empty" in refusal("serve", "--model", stories.path, "--port", 0)


def test_a_missing_extra_is_named(stories, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("lazarus_models.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "lazarus-models[serve]" in refusal("serve", "--model", stories.path)


def test_an_adapter_that_is_none_is_named(stories, tmp_path):
    assert "is not an adapter: give a directory with adapter_config.json" in refusal(
        "infer", "--model", stories.path, "--adapter", tmp_path, "--prompt", "x"
    )


def test_a_model_saved_by_transformers_5_is_converted_to_what_mlx_lm_reads(stories, tmp_path):
    save(stories, tmp_path / "five")
    file = tmp_path / "five/config.json"
    said = json.loads(file.read_text(encoding="utf-8"))
    del said["rope_theta"], said["rope_scaling"]
    said["rope_parameters"] = {"rope_type": "default", "rope_theta": 100_000.0}
    file.write_text(json.dumps(said), encoding="utf-8")
    done = invoke("convert", "--model", tmp_path / "five", "-o", tmp_path / "both")
    assert "`rope_parameters` alone, which mlx-lm does not read" in done.stderr
    written = json.loads((tmp_path / "both/config.json").read_text(encoding="utf-8"))
    assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == 100_000.0
    again = invoke("convert", "--model", tmp_path / "both", "-o", tmp_path / "again")
    assert again.exit_code == 0 and "rope" not in again.stderr
