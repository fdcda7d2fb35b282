"""The command `lazarus gym audit`."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import progress, say, show


def audit(
    target: Annotated[
        str,
        typer.Argument(
            help="`lazarus:*`, `reasoning-gym:*`, a name instead of `*` (or several, comma-separated), a file or folder of tasks, "
            "a file of `gym export`, or the address of an OpenEnv server."
        ),
    ],
    items: Annotated[int, typer.Option("--items", help="Tasks whose answers are judged, 1 to 64.", min=1, max=64)] = 4,
    draws: Annotated[
        int, typer.Option("--draws", help="Tasks compared between processes and seeds, 2 to 64.", min=2, max=64)
    ] = 32,
    python: Annotated[
        Path | None,
        typer.Option(
            "--python", help="Python with reasoning-gym, or what an exported file imports [default: the one that runs]."
        ),
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Environment to ask an OpenEnv server for.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", help="Also write the findings as SARIF to this file.")
    ] = None,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check tasks and their verifiers: right answers are paid, wrong ones are not, nothing is executed.

    Everything runs in the jail: 15 wrong answers of every kind, three hash seeds, four processes. Exit 1 if there is a finding.

    Example: lazarus:*
    Example: ws://localhost:8000 --environment sudoku
    Example: reasoning-gym:spiral_matrix,coin_flip --python ENV/bin/python --sarif findings.sarif
    """
    from lazarus_core.atomic import whole_file
    from lazarus_core.outputs import check_output
    from lazarus_gym.audit import SARIF, AuditConfig, as_sarif, as_text, audit_subjects, find_target
    from lazarus_gym.audit import as_json as to_json

    if sarif is not None:
        check_output(sarif, SARIF, force=force)
    found, config = find_target(target, python=python, environment=environment), AuditConfig(items=items, draws=draws)
    with progress("audit", total=None, unit="tasks") as advance:

        def done(phase: str, total: int) -> None:
            advance(1, phase, total * (2 + len(config.hash_seeds)))

        report = audit_subjects(found, config, progress=done)
    show(to_json(report) if as_json else as_text(report))
    if sarif is not None:
        with whole_file(sarif) as file:
            file.write(as_sarif(report).encode())
        say(f"findings: {sarif}")
    raise typer.Exit(int(bool(report.findings)))
