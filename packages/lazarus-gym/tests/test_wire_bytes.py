"""What is read off a connection: telnet, prompts, echoes, frames; captured bytes of public servers."""

import ast
import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym import GymError
from lazarus_gym.wire import PuzzleGame, find_puzzle, move_of_hint
from lazarus_gym.wire.lines import MAX_LINE_BYTES, Lines
from lazarus_gym.wire.telnet import MAX_SUBNEGOTIATION, TelnetStream

CAPTURED = Path(os.environ.get("LAZARUS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "gym"
needs_captures = pytest.mark.skipif(not CAPTURED.is_dir(), reason="captured transcripts are absent")
OFFER = bytes.fromhex("fffb01 fffb03 fffd03 fffd18 fffd1f fffc22")
"""What public servers send first on telnet."""
pieces = st.lists(
    st.one_of(
        st.text(max_size=8).map(str.encode),
        st.sampled_from([bytes([255, verb, option]) for verb in (251, 252, 253, 254) for option in (1, 3, 24, 31)]),
        st.sampled_from([bytes([255, 255]), bytes([255, 241]), bytes([255, 250, 24, 1, 255, 240])]),
    ),
    max_size=12,
)


class Pipe:
    """A transport with given pieces to receive."""

    def __init__(self, received: list[bytes]) -> None:
        self.received, self.sent = list(received), b""

    async def send(self, content: bytes) -> None:
        self.sent += content

    async def receive(self) -> bytes:
        return self.received.pop(0) if self.received else b""

    async def close(self) -> None:
        self.received = []


def lines_of(received: list[bytes], *sent: str) -> list[str]:
    """All lines of a connection that receives these pieces, the first of them before commands are sent."""

    async def read() -> list[str]:
        lines = Lines(Pipe(received), "here")
        found: list[str] = []
        try:
            found.append(await lines.next())
            if sent:
                await lines.send(*sent)
            while True:
                found.append(await lines.next())
        except GymError as error:
            assert error.code == "LG-E142"
            return found

    return asyncio.run(read())


@given(pieces, st.data())
def test_where_bytes_are_cut_changes_nothing(parts: list[bytes], data: st.DataObject):
    whole = OFFER + b"".join(parts)
    expected = TelnetStream().feed(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    stream = TelnetStream()
    fed = [stream.feed(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert tuple(map(b"".join, zip(*fed, strict=True))) == expected


def test_telnet_commands_are_answered_once_and_leave_the_text():
    stream = TelnetStream()
    assert stream.feed(OFFER + b"menu" + OFFER) == (b"menu", bytes.fromhex("fffd01 fffd03 fffb03 fffc18 fffc1f"))
    assert stream.feed(b"a\xff\xffb\xff\xf1c\xff\xfa\x18\x01\xff\xf0d") == (b"a\xffbcd", b"")
    with pytest.raises(ValueError, match="no end"):
        stream.feed(b"\xff\xfa" + b"x" * MAX_SUBNEGOTIATION)


def test_plain_text_passes_through_untouched():
    assert TelnetStream().feed(b"> plain \xc3\xa9\r\n") == (b"> plain \xc3\xa9\r\n", b"")


def test_prompts_and_echoes_are_removed_on_telnet_only():
    received = [OFFER + b"hi\r\n", b"hint\r\nHint: > 1\r\n> \r\n> mode json\r\n> {}\r\n", b"> "]
    assert lines_of(received, "hint", "mode json") == ["hi", "Hint: > 1", "{}"]
    assert lines_of([b"> hint\r\n\r\n> \n"]) == ["> hint", "> "]


def test_a_line_without_end_is_refused():
    with pytest.raises(GymError, match="longer than") as caught:
        asyncio.run(Lines(Pipe([b"x" * 65_536] * (MAX_LINE_BYTES // 65_536 + 1)), "here").next())
    assert caught.value.code == "LG-E143"


@needs_captures
def test_captured_telnet_and_websocket_menus_have_the_lines_of_tcp():
    tcp = (CAPTURED / "tcp_8024.txt").read_bytes().split(b"########")[0]
    expected = [line.replace("\r", "") for line in tcp.decode().split("\n") if line.strip()]
    telnet = (CAPTURED / "telnet_8023_menu.raw").read_text("utf-8").split("\n")
    received = [ast.literal_eval(line.removeprefix("<<< ")) for line in telnet if line.startswith("<<< b")]
    assert lines_of([received[0] + b"\r\n"]) == expected
    for size in (1, 7, 1000):
        cut = [received[0][at : at + size] for at in range(0, len(received[0]), size)]
        assert lines_of([*cut, b"\r\n"]) == expected
    frames = (CAPTURED / "ws_8025.raw").read_text("utf-8").split("\n")[0].removeprefix("<<< ")
    assert lines_of(ast.literal_eval(frames)) == expected


@needs_captures
def test_a_captured_echo_is_removed():
    telnet = (CAPTURED / "telnet_8023_menu.raw").read_text("utf-8").split("\n")
    received = [ast.literal_eval(line.removeprefix("<<< ")) for line in telnet if line.startswith("<<< b")]
    assert received[1].startswith(b"help\r\n")
    lines = lines_of(received[:2], "help")
    menu = lines_of(received[:1])
    assert lines == [*menu, *menu]


@pytest.mark.parametrize(
    ("sentence", "move"),
    [
        ("Try placing 6 at row 7, column 4", "place 7 4 6"),
        ("Try placing 4 at row 1, column 3.", "place 1 3 4"),
        ("Try placing a queen at row 1, column 5.", "place 1 5 1"),
        ("Try marking row 1, column 4 as filled (\u25a0)", "place 1 4 1"),
        ("Try marking row 4, column 4 as empty (X)", "place 4 4 0"),
        ("Alice has the Green color", "connect Alice color Green".replace("Alice", "person Alice")),
        ("Try pressing the light at row 1, column 5", "press 1 5"),
        ("The secret code is: 3 2 4 6", "guess 3 2 4 6"),
        ("Try setting horizontal edge at (1,1) to line", "set h 1 1 1"),
        ("Try setting vertical edge at (2,1) to X", "set v 2 1 2"),
        ("Try placing 1 bridge(s) between (6,4) and (6,6)", "bridge 6 4 6 6 1"),
        ("Try shading cell at row 1, column 2", "shade 1 2"),
        ("Try rectangle from (1,1) to (2,1)", "place 1 1 2 1"),
        ("Move up to get into push position", "move up"),
        ("Try selecting item 1 (Gold Bar)", "select 1"),
        ("Try scheduling Task B on Worker 1 at time 10", "assign 2 1 10"),
        ("Try marking (1,2) as white", "mark 1 2 white"),
        ("Try assigning White to house 1 as its color", "assign 1 color White"),
        ("Try revealing cell (1,2) - it's safe", "reveal 1 2"),
        ("Try coloring node 1 with Blue (color 2).", "place 1 2"),
        ("Try moving vehicle X right.", "move X right"),
        ("Try deselecting item 2: the only best selection does not have it", "deselect 2"),
        ("none is left", None),
        ("", None),
    ],
)
def test_sentences_of_hints_become_commands(sentence: str, move: str | None):
    assert move_of_hint(sentence) == move


def test_games_are_found_by_name_id_and_title():
    for game in PuzzleGame:
        assert find_puzzle(game.value) == find_puzzle(game.wire_id) == game
    assert find_puzzle("Einstein's Puzzle") is PuzzleGame.EINSTEIN
    with pytest.raises(GymError, match="sudoku") as caught:
        find_puzzle("sudoko")
    assert caught.value.code == "LG-E144"
