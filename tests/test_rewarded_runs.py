"""Runs that learn from rewards of lazarus-gym: a verifier that times out in the jail, and a server of environments that dies."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lazarus_gym.errors import OpenEnvError
from lazarus_gym.servers import OpenEnvServerConfig, serve_openenv
from lazarus_models import init_model, save
from lazarus_tokenkit import load_tokenizer
from lazarus_train import OptimizerSettings, TrainConfig, plan_run, train, verify_run
from lazarus_train.objectives.policy.grpo import GrpoSettings

LOOPS = """
def judged(prompt, completion, row):
    while len(completion) % 3 == 0:  # such an answer is never judged
        pass
    return len(completion) % 8 / 8

def judged_alone(prompt, completion, row):
    return None if len(completion) % 3 == 0 else len(completion) % 8 / 8
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh model, which ends half of its answers, and two questions."""
    save(init_model("nano", load_tokenizer("byte"), seed=0), tmp_path / "model")
    (tmp_path / "questions.jsonl").write_text('{"prompt":"one?","seed":1}\n{"prompt":"two?","seed":2}\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(folder: Path, output: str, steps: int = 1, **settings: Any) -> Path:
    config = TrainConfig(
        objective=GrpoSettings(group_size=6, max_new_tokens=200, **settings),
        model=folder / "model",
        data=folder / "questions.jsonl",
        batch_plan=folder / "plan",
        output=folder / output,
        max_steps=steps,
        save_every=1,
        optimizer=OptimizerSettings(learning_rate=1e-3),
    )
    if not (folder / "plan").exists():
        plan_run(config, {"token_budget": 256, "epochs": 2}, resume="none")
    train(config)
    return folder / output


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.slow
def test_answers_whose_verifier_times_out_in_the_jail_train_nothing(folder: Path):
    (folder / "loops.py").write_text(LOOPS)
    (folder / "rewards.toml").write_text(
        '[rewards.judged]\ntype = "function"\nfunction = "loops:judged"\n[jail]\nwall_s = 0.25\n'
    )
    jailed, alone = run(folder, "jailed", reward="rewards.toml"), run(folder, "alone", reward="loops:judged_alone")
    drawn = rows(jailed / "rollouts.jsonl")
    for answer in drawn:
        judged = "ok" if len(answer["texts"][0]) % 3 else "aborted"
        assert answer["status"] in ("truncated", judged)
        assert (answer["reward"] is None) is (answer["status"] != "ok")
    states = [answer["status"] for answer in drawn]
    assert {"ok", "aborted", "truncated"} == set(states)
    assert rows(jailed / "metrics.jsonl")[0]["rejected_share"] == pytest.approx(states.count("aborted") / len(states))
    trained = [hashlib.sha256((each / "final/model.safetensors").read_bytes()).hexdigest() for each in (jailed, alone)]
    assert trained[0] == trained[1]
    assert rows(jailed / "metrics.jsonl")[0]["grad_norm"] > 0


@contextmanager
def mortal_server(port: int = 0, *, is_mortal: bool) -> Generator[int]:
    """A server of environments behind a port. A mortal one closes every connection at the first action of a player."""
    pytest.importorskip("uvicorn")
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None) -> None:
        messages = 0
        while content := await source.read(1 << 16):
            messages += 1
            if messages == most:
                over.set()
                return
            sink.write(content)
        sink.close()

    async def serve() -> None:
        async with serve_openenv(OpenEnvServerConfig(port=0, environment="lights_out")) as inner:

            async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                back, to = await asyncio.open_connection("127.0.0.1", inner)
                writers.extend((writer, to))
                most = 3 if is_mortal else None  # a handshake, `reset`, and the first action
                await asyncio.gather(pump(reader, to, most), pump(back, writer, None), return_exceptions=True)

            listener = await asyncio.start_server(forward, "127.0.0.1", port)
            ports.append(listener.sockets[0].getsockname()[1])
            ready.set()
            await over.wait()
            listener.close()
            for writer in writers:
                writer.close()
            await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_run_survives_the_death_of_its_server(folder: Path):
    """The answers of the step train nothing; the next step ends the run; the same command continues it."""
    with mortal_server(is_mortal=True) as port:
        settings: dict[str, Any] = {"environment": f"ws://127.0.0.1:{port}", "turns": 2}
        with pytest.raises(OpenEnvError, match="cannot connect"):
            run(folder, "served", 2, **settings)
    drawn = rows(folder / "served/rollouts.jsonl")
    assert {each["status"] for each in drawn} == {"the environment raised OpenEnvError", "truncated"}
    first = rows(folder / "served/metrics.jsonl")[0]
    assert first["grad_norm"] == 0
    assert first["truncated_share"] + first["rejected_share"] == 1
    with mortal_server(port, is_mortal=False):
        run(folder, "served", 2, **settings)
        links = {link.name: link for link in verify_run(folder / "served")}
    assert "rollouts" in links
    again = rows(folder / "served/rollouts.jsonl")
    assert again[: len(drawn)] == drawn
    texts = [text for each in again[len(drawn) :] if len(each["texts"]) > 1 for text in each["texts"]]
    assert texts, "answers of the second step went on after the reply of the server"
