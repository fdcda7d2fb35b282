"""What a hostile or unlucky client sends, byte for byte."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models.chat import parse_calls
from lazarus_models.errors import ServingError
from lazarus_models.generation.batch import BatchRunner
from lazarus_models.serving import ServeConfig, Server
from lazarus_models.serving.access import is_own_name
from lazarus_models.serving.errors import Refused
from lazarus_models.serving.reading import read_request
from lazarus_models.serving.requests import ChatRequest, CompletionRequest
from suite import examples

LIMITS = {
    "max_connections": 8,
    "request_timeout_s": 0.6,
    "idle_timeout_s": 0.6,
    "write_timeout_s": 0.6,
    "max_requests": 4,
}
CHAT = {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 3}
LONG = {**CHAT, "max_tokens": 400, "temperature": 1.5, "logit_bias": {"2": -100}}


class Running:
    """A server in a thread."""

    def __init__(self, lm, **given):
        self.server = Server(lm, "stories", ServeConfig(port=0, **given))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def end(self):
        self.server.stop()
        self.thread.join()

    def connect(self):
        client = socket.create_connection(("127.0.0.1", int(self.server.address.rsplit(":", 1)[1])), 5)
        client.settimeout(10)
        return client

    def send(self, content):
        """What comes back until the server closes, or 0.4 s after the last byte."""
        with self.connect() as client:
            client.sendall(content)
            return read(client)

    def post(self, body, *more, path="/v1/chat/completions", host="localhost", kind="application/json"):
        return self.send(post(body, *more, path=path, host=host, kind=kind))


def read(client, wait=0.4):
    got, first = b"", True
    while True:
        client.settimeout(10 if first else wait)
        try:
            piece = client.recv(65536)
        except (TimeoutError, ConnectionError):
            return got
        if not piece:
            return got
        got, first = got + piece, False


def post(body, *more, path="/v1/chat/completions", host="localhost", kind="application/json"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}", *more]
    head += [f"Content-Type: {kind}"] if kind else []
    return "\r\n".join([*head, "", ""]).encode() + content


def status(answer):
    return int(answer.split(b" ")[1])


@pytest.fixture(scope="module")
def open_server(stories):
    running = Running(stories, **LIMITS)
    yield running
    running.end()


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:80", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("0.0.0.0", 400),
        ("192.168.0.7", 400),
        ("", 400),
    ],
)
def test_without_a_key_only_loopback_names_are_answered(open_server, host, code):
    assert status(open_server.post(CHAT, host=host)) == code


@pytest.mark.parametrize(
    ("origin", "code"), [("http://localhost:3000", 200), ("null", 403), ("http://evil.example", 403), ("file://", 403)]
)
def test_without_a_key_pages_of_other_sites_are_refused(open_server, origin, code):
    assert status(open_server.post(CHAT, f"Origin: {origin}")) == code


@pytest.mark.parametrize(("kind", "code"), [("application/json; charset=utf-8", 200), ("text/plain", 415), ("", 400)])
def test_without_a_key_a_body_is_declared_as_json(open_server, kind, code):
    assert status(open_server.post(CHAT, kind=kind)) == code


def test_behind_no_key_addresses_are_answered_and_foreign_names_are_not():
    config = ServeConfig(host="0.0.0.0", no_key=True)
    assert is_own_name("192.168.0.7:8080", config)
    assert not is_own_name("evil.example", config)


@pytest.mark.parametrize("settings", [{"api_key": ""}, {"api_key": " "}, {"api_key": "a\nb"}, {"host": "0.0.0.0"}])
def test_settings_that_let_anybody_in_are_refused(settings):
    with pytest.raises(ServingError) as refused:
        ServeConfig(**settings)
    assert refused.value.code == "LM-E160"


KEYED = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: "
KEYS = {
    b"Bearer schl\xc3\xbcssel": 200,
    b"bEARER schl\xc3\xbcssel": 200,
    b"Bearer   schl\xc3\xbcssel ": 200,
    b"schl\xc3\xbcssel": 401,
    b"Bearer schl\xfcssel": 401,
    b"Bearer Bearer schl\xc3\xbcssel": 401,
    b"Basic schl\xc3\xbcssel": 401,
    b"Bearer": 401,
}


def test_keys_are_compared_as_bytes_under_any_spelling_of_the_scheme(stories):
    running = Running(stories, api_key="schlüssel")
    try:
        found = {key: status(running.send(KEYED + key + b"\r\n\r\n")) for key in KEYS}
        assert found == KEYS
        assert status(running.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")) == 200
    finally:
        running.end()


def test_an_answer_does_not_wait_for_acknowledgements(open_server):
    with contextlib.closing(http.client.HTTPConnection(open_server.server.address.removeprefix("http://"))) as client:
        times: list[float] = []
        for _ in range(12):
            start = time.perf_counter()
            client.request("GET", "/health")
            client.getresponse().read()
            times.append(time.perf_counter() - start)
    assert min(times[2:]) < 0.03  # a delayed acknowledgement takes 40 ms, every time after the first ones


HIDDEN = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "line", [b"POST /nope", b"GET /health", b"GET /nope", b"PUT /v1/models", b"POST /v1/completions"]
)
@pytest.mark.parametrize("more", [b"", b"Origin: http://evil.example\r\n"])
def test_the_body_of_a_refused_request_is_never_read_as_a_request(open_server, line, more):
    head = line + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(HIDDEN)
    assert open_server.send(head + more + b"\r\n" + HIDDEN).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 4\r\n\r\n",
        b"Content-Length: +4\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 100_000,
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_body_without_one_clear_end_closes_the_connection(open_server, framing):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = open_server.send(head + framing + HIDDEN)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert 400 <= status(answer) < 600 and b'"error"' in answer


def test_requests_behind_one_another_are_answered_in_their_order(open_server):
    answers = open_server.send(post({**CHAT, "max_tokens": 1}) + post({**CHAT, "x": 1}) + HIDDEN)
    assert [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]] == [200, 400, 200]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n\r\n", 415),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /" + b"a" * 70_000, 414),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000, 431),
        (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(300)) + b"\r\n",
            431,
        ),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n", 411),
        (b"GET /v1/models?api-version=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /v1/models/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        (b"CONNECT /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"FOO /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_of_ours_is_answered_in_json(open_server, content, code):
    answer = open_server.send(content)
    assert status(answer) == code
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])


def test_a_refused_upload_is_told_before_it_ends(open_server):
    with open_server.connect() as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        client.sendall(b"Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n")
        answer = read(client)
    assert (status(answer), answer.count(b"HTTP/1.1 "), b"connection: close" in answer.lower()) == (413, 1, True)


def test_half_sent_requests_make_room_and_end_in_time(open_server):
    slow = [open_server.connect() for _ in range(20)]
    for place, client in enumerate(slow[12:]):
        client.sendall(post(CHAT)[:-5] if place % 2 else b"GET /hea")
    assert status(open_server.post(CHAT)) == 200
    ended = [read(client) for client in slow]  # the oldest ones gave way, the others are too slow
    for client in slow:
        client.close()
    assert b"" in ended and any(b" 408 " in answer for answer in ended)
    assert all(not answer or status(answer) == 408 for answer in ended)


@pytest.mark.slow
def test_a_client_that_does_not_read_is_let_go(stories):
    running = Running(stories, write_timeout_s=0.5)
    running.server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    try:
        with running.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(HIDDEN.replace(b"health", b"x" * 100) * 1000)  # more answers than the buffers hold
            time.sleep(2)
            with pytest.raises(ConnectionError):
                client.sendall(HIDDEN * 100_000)
    finally:
        running.end()


@pytest.mark.parametrize("is_streamed", [False, True])
def test_places_of_clients_that_left_are_free_at_once(open_server, monkeypatch, is_streamed):
    step = BatchRunner.step
    monkeypatch.setattr(BatchRunner, "step", lambda self: time.sleep(0.03) or step(self))
    for _ in range(LIMITS["max_requests"]):
        with open_server.connect() as client:
            client.sendall(post({**LONG, "stream": is_streamed}))
    end = time.monotonic() + 3  # an answer of 400 tokens takes 12 s
    while (code := status(open_server.post({**CHAT, "max_tokens": 1}))) == 429 and time.monotonic() < end:
        time.sleep(0.05)
    assert code == 200


@pytest.mark.slow
@pytest.mark.parametrize("grace_s", [0.0, 20.0])
def test_a_stop_finishes_answers_or_says_that_it_did_not(stories, grace_s):
    running = Running(stories, grace_s=grace_s)
    with running.connect() as whole, running.connect() as streamed:
        whole.sendall(post(LONG))
        streamed.sendall(post({**LONG, "stream": True}))
        begun = streamed.recv(100)
        running.end()
        got, answer = begun + read(streamed), read(whole)
    assert got.endswith(b"0\r\n\r\n")
    assert (b"[DONE]" in got, b'"error"' in got, status(answer)) == (
        (True, False, 200) if grace_s else (False, True, 503)
    )
    assert running.server.unfinished == (0 if grace_s else 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(300))
@given(
    kind=st.sampled_from([ChatRequest, CompletionRequest]),
    data=st.data(),
    value=JSON,
    inner=st.sampled_from(["role", "content", "tool_calls", "name"]),
)
def test_any_value_of_any_field_is_read_or_refused(kind, data, value, inner):
    name = data.draw(st.sampled_from([*kind.model_fields, "messages[]"]))
    body = {"messages": CHAT["messages"]} if kind is ChatRequest else {"prompt": "x"}
    body |= {"messages": [{"role": "user", "content": "x", inner: value}]} if name == "messages[]" else {name: value}
    try:
        read_request(json.dumps(body).encode(), kind).settings(100)
    except Refused as refused:
        assert refused.status == 400 and str(refused)


def test_a_conversation_sent_back_keeps_text_and_calls():
    call = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": "I add. ", "tool_calls": [call], "refusal": None}
    (read,) = read_request(json.dumps({"messages": [message]}).encode(), ChatRequest).messages
    assert read.to_message().content.startswith("I add. <tool_call>")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('a é"\\\n', max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(
    calls=st.lists(st.tuples(st.text("add_", min_size=1, max_size=4), st.dictionaries(st.text(), _JSON)), min_size=1)
)
@settings(max_examples=examples(50), deadline=None)
def test_calls_sent_back_are_shown_to_the_model_as_it_writes_them(calls):
    calls = [(name, {key: value for key, value in arguments.items() if "<" not in key}) for name, arguments in calls]
    sent = [{"function": {"name": name, "arguments": json.dumps(arguments)}} for name, arguments in calls]
    body = {"messages": [{"role": "assistant", "content": None, "tool_calls": sent}]}
    (read,) = read_request(json.dumps(body).encode(), ChatRequest).messages
    shown = parse_calls(read.to_message().content)
    assert [(call.name, call.arguments) for call in shown] == calls


@pytest.mark.parametrize(("arguments", "shown"), [("", "{}"), ("[1]", '"[1]"'), ("{a", '"{a"')])
def test_arguments_that_are_no_object_are_shown_as_they_are(arguments, shown):
    call = {"function": {"name": "add", "arguments": arguments}}
    body = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    (read,) = read_request(json.dumps(body).encode(), ChatRequest).messages
    assert read.to_message().content == f'<tool_call>{{"name": "add", "arguments": {shown}}}</tool_call>'
