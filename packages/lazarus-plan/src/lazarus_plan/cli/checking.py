"""Commands that check: validate, verify, prove, check-proof, audit, simulate, attest. Exit 1 means that a check failed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from lazarus_core.command_names import as_called
from lazarus_core.commands import Force, shared_options
from lazarus_core.console import say, show, show_line, warn
from lazarus_plan.cli.option_names import finding_with_options, name_options
from lazarus_plan.cli.options import (
    AsJson,
    Deal,
    Format,
    PlanPath,
    World,
    check_result,
    choose_format,
    read_caches,
    reported,
    show_findings,
    write_result,
)

Expect = Annotated[
    str | None,
    typer.Option("--expect", help="The pinned plan_id, its first 16 or more digits, or the folder of a lock."),
]


def validate(
    plan: PlanPath,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    output_format: Annotated[
        Literal["text", "json", "github", "sarif"], typer.Option("--format", help="Format of the findings.")
    ] = "text",
    as_json: AsJson = False,
) -> None:
    """Check a plan or lock by itself: exit 0 if it is valid, 1 if not.

    Example: -p plan --strict
    """
    from lazarus_plan.checks.artifact import validate as find
    from lazarus_plan.report import formats

    findings = [finding_with_options(each) for each in find(plan)]
    errors = sum(finding.is_error or strict for finding in findings)
    match "json" if as_json else output_format:
        case "json":
            show(formats.as_json(plan, findings, ok=not errors))
        case "sarif":
            show(formats.as_sarif(plan, findings, strict))
        case "github":
            if findings:
                show(formats.as_github(plan, findings, strict))
        case _:
            for finding in findings:
                show_line(f"{'error' if finding.is_error or strict else 'warning'} {finding.code}: {finding.message}")
            verdict = f"{errors} problem(s)" if errors else "valid"
            say(
                f"{plan}: {verdict}, {len(findings) - errors} warning(s). Run `verify` to compare it with a pinned plan_id, "
                "data and lengths."
            )
    raise typer.Exit(1 if errors else 0)


class EncodingOptions(NamedTuple):
    """How `verify` encodes samples again."""

    tokenizer: str | None
    fields: dict[str, str]
    template: str | None


def encoding_options(
    tokenizer: Annotated[
        str | None,
        typer.Option("-t", "--tokenizer", help="With --sample and --data: encode a sample of each step again."),
    ] = None,
    prompt_field: Annotated[str | None, typer.Option(help="Field of the question, to encode.")] = None,
    completion_field: Annotated[str | None, typer.Option(help="Field of the answer, to encode.")] = None,
    text_field: Annotated[str | None, typer.Option(help="Field of a document, to encode.")] = None,
    messages_field: Annotated[str | None, typer.Option(help="Field of a conversation, to encode.")] = None,
    template: Annotated[str | None, typer.Option(help="Chat template, to encode [default: as recorded].")] = None,
) -> EncodingOptions:
    """The options that name a tokenizer, fields and a template. The options are the parameters."""
    named = {"prompt": prompt_field, "completion": completion_field, "text": text_field, "messages": messages_field}
    return EncodingOptions(tokenizer, {role: name for role, name in named.items() if name is not None}, template)


@shared_options("encoding", encoding_options)
def verify(
    plan: PlanPath,
    *,
    expect: Expect = None,
    lengths: Annotated[
        list[Path] | None, typer.Option("-l", "--lengths", help="Fresh length caches, in the order of the sources.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("-d", "--data", help="Data files, in the order they were encoded.")
    ] = None,
    parent: Annotated[Path | None, typer.Option("--parent", help="Folder of the parent, for a rebased plan.")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the plan from --lengths again and compare.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Parse only N steps; all bytes are still hashed.", min=1)
    ] = None,
    encoding: EncodingOptions,
    output_format: Format = "text",
    as_json: AsJson = False,
) -> None:
    """Check a plan or lock against its pin, data and lengths: names the first broken link of the chain, exit 1.

    Example: -p plan --expect 3f0c2a9b7d1e4856 -d train.jsonl -l lengths.jsonl
    """
    from lazarus_plan.checks.sampled import Recipe
    from lazarus_plan.verify import verify_plan

    if rebuild and not lengths:
        raise typer.BadParameter("--rebuild needs --lengths")
    if sample and (rebuild or lengths or parent):
        raise typer.BadParameter(
            "--sample cannot be combined with --lengths, --parent or --rebuild, which need all steps"
        )
    if not (expect or lengths or data or parent or sample):
        raise typer.BadParameter(
            "nothing to compare with: give --expect, --data, --lengths, --parent or --sample; `validate` checks a plan by itself"
        )
    _check_encoding(encoding, has_data=bool(data))
    recipe = None
    if data and encoding.tokenizer:
        recipe = Recipe(data, encoding.tokenizer, encoding.fields, encoding.template)
    chosen = choose_format(output_format, as_json)
    lines: list[str] = []
    with reported(chosen, plan):
        for line in verify_plan(
            plan,
            expect=expect,
            caches=read_caches(lengths or [], trusts_sidecars=False),
            data=data or [],
            parent=parent,
            rebuild=rebuild,
            sample=sample,
            recipe=recipe,
        ):
            lines.append(as_called(name_options(line)))
            if chosen == "text":
                show_line(lines[-1])
    if chosen == "json":
        show(json.dumps({"plan": str(plan), "ok": True, "findings": [], "checks": lines}, indent=2))
    show_findings(chosen, plan, [])


def _check_encoding(encoding: EncodingOptions, *, has_data: bool) -> None:
    if encoding.tokenizer and not has_data:
        raise typer.BadParameter("--tokenizer needs --data: samples of --data are encoded again")
    if (encoding.fields or encoding.template) and not encoding.tokenizer:
        raise typer.BadParameter("fields and template have no effect without --tokenizer")


def prove(
    plan: PlanPath,
    step: Annotated[int, typer.Option("--step", help="The step to be proven.", min=0)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File for the proof [default: print it].")
    ] = None,
    force: Force = False,
) -> None:
    """Write the proof that a step belongs to the plan: 32 bytes per level of the Merkle tree.

    Example: -p plan --step 120 -o proof.json
    """
    from lazarus_plan.checks.proof import PROOF
    from lazarus_plan.checks.proof import prove as make

    check_result(output, PROOF, [plan], force)
    write_result(json.dumps(make(plan, step), indent=2), output)


def check_proof(proof: Annotated[Path, typer.Argument(help="File that `prove` wrote.")], expect: Expect = None) -> None:
    """Check a proof without the plan: exit 0 if the step belongs to plan --expect.

    Example: proof.json --expect 3f0c2a9b7d1e4856
    """
    from lazarus_plan.checks.proof import check_proof as check
    from lazarus_plan.format.documents import read_json

    members = read_json(proof)
    identity = check(members, expect)
    show(f"step {members['step']} belongs to plan {identity}")
    if expect is None:
        warn("not pinned: give --expect with a plan_id that you trust")


def audit(
    plan: PlanPath,
    log: Annotated[Path, typer.Option("--log", help="The run's audit.jsonl.")],
    encoded: Annotated[
        list[Path] | None,
        typer.Option(
            "--encoded",
            help="Files of `lazarus tokenizer encode`, in the order of the sources: compares the tokens too.",
        ),
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Require that the run reached the end of the plan.")
    ] = False,
    output_format: Format = "text",
    as_json: AsJson = False,
) -> None:
    """Check offline that a run followed the plan: the chain is intact, and every step occurs once and in order.

    Example: -p plan --log run/audit.jsonl --complete
    """
    from lazarus_plan.audit.check import check_audit
    from lazarus_plan.audit.encoded import encoded_token_ids
    from lazarus_plan.audit.line import AUDIT_VERSION
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.findings import Finding

    chosen = choose_format(output_format, as_json)
    with reported(chosen, plan):
        loaded = load_plan(plan)
        found = check_audit(log, loaded, encoded_token_ids(encoded, plan) if encoded else None)
    end = found.first_step + found.steps
    ok = not found.findings and not (complete and end < len(loaded))
    if chosen == "json":
        listed = [{"code": each.code, "message": each.message} for each in found.findings]
        show(
            json.dumps(
                {
                    "ok": ok,
                    "first_step": found.first_step,
                    "next_step": end,
                    "steps": len(loaded),
                    "version": found.version,
                    "head": found.head,
                    "data_head": found.data_head,
                    "bindings": [{"step": each.step, "bind": each.kind} for each in found.bindings],
                    "findings": listed,
                },
                indent=2,
            )
        )
    elif chosen != "text":
        listed = [replace(each, file=str(log)) for each in found.findings]
        if not listed and not ok:
            listed = [Finding("LP-E170", f"the log ends at step {end} of {len(loaded)}", file=str(log))]
        show_findings(chosen, plan, listed)
    else:
        for each in found.findings:
            show_line(f"error {each.code}: {log}: {each.message}")
        if not found.version:
            warn(f"{log} cannot be read as an audit log: give the `audit.jsonl` of a run")
            raise typer.Exit(1)
        verdict = "followed the plan" if not found.findings else "did not follow the plan"
        steps = f"steps {found.first_step} to {end - 1}" if found.steps else "no step"
        (say if ok else warn)(f"{log}: {verdict}, {steps} of {len(loaded)}")
        tokens = "compared" if encoded else "not compared: give `--encoded`, or `lazarus verify` the run"
        say(f"audit head {found.head}, data head {found.data_head}; tokens of the rows: {tokens}")
        if found.version < AUDIT_VERSION:
            say(f"format {found.version}: binds no weights, settings or models")
    raise typer.Exit(0 if ok else 1)


def simulate(
    plan: PlanPath,
    world: World,
    kill_at: Annotated[int, typer.Option("--kill-at", help="The step that the run does not reach.", min=0)],
    resume_world: Annotated[int, typer.Option("--resume-world", help="Ranks that go on.", min=1)],
    policy: Deal = "snake",
    as_json: AsJson = False,
) -> None:
    """Simulate a crash and a resume on a different number of ranks. Shows that no row is lost or repeated.

    Example: -p plan --world 8 --kill-at 100 --resume-world 4
    """
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.report.simulate import simulate as play

    found = play(load_plan(plan), world, kill_at, resume_world, policy)
    if as_json:
        show(json.dumps(found, indent=2))
    else:
        loads = [f"{100 * most / total - 100:.1f} %" for most, total in found["worst_load"]]
        verdict = "exactly the plan's rows, each once" if found["is_equal"] else "NOT the plan's rows"
        before, after = _steps(0, kill_at), _steps(kill_at, found["steps"])
        show(f"{before} on {world} ranks, {after} on {resume_world}: {verdict}")
        show(
            f"{found['rows']:,} rows, {found['tokens']:,} tokens; the busiest rank above the mean: {', then '.join(loads)}"
        )
    raise typer.Exit(0 if found["is_equal"] else 1)


def _steps(first: int, end: int) -> str:
    """The steps first..end (half-open) in words."""
    if end - first > 1:
        return f"steps {first} to {end - 1}"
    return f"step {first}" if first < end else "no step"


def attest(
    plan: PlanPath,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File [default: print it].")] = None,
    force: Force = False,
) -> None:
    """Write an in-toto statement with SLSA provenance about the plan's files, to be signed by other tools.

    Example: -p plan -o plan.intoto.json
    """
    from lazarus_plan.report.attestation import STATEMENT
    from lazarus_plan.report.attestation import attest as make

    check_result(output, STATEMENT, [plan], force)
    write_result(json.dumps(make(plan), indent=2), output)
