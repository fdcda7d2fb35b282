"""`OUT/config.json`: what was asked for, resolved, and what it ran on."""

import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lazarus_models.backend import BLAS, mx
from lazarus_plan import BatchPlan
from lazarus_plan.whole import whole_file
from lazarus_train.config import TrainConfig
from lazarus_train.devices import device_policy
from lazarus_train.learner import weight_bytes
from lazarus_train.seal import as_json

PACKAGES = (
    "lazarus-plan",
    "lazarus-tokenkit",
    "lazarus-models",
    "lazarus-train",
    "mlx",
    "mlx-lm",
    "tokenizers",
    "numpy",
)


def write_manifest(path: Path, config: TrainConfig, plan: BatchPlan) -> None:
    """Writes settings, plan, versions and machine: bits are the same where these are."""
    members: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "folder": str(Path.cwd()),  # where relative paths begin
        "plan_id": plan.plan_id,
        "versions": {package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": str(mx.default_device()),
        "blas": {"library": BLAS.library, "version": BLAS.version, "core": BLAS.core},
        "policy": asdict(
            device_policy(weight_bytes(config.model))
        ),  # threads too: other numbers of them, other last bits
    }
    with whole_file(path) as file:  # half of it would make the folder no run's, which nothing goes on in
        file.write(as_json(members))
