"""`OUT/config.json`: resolved settings and environment. The audit log binds it, except locations."""

import functools
import json
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from lazarus_core.atomic import whole_file
from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_models.backend import BLAS, mx
from lazarus_plan.audit import Binding
from lazarus_train.config import TrainConfig
from lazarus_train.devices import describe_device, device_policy, weight_bytes
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.sealed_write import as_json

JSON = dict[str, Any]

PACKAGES = (
    "lazarus-plan",
    "lazarus-tokenkit",
    "lazarus-models",
    "lazarus-train",
    "mlx",
    "tokenizers",
    "numpy",
)


RECORD_VERSION = 2
"""Version of `config.json`. The audit log did not bind version 1."""
LOCATIONS = ("model", "data", "batch_plan", "output")
"""Settings that are locations. The audit log binds the content of these files, not their path."""
_DIGEST = re.compile("[0-9a-f]{64}")
_ENVIRONMENT = ("versions", "python", "platform", "device", "blas", "policy", "processes")
_MEMBERS = ("record_version", "config", "folder", "plan_id", "eval_data", *_ENVIRONMENT)
REWARD_FILES = "reward_files"
"""Member with the digests of the files of the reward. Runs without such files, and those of earlier versions, do not have it."""


def describe_run(
    config: TrainConfig,
    plan_id: str,
    eval_data: Mapping[str, str],
    processes: int,
    reward_files: Mapping[str, str] | None = None,
) -> JSON:
    """Settings, plan, versions and machine. If all are equal, the results are bitwise equal.

    Args:
        config: Settings of the run.
        plan_id: Id of the plan.
        eval_data: Digest of each held-out set, by name.
        processes: Number of processes of the run.
        reward_files: Digest of each file of the reward, by name.
    """
    return {
        "record_version": RECORD_VERSION,
        "config": config.to_record(),
        "folder": str(Path.cwd()),  # relative paths start here
        "plan_id": plan_id,
        "eval_data": dict(eval_data),
        "versions": dict(zip(PACKAGES, _versions(), strict=True)),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": str(mx.default_device()),
        "blas": {"library": BLAS.library, "version": BLAS.version, "core": BLAS.core},
        # Includes the number of threads, which changes the last bits.
        "policy": describe_device(device_policy(weight_bytes(config.model), config.kernels)),
        "processes": processes,
        **({REWARD_FILES: dict(reward_files)} if reward_files else {}),
    }


@functools.cache
def _versions() -> tuple[str, ...]:
    """Versions of `PACKAGES`; reading them from their metadata takes 15 ms."""
    return tuple(map(version, PACKAGES))


def write_manifest(path: Path, members: JSON) -> None:
    """Writes the result of `describe_run`.

    Args:
        path: The file.
        members: Result of `describe_run`.
    """
    with whole_file(path) as file:  # with half of this file, the folder would not be a run that can be resumed
        file.write(as_json(members))


def read_manifest(path: Path) -> JSON:
    """The members of a run's `config.json`, which must be in canonical form.

    Raises:
        SetupError: The file is not the record of a run, or has another version.
    """
    try:
        content = path.read_bytes()
        members = parse_object(content)
        if "record_version" not in members and isinstance(members.get("config"), dict) and "folder" in members:
            raise SetupError(
                f"{path} was written by an earlier version, whose audit logs do not bind the weights: train again",
                "LR-E118",
            )
        wrong = next((name for name in _MEMBERS if name not in members), None) or min(
            members.keys() - {*_MEMBERS, REWARD_FILES}, default=None
        )
        if wrong is not None or members["record_version"] != RECORD_VERSION:
            raise ValueError(f"`{wrong or 'record_version'}`")
        config = TrainConfig.model_validate(members["config"])
        if json.dumps(config.to_record()) != json.dumps(members["config"]):
            raise ValueError("`config` is not resolved")
        if list(members["eval_data"]) != list(config.eval_data):
            raise ValueError("`eval_data` names other held-out sets than `config`")
        if not _are_digests(members.get(REWARD_FILES, {"": "0" * 64})):
            raise ValueError(f"`{REWARD_FILES}` are not digests")
        if as_json(members) != content:
            raise ValueError("it is not in canonical form")
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        MalformedLine,
    ) as error:  # pydantic raises ValueErrors
        raise SetupError(f"{path} is not the record of a run: {str(error).splitlines()[0]}", "LR-E107") from error
    return members


def _are_digests(value: Any) -> bool:
    digests = list(cast("JSON", value).values()) if isinstance(value, dict) else []
    return bool(digests) and all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in digests)


def settings_of(members: JSON) -> Binding:
    """The part of a run's settings that the audit log binds: all but locations; held-out sets by their digests, in
    order; files of a reward by their digests.
    """
    config = {name: value for name, value in members["config"].items() if name not in LOCATIONS}
    config["eval_data"] = [[name, members["eval_data"].get(name)] for name in config["eval_data"]]
    if REWARD_FILES in members:
        config[REWARD_FILES] = members[REWARD_FILES]
    return Binding("settings", _compact(config))


def environment_of(members: JSON) -> Binding:
    """The part of versions and machine that the audit log binds."""
    return Binding("environment", _compact({name: members[name] for name in _ENVIRONMENT}))


def _compact(value: JSON) -> bytes:
    """JSON in canonical form: members in their order, which matters for `rate_factors`; floats by Python's `repr`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
