import json

import pytest

from lazarus_train import OptimizerSettings, train
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint
from lazarus_train.run_dir.checkpoint import checkpoints, find_damage, read_state, write_checkpoint


@pytest.fixture
def run(setup):
    train(setup.config(max_steps=4))
    return setup


def newest(setup):
    return checkpoints(setup.folder / "run" / "checkpoints")


def test_checkpoints_are_whole_and_in_order(run):
    paths = newest(run)
    assert [path.name for path in paths] == ["step-0000002", "step-0000004"]
    assert [find_damage(path) for path in paths] == [None, None]
    assert read_state(paths[0]).next_step == 2


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "config.json"])
def test_a_truncated_file_is_refused_and_the_last_good_checkpoint_named(run, name):
    good, last = newest(run)
    (last / name).write_bytes((last / name).read_bytes()[:-1])
    with pytest.raises(CorruptCheckpoint, match=name) as caught:
        train(run.config())
    assert str(good) in caught.value.message
    assert caught.value.exit_code == 1
    assert train(run.config(), resume=str(good)).steps == train(run.config()).steps


def test_a_missing_file_and_a_missing_manifest_are_refused(run):
    good, last = newest(run)
    (last / "optimizer.safetensors").unlink()
    (good / "manifest.json").unlink()
    with pytest.raises(
        CorruptCheckpoint, match=r"optimizer\.safetensors is missing; set `resume` to `none` to start again"
    ):
        train(run.config())


def test_one_flipped_bit_is_found(run):
    last = newest(run)[-1] / "model.safetensors"
    content = bytearray(last.read_bytes())
    content[-100] ^= 1
    last.write_bytes(content)
    assert "model.safetensors was changed" in (find_damage(last.parent) or "")


def test_other_settings_are_refused_and_named(run):
    for settings in ({"optimizer": OptimizerSettings(learning_rate=1e-3)}, {"seed": 1}, {"micro_rows": 1}):
        with pytest.raises(ForeignCheckpoint, match=rf"`{next(iter(settings))}[`.]"):
            train(run.config(**settings))


def test_another_base_model_is_refused(run):
    weights = run.model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ForeignCheckpoint, match="`model`"):
        train(run.config())


def test_another_config_of_the_base_is_refused(run):
    """Adapters hold no config: the base's own decides what they are added to."""
    config = json.loads((run.model / "config.json").read_text())
    (run.model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))
    with pytest.raises(ForeignCheckpoint, match="`model`"):
        train(run.config())


@pytest.mark.parametrize("manifest", ["{}", '{"sha256": {}}', '{"sha256": 1}', "[]", '{"sha256": {"state.json": 1}}'])
def test_a_manifest_that_names_nothing_is_refused(run, manifest):
    last = newest(run)[-1]
    (last / "manifest.json").write_text(manifest)
    (last / "state.json").unlink()
    with pytest.raises(CorruptCheckpoint, match=r"manifest\.json is damaged|state\.json is missing"):
        train(run.config())


def test_a_checkpoint_is_replaced_whole_or_not_at_all(run):
    last = newest(run)[-1]
    before = {file.name: file.read_bytes() for file in last.iterdir()}

    def write_until_full(folder):
        (folder / "model.safetensors").write_bytes(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_checkpoint(last, {}, write_until_full)
    assert caught.value.filename == str(last)
    assert {file.name: file.read_bytes() for file in last.iterdir()} == before
    assert [path.name for path in last.parent.iterdir() if path.name.startswith(".")] == []


def test_a_newer_format_is_refused(run):
    last = newest(run)[-1]
    state = json.loads((last / "state.json").read_text())
    manifest = json.loads((last / "manifest.json").read_text())
    content = json.dumps({**state, "checkpoint_version": 99}).encode()
    (last / "state.json").write_bytes(content)
    import hashlib

    manifest["sha256"]["state.json"] = hashlib.sha256(content).hexdigest()
    (last / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptCheckpoint, match="99"):
        train(run.config())
