"""Episodes on the public puzzle servers, in scratch environments: every game, every transport, a kill in the middle.

The servers come from the package registry, so these tests run with `--thorough` only, and are skipped without uv or network.
They listen on the loopback address only.
"""

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lazarus_gym.episodes import CollectConfig, CollectResult, Episode, collect_episodes
from lazarus_gym.wire import PuzzleGame, TelnetClientConfig, TelnetGymClient, probe_games

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
PACKAGES = {
    "arcade": ("puzzle-arcade-server==0.8", "puzzle_arcade_server"),
    "gym": ("chuk-puzzles-gym==0.10.3", "chuk_puzzles_gym"),
}
TRANSPORTS = ("telnet", "tcp", "websocket", "ws_telnet")
UNPLAYABLE = {"logic_grid", "shikaku", "tents", "star_battle", "einstein"}
"""Games whose moves the servers' parsers do not accept, or that end the connection."""
ONLY_GYM = {"skyscrapers", "nqueens", "numberlink", "graph_coloring", "rush_hour"}
SLOW = {"cryptarithmetic"}
"""Games that block the whole server for half a minute."""
PLAYED = {game.value for game in PuzzleGame} - UNPLAYABLE - SLOW


class Server(NamedTuple):
    """A running server: its kind, process and ports by transport."""

    kind: str
    process: subprocess.Popen[bytes]
    ports: dict[str, int]


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module", params=PACKAGES)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A scratch environment with one of the servers."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp(request.param) / "venv"
    requirement, _ = PACKAGES[request.param]
    subprocess.run([uv, "venv", "-q", folder], check=True)
    done = subprocess.run(
        [uv, "pip", "install", "-q", "-p", folder / "bin/python", requirement], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{requirement} cannot be installed: {done.stderr.decode()[-200:]}")
    return request.param, folder


@pytest.fixture
def server(environment: tuple[str, Path], tmp_path: Path) -> Iterator[Server]:
    kind, folder = environment
    ports = dict(zip(TRANSPORTS, free_ports(4), strict=True))
    lines = ["servers:"]
    for transport, port in ports.items():
        lines += [
            f"  {transport}:",
            "    host: 127.0.0.1",
            f"    port: {port}",
            f"    transport: {transport}",
            f"    handler_class: {PACKAGES[kind][1]}.server:ArcadeHandler",
            "    max_connections: 100",
            "    connection_timeout: 300",
            "    ws_path: /ws",
            "    allow_origins: ['*']",
        ]
    (tmp_path / "config.yaml").write_text("\n".join(lines) + "\n")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [folder / "bin/server-launcher", "-c", tmp_path / "config.yaml"], stdout=log, stderr=log
        )
    try:
        for port in ports.values():
            until = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()[-500:]
                    time.sleep(0.1)
        yield Server(kind, process, ports)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def collect(server: Server, transport: str, output: Path, on_episode: Any = None, **settings: Any) -> CollectResult:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.ports[transport],
        "transport": "websocket" if transport.startswith("ws") or transport == "websocket" else "tcp",
        "timeout_s": 20,
        "puzzles": [game for game in PuzzleGame if game not in SLOW],
        "episodes": 29,
        "max_moves": 300,
        **settings,
    }
    return asyncio.run(collect_episodes(CollectConfig(**given), output, on_episode))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_game_is_played_or_accounted_for(server: Server, tmp_path: Path, transport: str):
    seen: list[Episode] = []
    result = collect(server, transport, tmp_path / "out", seen.append)
    solved = {each.game for each in seen if each.status == "solved"}
    assert solved == (PLAYED if server.kind == "gym" else PLAYED - ONLY_GYM)
    assert len(seen) == 29
    assert result.saved == len(solved) >= 18
    assert all(each.turns and each.final for each in seen if each.is_saved)
    assert all(each.reason for each in seen if not each.is_saved)


@pytest.mark.parametrize("transport", ["tcp", "telnet", "websocket"])
def test_a_hundred_episodes_over_eighteen_games(server: Server, tmp_path: Path, transport: str):
    games = sorted(PLAYED - ONLY_GYM)
    result = collect(server, transport, tmp_path / "out", puzzles=games, episodes=100, sessions=8)
    assert len(games) >= 18
    assert sum(row["episodes"] for row in result.games.values()) == 100
    assert result.saved + sum(result.reasons.values()) == 100
    assert result.saved >= 95


def test_a_server_killed_in_the_middle_loses_nothing_finished(server: Server, tmp_path: Path):
    seen: list[Episode] = []

    def kill(episode: Episode) -> None:
        seen.append(episode)
        if len(seen) == 6:
            server.process.kill()

    result = collect(server, "tcp", tmp_path / "out", kill, puzzles=["sudoku", "binary"], episodes=20)
    assert len(seen) == 20
    assert 6 <= result.saved < 20
    assert {each.status for each in seen} == {"solved", "aborted"}
    lines = (tmp_path / "out/episodes.jsonl").read_text("utf-8").splitlines()
    assert [Episode.model_validate_json(line).id for line in lines] == [
        each.id for each in sorted(seen, key=lambda each: each.index) if each.is_saved
    ]


def test_what_can_be_played_is_found_by_trying(server: Server):
    settings = TelnetClientConfig(host="127.0.0.1", port=server.ports["tcp"], timeout_s=90, start_timeout_s=90)
    found = {probe.game: probe.state for probe in asyncio.run(probe_games(lambda: TelnetGymClient(settings)))}
    playable = {game for game, state in found.items() if state == "playable"}
    offered = PLAYED | SLOW if server.kind == "gym" else PLAYED - ONLY_GYM
    assert playable == offered
    assert {game for game, state in found.items() if state in ("failed", "not playable")} == UNPLAYABLE
