"""The puzzle protocol, server side."""

import asyncio

import pytest

from lazarus_gym import GymError
from lazarus_gym.environments import GAMES
from lazarus_gym.servers import PuzzleConnection, PuzzleServerConfig, serve_puzzles


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
