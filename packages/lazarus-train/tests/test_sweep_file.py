"""The settings of a sweep: options as they were, and the same from a file."""

import json
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lazarus_core.cli_app import command_of
from lazarus_core.console import run
from lazarus_core.settings.sources import SettingsError
from lazarus_train.cli.app import app
from lazarus_train.cli.sweep import sweep
from lazarus_train.tune import search

same_typer = pytest.mark.skipif(
    tuple(map(int, version("typer").split(".")[:2])) < (0, 29), reason="older versions of Typer use other words"
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "command_line_sweep.json").read_text("utf-8"))
"""Options, sweeps and refusals before the options were made from the settings."""


class Asked(Exception):
    """What a sweep was asked for; nothing is tried."""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_text("{}")

    def refuse(asked, folder, on_trial=None, *, force=False):
        raise Asked({**vars(asked), "folder": folder, "force": force})

    monkeypatch.setattr(search, "run_sweep", refuse)

    def call(words: str):
        error = CliRunner().invoke(app, shlex.split(words)).exception
        assert isinstance(error, Asked), error
        return json.loads(json.dumps(error.args[0], default=str))

    return call


def test_no_option_is_lost():
    shown = [
        {"names": list(each.opts), "off": list(each.secondary_opts), "is_flag": each.is_flag, "multiple": each.multiple}
        for each in command_of(sweep.function, "sweep").params
    ]
    assert [each for each in GOLDEN["options"] if each not in shown] == []
    more = {each["names"][-1] for each in shown if each not in GOLDEN["options"]}
    assert more == {"--config", "--set", "--print-config", "--json"}


@pytest.mark.parametrize("words", GOLDEN["runs"])
def test_options_mean_what_they_meant(asked, words):
    assert asked(words) == GOLDEN["runs"][words]


@same_typer
@pytest.mark.parametrize("words", GOLDEN["refusals"])
def test_options_are_refused_in_the_same_words(asked, words, capsys):
    with pytest.raises(SystemExit) as end:
        run(lambda **given: app(shlex.split(words), prog_name="lazarus train", **given), "lazarus")
    assert [end.value.code, capsys.readouterr().err.rstrip("\n")] == GOLDEN["refusals"][words]


def test_a_file_asks_for_the_same_sweep(asked, tmp_path):
    (tmp_path / "sweep.toml").write_text(
        'model = "m"\noutput = "out"\nrow_len = [512, 1024]\ngradient_checkpointing = true\nmax_rows = 9\nsteps = 7\n'
        "time_limit = 5\n"
    )
    words = "sweep --config sweep.toml --set lora_rank=0,8 --set max_rows=4 --set memory=2.5 --steps 2 --force"
    [whole] = [each for each in GOLDEN["runs"] if "--memory" in each]
    assert asked(words) == GOLDEN["runs"][whole]
    text = CliRunner().invoke(app, [*shlex.split(words), "--print-config"]).stdout
    (tmp_path / "printed.toml").write_text(text)
    assert asked("sweep --config printed.toml --force") == GOLDEN["runs"][whole]


def test_what_is_wrong_in_a_file_is_a_line(asked, tmp_path):
    (tmp_path / "sweep.toml").write_text('model = "m"\nrow_len = [1]\nstep = 1\n')
    error = CliRunner().invoke(app, ["sweep", "--config", "sweep.toml"]).exception
    assert isinstance(error, SettingsError)
    assert str(error) == "sweep.toml:3: no setting `step`; did you mean `steps`?"
    (tmp_path / "sweep.toml").write_text('model = "m"\nrow_len = [1]\n')
    error = CliRunner().invoke(app, ["sweep", "--config", "sweep.toml"]).exception
    assert str(error) == "sweep.toml:2: `row_len` is [1]: give a list of whole numbers of at least 2, 1 or more of them"


def test_what_an_option_gets_wrong_beyond_the_parser_is_said_in_its_name(asked):
    result = CliRunner().invoke(app, ["sweep", "--model", "m", "--time-limit", "inf"])
    assert (result.exit_code, "'--time-limit': must be a finite number" in result.output) == (2, True)
