import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lazarus_models import GenerationConfig, generate
from lazarus_models.errors import ServingError
from lazarus_models.generation.batch import BatchRunner
from lazarus_models.serving import ServeConfig, Server
from lazarus_models.serving.app import Answer
from lazarus_models.serving.engine import Job
from serving import running


@pytest.fixture(scope="module")
def server(stories):
    with running(stories, max_new_tokens=40, max_body_bytes=5000, api_key="secret") as server:
        yield server


def ask(server, path, body=None, key="secret"):
    request = urllib.request.Request(server.address + path, headers={"Authorization": f"Bearer {key}"})
    if body is not None:
        request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def events(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_completion_is_what_generate_says(server, stories):
    status, text = ask(server, "/v1/completions", {"prompt": "Once upon a", "max_tokens": 12})
    expected = generate(stories, "Once upon a", GenerationConfig(max_new_tokens=12), raw=True)
    said = json.loads(text)
    assert (status, said["choices"][0]["text"]) == (200, expected.text)
    assert said["usage"] == {
        "prompt_tokens": expected.prompt_tokens,
        "completion_tokens": 12,
        "total_tokens": expected.prompt_tokens + 12,
    }
    assert said["choices"][0]["finish_reason"] == "length"


def test_a_stream_is_the_same_text(server):
    body = {"messages": [{"role": "user", "content": "Tell a story"}], "max_tokens": 20, "temperature": 0.8, "seed": 4}
    whole = json.loads(ask(server, "/v1/chat/completions", body)[1])["choices"][0]["message"]["content"]
    *pieces, last, usage = events(
        ask(server, "/v1/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})[1]
    )
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == whole
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("is_streamed", [False, True])
def test_log_probabilities_are_those_of_the_text(server, stories, is_streamed):
    expected = generate(stories, "Once upon a", GenerationConfig(max_new_tokens=6, logprobs=2), raw=True)
    body = {"prompt": "Once upon a", "max_tokens": 6, "logprobs": 2, "stream": is_streamed}
    text = ask(server, "/v1/completions", body)[1]
    choices = [event["choices"][0] for event in (events(text) if is_streamed else [json.loads(text)])]
    tokens = [token for choice in choices for token in choice["logprobs"]["tokens"]]
    offsets = [offset for choice in choices for offset in choice["logprobs"]["text_offset"]]
    assert "".join(tokens) == expected.text
    assert [expected.text[offset:].startswith(token) for offset, token in zip(offsets, tokens, strict=True)] == [
        True
    ] * 6
    logprobs = [logprob for choice in choices for logprob in choice["logprobs"]["token_logprobs"]]
    assert logprobs == pytest.approx([token.logprob for token in expected.logprobs], abs=1e-4)


def test_a_chats_log_probabilities_name_the_likeliest_tokens(server):
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "logprobs": True, "top_logprobs": 3}
    content = json.loads(ask(server, "/v1/chat/completions", body)[1])["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in content] == [3, 3, 3, 3]
    assert all(token["token"] == token["top_logprobs"][0]["token"] for token in content)  # greedy
    assert bytes(content[0]["bytes"]).decode() == content[0]["token"]


def test_the_system_message_of_the_server_starts_conversations_without_one(stories):
    asked = [{"role": "user", "content": "Hello"}]
    system = {"role": "system", "content": "Be kind."}

    def answer(server, *messages, **body):
        said = ask(server, "/v1/chat/completions", {"messages": [*messages], "max_tokens": 8, "temperature": 0, **body})
        found = json.loads(said[1])
        assert said[0] == 200, found
        return found["choices"][0]["message"]["content"], found["usage"]["prompt_tokens"]

    with running(stories, api_key="secret") as plain, running(stories, api_key="secret", system="Be kind.") as kind:
        assert answer(kind, *asked) == answer(plain, system, *asked) != answer(plain, *asked)
        assert answer(kind, {"role": "developer", "content": "Other."}, *asked) == answer(
            plain, {"role": "system", "content": "Other."}, *asked
        )
        body = {"prompt": "Hello", "max_tokens": 8, "temperature": 0}
        texts = [json.loads(ask(server, "/v1/completions", body)[1])["choices"][0]["text"] for server in (plain, kind)]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x", "no system"),
        ("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}", "leaves the system message out"),
        ("{% for m in messages %}{{ m.content * 9999 }}{% endfor %}", "tokens"),
    ],
)
def test_a_system_message_that_the_model_cannot_have_is_refused_at_the_start(stories, source, words):
    lm = replace(stories, tokenizer=replace(stories.tokenizer, chat_template=source))
    with pytest.raises(ServingError, match=f"`system` .*{words}"):
        Server(lm, "m", ServeConfig(port=0, system="Be kind."))


CALL = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'


@pytest.fixture
def saying(tiny, monkeypatch):
    """Asks a server whose model says a given text."""

    def said(text, **body):
        def submit(ids, config, **more):
            job = Job(ids, config)
            for token in [*tiny.tokenizer.encode(text), None]:
                job.arrivals.put(token)
            return job

        monkeypatch.setattr(server.service.engine, "submit", submit)
        tools = [{"type": "function", "function": {"name": "add"}}]
        body = {"messages": [{"role": "user", "content": "x"}], "tools": tools, **body}
        return ask(server, "/v1/chat/completions", body)[1]

    with running(tiny, api_key="secret") as server:
        yield said


def test_a_streamed_call_comes_as_a_call(saying):
    *pieces, call, last = (event["choices"][0] for event in events(saying(f"I add. {CALL}", stream=True)))
    assert "".join(piece["delta"]["content"] for piece in pieces) == "I add. "
    (function,) = call["delta"]["tool_calls"]
    assert (function["index"], function["function"]) == (0, {"name": "add", "arguments": '{"a": 2}'})
    assert last["finish_reason"] == "tool_calls"
    whole = json.loads(saying(f"I add. {CALL}"))["choices"][0]["message"]
    assert whole["content"] == "I add. "
    assert whole["tool_calls"][0]["function"] == function["function"]


def test_a_call_without_tags_is_never_shown_as_text(saying):
    call, last = (event["choices"][0] for event in events(saying('{"name": "add", "arguments": {}}', stream=True)))
    assert call["delta"]["tool_calls"][0]["function"]["name"] == "add"
    assert last["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("text", ['{"no": "call"}', "a <tool_call>{ broken", "plain"])
def test_what_only_looks_like_a_call_is_text(saying, text):
    *pieces, last = (event["choices"][0] for event in events(saying(text, stream=True)))
    assert "".join(piece["delta"]["content"] for piece in pieces) == text
    assert last["finish_reason"] == "stop"
    assert json.loads(saying(text))["choices"][0]["message"]["content"] == text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_failure_is_told_and_the_server_goes_on(server, monkeypatch, is_streamed):
    def fail(self):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "step", fail)
        text = ask(server, "/v1/completions", {"prompt": "x", "stream": is_streamed})[1]
    assert "RuntimeError: out of memory" in text
    assert ask(server, "/v1/completions", {"prompt": "x", "max_tokens": 1})[0] == 200


def test_fifty_requests_at_once_are_each_answered_as_alone(server, stories):
    prompts = [f"{word} {place}" for place in range(10) for word in ("Once", "The", "One day", "Lily", "Tom")]
    config = GenerationConfig(max_new_tokens=10)
    expected = [generate(stories, prompt, config, raw=True).text for prompt in prompts]

    def answer(place):
        body = {"prompt": prompts[place], "max_tokens": 10, "stream": place % 2 == 0}
        status, text = ask(server, "/v1/completions", body)
        assert status == 200, text
        if place % 2:
            return json.loads(text)["choices"][0]["text"]
        return "".join(event["choices"][0]["text"] for event in events(text))

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(answer, range(50))) == expected


@pytest.mark.parametrize(
    ("path", "body", "key", "status", "words"),
    [
        ("/v1/completions", {"prompt": "x"}, "wrong", 401, "API key"),
        ("/v1/models", None, "wrong", 401, "API key"),
        ("/v1/nothing", {"prompt": "x"}, "secret", 404, "no /v1/nothing"),
        ("/v1/completions", {"prompt": "x" * 6000}, "secret", 413, "at most 5000 bytes"),
        ("/v1/completions", b"{", "secret", 400, "not JSON"),
        ("/v1/completions", b"[]", "secret", 400, "not a JSON object"),
        ("/v1/completions", {"prompt": 5}, "secret", 400, "`prompt`: a prompt is a text, a list of token ids"),
        ("/v1/completions", {"prompt": []}, "secret", 400, "`prompt`"),
        ("/v1/completions", {"prompt": ["x", 1]}, "secret", 400, "`prompt`"),
        ("/v1/completions", {"prompt": [[1], []]}, "secret", 400, "`prompt`"),
        ("/v1/completions", {"prompt": [True]}, "secret", 400, "`prompt`"),
        ("/v1/completions", {"prompt": [512]}, "secret", 400, "ids are below 512"),
        ("/v1/completions", {"prompt": [-1]}, "secret", 400, "the prompt"),
        ("/v1/completions", {"prompt": ["x"] * 129}, "secret", 400, "at most 128"),
        ("/v1/completions", {"prompt": ["x"] * 65, "n": 2}, "secret", 400, "at most 128 texts"),
        ("/v1/completions", {"prompt": "x", "temprature": 1}, "secret", 400, "did you mean `temperature`?"),
        ("/v1/completions", {"prompt": "x", "store": True}, "secret", 400, "`store` is not supported"),
        ("/v1/completions", {"prompt": "x", "model": "storys"}, "secret", 400, "did you mean 'stories'?"),
        ("/v1/completions", {"prompt": "x", "logit_bias": {"512": 1}}, "secret", 400, "ids are below 512"),
        ("/v1/completions", {"prompt": "x", "logit_bias": {"-1": 1}}, "secret", 400, "logit_bias"),
        ("/v1/completions", b'{"prompt": "x", "temperature": NaN}', "secret", 400, "not JSON"),
        ("/v1/completions", b'{"prompt": "x", "temperature": 1e400}', "secret", 400, "temperature"),
        ("/v1/completions", b'{"prompt": "x", "prompt": "y"}', "secret", 400, "uplicate key"),
        ("/v1/completions", b"[" * 4000, "secret", 400, "not JSON"),
        ("/v1/completions", b"\xff\xfe", "secret", 400, "not JSON"),
        ("/v1/completions", b'{"prompt": "\\ud800"}', "secret", 400, "not JSON"),
        ("/v1/completions", {"prompt": "x", "stream_options": {}}, "secret", 400, "without `stream`"),
        ("/v1/completions", {"prompt": "x", "temperature": -1}, "secret", 400, "temperature"),
        ("/v1/completions", {"prompt": "word " * 900}, "secret", 400, "the model's context is 512"),
        ("/v1/completions", {"prompt": "x", "n": 0}, "secret", 400, "`n`"),
        ("/v1/completions", {"prompt": "x", "n": 129}, "secret", 400, "`n`"),
        ("/v1/completions", {"prompt": "x", "n": 2, "best_of": 3}, "secret", 400, "`best_of` is not supported"),
        ("/v1/completions", {"prompt": "x", "suffix": "y"}, "secret", 400, "`suffix`"),
        ("/v1/models/other", None, "secret", 404, "no model 'other'; this server has 'stories'"),
        ("/tokenize", {"prompt": 1}, "secret", 400, "`prompt`"),
        ("/detokenize", {"tokens": [512]}, "secret", 400, "512"),
        ("/v1/completions", {"prompt": "x", "logprobs": 50}, "secret", 400, "logprobs"),
        ("/v1/chat/completions", {"messages": []}, "secret", 400, "at least 1 item"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "secret",
            400,
            "`text`",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "tools": [1]},
            "secret",
            400,
            "`tools.0`",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(server, path, body, key, status, words):
    found, text = ask(server, path, body, key)
    assert (found, words in json.loads(text)["error"]["message"]) == (status, True), text


def test_models_and_health_are_told(server):
    assert json.loads(ask(server, "/v1/models")[1])["data"][0]["id"] == "stories"
    assert ask(server, "/health", key="none")[0] == 200


def test_too_many_requests_are_told_to_come_back(stories):
    with running(stories, max_requests=1, api_key="secret") as server:
        other = Answer(lambda piece: None)
        server.service.answers.add(other)
        assert ask(server, "/v1/completions", {"prompt": "x"})[0] == 429
        server.service.answers.discard(other)
        assert ask(server, "/v1/completions", {"prompt": "x", "max_tokens": 1})[0] == 200
    assert not server.service.engine.is_alive


@pytest.mark.slow
def test_a_signal_ends_the_command_cleanly(stories):
    code = "from lazarus_models.__main__ import main; main()"
    command = [sys.executable, "-c", code, "serve", "--model", str(stories.path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        while " at http" not in line:  # a warning of a slow BLAS may come first
            line = process.stderr.readline()
        address = line.split(" at ")[1].split("/v1")[0]
        with urllib.request.urlopen(address + "/health") as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait() == 143
    assert "stopped" in rest
