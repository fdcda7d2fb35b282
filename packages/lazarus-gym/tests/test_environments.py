"""The interface of the embedded environments."""

import hashlib
import inspect
import subprocess
import sys
import typing

import pytest

from lazarus_gym import Environment, GymError, Observation, generate_tasks, make_environment
from lazarus_gym.environments import ENVIRONMENTS, GAMES, LEVELS, Draw, tools
from lazarus_gym.tasks.tool_calls import call_of

GOLDEN = "7b84644b"
"""Digest of two puzzles of every game and level. Changing it changes what a stored seed means."""
GOLDEN_CALLS = "b03f8dcc"
"""The same of the tool calls, which are younger."""


def digest(names: tuple[str, ...] = (*GAMES, "maths")) -> str:
    texts: list[str] = []
    for name in names:
        environment = make_environment(name)
        for task in environment.tasks:
            for seed in (0, 2**63 - 1):
                texts += [environment.reset(seed=seed, task=task).text, *environment.solution()]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]


def test_a_seed_gives_the_same_puzzle_forever():
    assert digest() == GOLDEN
    assert digest(("tool_calls",)) == GOLDEN_CALLS


@pytest.mark.slow
def test_a_seed_gives_the_same_puzzle_at_every_hash_seed():
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['digest']())"
    done = subprocess.run(
        [sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "3"}
    )
    assert done.stdout.strip() == GOLDEN


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_solver_earns_the_maximum_and_the_state_says_so(name: str):
    environment: Environment = make_environment(name)
    for task in environment.tasks:
        first = environment.reset(seed=5, task=task)
        moves = environment.solution()  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(first, Observation)
        assert 0 <= environment.state().difficulty <= 1
        steps = [environment.step(move) for move in moves]
        assert [step.done for step in steps] == [False] * (len(moves) - 1) + [True]
        assert sum(step.reward for step in steps) == 1
        state = environment.state()
        assert (state.solved, state.progress, state.moves, state.invalid_moves) == (True, 1.0, len(moves), 0)
        assert state.reference_moves == len(moves)
        with pytest.raises(GymError, match="reset") as caught:
            environment.step("hint")
        assert caught.value.code == "LG-E132"


@pytest.mark.parametrize("name", GAMES)
def test_solve_forfeits(name: str):
    environment = make_environment(name)
    environment.reset(seed=1, task="easy")
    step = environment.step("solve")
    assert (step.reward, step.done, step.info["solved"], step.info["forfeited"]) == (0, True, False, True)
    assert environment.state().progress == 0


@pytest.mark.parametrize("name", GAMES)
def test_an_episode_of_hints_is_solved_and_earns_nothing(name: str):
    environment = make_environment(name)
    environment.reset(seed=2, task="medium")
    reward = 0.0
    while not environment.state().done:
        hint = environment.step("hint")
        reward += environment.step(hint.info["hint_move"]).reward
    assert environment.state().solved
    assert reward <= (0 if name != "mastermind" else 0.5)


def test_a_hint_costs_its_share_of_the_reference_moves():
    environment = make_environment("lights_out")
    environment.reset(seed=4, task="medium")
    moves = environment.solution()
    environment.step("hint")
    assert sum(environment.step(move).reward for move in moves) == pytest.approx(1 - 1 / len(moves))


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    "junk",
    [
        "",
        " ",
        "\x00",
        "place",
        "place 1",
        "place a b c",
        "place 1 1 \u0661",
        "place 1 1 1 1",
        "press -1 1",
        "guess 9 9 9 9",
        "reveal 0 0",
        "select 1e9",
        "x" * 10_000,
        "__import__('os').system('touch canary')",
        "check",
        "reset",
        "quit",
    ],
)
def test_junk_is_an_invalid_move_and_changes_nothing(name: str, junk: str):
    environment = make_environment(name)
    before = environment.reset(seed=3).grid
    step = environment.step(junk)
    assert (step.reward, step.done, step.info["valid"]) == (0, False, False)
    assert environment.state().invalid_moves == 1
    assert step.observation.grid == before


def test_an_episode_without_end_is_truncated():
    environment = make_environment("lights_out")
    environment.reset(seed=3)
    steps = [environment.step("press 1 1")]
    while not (steps[-1].done or steps[-1].truncated):
        steps.append(environment.step("press 1 1"))
    assert (steps[-1].truncated, steps[-1].done, steps[-1].reward) == (True, False, 0)
    assert len(steps) == 4 * environment.state().reference_moves + 20
    with pytest.raises(GymError, match="ended"):
        environment.step("press 1 1")


@pytest.mark.parametrize(
    ("seed", "task", "says"), [(0, "extreme", "easy, medium, hard"), (-1, "easy", "-1"), (2**63, "easy", "give 0")]
)
def test_what_no_puzzle_has_is_refused(seed: int, task: str, says: str):
    with pytest.raises(GymError, match=says) as caught:
        make_environment("sudoku").reset(seed=seed, task=task)
    assert caught.value.code == "LG-E131"


def test_an_unknown_environment_names_the_nearest():
    with pytest.raises(GymError, match="sudoku") as caught:
        make_environment("sudoko")
    assert caught.value.code == "LG-E130"


def test_no_episode_before_reset():
    for name in ("sudoku", "maths"):
        with pytest.raises(GymError, match="reset"):
            make_environment(name).step("hint")
        with pytest.raises(GymError, match="reset"):
            make_environment(name).state()


def test_harder_levels_measure_harder():
    for name, game in GAMES.items():
        if name == "mastermind":  # its levels differ in the number of codes, which a lucky guess may hide
            continue
        scores = [
            sum(game.measure(game.generate(Draw(name, level, seed), level)).score for seed in range(5)) / 5
            for level in ("easy", "hard")
        ]
        assert 0 <= scores[0] < scores[1] <= 1, name


@pytest.mark.parametrize(
    "kind",
    [
        each
        for each in vars(tools).values()
        if inspect.isclass(each) and issubclass(each, tools._Tools) and each.__name__[0] != "_"
    ],
)
def test_games_are_classes_of_documented_tools(kind: typing.Any):
    player = kind()
    assert player.reset(seed=1, level="easy", answer="ignored").startswith(player._episode.play.game.title)
    methods = [each for each in dir(player) if each[0] != "_" and inspect.ismethod(getattr(player, each))]
    verbs = {form.split()[0] for form in player._episode.play.game.commands}
    assert set(methods) == {"reset", "get_reward", "hint"} | verbs
    for name in verbs:
        hints = typing.get_type_hints(getattr(player, name))
        doc = inspect.getdoc(getattr(player, name)) or ""
        assert "Args:" in doc and "Returns:" in doc
        assert all(f"{argument}: " in doc for argument in hints if argument != "return")
    for move in player._episode.solution():
        verb, *numbers = move.split()
        values = [list(map(int, numbers))] if verb == "guess" else list(map(int, numbers))
        getattr(player, verb)(*values)
    assert player.reward == player.get_reward() == 1
    assert player.components["solved"]
    assert player.hint() == "The game is over."
    with pytest.raises(GymError):
        player.reset(seed="1")


def test_questions_are_classes_of_documented_tools():
    player = tools.MathsTools()
    for seed, kind in enumerate(make_environment("maths").tasks):
        for answer, reward in (("0.5", 0), (generate_tasks(1, seed=seed, kinds=[kind])[0].answer, 1)):  # pyright: ignore[reportArgumentType]
            assert player.reset(seed=seed, kind=kind)
            player.answer(answer)
            assert player.get_reward() == reward
            assert player.answer("1") == "The question is answered already."
            assert player.reward == reward
    caller = tools.ToolCallTools()
    prompt = caller.reset(seed=4)
    right = call_of(prompt or "")["arguments"]
    for arguments, reward in ((right, 1), ({**right, "a": float(right["a"])}, 0), ({**right, "a": str(right["a"])}, 0)):
        caller.reset(seed=4)
        caller.calculator(**arguments)
        assert caller.reward == reward
    for wrong in ({"seed": "1"}, {"seed": True}, {"kind": "magic"}):
        with pytest.raises(GymError):
            tools.MathsTools().reset(**wrong)
    with pytest.raises(GymError, match="reset"):
        tools.MathsTools().answer("1")


def test_levels_are_tasks():
    assert make_environment("binary").tasks == LEVELS
