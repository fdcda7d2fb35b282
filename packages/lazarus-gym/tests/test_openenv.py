"""OpenEnv: our clients on our server give what the local environments give; bad messages are answered, never crash."""

import asyncio
import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commands
from lazarus_gym import GymError, make_environment
from lazarus_gym.environments import ENVIRONMENTS
from lazarus_gym.episodes import CollectConfig, Episode, collect_episodes
from lazarus_gym.openenv import ActionForm, OpenEnvAddress, OpenEnvClient, OpenEnvConfig, OpenEnvEnvironment
from lazarus_gym.servers import OpenEnvServerConfig, OpenEnvSession, serve_openenv

Result = TypeVar("Result")
CODES = {"INVALID_JSON", "UNKNOWN_TYPE", "VALIDATION_ERROR", "EXECUTION_ERROR"}


@contextmanager
def server(**settings: Any) -> Iterator[str]:
    """Our server in a thread: its address."""
    with stoppable_server(**settings) as (address, _):
        yield address


@contextmanager
def stoppable_server(**settings: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Our server in a thread: its address, and a function that stops it."""
    pytest.importorskip("uvicorn")
    loop, started, stopped = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports: list[int] = []

    async def serve() -> None:
        async with serve_openenv(OpenEnvServerConfig(**{"port": 0, **settings})) as port:
            ports.append(port)
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(stopped.set)
            thread.join()

    try:
        yield f"ws://127.0.0.1:{ports[0]}", stop
    finally:
        stop()
        loop.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as found:
        yield found


def with_client(config: OpenEnvConfig | str, work: Callable[[OpenEnvClient], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with OpenEnvClient(config) as client:
            return await work(client)

    return asyncio.run(run())


def http(url: str, body: object = None, *, raw: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of a request: POST with a body, else GET."""
    content = raw if raw is not None else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content), timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_the_same_over_the_wire(address: str, name: str):
    local = make_environment(name)
    with OpenEnvEnvironment(OpenEnvConfig(address=address, environment=name)) as remote:
        task = local.tasks[-1]
        assert remote.reset(seed=9, task=task) == local.reset(seed=9, task=task)
        for action in ("zap", *local.solution()):
            ours, theirs = local.step(action), remote.step(action)
            assert (ours.observation, ours.reward, ours.done) == (theirs.observation, theirs.reward, theirs.done)
            assert {**theirs.info, **ours.info} == theirs.info
            assert remote.state() == local.state()
            if ours.done:
                break


def test_a_limit_of_actions_arrives_as_truncated(address: str):
    local = make_environment("lights_out")
    local.reset(seed=3)

    async def play(client: OpenEnvClient) -> None:
        await client.reset(seed=3)
        while True:
            ours, theirs = local.step("zap"), await client.step("zap")
            assert (ours.done, ours.truncated) == (theirs.done, theirs.truncated)
            if ours.truncated:
                break
        assert (await client.state()).truncated

    with_client(f"{address}?environment=lights_out", play)


def test_sessions_do_not_share_their_episodes(address: str):
    async def one(seed: int) -> list[Any]:
        async with OpenEnvClient(OpenEnvConfig(address=address, environment="lights_out")) as client:
            first = await client.reset(seed=seed)
            return [first.grid, *[(await client.step(f"press 1 {c}")).observation.grid for c in (1, 2, 3, 1)]]

    async def all_at_once() -> list[list[Any]]:
        return await asyncio.gather(*map(one, range(20)))

    together = asyncio.run(all_at_once())
    assert together == [asyncio.run(one(seed)) for seed in range(20)]
    assert len({str(each) for each in together}) > 10


def test_the_query_and_the_reset_choose_the_environment(address: str):
    with OpenEnvEnvironment(f"{address}/ws?environment=binary&task=hard") as client:
        assert (client.reset(seed=1).environment, client.reset(seed=1).task) == ("binary", "hard")
        assert client.reset(seed=1, environment="maths").task == "addition"
    with OpenEnvEnvironment(address) as client:
        assert client.reset(seed=1).environment == "sudoku"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ('{"type":"reset","type":"step"}', "INVALID_JSON"),
        ("{}", "UNKNOWN_TYPE"),
        ('{"type":"fly"}', "UNKNOWN_TYPE"),
        ('{"type":["reset"]}', "UNKNOWN_TYPE"),
        ('{"type":"reset","data":[]}', "VALIDATION_ERROR"),
        ('{"type":"reset","data":{"seed":-1}}', "VALIDATION_ERROR"),
        ('{"type":"reset","data":{"seed":true}}', "VALIDATION_ERROR"),
        ('{"type":"reset","data":{"seed":9223372036854775808}}', "VALIDATION_ERROR"),
        ('{"type":"reset","data":{"environment":"chess"}}', "EXECUTION_ERROR"),
        ('{"type":"reset","data":{"task":"extreme"}}', "EXECUTION_ERROR"),
        ('{"type":"step","data":{"action":"show"}}', "EXECUTION_ERROR"),
        ('{"type":"step","data":{"action":1}}', "VALIDATION_ERROR"),
        ('{"type":"step","data":{"move":"show"}}', "VALIDATION_ERROR"),
        ('{"type":"step"}', "VALIDATION_ERROR"),
    ],
)
def test_a_wrong_message_is_answered_and_the_session_goes_on(message: str, code: str):
    session = OpenEnvSession("lights_out")
    reply = session.reply(message)
    assert reply is not None
    assert (reply["type"], reply["data"]["code"]) == ("error", code)
    assert "\n" not in reply["data"]["message"]
    after = session.reply('{"type":"reset","data":{"seed":1}}')
    assert after is not None and after["type"] == "observation"


@given(st.text() | st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_message_has_a_reply(message: str | bytes):
    reply = OpenEnvSession("lights_out").reply(message)
    assert reply is not None and reply["data"]["code"] in CODES


@given(
    st.dictionaries(
        st.sampled_from(["seed", "environment", "task", "episode_id", "x"]), st.none() | st.integers() | st.text()
    )
)
def test_any_reset_has_a_reply(data: dict[str, Any]):
    reply = OpenEnvSession("lights_out").reply(json.dumps({"type": "reset", "data": data}))
    assert reply is not None and reply["type"] in ("observation", "error")


def test_a_session_before_its_reset_reports_no_episode():
    reply = OpenEnvSession().reply('{"type":"state"}')
    assert reply == {"type": "state", "data": {"episode_id": None, "step_count": 0}}
    session = OpenEnvSession()
    assert session.reply('{"type":"close"}') is None and session.is_closed


def test_the_paths_of_http(address: str):
    base = address.replace("ws", "http", 1)
    assert http(f"{base}/health") == (200, {"status": "healthy"})
    assert http(f"{base}/metadata")[1]["environments"]["sudoku"] == ["easy", "medium", "hard"]
    assert set(http(f"{base}/schema")[1]) == {"action", "observation", "state"}
    paths = http(f"{base}/openapi.json")[1]["paths"]
    assert {"/reset", "/step", "/state"} <= set(paths)
    assert http(f"{base}/mcp", {})[1]["error"]["code"] == -32600
    assert http(f"{base}/mcp", raw=b"{")[1]["error"]["code"] == -32700
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
    assert http(f"{base}/mcp", call)[1] == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -32601, "message": "Method not found: this server has no MCP tools; use /ws"},
    }


def test_an_episode_over_http(address: str):
    base = address.replace("ws", "http", 1)
    local = make_environment("lights_out")
    first = local.reset(seed=4, task="easy")
    status, reply = http(f"{base}/reset", {"environment": "lights_out", "seed": 4, "episode_id": "mine"})
    assert (status, reply["observation"]["text"], reply["reward"], reply["done"]) == (200, first.text, None, False)
    assert http(f"{base}/reset", {"episode_id": "mine"})[0] == 409
    assert http(f"{base}/state?episode_id=mine")[1]["step_count"] == 0
    for move in local.solution():
        status, reply = http(f"{base}/step", {"action": {"action": move}, "episode_id": "mine"})
        assert status == 200
    assert (reply["reward"], reply["done"]) == (1.0, True)
    for status, reply in (
        http(f"{base}/step", {"action": {"action": "show"}, "episode_id": "mine"}),
        http(f"{base}/step", {"action": {"action": "show"}}),
        http(f"{base}/step", {"action": "show"}),
        http(f"{base}/state"),
        http(f"{base}/reset", {"seed": "x"}),
        http(f"{base}/reset", {"environment": "chess"}),
        http(f"{base}/reset", raw=b"["),
    ):
        assert status == 422 and "\n" not in reply["detail"]
    assert http(f"{base}/reset", raw=b" " * (1 << 21))[0] == 413


def test_limits_of_sessions_silence_and_size_end_with_an_error():
    with server(max_connections=1) as address:

        async def crowd() -> str:
            async with OpenEnvClient(address) as first:
                await first.reset(seed=1)
                try:
                    async with OpenEnvClient(address) as second:
                        await second.reset(seed=1)
                except GymError as error:
                    return str(error)
            return ""

        assert "CAPACITY_REACHED" in asyncio.run(crowd())
        with OpenEnvEnvironment(address) as again:  # the place is free again
            assert again.reset(seed=1).environment == "sudoku"
        base = address.replace("ws", "http", 1)
        assert [http(f"{base}/reset", {})[0] for _ in range(2)] == [200, 503]
    with (
        server(idle_s=0.2, max_message_bytes=2000) as address,
        OpenEnvEnvironment(f"{address}?environment=lights_out") as client,
    ):
        client.reset(seed=1)
        with pytest.raises(GymError) as caught:
            client.step("x" * 3000)
        assert caught.value.code == "LG-E173"
        client.reset(seed=1)  # connects again
        threading.Event().wait(0.5)
        with pytest.raises(GymError) as caught:
            client.step("show")
        assert caught.value.code in ("LG-E173", "LG-E175")


@pytest.mark.parametrize("text", ["", "localhost", "ftp://x", "ws://", "ws://x:0", "ws://x:99999", "ws://me:secret@x"])
def test_a_wrong_address_is_one_error(text: str):
    with pytest.raises(GymError) as caught:
        OpenEnvClient(text)
    assert caught.value.code == "LG-E170"


def test_addresses_have_two_forms():
    expected = OpenEnvAddress("wss://x:1/a/ws?task=easy", "https://x:1/a")
    assert {OpenEnvAddress.parse(f"https://x:1/a{end}?task=easy") for end in ("", "/", "/ws", "/ws/")} == {expected}


def converse(*replies: str | bytes, **settings: Any) -> list[Any]:
    """What the client makes of a foreign server that sends these replies: results and codes of errors."""
    from websockets.asyncio.server import serve

    async def foreign(connection: Any) -> None:
        for reply in replies:
            await connection.recv()
            await connection.send(reply)
        await connection.wait_closed()

    async def run() -> list[Any]:
        found: list[Any] = []
        async with serve(foreign, "127.0.0.1", 0) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            config = OpenEnvConfig(address=f"ws://127.0.0.1:{port}", action_field="message", timeout_s=1, **settings)
            client = OpenEnvClient(config)
            for number in range(len(replies)):
                try:
                    found.append(await (client.step("hi") if number else client.reset(seed=3)))
                except GymError as error:
                    found.append(error.code)
            await client.close()
        return found

    return asyncio.run(run())


def observation(seen: object, **members: object) -> str:
    return json.dumps({"type": "observation", "data": {"observation": seen, "reward": None, "done": False, **members}})


def test_a_foreign_server_is_an_environment():
    first, step, end = converse(
        observation({"echoed_message": "Ready", "metadata": {}}),
        observation({"board": [1, 2]}, reward=0.5),
        observation("done", reward=1, done=True, metadata={"a": 1, "b": [2]}),
    )
    assert (first.text, first.seed) == ("Ready", 3)
    assert (step.observation.text, step.reward, step.done) == ('{"board": [1, 2]}', 0.5, False)
    assert (end.observation.text, end.reward, end.done, end.info) == ("done", 1.0, True, {"a": 1})


@pytest.mark.parametrize(
    "reply",
    [
        "junk",
        b"\xff",
        "[]",
        '{"type":"observation"}',
        '{"type":"state","data":{}}',
        observation({}, reward="1"),
        observation({}, done=1),
        '{"type":"observation","data":{"observation":{},"reward":NaN,"done":false}}',
        '{"type":"observation","data":{"observation":{},"reward":1e999,"done":false}}',
    ],
)
def test_a_reply_outside_the_protocol_is_one_error(reply: str | bytes):
    assert converse(observation({}), reply)[1] == "LG-E174"


def test_a_silent_server_is_a_time_limit_and_a_refusal_keeps_the_session():
    refusal = json.dumps({"type": "error", "data": {"code": "EXECUTION_ERROR", "message": "no"}})
    assert converse(observation({}), refusal, observation({"text": "on"}))[1:][0] == "LG-E175"
    assert converse(observation({}), refusal, observation({"text": "on"}))[2].observation.text == "on"
    from websockets.asyncio.server import serve

    async def run() -> str:
        async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", 0) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            async with OpenEnvClient(OpenEnvConfig(address=f"ws://127.0.0.1:{port}", timeout_s=0.2)) as client:
                with pytest.raises(GymError) as caught:
                    await client.reset(seed=1)
                return caught.value.code

    assert asyncio.run(run()) == "LG-E172"
    with pytest.raises(GymError) as caught:
        OpenEnvEnvironment(OpenEnvConfig(address="ws://127.0.0.1:1", retries=1, backoff_s=0)).connect()
    assert caught.value.code == "LG-E171"
    with pytest.raises(GymError) as caught:
        OpenEnvEnvironment("ws://127.0.0.1:1").step("x")
    assert caught.value.code == "LG-E177"


def test_the_schema_of_a_server_decides_where_the_text_goes():
    text = {"type": "string"}
    assert ActionForm.of_schema({"properties": {"a": text, "b": text}, "required": ["b"]}).action("x") == {"b": "x"}
    several = ActionForm.of_schema({"properties": {"a": text, "b": text}})
    assert several.action('{"a":"x","b":"y"}') == {"a": "x", "b": "y"}
    for junk in ("x", "[1]", "\udc80"):
        with pytest.raises(GymError) as caught:
            several.action(junk)
        assert caught.value.code == "LG-E176"
    assert ActionForm.of_schema({}) == ActionForm.of_schema({"properties": 3}) == ActionForm(None)


def test_a_run_over_openenv_equals_the_embedded_run(tmp_path: Path, address: str):
    def collect(name: str, **settings: Any) -> list[Episode]:
        seen: list[Episode] = []
        asyncio.run(collect_episodes(CollectConfig(episodes=6, **settings), tmp_path / name, seen.append))
        return sorted(seen, key=lambda each: each.index)

    games = ("lights_out", "knapsack")
    ours = collect("ours", puzzles=games)
    theirs = collect("theirs", openenv=address, environments=games)
    assert [(each.id, each.status, each.reward, each.reference_moves) for each in ours] == [
        (each.id, each.status, each.reward, each.reference_moves) for each in theirs
    ]
    assert [[turn.move for turn in each.turns] for each in ours] == [
        [turn.move for turn in each.turns] for each in theirs
    ]
    assert collect("theirs", openenv=address, environments=games) == []  # nothing is left to play
    lost = collect("none", openenv=address, environments=("chess",))
    assert {each.status for each in lost} == {"aborted"}
    assert "unknown environment 'chess'" in lost[0].reason


@pytest.mark.slow
def test_a_server_that_ends_in_the_middle_loses_nothing_finished(tmp_path: Path):
    games = ("lights_out", "knapsack", "sudoku")
    seen: list[Episode] = []
    with stoppable_server() as (address, stop):

        def end(episode: Episode) -> None:
            seen.append(episode)
            if len(seen) == 5:
                stop()

        config = CollectConfig(episodes=20, openenv=address, environments=games, timeout_s=5)
        result = asyncio.run(collect_episodes(config, tmp_path / "out", end))
    assert len(seen) == 20
    assert {each.status for each in seen} == {"solved", "aborted"}
    assert 5 <= result.saved < 20
    lines = (tmp_path / "out/episodes.jsonl").read_text("utf-8").splitlines()
    assert [Episode.model_validate_json(line).index for line in lines] == sorted(
        each.index for each in seen if each.is_saved
    )


def test_a_cancelled_wait_ends_the_session_and_the_next_reset_begins_a_new_one(address: str):
    async def work(client: OpenEnvClient) -> None:
        first = await client.reset(seed=2)
        task = asyncio.create_task(client.step("show"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(GymError) as caught:
            await client.step("show")
        assert caught.value.code in ("LG-E173", "LG-E177")
        assert await client.reset(seed=2) == first

    with_client(OpenEnvConfig(address=f"{address}?environment=lights_out", action_field="action"), work)


@pytest.mark.slow
def test_the_commands(tmp_path: Path, address: str):
    def gym(*words: object) -> Any:
        return commands.run([sys.executable, "-m", "lazarus_cli", "gym", *words])

    done = gym("run", "--openenv", address, "--puzzles", "lights_out", "-n", 3, "-t", "none", "-o", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:3] == ["lights_out", "3", "3"]
    for words, says in (
        (("run", "--openenv", "nowhere"), "no address of an OpenEnv server"),
        (("run", "--openenv", "ws://127.0.0.1:1"), "cannot connect"),
        (("run", "--openenv", address, "--host", "x"), "two servers"),
        (("serve", "--protocol", "openenv", "--environment", "chess"), "unknown environment 'chess'"),
        (("serve", "--protocol", "openenv", "--telnet-port", 0), "--protocol puzzle"),
        (("serve", "--environment", "sudoku"), "--protocol openenv"),
        (("serve", "--protocol", "openenv", "--idle", -1), "`idle_s`"),
        (("serve", "--protocol", "openenv", "--host", "192.0.2.1"), "cannot listen"),
    ):
        done = gym(*words)
        assert done.returncode == 2 and says in done.stderr, done.stderr
