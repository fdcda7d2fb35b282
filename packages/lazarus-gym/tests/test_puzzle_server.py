"""The puzzle protocol, server side."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lazarus_gym import GymError
from lazarus_gym.environments import GAMES
from lazarus_gym.episodes import CollectConfig, collect_episodes, open_embedded
from lazarus_gym.servers import PuzzleConnection, PuzzleServerConfig, serve_puzzles
from lazarus_gym.wire import PuzzleGame, PuzzleSession, TelnetClientConfig, TelnetGymClient


def talk(*lines: str) -> list[list[str]]:
    connection = PuzzleConnection()
    return [connection.reply(line) for line in lines]


def test_the_menu_lists_every_game_and_starts_it_by_number_id_and_name():
    menu = "\n".join(PuzzleConnection().menu())
    for number, (name, game) in enumerate(GAMES.items(), 1):
        assert f"{number}) {game.title}" in menu
        by_number, by_name = talk(f"{number} easy 7")[0], talk(f"{name} easy 7")[0]
        assert by_number == by_name
        assert "Seed: 7" in by_number
    assert talk("lights hard 3")[0] == talk("lights_out hard 3")[0]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("mode json", "Unknown command. Type 'help' to see available options."),
        ("chess", "Unknown command. Type 'help' to see available options."),
        ("99", f"Invalid game number. Choose 1-{len(GAMES)}."),
        ("sudoku extreme", "Invalid difficulty. Choose from: easy, medium, hard"),
        ("sudoku easy x", "Invalid seed. Give a whole number."),
        ("sudoku easy 99999999999999999999", "Invalid seed. Give a whole number."),
        ("sudoku easy 9999999999999999999", "Invalid seed. Give a whole number below 2**63."),
        ("sudoku easy \u0661", "Invalid seed. Give a whole number."),
        ("sudoku 5 hard", "Invalid difficulty. Choose from: easy, medium, hard"),
        ("sudoku 5 6", "Invalid difficulty. Choose from: easy, medium, hard"),
        ("sudoku easy 1 2", "Unknown command. Type 'help' to see available options."),
    ],
)
def test_what_the_menu_refuses_starts_nothing(line: str, answer: str):
    assert talk(line, "show") == [[answer], ["Unknown command. Type 'help' to see available options."]]


def test_a_strict_session():
    moves = talk("lights easy 3", "mode strict", "hint")[2]
    assert moves[0].startswith("HINT:Try pressing the light at row")
    row, column = moves[0].split("row ")[1].split(":")[0].split(", column ")
    answers = talk(
        "lights easy 3",
        "mode strict",
        "show",
        f"press {row} {column}",
        "press 9 9",
        "zap",
        "stats",
        "check",
        "compare",
        "menu",
        "show",
    )
    assert answers[1] == ["OK:MODE=strict"]
    assert answers[2][0] == "STATE:Lights Out:easy:3:0:active"
    assert answers[3:6] == [
        ["OK:PRESSED"],
        ["ERR:USAGE"],
        ["Unknown command 'zap'. Type 'help' for available commands."],
    ]
    assert answers[6][0].startswith("STATS:1:1:0:")
    assert answers[7] == ["INCOMPLETE:1"]
    assert answers[8][0].startswith("COMPARE:incomplete:1:")
    assert answers[10] == ["Unknown command. Type 'help' to see available options."]


def test_every_mode_answers_and_a_wrong_one_is_named():
    for mode in ("normal", "agent", "compact", "natural", "strict", "json"):
        answers = talk(
            "nonogram easy 3",
            f"mode {mode}",
            "show",
            "hint",
            "check",
            "stats",
            "compare",
            "seed",
            "help",
            "reset",
            "solve",
        )
        assert all(answers)
    assert talk("nonogram easy 3", "mode loud")[1][0].startswith("Invalid mode.")
    assert "---GRID-START---" in talk("nonogram easy 3", "mode agent", "show")[2]
    assert talk("lights easy 3", "seed")[1] == ["Seed: 3. Play it again: lights easy 3"]


def test_hints_have_a_budget():
    connection = PuzzleConnection()
    connection.reply("sudoku easy 1")
    hints = [connection.reply("hint")[0] for _ in range(101)]
    assert hints[99].startswith("Hint: Try placing")
    assert hints[100] == "Hint: none is left"


def converse(content: bytes, **settings: float) -> bytes:
    async def run() -> bytes:
        async with serve_puzzles(PuzzleServerConfig(port=0, **settings)) as port:  # pyright: ignore[reportArgumentType]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(content)
            received = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return received

    return asyncio.run(run())


def test_quit_ends_the_connection():
    received = converse(b"sudoku easy 1\r\nquit\r\n")
    assert received.endswith(b"Goodbye!\r\n")
    assert b"SUDOKU - EASY MODE" in received


def test_endless_lines_silence_and_crowds_end_connections():
    assert b"Goodbye" not in converse(b"x" * 100_000)
    assert converse(b"", idle_s=0.1).endswith(b"=\r\n\r\n")

    async def crowd() -> bytes:
        async with serve_puzzles(PuzzleServerConfig(port=0, max_connections=1)) as port:
            first, writer = await asyncio.open_connection("127.0.0.1", port)
            await first.readline()
            second, other = await asyncio.open_connection("127.0.0.1", port)
            received = await asyncio.wait_for(second.read(), 5)
            writer.close()
            other.close()
            return received

    assert asyncio.run(crowd()) == b"The server has too many connections. Try again later.\r\n"


def test_a_port_in_use_is_one_error():
    async def run() -> None:
        async with serve_puzzles(PuzzleServerConfig(port=0)) as port, serve_puzzles(PuzzleServerConfig(port=port)):
            pass

    with pytest.raises(GymError, match="choose another") as caught:
        asyncio.run(run())
    assert caught.value.code == "LG-E146"


TRANSPORTS = ("tcp", "telnet", "websocket")


async def transcript(session: PuzzleSession) -> list[Any]:
    """Everything that a session says in three games."""
    said: list[Any] = [session.menu]
    for game in (PuzzleGame.LIGHTS_OUT, PuzzleGame.MASTERMIND, PuzzleGame.SUDOKU):
        said += [await session.start(game, seed=5), session.rules]
        for _ in range(3):
            hint = await session.hint()
            said += [hint, await session.act(hint.move or "zap")]
        said += [await session.act("zap"), await session.check(), await session.observe(), await session.reset()]
    return said


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_gives_the_transcript_of_the_embedded_games(transport: Any):
    async def run() -> tuple[list[Any], list[Any]]:
        async with serve_puzzles(PuzzleServerConfig(port=0, transport=transport)) as port:
            kind: Any = "websocket" if transport == "websocket" else "tcp"
            async with TelnetGymClient(TelnetClientConfig(host="127.0.0.1", port=port, transport=kind)) as client:
                return await transcript(client.session), await transcript(await open_embedded(5))

    over_the_wire, embedded = asyncio.run(run())
    assert over_the_wire == embedded


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_run_over_every_transport_equals_the_embedded_run(tmp_path: Path, transport: Any):
    async def run() -> None:
        games: Any = ("lights_out", "knapsack", "minesweeper")
        await collect_episodes(CollectConfig(puzzles=games, episodes=9), tmp_path / "embedded")
        async with serve_puzzles(PuzzleServerConfig(port=0, transport=transport)) as port:
            kind: Any = "websocket" if transport == "websocket" else "tcp"
            config = CollectConfig(puzzles=games, episodes=9, host="127.0.0.1", port=port, transport=kind)
            await collect_episodes(config, tmp_path / "wire")

    asyncio.run(run())
    for name in ("episodes.jsonl", "samples.jsonl", "summary.json"):
        assert (tmp_path / "wire" / name).read_bytes() == (tmp_path / "embedded" / name).read_bytes()


def telnet(*pieces: bytes) -> bytes:
    """What a telnet server answers to pieces sent one after the other."""

    async def run() -> bytes:
        async with serve_puzzles(PuzzleServerConfig(port=0, transport="telnet")) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)
            received = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return received

    return asyncio.run(run())


def test_telnet_negotiates_echoes_and_prompts_as_the_public_servers_do():
    received = telnet(bytes.fromhex("fffd01fffd03fffb1f fffa1f00500018fff0"), b"lights easy 3\r\nquit\r\n")
    assert received.startswith(bytes.fromhex("fffb01fffb03fffd03fffd18fffd1ffffc22") + b"=" * 50 + b"\r\n")
    assert received.count(b"lights easy 3\r\n") == 1
    assert b"Lights Out" in received
    assert received.endswith(b"\r\n> quit\r\nGoodbye!\r\n")


def test_telnet_takes_typed_characters_and_erases():
    typed = telnet(*[bytes([byte]) for byte in b"lightsx\x7f easz\x08y 3"], b"\r\0", b"quit\r\n")
    assert b"lightsx\x08 \x08 easz\x08 \x08y 3\r\n" in typed
    assert b"LIGHTS OUT - EASY MODE" in typed
    assert b"Goodbye" not in telnet(b"x" * 5000)


def test_a_websocket_sends_a_line_a_message_and_waits_for_the_line_feed():
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    async def run() -> tuple[list[bytes], bytes]:
        async with serve_puzzles(PuzzleServerConfig(port=0, transport="websocket")) as port:
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{port}/other", proxy=None).__aenter__()
            async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as connection:
                menu = [await connection.recv() for _ in PuzzleConnection().menu()]
                await connection.send("qu")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(connection.recv(), 0.05)
                await connection.send("it\n")
                return menu, await connection.recv()  # pyright: ignore[reportReturnType]: binary

    menu, goodbye = asyncio.run(run())
    assert menu == [f"{line}\r\n".encode() for line in PuzzleConnection().menu()]
    assert goodbye == b"Goodbye!\r\n"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_crowds_and_endless_lines_end_connections_on_every_transport(transport: Any):
    from lazarus_gym.errors import WireError

    async def run() -> str:
        async with serve_puzzles(PuzzleServerConfig(port=0, transport=transport, max_connections=1)) as port:
            kind: Any = "websocket" if transport == "websocket" else "tcp"
            config = TelnetClientConfig(host="127.0.0.1", port=port, transport=kind, retries=0, connect_timeout_s=2)
            async with TelnetGymClient(config) as client:
                with pytest.raises(WireError) as caught:
                    await TelnetGymClient(config).connect()
                await client.start_puzzle(PuzzleGame.LIGHTS_OUT, seed=1)
                with pytest.raises(WireError):
                    await client.send_move("x" * 990)
                    await client.send_move("x" * 5000)
                return str(caught.value.code)

    assert asyncio.run(run()) in ("LG-E142", "LG-E143", "LG-E140")


@pytest.mark.parametrize("mode", ["normal", "strict", "json"])
@pytest.mark.parametrize("name", GAMES)
def test_a_reset_gives_away_nothing_that_was_hidden(name: str, mode: str):
    """Whatever was played before: a lost game stays lost, and a guess or a mine stays on the board."""
    connection = PuzzleConnection()
    connection.reply(f"{name} easy 1")
    play = connection.play
    assert play is not None
    connection.reply(f"mode {mode}")
    if name == "minesweeper":
        mine = min(play.puzzle.mines)
        connection.reply(f"reveal {mine // play.puzzle.size + 1} {mine % play.puzzle.size + 1}")
    elif name == "mastermind":
        wrong = " ".join(str(colour % play.puzzle.num_colours + 1) for colour in play.puzzle.code)
        for _ in range(play.puzzle.num_guesses):
            connection.reply(f"guess {wrong}")
    else:
        connection.reply(play.game.solution(play.puzzle, play.position)[0])
    is_lost, before = play.is_over, play.position
    assert is_lost is (name in ("minesweeper", "mastermind"))
    (said, *_) = connection.reply("reset")
    assert play.is_over is is_lost
    assert play.position == (before if is_lost else play.game.start(play.puzzle))
    assert ("not available" in said or said == "ERR:INVALID_MOVE") is is_lost


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_that_a_server_refuses_is_one_before_it_is_sent(seed: int):
    async def run() -> None:
        session = await open_embedded(5)
        with pytest.raises(GymError, match=f"`seed` is {seed}: give 0 to") as caught:
            await session.start(PuzzleGame.LIGHTS_OUT, seed=seed)
        assert caught.value.code == "LG-E145"
        assert (await session.start(PuzzleGame.LIGHTS_OUT, seed=2**63 - 1)).seed == 2**63 - 1

    asyncio.run(run())
