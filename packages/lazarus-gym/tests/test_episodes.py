"""Episodes: what is played is saved whole, in order, once; whatever stops a run loses no finished episode."""

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import commands
from lazarus_core.errors import LazarusError
from lazarus_gym import GymError, make_environment
from lazarus_gym.episodes import CollectConfig, CollectResult, Episode, collect_episodes
from lazarus_gym.servers import PuzzleServerConfig, serve_puzzles
from lazarus_gym.wire import PuzzleGame
from lazarus_tokenkit import read_samples

FILES = ("run.json", "episodes.jsonl", "samples.jsonl", "summary.json")
SMALL = (PuzzleGame.LIGHTS_OUT, PuzzleGame.KNAPSACK, PuzzleGame.MASTERMIND)


def collect(output: Path, on_episode: Any = None, **settings: Any) -> CollectResult:
    config = CollectConfig(**{"puzzles": SMALL, "episodes": 12, **settings})
    return asyncio.run(collect_episodes(config, output, on_episode))


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def episodes(folder: Path) -> list[Episode]:
    return [Episode.model_validate_json(line) for line in (folder / "episodes.jsonl").read_text("utf-8").splitlines()]


@contextmanager
def server(**settings: Any) -> Iterator[tuple[int, Any]]:
    """Our server in a thread: its port, and a function that stops it."""
    loop, started, stopped = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports: list[int] = []

    async def serve() -> None:
        async with serve_puzzles(PuzzleServerConfig(**{"port": 0, **settings})) as port:
            ports.append(port)
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(stopped.set)
            thread.join()

    try:
        yield ports[0], stop
    finally:
        stop()
        loop.close()


def test_every_game_is_played_and_every_sample_is_a_solution(tmp_path: Path):
    result = collect(tmp_path / "out", puzzles=tuple(map(PuzzleGame, GAMES)), episodes=16)
    assert (result.saved, result.samples, result.reasons) == (16, 16, {})
    assert all(row["solved"] == row["episodes"] == 2 for row in result.games.values())
    for row in map(json.loads, (tmp_path / "out/samples.jsonl").read_text("utf-8").splitlines()):
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
        environment = make_environment(row["game"])
        environment.reset(seed=row["seed"], task=row["difficulty"])
        for message in row["messages"]:
            if message["role"] == "assistant":
                assert environment.step(message["content"]).info["valid"]
        assert environment.state().solved
        assert row["outcome"]["final"]
    assert [sample.id for sample in read_samples(tmp_path / "out/samples.jsonl")] == [
        episode.id for episode in episodes(tmp_path / "out")
    ]


GAMES = ("sudoku", "futoshiki", "binary", "lights_out", "mastermind", "knapsack", "minesweeper", "nonogram")


def test_equal_settings_write_equal_bytes_however_many_sessions(tmp_path: Path):
    for name, sessions in (("one", 1), ("other", 7)):
        collect(tmp_path / name, sessions=sessions)
    assert content(tmp_path / "one") == content(tmp_path / "other")


@pytest.mark.parametrize("stop_after", [1, 5, 11])
def test_a_stopped_run_keeps_what_was_finished_and_goes_on(tmp_path: Path, stop_after: int):
    collect(tmp_path / "whole")
    seen: list[Episode] = []

    def stop(episode: Episode) -> None:
        seen.append(episode)
        if len(seen) == stop_after:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        collect(tmp_path / "out", stop, sessions=2)
    assert sorted(each.index for each in episodes(tmp_path / "out")) == sorted(each.index for each in seen)
    after: list[Episode] = []
    collect(tmp_path / "out", after.append)
    assert len(after) == 12 - len(seen)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_cut_off_line_is_played_again(tmp_path: Path):
    collect(tmp_path / "out")
    whole = content(tmp_path / "out")
    file = tmp_path / "out/episodes.jsonl"
    file.write_bytes(whole["episodes.jsonl"][:-50])
    collect(tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_a_server_killed_in_the_middle_loses_nothing_finished(tmp_path: Path):
    with server() as (port, stop):
        seen: list[Episode] = []

        def kill(episode: Episode) -> None:
            seen.append(episode)
            if len(seen) == 5:
                stop()

        result = collect(tmp_path / "out", kill, host="127.0.0.1", port=port, episodes=30, timeout_s=5)
    assert len(seen) == 30
    finished = [each for each in seen if each.is_saved]
    assert 5 <= len(finished) < 30
    assert result.saved == len(finished)
    assert {each.status for each in seen} == {"solved", "aborted"}
    assert [each.index for each in episodes(tmp_path / "out")] == sorted(each.index for each in finished)
    with server() as (port, _):
        collect(tmp_path / "out", host="127.0.0.1", port=port, episodes=30)
    assert [each.index for each in episodes(tmp_path / "out")] == list(range(30))


def test_wire_and_embedded_play_the_same(tmp_path: Path):
    collect(tmp_path / "embedded")
    with server() as (port, _):
        collect(tmp_path / "wire", host="127.0.0.1", port=port)
    for name in ("episodes.jsonl", "samples.jsonl", "summary.json"):
        assert (tmp_path / "wire" / name).read_bytes() == (tmp_path / "embedded" / name).read_bytes()


def test_truncated_and_refused_episodes_are_counted_and_never_saved(tmp_path: Path):
    result = collect(tmp_path / "out", max_moves=1, puzzles=(PuzzleGame.SUDOKU,))
    assert (result.saved, result.games["sudoku"]["truncated"]) == (0, 12)
    assert (tmp_path / "out/episodes.jsonl").read_bytes() == (tmp_path / "out/samples.jsonl").read_bytes() == b""
    with server() as (port, _):
        result = collect(
            tmp_path / "two", host="127.0.0.1", port=port, puzzles=(PuzzleGame.KENKEN, PuzzleGame.KNAPSACK), sessions=1
        )
    assert (result.games["kenken"]["aborted"], result.games["knapsack"]["solved"]) == (6, 6)
    assert [count for reason, count in result.reasons.items() if "does not offer 'kenken'" in reason] == [6]


def test_a_lost_game_is_saved_as_an_episode_and_not_as_a_sample(tmp_path: Path):
    result = collect(tmp_path / "out", policy="random", puzzles=(PuzzleGame.MINESWEEPER,), episodes=20, max_moves=400)
    row = result.games["minesweeper"]
    assert row["lost"] > 0
    assert row["lost"] + row["solved"] == result.saved
    assert result.samples == row["solved"]
    assert all(each.turns[-1].code == "EXPLODED" for each in episodes(tmp_path / "out") if each.status == "lost")
    assert all(each.reward == 0 for each in episodes(tmp_path / "out") if each.status == "lost")


@pytest.mark.parametrize("game", [PuzzleGame.KNAPSACK, PuzzleGame.MASTERMIND, PuzzleGame.LIGHTS_OUT, PuzzleGame.BINARY])
def test_random_moves_are_well_formed(tmp_path: Path, game: PuzzleGame):
    seen: list[Episode] = []
    collect(tmp_path / "out", seen.append, policy="random", puzzles=(game,), episodes=3, max_moves=30)
    assert all(turn.code != "USAGE" and turn.observation for episode in seen for turn in episode.turns)
    assert len({turn.move for episode in seen for turn in episode.turns}) > 3


def test_a_random_win_without_hints_earns_the_reward(tmp_path: Path):
    collect(tmp_path / "out", policy="random", puzzles=(PuzzleGame.KNAPSACK,), episodes=3, max_moves=2000)
    assert {each.reward for each in episodes(tmp_path / "out")} == {1.0}


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"puzzles": (PuzzleGame.KENKEN,)}, "LG-E151"),
        ({"policy": "random", "puzzles": (PuzzleGame.BRIDGES,), "host": "127.0.0.1"}, "LG-E151"),
        ({"policy": "model"}, "LG-E152"),
        ({"model": "nano"}, "LG-E152"),
        ({"host": "127.0.0.1", "port": 1}, "LG-E140"),
    ],
)
def test_what_cannot_be_played_is_one_error(tmp_path: Path, settings: dict[str, Any], code: str):
    with pytest.raises(GymError) as caught:
        collect(tmp_path / "out", **settings)
    assert caught.value.code == code


def test_a_folder_of_something_else_is_kept(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/episodes.jsonl").write_text("mine\n")
    for _ in range(2):
        with pytest.raises(LazarusError) as caught:
            collect(tmp_path / "out")
        assert caught.value.code == "LG-E150"
    assert (tmp_path / "out/episodes.jsonl").read_text() == "mine\n"
    collect(tmp_path / "run")
    before = content(tmp_path / "run")
    with pytest.raises(LazarusError, match="other settings"):
        collect(tmp_path / "run", seed=1)
    assert content(tmp_path / "run") == before
    (tmp_path / "run/episodes.jsonl").write_text("{}\n")
    with pytest.raises(GymError) as caught:
        collect(tmp_path / "run")
    assert caught.value.code == "LG-E154"


def test_a_full_disk_loses_no_finished_episode(tmp_path: Path):
    words = [
        "gym",
        "run",
        "--puzzles",
        "sudoku,knapsack",
        "-n",
        "12",
        "--sessions",
        "1",
        "-t",
        "none",
        "-o",
        str(tmp_path / "out"),
    ]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, -1))\n"
        "sys.argv = sys.argv[:1] + sys.argv[1:]\nfrom lazarus_cli.__main__ import main; main()"
    )
    done = commands.Command([sys.executable, "-c", code, *words], forks=False).finish()
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    kept = episodes(tmp_path / "out")
    assert 0 < len(kept) < 12
    assert commands.run([sys.executable, "-m", "lazarus_cli", *words]).returncode == 0
    assert [each.index for each in episodes(tmp_path / "out")] == list(range(12))
    assert [each for each in episodes(tmp_path / "out") if each.index in {one.index for one in kept}] == sorted(
        kept, key=lambda each: each.index
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_loses_no_finished_episode(tmp_path: Path, number: signal.Signals):
    out = tmp_path / "out"
    words = ["gym", "run", "--puzzles", "sudoku", "-n", "3000", "-t", "none", "-o", out]
    with commands.Command([sys.executable, "-m", "lazarus_cli", *words], forks=False) as command:
        file = out / "episodes.jsonl"
        commands.wait_until(command, lambda: file.exists() and file.stat().st_size > 100_000)
        command.send_signal(number)
        done = command.finish()
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr
    kept = episodes(out)
    assert 4 < len(kept) < 3000
    assert len((out / "samples.jsonl").read_text("utf-8").splitlines()) == len(kept)


def lazarus(*words: object) -> Any:
    return commands.run([sys.executable, "-m", "lazarus_cli", "gym", *words])


def test_the_command_prints_a_table_and_writes_a_length_cache(tmp_path: Path):
    done = lazarus("run", "--puzzles", "lights_out,binary", "--episodes", 4, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == [
        *("puzzle", "episodes", "solved", "lost", "truncated", "stuck", "aborted", "moves", "reward")
    ]
    assert done.stdout.splitlines()[1].split()[:3] == ["binary", "2", "2"]
    assert (tmp_path / "out/lengths.jsonl").is_file()
    budget = done.stderr.split("-b ")[1].split()[0]
    plan = [
        "data",
        "batchplan",
        "build",
        "-l",
        tmp_path / "out/lengths.jsonl",
        "-e",
        "1",
        "-b",
        budget,
        "-o",
        tmp_path / "plan",
    ]
    assert commands.run([sys.executable, "-m", "lazarus_cli", *plan]).returncode == 0
    done = lazarus("run", "--puzzles", "lights_out,binary", "--episodes", 4, "-o", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["saved"] == 4


def test_a_run_that_saved_nothing_exits_1(tmp_path: Path):
    done = lazarus(
        "run", "--puzzles", "sudoku", "-n", 2, "--policy", "random", "--max-moves", 3, "-o", tmp_path / "out"
    )
    assert done.returncode == 1
    assert "no episode was saved: not solved in 3 moves" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--puzzles", "sudoko"], "there are sudoku"),
        (["-n", "0"], "`episodes` is 0"),
        (["--sessions", "0"], "`sessions` is 0"),
        (["--port", "0"], "--port"),
        (["--timeout", "-1"], "--timeout"),
        (["--host", "127.0.0.1", "--port", "1"], "cannot connect to 127.0.0.1:1"),
        (["--policy", "model"], "needs `model`"),
        (["--puzzles", "kenken"], "no embedded game is called 'kenken'"),
    ],
)
def test_bad_usage_of_run_is_one_line_and_exit_2(tmp_path: Path, words: list[str], says: str):
    done = lazarus("run", "-o", tmp_path / "out", *words)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists() or "cannot connect" in says


def test_without_an_output_a_run_has_a_dated_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert lazarus("run", "--puzzles", "knapsack", "-n", 1, "-t", "none").returncode == 0
    assert len(list(tmp_path.glob("gym/run-20*/samples.jsonl"))) == 2


def test_serve_offers_what_run_and_info_find(tmp_path: Path):
    with commands.Command([sys.executable, "-m", "lazarus_cli", "gym", "serve", "--port", 0]) as serving:
        said = Path(f"/proc/self/fd/{serving._err.fileno()}")
        commands.wait_until(serving, lambda: "Ctrl-C" in said.read_text())
        port = said.read_text().split("127.0.0.1:")[1].split(";")[0]
        done = lazarus("info", "--host", "127.0.0.1", "--port", port, "--json")
        states = {row["game"]: row["state"] for row in json.loads(done.stdout)["games"]}
        assert {game for game, state in states.items() if state == "playable"} == set(GAMES)
        assert set(states.values()) == {"playable", "not offered"}
        done = lazarus(
            "run",
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--puzzles",
            "all",
            "-n",
            30,
            "-t",
            "none",
            "-o",
            tmp_path / "o",
        )
        assert done.returncode == 0, done.stderr
        assert len(episodes(tmp_path / "o")) == 8
        serving.send_signal(signal.SIGINT)
        assert serving.finish().returncode == 0
    assert lazarus("serve", "--port", "70000").returncode == 2


def test_info_lists_the_embedded_environments():
    done = lazarus("info")
    assert done.stdout.splitlines()[1].split() == ["sudoku", "embedded", "easy,", "medium,", "hard"]
    assert "maths" in done.stdout


@pytest.mark.slow
def test_a_model_plays(tmp_path: Path):
    from lazarus_models import init_model, save
    from lazarus_tokenkit import load_tokenizer

    save(init_model("nano", load_tokenizer("byte"), seed=0), tmp_path / "nano")
    seen: list[Episode] = []
    collect(tmp_path / "out", seen.append, policy="model", model=str(tmp_path / "nano"), episodes=2, max_moves=3)
    assert len(seen) == 2
    assert all(len(each.turns) == 3 or each.status != "truncated" for each in seen)
