"""The official client against a server in this process: what it sends is answered, and what it reads is right."""

import contextlib
import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from lazarus_models import GenerationConfig, generate, load
from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError, ServingError
from lazarus_models.generation.constraint import Grammars
from lazarus_models.serving import ServeConfig
from serving import running

PAGE = "https://app.example"
HELLO = [{"role": "user", "content": "Tell a story"}]
WARM = {"model": "stories", "messages": HELLO, "max_tokens": 16, "temperature": 0.9}


@pytest.fixture(scope="module")
def server(stories):
    with running(stories, max_new_tokens=200, cors_origins=(PAGE,)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def chat(client, **settings):
    return client.chat.completions.create(**{**WARM, **settings})


def complete(client, prompt, **settings):
    return client.completions.create(model="stories", prompt=prompt, **settings)


def asked(server, method, path, headers=(), body=None):
    connection = http.client.HTTPConnection("127.0.0.1", int(server.address.rsplit(":", 1)[1]))
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers), encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_the_clients_stream_has_the_role_once_and_the_text_of_the_whole_answer(client):
    given = {**WARM, "seed": 4, "max_tokens": 200, "stop": ["."]}  # the client raises an error if the length ends it
    whole = chat(client, **given).choices[0].message
    with client.chat.completions.stream(**given) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_completion().choices[0].message
    assert (message.role, message.content) == ("assistant", whole.content)
    assert "content.delta" in kinds


def test_an_empty_streamed_answer_has_a_role_too(client):
    deltas = [event.choices[0].delta for event in chat(client, max_tokens=0, stream=True)]
    assert [delta.role for delta in deltas] == ["assistant", None]


@pytest.mark.parametrize("stop", [None, ["e"], [" the", "."]])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_bytes_of_log_probabilities_join_to_the_text(client, is_streamed, stop):
    given = {"seed": 9, "temperature": 1.6, "logprobs": True, "top_logprobs": 5, "max_tokens": 40, "stop": stop}
    if is_streamed:
        choices = [event.choices[0] for event in chat(client, stream=True, **given)]
        text = "".join(choice.delta.content or "" for choice in choices)
        tokens = [token for choice in choices for token in choice.logprobs.content]
    else:
        (choice,) = chat(client, **given).choices
        text, tokens = choice.message.content, choice.logprobs.content
    joined = b"".join(bytes(token.bytes) for token in tokens)
    if stop is None:
        assert joined.decode("utf-8", "replace") == text
    else:  # the last token may end in the stop text; none begins there
        assert joined.startswith(text.encode())
        assert len(joined) - len(tokens[-1].bytes) < len(text.encode())
    assert {len(token.top_logprobs) for token in tokens} == {5}
    for token in tokens:
        values = [one.logprob for one in token.top_logprobs if one.bytes == token.bytes]
        assert not values or token.logprob in values
        assert token.logprob <= token.top_logprobs[0].logprob


def test_the_chosen_token_has_its_own_value_outside_the_likeliest(client):
    scored = complete(client, "Once", temperature=2, seed=1, max_tokens=30, logprobs=5).choices[0].logprobs
    sizes = [len(top) for top in scored.top_logprobs]
    assert set(sizes) == {5, 6}  # the chosen one is among the five, or the sixth
    for own, top in zip(scored.token_logprobs, scored.top_logprobs, strict=True):
        assert own in top.values()
        assert len(top) == 5 or own == min(top.values())


def test_without_a_seed_texts_differ_and_the_seed_of_each_repeats_it(client):
    choices = [chat(client).choices[0] for _ in range(3)]
    texts = [choice.message.content for choice in choices]
    assert len(set(texts)) == 3
    assert [chat(client, seed=choice.seed).choices[0].message.content for choice in choices] == texts
    assert not hasattr(chat(client, temperature=0).choices[0], "seed")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_n_texts_have_the_seeds_after_one_another(client, is_streamed):
    alone = [chat(client, seed=5 + place).choices[0].message.content for place in range(3)]
    if is_streamed:
        texts = ["", "", ""]
        for event in chat(client, seed=5, n=3, stream=True):
            texts[event.choices[0].index] += event.choices[0].delta.content or ""
    else:
        texts = [choice.message.content for choice in chat(client, seed=5, n=3).choices]
    assert texts == alone


def test_no_tokens_give_an_empty_text(client):
    answer = complete(client, "Once upon", max_tokens=0)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "length")
    assert (answer.usage.completion_tokens, answer.usage.prompt_tokens > 1) == (0, True)


def test_a_prompt_that_fills_the_context_is_scored_if_no_token_is_asked_for(client, stories):
    context = stories.config.max_position_embeddings
    ids = ([1, *stories.tokenizer.encode("the dog and the cat " * 100)])[:context]
    scored = complete(client, [ids], max_tokens=0, logprobs=0, echo=True).choices[0].logprobs
    shorter = complete(client, [ids[:-1]], max_tokens=0, logprobs=0, echo=True).choices[0].logprobs
    assert len(ids) == len(scored.token_logprobs) == context
    assert scored.token_logprobs[1:-1] == pytest.approx(shorter.token_logprobs[1:], abs=1e-5)
    with pytest.raises(BadRequestError, match=f"the model's context is {context}"):
        complete(client, [ids], max_tokens=1)


@pytest.mark.parametrize("temperature", [None, 0, 1])
@pytest.mark.parametrize(("name", "value"), [("top_p", 7.0), ("top_p", 0.0), ("top_k", -2), ("min_p", 1.5)])
def test_a_filter_out_of_range_is_refused_at_any_temperature(client, temperature, name, value):
    with pytest.raises(BadRequestError, match=f"`{name}`"):
        complete(client, "Once", max_tokens=1, temperature=temperature, extra_body={name: value})


def test_models_are_found_by_name(client):
    assert client.models.retrieve("stories").id == "stories"
    with pytest.raises(NotFoundError, match="no model 'storys'; did you mean 'stories'"):
        client.models.retrieve("storys")


def test_prompts_of_texts_and_ids_are_answered_as_alone(client, stories):
    prompts = ["Once upon a time", "The cat", "Lily"]
    alone = [complete(client, prompt, max_tokens=8).choices[0].text for prompt in prompts]
    ids = [[1, *stories.tokenizer.encode(prompt)] for prompt in prompts]
    for given in (prompts, ids):
        answer = complete(client, given, max_tokens=8)
        assert [choice.text for choice in answer.choices] == alone
        assert answer.usage.completion_tokens == 24
    assert complete(client, ids[1], max_tokens=8).choices[0].text == alone[1]


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_echoed_prompts_are_scored_as_the_models_softmax_says(client, stories, max_tokens):
    prompts = [stories.tokenizer.encode(text) for text in ("Once upon a time there was", "The big dog ran home")]
    answer = complete(client, prompts, max_tokens=max_tokens, logprobs=1, echo=True, temperature=0)
    for ids, choice in zip(prompts, answer.choices, strict=True):
        logits = np.array(stories.model(mx.array([ids]))[0], dtype=np.float64)
        logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected = [logprobs[place, token] for place, token in enumerate(ids[1:])]
        scored = choice.logprobs
        assert len(scored.tokens) == len(ids) + max_tokens
        assert scored.token_logprobs[0] is None
        assert scored.token_logprobs[1 : len(ids)] == pytest.approx(expected, abs=1e-4)
        likeliest = [max(top.values()) for top in scored.top_logprobs[1 : len(ids)]]
        assert likeliest == pytest.approx(logprobs[:-1].max(-1), abs=1e-4)
        assert "".join(scored.tokens) == choice.text


def test_a_long_prompt_is_scored_over_the_borders_of_its_parts(client, stories):
    ids = [1, *stories.tokenizer.encode("the dog and the cat " * 40)]
    scored = complete(client, [ids], max_tokens=1, logprobs=2, echo=True).choices[0].logprobs
    logits = np.array(stories.model(mx.array([ids]))[0], dtype=np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [logprobs[place, token] for place, token in enumerate(ids[1:])]
    assert scored.token_logprobs[1:-1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    "prompt", ["Once", " Once", "  two\n", "<s> Once</s>", "a</s> b", "é 日本</s></s>x ", "\n</s>"]
)
def test_offsets_of_an_echoed_prompt_find_each_token_in_the_text(client, stories, prompt, is_streamed):
    settings = {"max_tokens": 3, "logprobs": 0, "echo": True}
    parts = (
        list(complete(client, prompt, stream=True, **settings))
        if is_streamed
        else [complete(client, prompt, **settings)]
    )
    scored = [part.choices[0].logprobs for part in parts]
    text = "".join(part.choices[0].text for part in parts)
    tokens = [token for one in scored for token in one.tokens]
    offsets = [start for one in scored for start in one.text_offset]
    assert text.startswith(prompt) and len(tokens) > 3
    for token, start in zip(tokens, offsets, strict=True):
        assert token.startswith("bytes:") or text[start : start + len(token)] == token
    new = [token for token, start in zip(tokens, offsets, strict=True) if start >= len(prompt) and token]
    assert "".join(new) == text[len(prompt) :]


def test_echo_alone_is_the_prompt_before_the_answer(client):
    text = complete(client, "Once upon", max_tokens=5).choices[0].text
    assert complete(client, "Once upon", max_tokens=5, echo=True).choices[0].text == "Once upon" + text
    pieces = complete(client, "Once upon", max_tokens=5, echo=True, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == "Once upon" + text


def test_the_tokenizer_is_described_and_converts(server, stories):
    info = json.loads(asked(server, "GET", "/tokenizer_info")[2])
    assert (info["eos_token"], info["vocab_size"], info["model_max_length"]) == ("</s>", 512, 512)
    typed = {"Content-Type": "application/json"}
    body = json.dumps({"prompt": "Once upon", "add_special_tokens": False})
    ids = json.loads(asked(server, "POST", "/tokenize", typed, body)[2])["tokens"]
    assert ids == stories.tokenizer.encode("Once upon")
    whole = json.loads(asked(server, "POST", "/tokenize", typed, json.dumps({"prompt": "Once upon"}))[2])["tokens"]
    assert whole == [1, *ids]
    text = json.loads(asked(server, "POST", "/detokenize", typed, json.dumps({"tokens": ids}))[2])["prompt"]
    assert text == "Once upon"


LEGS = {"type": "object", "properties": {"legs": {"enum": [2, 4]}}, "required": ["legs"], "additionalProperties": False}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = [
    {"type": "function", "function": {"name": "count", "parameters": LEGS, "strict": True}},
    {"type": "function", "function": {"name": "stop", "parameters": NOTHING}},
]


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_a_schema_is_kept_by_a_model_that_knows_no_json(client, temperature):
    schema = {"type": "object", "properties": {"kind": {"enum": ["cat", "dog"]}, "old": {"type": "boolean"}}}
    schema |= {"required": ["kind", "old"], "additionalProperties": False}
    given = {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema, "strict": True}}
    choice = chat(client, response_format=given, temperature=temperature, max_tokens=60).choices[0]
    said = json.loads(choice.message.content)
    assert said["kind"] in ("cat", "dog") and type(said["old"]) is bool and len(said) == 2
    assert choice.finish_reason == "stop"


def test_any_json_object_begins_as_one(client):
    content = chat(client, response_format={"type": "json_object"}, max_tokens=30).choices[0].message.content
    assert content.startswith("{")


def test_the_clients_parsed_models_are_answered(client):
    class Sizes(BaseModel):
        is_big: bool
        is_red: bool

    done = client.chat.completions.parse(**{**WARM, "max_tokens": 60}, response_format=Sizes)
    assert isinstance(done.choices[0].message.parsed, Sizes)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", ["stop", "count", None])
def test_a_forced_call_is_made(client, name, is_streamed):
    choice = "required" if name is None else {"type": "function", "function": {"name": name}}
    given = {**WARM, "tools": TOOLS, "tool_choice": choice, "max_tokens": 100}
    if is_streamed:
        with client.chat.completions.stream(**given) as stream:
            done = stream.get_final_completion().choices[0]
    else:
        done = client.chat.completions.create(**given).choices[0]
    assert (done.finish_reason, done.message.content) == ("tool_calls", None)
    (call,) = done.message.tool_calls
    assert call.function.name in (["stop", "count"] if name is None else [name])
    arguments = json.loads(call.function.arguments)
    assert arguments == {} if call.function.name == "stop" else arguments["legs"] in (2, 4)


def test_constrained_and_free_texts_in_one_batch_are_those_of_each_alone(client):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["red", "green", "blue"]}}}
    given = [{"response_format": schema} if place % 2 else {} for place in range(8)]
    bodies = [{**more, "seed": place, "max_tokens": 20} for place, more in enumerate(given)]
    alone = [chat(client, **body).choices[0].message.content for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda body: chat(client, **body).choices[0].message.content, bodies))
    assert together == alone
    assert {json.loads(text) for text in alone[1::2]} <= {"red", "green", "blue"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tool_choice": "required"}, "there are no `tools`"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "'x', which is not in `tools`",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a", "strict": True}}]}, "`strict` functions"),
        (
            {"tools": TOOLS[1:], "response_format": {"type": "json_object"}},
            "`response_format` is not supported with `tools`",
        ),
        ({"response_format": {"type": "grammar"}}, "`response_format`"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strng"}}}},
            "the schema cannot be enforced: Invalid type: strng",
        ),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, "does not read 'enable_thinking'"),
        ({"extra_body": {"max_token": 3}}, "unknown field `max_token`; did you mean `max_tokens`?"),
        ({"reasoning_effort": "high"}, "`reasoning_effort` is not supported"),
        ({"service_tier": "flex"}, "`service_tier` is not supported"),
        ({"extra_body": {"ignore_eos": 0}}, "`ignore_eos` is not supported"),  # 0 is not False
    ],
)
def test_what_is_not_supported_is_refused_by_name(client, given, words):
    with pytest.raises(BadRequestError) as refused:
        chat(client, **given)
    assert words in refused.value.body["message"]


def test_fields_without_effect_are_accepted(client):
    idle = {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True}
    more = {"top_k": -1, "min_tokens": 0, "ignore_eos": False, "stop_token_ids": [], "skip_special_tokens": True}
    expected = chat(client, seed=3).choices[0].message.content
    assert chat(client, seed=3, **idle, extra_body=more).choices[0].message.content == expected


def test_names_of_a_chat_template_reach_it(stories, tmp_path):
    for file in stories.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    source = "{% if thinks %}Think. {% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(source)
    with running(load(tmp_path)) as server, OpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
        for value, text in ((True, "Think. Tell a story"), (False, "Tell a story"), (None, "Tell a story")):
            given = {"max_tokens": 5, "temperature": 0, "extra_body": {"chat_template_kwargs": {"thinks": value}}}
            expected = generate(stories, text, GenerationConfig(max_new_tokens=5), raw=True).prompt_tokens
            bos = chat(client, max_tokens=1).usage.prompt_tokens - len(stories.tokenizer.encode("Tell a story"))
            assert chat(client, **given).usage.prompt_tokens == expected - 1 + bos
        with pytest.raises(BadRequestError, match="does not read 'messages'; it reads thinks"):
            chat(client, extra_body={"chat_template_kwargs": {"messages": []}})


def test_bodies_in_chunks_and_queries_are_answered(server):
    body = json.dumps({"prompt": "Once", "max_tokens": 2}).encode()
    typed = {"Content-Type": "application/json"}
    chunked = {**typed, "Transfer-Encoding": "chunked"}
    pieces = asked(server, "POST", "/v1/completions?api-version=1&Key=A", chunked, iter([body[:7], body[7:]]))
    whole = asked(server, "POST", "/v1/completions", typed, body)
    assert (pieces[0], json.loads(pieces[2])["choices"]) == (200, json.loads(whole[2])["choices"])


def test_pages_of_named_origins_may_ask_and_others_may_not(server):
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    status, headers, _ = asked(server, "OPTIONS", "/v1/chat/completions", {"Origin": PAGE, **wanted})
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert "POST" in headers["Access-Control-Allow-Methods"]
    status, headers, _ = asked(server, "GET", "/v1/models", {"Origin": PAGE})
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    for method in ("OPTIONS", "GET"):
        status, headers, _ = asked(server, method, "/v1/models", {"Origin": "https://evil.example", **wanted})
        assert (status in (400, 403), headers["Access-Control-Allow-Origin"]) == (True, None)


def test_a_preflight_request_needs_no_key_and_the_request_after_it_does(stories):
    with running(stories, api_key="secret", cors_origins=("*",)) as server:
        wanted = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        assert asked(server, "OPTIONS", "/v1/completions", wanted)[0] == 200
        status, headers, _ = asked(server, "GET", "/v1/models", {"Origin": PAGE})
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, "*")


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/", "https://App.example", "null", ""])
def test_origins_that_no_browser_sends_or_that_open_the_server_are_refused(origin):
    with pytest.raises(ServingError) as refused:
        ServeConfig(cors_origins=(origin,))
    assert refused.value.code == "LM-E263"


def test_the_extra_for_constrained_answers_is_named(stories, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(GenerationError, match=r"lazarus-models\[grammar\]") as refused:
        Grammars(stories).json({"type": "object"})
    assert refused.value.code == "LM-E260"
