"""openenv 0.10 and verifiers 0.4, in scratch environments, with our server and our exported files.

The packages come from the package registry, so these tests run with `--thorough` only, and are skipped without uv or network. Servers listen
on the loopback address only.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lazarus_gym import make_environment
from lazarus_gym.exports import ExportConfig, export_tasks
from lazarus_gym.openenv import OpenEnvEnvironment

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
CHECKS = 6
SCRIPTED = '''
import importlib.util, json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

spec = importlib.util.spec_from_file_location("exported", sys.argv[1])
file = importlib.util.module_from_spec(spec)
sys.modules["exported"] = file
spec.loader.exec_module(file)


class Solver(BaseHTTPRequestHandler):
    """Chat completions: the next move of the solver; a wrong answer, or giving up, for the first task."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        first = next(m["content"] for m in body["messages"] if m["role"] == "user")
        first = first if isinstance(first, str) else first[0]["text"]
        number = next(i for i, row in enumerate(file.ROWS) if file.make_episode(row).first_text() == first)
        moves = file.solution(file.ROWS[number])
        turn = sum(m["role"] == "assistant" for m in body["messages"])
        words = "solve" if number == 0 else moves[turn]
        content = words if len(moves) == 1 else "I think.\\n" + words
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        deltas = [({"role": "assistant", "content": content}, None), ({}, "stop")]
        chunks = [
            {
                "id": "x", "created": 0, "model": "m", "object": "chat.completion.chunk", "usage": usage if end else None,
                "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
            }
            for delta, end in deltas
        ]
        out = "".join(f"data: {json.dumps(each)}\\n\\n" for each in chunks) + "data: [DONE]\\n\\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out.encode())


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Solver)
server.serve_forever()
'''


def scratch(folder: Path, requirement: str) -> Path:
    """The programs of a scratch environment with a package."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    subprocess.run([uv, "venv", "-q", folder], check=True)
    words = [uv, "pip", "install", "-q", "-p", folder / "bin/python", requirement]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{requirement} cannot be installed: {done.stderr.decode()[-200:]}")
    return folder / "bin"


@pytest.fixture(scope="module")
def openenv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch(tmp_path_factory.mktemp("openenv") / "venv", "openenv==0.10.*")


@pytest.fixture(scope="module")
def verifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch(tmp_path_factory.mktemp("verifiers") / "venv", "verifiers==0.4.*")


@contextmanager
def running(*words: object, log: Path, environment: dict[str, str] | None = None) -> Iterator[int]:
    """A program that listens on the port that it gets as its last word."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as file:
        process = subprocess.Popen([*map(str, words), str(port)], stdout=file, stderr=file, env=environment)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, log.read_text()[-500:]
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def validate(openenv: Path, port: int) -> Any:
    words = [openenv / "openenv", "validate", "--url", f"http://127.0.0.1:{port}", "--json", "--timeout", "60"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_our_server_passes_the_checks_and_plays_with_openenvs_client(openenv: Path, tmp_path: Path):
    serve = [sys.executable, "-m", "lazarus_gym", "serve", "--protocol", "openenv", "--port"]
    with running(*serve, log=tmp_path / "log") as port:
        report = validate(openenv, port)
        assert (report["summary"]["passed_count"], report["summary"]["total_count"]) == (CHECKS, CHECKS)
        assert report["mode"] == "simulation"
        moves = make_environment("lights_out")
        moves.reset(seed=3, task="medium")
        code = (
            "import sys\n"
            "from openenv.core.generic_client import GenericEnvClient\n"
            f"with GenericEnvClient(base_url='http://127.0.0.1:{port}').sync() as env:\n"
            "    first = env.reset(seed=3, environment='lights_out', task='medium')\n"
            "    for move in sys.argv[1:]:\n"
            "        assert not first.done\n"
            "        first = env.step({'action': move})\n"
            "    print(first.reward, first.done, env.state()['solved'])\n"
        )
        done = subprocess.run(
            [openenv / "python", "-c", code, *moves.solution()],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.stdout == "1.0 True True\n", done.stderr


@pytest.mark.parametrize("name", ["lights_out", "sudoku", "word", "tools"])
def test_an_exported_server_passes_the_checks_and_scores_as_we_do(openenv: Path, tmp_path: Path, name: str):
    content = export_tasks(name, "openenv", ExportConfig(count=3))
    (tmp_path / "server.py").write_text(content, "utf-8")
    part = content[: content.index("MAX_SESSIONS")].replace("from openenv", "# from openenv")
    exported: dict[str, Any] = {"__name__": "exported"}
    sys.modules["exported"] = type(sys)("exported")
    exec(part, exported)
    with running(openenv / "python", tmp_path / "server.py", "--port", log=tmp_path / "log") as port:
        report = validate(openenv, port)
        assert report["summary"]["passed_count"] == CHECKS
        with OpenEnvEnvironment(f"ws://127.0.0.1:{port}") as client:
            for index, row in enumerate(exported["ROWS"]):
                right = exported["solution"](row)
                for moves in (right, ("zap",)):
                    assert client.reset(seed=index).text == exported["make_episode"](row).first_text()
                    assert sum(client.step(move).reward for move in moves) == exported["score"](row, moves)
                    assert client.state().solved == (moves == right)


def export(folder: Path, name: str) -> dict[str, str]:
    """Writes a taskset and returns the variables with which verifiers finds it."""
    (folder / "exported_tasks.py").write_text(export_tasks(name, "verifiers", ExportConfig(count=3, seed=1)), "utf-8")
    return {**os.environ, "PYTHONPATH": str(folder), "NO_KEY": "x"}


@pytest.mark.parametrize("name", ["lights_out", "sudoku", "word", "tools"])
def test_verifiers_accepts_every_solution_and_no_untouched_task(verifiers: Path, tmp_path: Path, name: str):
    environment = export(tmp_path, name)
    words = [verifiers / "vf-validate", "exported_tasks", "-o", tmp_path / "out", "--runtime.type", "subprocess"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
    summary = json.loads(next((tmp_path / "out").rglob("summary.json")).read_text())
    assert summary["checks"]["gold"]["valid"] == summary["checks"]["noop"]["valid"] == 3, done.stderr


@pytest.mark.parametrize("name", ["lights_out", "word", "tools"])
def test_verifiers_plays_and_scores_an_exported_taskset(verifiers: Path, tmp_path: Path, name: str):
    environment = export(tmp_path, name)
    (tmp_path / "scripted.py").write_text(SCRIPTED, "utf-8")
    seat = "player" if name == "lights_out" else "agent"
    server = [verifiers / "python", tmp_path / "scripted.py", tmp_path / "exported_tasks.py"]
    with running(*server, log=tmp_path / "log", environment=environment) as port:
        words: list[Any] = [verifiers / "vf-eval", "exported_tasks", "-m", "solver", "-o", tmp_path / "eval"]
        words += [
            "--client.base-url",
            f"http://127.0.0.1:{port}/v1",
            "--client.api-key-var",
            "NO_KEY",
            "--push",
            "False",
        ]
        words += [f"--env.{seat}.harness.id", "null", f"--env.{seat}.runtime.type", "subprocess"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=600)
    lines = next((tmp_path / "eval").rglob("traces.jsonl")).read_text().splitlines()
    traces = [trace for line in lines for trace in json.loads(line)["traces"]]
    scores = {trace["task"]["data"]["idx"]: trace["rewards"]["solved"]["score"] for trace in traces}
    assert scores == {0: 0.0, 1: 1.0, 2: 1.0}, done.stdout
