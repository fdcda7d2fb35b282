"""Reports of `lazarus bench`: Markdown, an HTML page, and the comparison with an earlier report."""

from html import escape
from typing import Any, NamedTuple

JSON = dict[str, Any]
_HEAD = ("mode", "row length", "padding", "steps", "planned in", "tokens/s", "a step", "peak memory")


class Change(NamedTuple):
    """A speed compared with the baseline.

    Args:
        name: Name of the measurement.
        ratio: Speed divided by the baseline's; above 1 is faster.
    """

    name: str
    ratio: float


def compare(before: JSON, now: JSON) -> list[Change]:
    """Speeds in both reports, as ratios to the earlier ones.

    Args:
        before: The earlier report.
        now: The new report.
    """
    earlier = _speeds(before)
    return [Change(name, speed / earlier[name]) for name, speed in _speeds(now).items() if name in earlier]


def _speeds(found: JSON) -> dict[str, float]:
    training = {f"training, {mode['mode']}": mode["train_tokens_per_s"] for mode in found["modes"]}
    return {"measuring lengths": found["lengths"]["tokens_per_s"], **training}


def to_markdown(found: JSON, changes: list[Change]) -> str:
    """The report as Markdown.

    Args:
        found: The report.
        changes: Comparison with an earlier report.
    """
    lines = [
        f"# {found['data']}, {found['tokenizer']}, {found['model']}",
        "",
        _about(found),
        "",
        f"| {' | '.join(_HEAD)} |",
        f"|{'---|' * len(_HEAD)}",
        *(f"| {' | '.join(_cells(mode))} |" for mode in found["modes"]),
        "",
        _verdict(found),
        "",
        f"Least padding: `{found['advice'].partition(': ')[0]}`: {found['advice'].partition(': ')[2]}.",
    ]
    if changes:
        lines += ["", "Beside the baseline: " + ", ".join(f"{each.name} {each.ratio:.2f}x" for each in changes) + "."]
    return "\n".join(lines) + "\n"


def to_html(found: JSON, changes: list[Change]) -> str:
    """The report as one page.

    Args:
        found: The report.
        changes: Comparison with an earlier report.
    """
    from lazarus_core.html import Bar, bars, columns, page, section

    histogram = found["lengths"]["histogram"]
    edges = [first for first, _, _ in histogram] + [histogram[-1][1]]
    fastest = max(mode["train_tokens_per_s"] for mode in found["modes"])
    speeds = [
        Bar(
            mode["mode"],
            mode["train_tokens_per_s"] / fastest,
            f"{mode['train_tokens_per_s']:,.0f} tokens/s",
            mode["train_tokens_per_s"] == fastest,
        )
        for mode in found["modes"]
    ]
    fills = [
        Bar(mode["mode"], 1 - mode["padding_share"], f"{1 - mode['padding_share']:.2%}", mode["mode"] == "packed")
        for mode in found["modes"]
    ]
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEAD)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(mode))}</tr>" for mode in found["modes"]
    )
    before = [Bar(each.name, min(each.ratio / 2, 1.0), f"{each.ratio:.2f}x", each.ratio >= 1) for each in changes]
    body = (
        f"<h1>{escape(found['data'])}</h1><p>{escape(_about(found))}</p>"
        f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
        + section("Lengths", "Tokens of the samples.", columns([count for _, _, count in histogram], edges, "tokens"))
        + section("Training", "Real tokens a second, by mode.", bars(speeds))
        + section("Fill", "Share of the rows that is real tokens.", bars(fills))
        + (section("Beside the baseline", "Above 1 is faster.", bars(before)) if before else "")
        + f"<p>{escape(_verdict(found))}</p><p>Least padding: <code>{escape(found['advice'])}</code></p>"
    )
    return page(f"Bench: {found['data']}", body, "lazarus-cli")


def _about(found: JSON) -> str:
    machine = found["machine"]
    return (
        f"{found['samples']:,} samples, {found['tokens']:,} tokens, measured at "
        f"{found['lengths']['tokens_per_s']:,.0f} tokens/s. {machine['platform']}, Python {machine['python']}, "
        f"{machine['device']}, BLAS {machine['blas'] or 'of the wheel'}."
    )


def _cells(mode: JSON) -> tuple[str, ...]:
    lengths = ", ".join(map(str, mode["bucket_edges"])) or f"{mode['row_len']:,}"
    return (
        mode["mode"],
        lengths,
        f"{mode['padding_share']:.2%}",
        f"{mode['steps']:,}",
        f"{1000 * mode['plan_seconds']:.0f} ms",
        f"{mode['train_tokens_per_s']:,.0f}",
        f"{mode['step_seconds']:.2f} s",
        f"{mode['peak_memory_bytes'] / 2**20:,.0f} MiB",
    )


def _verdict(found: JSON) -> str:
    """Recommends a mode by the measurements."""
    by_mode = {mode["mode"]: mode for mode in found["modes"]}
    best = max(found["modes"], key=lambda mode: mode["train_tokens_per_s"])
    padded = by_mode["padded"]["train_tokens_per_s"]
    packed = by_mode["packed"]["train_tokens_per_s"] / padded
    return f"Fastest: {best['mode']}. Packing trains {packed:.2f}x the real tokens a second of padding."
