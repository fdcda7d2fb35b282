"""The plan as an in-toto statement with SLSA provenance, for supply-chain tools that sign and store statements.

https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1; nothing is signed here (`cosign attest-blob` does).
"""

import hashlib
from pathlib import Path

from lazarus_core.canonical import JSON
from lazarus_core.outputs import OutputKind, begins_with
from lazarus_plan.checks.artifact import load_plan
from lazarus_plan.checks.documents import load_documents
from lazarus_plan.format.fingerprint import UPSTREAM
from lazarus_plan.format.store import FILES
from lazarus_plan.lengths.cache import ABSENT

BUILD_TYPE = "urn:lazarus-plan:build:1"
STATEMENT = OutputKind(
    "a statement about a plan",
    begins_with(r'\{\s*"_type": "https://in-toto\.io/Statement/v1",.*"buildType": "urn:lazarus-plan:build:'),
)


def attest(path: Path | str) -> JSON:
    """Create the statement about the files of a plan, after every check that the plan alone allows.

    The digests of data, template and tokenizer are those that `plan_id` covers; they are not recomputed from the data.

    Args:
        path: Folder of the plan.

    Raises:
        CorruptPlan: The plan contradicts itself.
    """
    path = Path(path)
    load_plan(path)
    artifact = load_documents(path)
    prints = artifact.fingerprints
    dependencies = [
        {"name": f"{link}:{source.name}", "digest": {"sha256": digest.removeprefix("sha256:")}}
        for link in (*UPSTREAM, "lengths")
        for source, digest in zip(artifact.metadata.sources, prints[link]["sources"], strict=True)
        if digest != ABSENT
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": _sha256(path / name)}} for name in FILES],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": artifact.metadata.config.canonical(),
                "internalParameters": {"plan_id": prints["plan_id"], "merkle_root": prints["merkle_root"]},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": "urn:lazarus-plan", "version": {"lazarus-plan": artifact.metadata.tool_version}},
                "metadata": {"finishedOn": artifact.metadata.created_at.isoformat()},
            },
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
