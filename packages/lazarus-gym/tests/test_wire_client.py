"""The client against our own server, against captured sessions, and against servers that fail."""

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lazarus_gym import GymError, make_environment
from lazarus_gym.environments import GAMES
from lazarus_gym.servers import PuzzleServerConfig, serve_puzzles
from lazarus_gym.wire import (
    PuzzleDifficulty,
    PuzzleGame,
    TelnetClientConfig,
    TelnetGymClient,
    find_puzzle,
)

CAPTURED = Path(os.environ.get("LAZARUS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "gym"
needs_captures = pytest.mark.skipif(not CAPTURED.is_dir(), reason="captured transcripts are absent")
MENU = "Select a game:\nExamples:\n  x\n====\n"
MODE = '{"type":"mode","mode":"json","success":true}\n'
SHOWN = {"type": "observation", "game": "Sudoku", "difficulty": "easy", "seed": 1, "moves": 0, "grid_display": "x"}
Talk = Callable[[TelnetGymClient], Awaitable[Any]]


def config(port: int, **settings: Any) -> TelnetClientConfig:
    return TelnetClientConfig(**{"host": "127.0.0.1", "port": port, "timeout_s": 5, "retries": 0, **settings})


def with_server(talk: Talk, **settings: Any) -> Any:
    """What a conversation with our own server returns."""

    async def run() -> Any:
        async with (
            serve_puzzles(PuzzleServerConfig(port=0, **settings)) as port,
            TelnetGymClient(config(port)) as client,
        ):
            return await talk(client)

    return asyncio.run(run())


def with_answers(answer: Callable[[str], str | None], talk: Talk, *, menu: str = MENU, **settings: Any) -> Any:
    """What a conversation with a scripted server returns; None ends the connection."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(menu.encode())
        while line := await reader.readline():
            said = answer(line.decode().strip())
            if said is None:
                break
            writer.write(said.encode())
        writer.close()

    async def run() -> Any:
        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with TelnetGymClient(config(port, **settings)) as client:
                return await talk(client)

    return asyncio.run(run())


def scripted(replies: dict[str, str | None]) -> Callable[[str], str | None]:
    usual: dict[str, str | None] = {"mode json": MODE, "show": json.dumps(SHOWN) + "\n"}
    return lambda line: (usual | replies).get(line, "")


@pytest.mark.parametrize("name", GAMES)
def test_the_wire_plays_what_the_environment_plays(name: str):
    environment = make_environment(name)

    async def talk(client: TelnetGymClient) -> None:
        for seed, level in ((3, PuzzleDifficulty.EASY), (4, PuzzleDifficulty.MEDIUM)):
            environment.reset(seed=seed, task=level)
            first = await client.start_puzzle(find_puzzle(name), level, seed)
            assert first.optimal_steps == environment.state().reference_moves
            while True:
                hint, ours = await client.get_hint(), environment.step("hint")
                assert hint.move == ours.info["hint_move"]
                moved, step = await client.send_move(hint.move or ""), environment.step(hint.move or "")
                assert (moved.success, moved.code, moved.is_complete) == (True, step.info["code"], step.done)
                assert moved.observation is not None
                grid = step.observation.grid
                assert moved.observation.grid == (None if grid is None else [list(row) for row in grid])
                if step.done:
                    break
            assert (await client.check()).is_complete
            assert moved.observation.optimal_steps == first.optimal_steps

    with_server(talk)


def test_many_sessions_play_at_once():
    async def one(port: int, seed: int) -> bool:
        async with TelnetGymClient(config(port)) as client:
            await client.start_puzzle(PuzzleGame.LIGHTS_OUT, seed=seed)
            while not (moved := await client.send_move((await client.get_hint()).move or "")).is_complete:
                assert moved.success
            return True

    async def run() -> list[bool]:
        async with serve_puzzles(PuzzleServerConfig(port=0)) as port:
            return await asyncio.gather(*(one(port, seed) for seed in range(30)))

    assert asyncio.run(run()) == [True] * 30


def test_solve_forfeits_and_reset_keeps_the_counters():
    async def talk(client: TelnetGymClient) -> None:
        await client.start_puzzle(PuzzleGame.SUDOKU, seed=1)
        await client.get_hint()
        await client.send_move("place 1 1 99")
        after = await client.reset()
        assert (after.hints_used, after.invalid_moves, after.moves) == (1, 1, 0)
        await client.send_move("solve")
        assert not (await client.check()).is_complete
        assert not (await client.get_observation()).is_complete
        assert (await client.send_move("place 1 1 1")).code == "GAME_OVER"
        assert (await client.get_hint()).move is None

    with_server(talk)


def test_unknown_commands_games_and_levels():
    async def talk(client: TelnetGymClient) -> None:
        with pytest.raises(GymError, match="'kenken'") as caught:
            await client.start_puzzle(PuzzleGame.KENKEN)
        assert caught.value.code == "LG-E144"
        await client.start_puzzle(PuzzleGame.BINARY, seed=5)
        assert (await client.send_move("bogus")).code == "UNKNOWN"
        other = await client.start_puzzle(PuzzleGame.NONOGRAM, seed=5)  # leaves the first
        assert other.game == "Nonogram"
        with pytest.raises(GymError, match="one line"):
            await client.send_move("show\nsolve")
        assert (await client.start_puzzle(PuzzleGame.BINARY)).seed >= 0

    with_server(talk)


def test_a_command_before_start_or_connection_is_refused():
    async def talk(client: TelnetGymClient) -> None:
        with pytest.raises(GymError, match="start") as caught:
            await client.get_hint()
        assert caught.value.code == "LG-E145"

    with_server(talk)
    with pytest.raises(GymError, match="async with"):
        asyncio.run(TelnetGymClient().get_hint())


class Replay:
    """Answers of a captured session, in order; the mark is answered wherever it comes."""

    def __init__(self, path: Path) -> None:
        text = path.read_bytes().decode()
        first, *rest = re.split(r"^>>> ", text, flags=re.MULTILINE)
        self.menu = first
        self.turns = [part.split("\n", 1) for part in rest]
        self.shown = ""

    def __call__(self, line: str) -> str:
        if line == "mode json" and self.turns and self.turns[0][0].strip() != line:
            return MODE
        if line == "show":
            found = json.loads(next(each for each in self.turns[0:3] if '"state"' in each[1])[1].split("\n")[0])[
                "state"
            ]
            return json.dumps({**found, "type": "observation", "grid_display": "board"}) + "\n"
        command, reply = self.turns.pop(0)
        assert command.strip() == line
        return reply


@needs_captures
@pytest.mark.parametrize("name", ["arcade", "gym"])
def test_a_captured_episode_is_played_again(name: str):
    replay = Replay(CAPTURED / f"episode_sudoku_easy_12345_tcp_{name}.txt")

    async def talk(client: TelnetGymClient) -> None:
        await client.start_puzzle(PuzzleGame.SUDOKU, seed=12345)
        moves, moved = 0, None
        while moved is None or not moved.is_complete:
            hint = await client.get_hint()
            moved = await client.send_move(hint.move or "")
            moves += 1
            assert moved.success and moved.observation is not None and moved.observation.moves == moves
        assert moves == 35
        assert moved.observation is not None and moved.observation.grid == SOLVED

    with_answers(replay, talk, menu=replay.menu)


SOLVED = [
    [8, 5, 4, 3, 1, 2, 6, 9, 7],
    [2, 6, 3, 7, 5, 9, 1, 8, 4],
    [9, 1, 7, 4, 8, 6, 2, 5, 3],
    [1, 3, 9, 8, 7, 5, 4, 6, 2],
    [6, 7, 8, 2, 9, 4, 3, 1, 5],
    [5, 4, 2, 1, 6, 3, 9, 7, 8],
    [4, 9, 5, 6, 2, 8, 7, 3, 1],
    [7, 2, 6, 5, 3, 1, 8, 4, 9],
    [3, 8, 1, 9, 4, 7, 5, 2, 6],
]


async def start_and_hint(client: TelnetGymClient) -> Any:
    await client.start_puzzle(PuzzleGame.SUDOKU)
    return await client.get_hint()


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ({"sudoku easy": None}, "LG-E142"),
        ({"hint": None}, "LG-E142"),
        ({"mode json": ""}, "LG-E141"),
        ({"show": '{"type":"observation","seed":"many"}\n'}, "LG-E143"),
        ({"show": "{not json}\n" + "[" * 5000 + "\n"}, "LG-E143"),
        ({"show": '{"type":"observation",' + '"a":[' * 3000 + "\n"}, "LG-E143"),
        ({"hint": "line\n" * 20_001}, "LG-E143"),
        ({"sudoku easy": "Unknown command. Type 'help'\n", "mode json": "Unknown command. Type 'help'\n"}, "LG-E144"),
    ],
)
def test_a_server_that_fails_is_one_error(replies: dict[str, str | None], code: str):
    with pytest.raises(GymError) as caught:
        with_answers(scripted(replies), start_and_hint, timeout_s=0.3, start_timeout_s=0.3)
    assert caught.value.code == code


def test_strange_replies_to_moves_are_no_success():
    async def talk(client: TelnetGymClient) -> list[Any]:
        await start_and_hint(client)
        return [await client.send_move("place 1 1 1"), await client.get_hint()]

    moved, hint = with_answers(
        scripted({"place 1 1 1": '{"type":"result","success":"yes"}\n{"a":1\n', "hint": "No.\n"}), talk
    )
    assert (moved.success, moved.is_complete, hint.move, hint.message) == (False, False, None, "No.")


def test_a_cancelled_wait_closes_the_session_for_use():
    async def talk(client: TelnetGymClient) -> None:
        await client.start_puzzle(PuzzleGame.SUDOKU)
        waiting = asyncio.create_task(client.get_hint())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(GymError, match="open another") as caught:
            await client.get_observation()
        assert caught.value.code == "LG-E142"

    marks = iter([MODE, MODE])
    usual = scripted({})
    with_answers(lambda line: next(marks, "") if line == "mode json" else usual(line), talk)


def test_no_server_and_no_puzzle_server():
    async def reach(port: int, **settings: Any) -> None:
        async with TelnetGymClient(config(port, **settings)):
            pass

    begin = time.monotonic()
    with pytest.raises(GymError, match="cannot connect") as caught:
        asyncio.run(reach(1, retries=2, backoff_s=0.02))
    assert caught.value.code == "LG-E140"
    assert time.monotonic() - begin >= 0.06
    with pytest.raises(GymError, match="menu") as caught:
        with_answers(scripted({}), start_and_hint, menu="", connect_timeout_s=0.2)
    assert caught.value.code == "LG-E141"
    with pytest.raises(GymError, match="no puzzle server") as caught:
        with_answers(scripted({}), start_and_hint, menu="hello\n" * 1001)
    assert caught.value.code == "LG-E143"


def test_a_websocket_is_a_byte_stream_too():
    from websockets.asyncio.server import ServerConnection, serve

    async def answer(connection: ServerConnection) -> None:
        await connection.send(b"\xff\xfb\x01")
        for piece in (MENU[:7], MENU[7:]):
            await connection.send(piece.encode())
        async for message in connection:
            text = message if isinstance(message, str) else ""
            for line in text.split("\r\n"):
                await connection.send(line)  # an echo
                await connection.send(f"\r\n{scripted({'hint': 'Hint: Move up'})(line)}> ")

    async def run() -> Any:
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with TelnetGymClient(config(port, transport="websocket")) as client:
                return await start_and_hint(client)

    assert asyncio.run(run()).move == "move up"


def test_what_is_no_websocket_is_one_error():
    async def run() -> None:
        async with (
            serve_puzzles(PuzzleServerConfig(port=0)) as port,
            TelnetGymClient(config(port, transport="websocket")),
        ):
            pass

    with pytest.raises(GymError, match="WebSocket") as caught:
        asyncio.run(run())
    assert caught.value.code == "LG-E140"
