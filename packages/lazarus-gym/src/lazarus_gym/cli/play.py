"""The commands that play: `lazarus gym run`, `info` and `serve`."""

import itertools
import json
import shlex
import signal
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from lazarus_core.console import progress, say, show
from lazarus_core.reasons import plain_reason

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from lazarus_gym.episodes import CollectConfig, CollectResult, Episode
    from lazarus_gym.wire import PuzzleGame

Host = Annotated[str | None, typer.Option("--host", help="Puzzle server [default: the embedded games].")]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        help="Port of --host: 8023 telnet, 8024 TCP, 8025 WebSocket [default: 8024].",
        min=1,
        max=65_535,
    ),
]
Transport = Annotated[
    Literal["auto", "tcp", "websocket"] | None,
    typer.Option(
        "--transport",
        help="For --host: `tcp` understands telnet too; `auto` is `websocket` on 8025 and 8026 [default: auto].",
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds for a reply of the server.", min=0.1, max=86_400)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PORT = 8024
DEFAULT_FOLDER = Path("gym")
Result = TypeVar("Result")


def run(
    host: Host = None,
    port: Port = None,
    openenv: Annotated[
        str | None, typer.Option("--openenv", help="OpenEnv server instead, such as ws://127.0.0.1:8000.")
    ] = None,
    puzzles: Annotated[
        str,
        typer.Option(
            "--puzzles",
            help="Games, comma-separated, or `all` [default: the embedded games; of --host: sudoku; of --openenv: the server's choice].",
        ),
    ] = "",
    episodes: Annotated[int, typer.Option("-n", "--episodes", help="Number of episodes.")] = 100,
    difficulty: Annotated[
        Literal["easy", "medium", "hard"], typer.Option("--difficulty", help="easy, medium or hard.")
    ] = "easy",
    policy: Annotated[
        Literal["hint", "random", "model"],
        typer.Option("--policy", help="Who plays: the server's hints, random moves, or a model."),
    ] = "hint",
    model: Annotated[
        str | None, typer.Option("--model", help="For --policy model: a directory, a name or a repository.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first puzzles.")] = 0,
    max_moves: Annotated[int, typer.Option("--max-moves", help="Moves after which an episode is given up.")] = 200,
    sessions: Annotated[int, typer.Option("--sessions", help="Connections at once.")] = 4,
    transport: Transport = None,
    timeout: Timeout = 60.0,
    tokenizer: Annotated[
        str, typer.Option("-t", "--tokenizer", help="Tokenizer of the length cache, or `none` for no cache.")
    ] = "byte",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write [default: gym/run-DATE-TIME].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play puzzles and save finished episodes as training data. The same command continues a stopped run.

    Example: --puzzles sudoku,binary --episodes 100 -o episodes
    Example: --host localhost --port 8024 --puzzles sudoku --episodes 10
    Example: --openenv ws://127.0.0.1:8000 --puzzles sudoku --episodes 10
    """
    from lazarus_gym.episodes import EMBEDDED_GAMES, check_tokenizer, collect_episodes
    from lazarus_gym.wire import PuzzleGame

    everything = EMBEDDED_GAMES if host is None else tuple(PuzzleGame)
    is_all = openenv is not None or puzzles == "all" or (not puzzles and host is None)
    config = _config(
        puzzles=everything if is_all else _games(puzzles or "sudoku"),
        openenv=openenv,
        environments=_environments(puzzles) if openenv is not None else (),
        episodes=episodes,
        difficulty=difficulty,
        policy=policy,
        model=model,
        seed=seed,
        max_moves=max_moves,
        sessions=sessions,
        host=host,
        timeout_s=timeout,
        **_of_host(host, port, transport),
    )
    folder = output or _dated_folder()
    if tokenizer != "none":
        check_tokenizer(tokenizer)  # a wrong name is refused before the work
    with progress("episodes", total=episodes, unit="episodes") as advance:

        def ended(episode: "Episode") -> None:
            advance(1, f"{episode.game} {episode.status}")

        result = _until_signal(collect_episodes(config, folder, ended))
    _report(result, folder, tokenizer, as_json=as_json)
    if not result.saved:
        say(f"no episode was saved: {next(iter(result.reasons), 'none was played')}")
        raise typer.Exit(1)


def _until_signal(work: "Coroutine[Any, Any, Result]") -> "Result":
    """Runs a coroutine; SIGTERM and SIGHUP cancel it, as Ctrl-C does, and then end the command with their exit code."""
    import asyncio

    received: list[int] = []

    async def watched() -> "Result":
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, stop, number)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise SystemExit(128 + received[0]) from None


def _config(**settings: Any) -> "CollectConfig":
    from pydantic import ValidationError

    from lazarus_gym.episodes import CollectConfig
    from lazarus_gym.errors import EpisodeError

    try:
        return CollectConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise EpisodeError(f"`{name}` is {settings.get(name)!r}: {plain_reason(first['msg'])}", "LG-E155") from error


def _of_host(host: str | None, port: int | None, transport: str | None) -> dict[str, Any]:
    """Settings of the puzzle server. Without --host the embedded games are played, so its other options are refused."""
    given = {"--port": port, "--transport": transport}
    if host is None and (unused := [name for name, value in given.items() if value is not None]):
        raise typer.BadParameter(f"{unused[0]} has no effect without --host")
    return {"port": PORT if port is None else port, "transport": transport or "auto"}


def _games(words: str) -> "tuple[PuzzleGame, ...]":
    from lazarus_gym.wire import find_puzzle

    return tuple(dict.fromkeys(find_puzzle(word) for word in words.split(",")))


def _environments(words: str) -> tuple[str, ...]:
    """Names of environments of an OpenEnv server; `all` are the embedded games."""
    from lazarus_gym.episodes import EMBEDDED_GAMES

    if words == "all":
        return tuple(game.value for game in EMBEDDED_GAMES)
    return tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))


def _dated_folder() -> Path:
    name = f"run-{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(folder for each in names if not (folder := DEFAULT_FOLDER / each).exists())


def _report(result: "CollectResult", folder: Path, tokenizer: str, *, as_json: bool) -> None:
    from lazarus_gym.episodes import write_lengths

    longest = write_lengths(folder, tokenizer) if result.samples and tokenizer != "none" else 0
    if as_json:
        show(json.dumps({"folder": str(folder), **result.model_dump()}, indent=1))
    else:
        counts = ("episodes", "solved", "lost", "truncated", "stuck", "aborted")
        show(f"{'puzzle':<16}{''.join(f'{name:>10}' for name in counts)}{'moves':>8}{'reward':>8}")
        for game, row in result.games.items():
            numbers = "".join(f"{row[name]:>10.0f}" for name in counts)
            show(f"{game:<16}{numbers}{row['mean_moves']:>8.1f}{row['mean_reward']:>8.3f}")
    for reason, count in list(result.reasons.items())[:5]:
        say(f"not saved, {count}: {reason}")
    if result.saved:
        say(f"{result.saved} episodes and {result.samples} samples: {folder}")
    if longest:
        lengths = shlex.quote(f"{folder}/lengths.jsonl")
        say(f"next: lazarus data batchplan build -l {lengths} -e 1 -b {max(4096, longest)} -o PLAN")


def info(
    host: Host = None,
    port: Port = None,
    transport: Transport = None,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """List the games of the embedded environments or of a server, each tried with a hint and a move.

    Example: --host localhost --port 8024
    """
    import asyncio

    from lazarus_gym.environments import ENVIRONMENTS, make_environment

    server = _of_host(host, port, transport)
    if host is None:
        rows: list[dict[str, Any]] = [
            {"game": name, "state": "embedded", "detail": ", ".join(make_environment(name).tasks)}
            for name in ENVIRONMENTS
        ]
    else:
        from lazarus_gym.wire import TelnetClientConfig, TelnetGymClient, probe_games

        settings = _client(TelnetClientConfig, host=host, timeout_s=timeout, **server)
        rows = [probe.model_dump() for probe in asyncio.run(probe_games(lambda: TelnetGymClient(settings)))]
    place = f"{host}:{server['port']}" if host else "embedded"
    if as_json:
        show(json.dumps({"server": place, "games": rows}, indent=1))
        return
    show(f"server: {place}")
    for row in rows:
        show(f"{row['game']:<16}{row['state']:<14}{row['detail']}")


def _client(kind: Any, **settings: Any) -> Any:
    """The settings of a client; a wrong one is an error of one line."""
    from pydantic import ValidationError

    from lazarus_gym.errors import EpisodeError

    try:
        return kind(**settings, start_timeout_s=settings["timeout_s"])
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise EpisodeError(f"`{name}` is {settings.get(name)!r}: {plain_reason(first['msg'])}", "LG-E155") from error
