"""Environment variables of MLX: whose value is used, and that they are set before MLX reads them."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_models.switches import (
    CUDNN_ATTENTION,
    SWITCHES,
    TF32,
    describe_switches,
    origin,
    prepare_switches,
    set_switch,
)

REPORT = (
    "import json, os, lazarus_models.backend; from lazarus_models.switches import describe_switches; "
    "print(json.dumps(describe_switches()))"
)


def reported(**environment):
    kept = {name: each for name, each in os.environ.items() if name not in (*SWITCHES, "LAZARUS_MLX_SWITCHES")}
    command = [sys.executable, "-c", REPORT]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@given(
    user=st.dictionaries(st.sampled_from(SWITCHES), st.sampled_from(["0", "1", ""])),
    asked=st.lists(st.tuples(st.sampled_from(SWITCHES), st.sampled_from(["0", "1"]))),
)
def test_a_users_variable_wins_over_every_setting(user, asked):
    environment = dict(user)
    prepare_switches(environment)
    for switch, value in asked:
        assert set_switch(switch, value, environment) is (environment[switch] == value)
    for switch in SWITCHES:
        assert (origin(switch, environment) == "user") is (switch in user)
        if switch in user:
            assert environment[switch] == user[switch]
    last = {switch: value for switch, value in [(TF32, "0"), *asked] if switch not in user}
    assert {switch: environment[switch] for switch in last} == last


def test_float32_is_exact_by_default_and_attention_is_mlxs():
    assert reported() == {
        TF32: {"value": "0", "set_by": "lazarus"},
        CUDNN_ATTENTION: {"value": None, "set_by": "mlx"},
    }


@pytest.mark.parametrize("value", ["0", "1"])
def test_a_variable_of_the_user_stays_and_is_reported(value):
    assert reported(**{TF32: value})[TF32] == {"value": value, "set_by": "user"}


def test_a_child_process_does_not_take_our_value_for_the_users():
    environment: dict[str, str] = {}
    prepare_switches(environment)
    set_switch(TF32, "1", environment)
    set_switch(CUDNN_ATTENTION, "0", environment)
    assert describe_switches(environment)[CUDNN_ATTENTION] == {"value": "0", "set_by": "lazarus"}
    assert reported(**environment)[TF32] == {"value": "0", "set_by": "lazarus"}, "each process decides for itself"


def test_the_variables_are_set_before_mlx_is_imported():
    """MLX reads them at their first use; no module can compute anything before `backend` is imported."""
    code = (
        "import sys, os\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mlx.core': print(os.environ.get('MLX_ENABLE_TF32'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import lazarus_models.backend"
    )
    kept = {name: each for name, each in os.environ.items() if name not in (*SWITCHES, "LAZARUS_MLX_SWITCHES")}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]
