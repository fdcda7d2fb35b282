"""MLX's kernels on a GPU: who chooses them, what the record says, and gradients whose order is fixed.

Everything runs on the device that is there; a CPU takes itself for a GPU where the policy is tested.
"""

import dataclasses
import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lazarus_models
from lazarus_models.backend import mx
from lazarus_models.components import SegmentCache
from lazarus_models.ops import has_fixed_gradient_order, set_gradient_order
from lazarus_models.switches import CUDNN_ATTENTION, SWITCHES, TF32
from lazarus_models.trees import evaluate, weights
from lazarus_train import Watcher, devices, train, verify_run
from lazarus_train.devices import describe_device, device_policy, kernel_warnings, prepare_device
from lazarus_train.engine import optim, state
from lazarus_train.engine import setup as run_setup
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.errors import ForeignCheckpoint, Interrupted, SetupError
from lazarus_train.kernels import EXACT, NOT_PROMISED, KernelSettings, has_equal_bits, kernel_promise
from lazarus_train.layers import gradient_checkpointing
from lazarus_train.objectives import forward, next_token
from lazarus_train.run_dir.manifest import read_manifest
from suite import thinned

FAST, ROUNDED = KernelSettings(fast_nondeterministic=True), KernelSettings(tf32=True)


@pytest.fixture
def gpu(monkeypatch):
    """A process that takes its CPU for a CUDA GPU, with no variable of MLX set. `tf32` of it says what products do."""
    for switch in (*SWITCHES, "LAZARUS_MLX_SWITCHES"):
        monkeypatch.setenv(switch, "")  # so that the value at the start comes back
        monkeypatch.delenv(switch)
    plain = device_policy()

    def policy(weight_bytes=0, kernels=EXACT):
        return dataclasses.replace(
            plain,
            device="gpu",
            threads=1,
            labels_only=False,
            is_lean=False,
            fixed_order=not kernels.fast_nondeterministic,
        )

    for module in (devices, forward, next_token, state, optim, run_setup, gradient_checkpointing):
        monkeypatch.setattr(module, "device_policy", policy)
    monkeypatch.setattr("lazarus_train.run_dir.manifest.device_policy", policy)
    monkeypatch.setattr(devices, "_has_cuda", lambda: True)
    monkeypatch.setattr(devices, "has_attended_in_half_precision", lambda: False)
    monkeypatch.setattr(devices, "uses_tf32", lambda: os.environ.get(TF32) == "1")
    monkeypatch.setattr(SegmentCache, "runs", None)
    yield monkeypatch
    set_gradient_order(None)


def test_a_gpu_gets_gradients_that_repeat_and_exact_products(gpu):
    policy = prepare_device()
    assert has_fixed_gradient_order()
    assert {switch: os.environ[switch] for switch in SWITCHES} == {TF32: "0", CUDNN_ATTENTION: "0"}
    assert kernel_warnings(policy, EXACT) == []
    described = describe_device(policy)
    assert described["switches"][CUDNN_ATTENTION] == {"value": "0", "set_by": "lazarus"}
    assert described["gpu"].keys() >= {"backend", "device_name", "driver"}
    assert kernel_promise(described).startswith("gradients in a fixed order")
    assert kernel_promise(described).endswith("exact float32 products")


def test_settings_turn_both_off_and_say_so(gpu):
    kernels = KernelSettings(tf32=True, fast_nondeterministic=True)
    policy = prepare_device(0, kernels)
    assert not has_fixed_gradient_order()
    assert {switch: os.environ[switch] for switch in SWITCHES} == {TF32: "1", CUDNN_ATTENTION: "1"}
    said = kernel_warnings(policy, kernels)
    assert [NOT_PROMISED in line for line in said] == [True, False]
    assert "held-out losses and references" in said[1]
    assert kernel_promise(describe_device(policy)) == f"{NOT_PROMISED}; float32 products rounded to TF32"
    prepare_device()
    assert (has_fixed_gradient_order(), os.environ[TF32]) == (True, "0"), "the next run chooses for itself"


@pytest.mark.parametrize(("switch", "value"), [(TF32, "1"), (CUDNN_ATTENTION, "1")])
def test_a_variable_of_the_user_wins_and_is_recorded(gpu, switch, value):
    gpu.setenv(switch, value)
    policy = prepare_device()
    assert os.environ[switch] == value
    (line,) = kernel_warnings(policy, EXACT)
    assert f"{switch}={value}" in line
    described = describe_device(policy)
    assert described["switches"][switch] == {"value": value, "set_by": "user"}
    assert has_equal_bits(described) is (switch == TF32)


def test_a_users_exact_products_stay_although_the_run_asks_for_tf32(gpu):
    gpu.setenv(TF32, "0")
    policy = prepare_device(0, ROUNDED)
    assert not describe_device(policy)["tf32"]
    assert kernel_warnings(policy, ROUNDED) == [f"warning: `tf32` has no effect: {TF32}=0 in the environment"]


def test_what_mlx_has_chosen_before_is_not_promised_away(gpu):
    gpu.setattr(devices, "has_attended_in_half_precision", lambda: True)
    with pytest.raises(SetupError, match=f"set {CUDNN_ATTENTION}=0") as refused:
        prepare_device()
    assert refused.value.code == "LR-E270"
    prepare_device(0, FAST)
    gpu.setattr(devices, "_has_cuda", lambda: False)  # Metal has no cuDNN
    prepare_device()


@pytest.mark.parametrize("kernels", [EXACT, ROUNDED])
def test_two_precisions_in_one_process_are_refused(gpu, kernels):
    gpu.setattr(devices, "uses_tf32", lambda: not kernels.tf32)  # MLX keeps the value of the first product
    with pytest.raises(SetupError, match="new process") as refused:
        prepare_device(0, kernels)
    assert refused.value.code == "LR-E271"


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="tells of a CPU")
def test_on_a_cpu_nothing_changes_and_settings_without_effect_are_named():
    before = dict(os.environ)
    policy = prepare_device(0, KernelSettings(tf32=True, fast_nondeterministic=True))
    assert policy == prepare_device()
    assert dict(os.environ) == before
    assert not has_fixed_gradient_order()
    assert describe_device(policy).keys() == {
        *("device", "threads", "blas_threads", "labels_only", "is_lean", "compiles", "wired_bytes")
    }
    assert kernel_promise(describe_device(policy)) is None
    assert kernel_warnings(policy, FAST) == ["warning: `fast_nondeterministic` has no effect on a CPU"]
    assert kernel_warnings(policy, EXACT) == []


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:15:13 UTC 2025\n", "580.65.06"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124  Release Build\n", "570.124"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_driver_is_read_from_the_kernel(tmp_path, line, version):
    path = tmp_path / "version"
    if line is not None:
        path.write_text(line)
    assert devices._driver_version(path) == version


RECORDS = st.fixed_dictionaries(
    {"fixed_order": st.booleans(), "tf32": st.booleans()},
    optional={
        "gpu": st.fixed_dictionaries({"backend": st.sampled_from(["cuda", "metal"])}),
        "switches": st.fixed_dictionaries(
            {CUDNN_ATTENTION: st.fixed_dictionaries({"value": st.sampled_from(["0", "1"])})}
        ),
    },
)


@given(recorded=RECORDS)
def test_equal_bits_are_promised_where_every_kernel_repeats(recorded):
    is_cuda = recorded.get("gpu") == {"backend": "cuda"}
    cudnn = recorded.get("switches", {}).get(CUDNN_ATTENTION, {}).get("value") != "0"
    assert has_equal_bits(recorded) is (recorded["fixed_order"] and not (is_cuda and cudnn))
    promise = kernel_promise(recorded)
    assert ("same bits" in promise) is has_equal_bits(recorded)
    assert ("TF32" in promise) is recorded["tf32"]


def test_records_keep_their_form_and_a_setting_that_changes_bits_is_part_of_them(setup):
    plain, rounded = setup.config(), setup.config(tf32=True, fast_nondeterministic=True)
    assert not {"tf32", "fast_nondeterministic"} & {*plain.to_record(), *plain.resume_key()}
    for members in (rounded.to_record(), rounded.resume_key()):
        assert (members["tf32"], members["fast_nondeterministic"]) == (True, True)
    assert type(rounded).model_validate(rounded.to_record()) == rounded
    train(setup.config(max_steps=2))
    with pytest.raises(ForeignCheckpoint, match="tf32"):
        train(setup.config(tf32=True))


@pytest.mark.slow
def test_a_run_that_was_stopped_has_the_same_bits_and_its_proof_says_what_it_promises(gpu, setup, stop_after):
    train(setup.config("straight", max_steps=4))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", max_steps=4), watcher=stop_after(2))
    train(setup.config("stopped", max_steps=4))
    assert setup.fingerprints("stopped") == setup.fingerprints("straight")
    assert setup.audit("stopped") == setup.audit("straight")
    said = []
    train(setup.config("fast", max_steps=4, fast_nondeterministic=True), watcher=Watcher(on_warning=said.append))
    assert any(NOT_PROMISED in line for line in said)
    losses = {
        run: [json.loads(line)["loss"] for line in (setup.folder / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("straight", "fast")
    }
    assert losses["fast"] == pytest.approx(losses["straight"], rel=1e-5)
    for run, promised in {"straight": "the same bits", "fast": NOT_PROMISED}.items():
        (link,) = [link for link in verify_run(setup.folder / run) if link.name == "kernels"]
        assert promised in link.proof
    assert read_manifest(setup.folder / "fast/config.json")["config"]["fast_nondeterministic"] is True


PAIRS = [{"prompt": f"What is {a}?", "chosen": f"{a}.", "rejected": f"{a + 1}, say I."} for a in range(8)]
CLASSES = [{"prompt": f"Is {a} more than 3?", "completion": "yes" if a > 3 else "no"} for a in range(8)]
NUMBERS = [{"prompt": f"Half of {a}?", "completion": str(a / 2)} for a in range(8)]
OBJECTIVES = {
    "causal": (None, {}),
    "diffusion": (None, {"mask_id": 299}),
    "mntp": (None, {"mask_id": 299}),
    "preference": (PAIRS, {"loss": "dpo"}),
    "reward": (PAIRS, {}),
    "classification": (CLASSES, {}),
    "regression": (NUMBERS, {}),
    "grpo": (None, {"reward": "kernel_letters:vowels", "group_size": 4, "max_new_tokens": 120}),
    "ppo": (None, {"reward": "kernel_letters:vowels", "group_size": 2, "max_new_tokens": 60}),
}
REWARD = "def vowels(prompt, completion, row):\n    return sum(each in 'aeiou' for each in completion) / 100\n"


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.parametrize("kind", thinned(OBJECTIVES, ["preference", "classification"]))
def test_six_gradients_of_an_objective_are_equal_and_have_no_scattered_sum(gpu, setup, kind):
    """`ScatterAxis` is no such sum: a label has a place of its own."""
    rows, settings = OBJECTIVES[kind]
    (setup.folder / "kernel_letters.py").write_text(REWARD)
    gpu.syspath_prepend(setup.folder)
    gpu.chdir(setup.folder)
    if rows:
        setup.write_rows(rows)
        setup.build_plan(token_budget=192, row_len=96)
    graphs = []

    def six_times(self, model, batch, units):
        found = self.traced(model, batch, units)
        path = setup.folder / "graph.dot"
        mx.export_to_dot(str(path), *found.values())
        graphs.append(re.findall(r'label ="(Scatter (?:Sum|Prod))"', path.read_text()))
        evaluate(found)
        for _ in range(5):
            again = self.traced(model, batch, units)
            assert [name for name in found if not mx.array_equal(found[name], again[name], equal_nan=True)] == []
        return found

    gpu.setattr(LossGradients, "__call__", six_times)
    train(setup.config(objective={"kind": kind, **settings}, max_steps=1, save_every=None))
    assert graphs
    assert all(graph == [] for graph in graphs), graphs


def test_data_with_ids_outside_the_embedding_is_refused_before_a_gather_reads_them(gpu, setup):
    lm = lazarus_models.load(setup.model)
    small = {name: each[:200] if each.shape[0] == 300 else each for name, each in weights(lm.model).items()}
    config = json.loads((setup.model / "config.json").read_text()) | {"vocab_size": 200}
    (setup.model / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(str(setup.model / "model.safetensors"), small)
    with pytest.raises(SetupError) as refused:
        train(setup.config())
    assert refused.value.code == "LR-E102"
