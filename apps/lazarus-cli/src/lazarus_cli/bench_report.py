"""Reports of `lazarus bench`: Markdown, an HTML page, and the comparison with an earlier report."""

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lazarus_core.html import Origin

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


def to_html(found: JSON, changes: list[Change], origin: "Origin | None" = None) -> str:
    """The report as one page.

    Args:
        found: The report.
        changes: Comparison with an earlier report.
        origin: Command and time for the footer. Without it, the same report is the same page.
    """
    from lazarus_core.html import Bar, bars, columns, figures, page, section, table

    histogram = found["lengths"]["histogram"]
    edges = [first for first, _, _ in histogram] + [histogram[-1][1]]
    fastest = max(found["modes"], key=lambda mode: mode["train_tokens_per_s"])
    highest = fastest["train_tokens_per_s"]
    speeds = [
        Bar(
            mode["mode"],
            mode["train_tokens_per_s"] / highest,
            f"{mode['train_tokens_per_s']:,.0f} tokens/s",
            mode is fastest,
        )
        for mode in found["modes"]
    ]
    fills = [
        Bar(mode["mode"], 1 - mode["padding_share"], f"{100 * (1 - mode['padding_share']):.2f} %", mode is fastest)
        for mode in found["modes"]
    ]
    most = max((each.ratio for each in changes), default=1.0)
    before = [Bar(each.name, each.ratio / max(most, 1.0), f"{each.ratio:.2f} x", each.ratio >= 1) for each in changes]
    title = f"Benchmark of {found['data']} with tokenizer {_name(found['tokenizer'])} and model {_name(found['model'])}"
    key_figures = {
        "samples": f"{found['samples']:,}",
        "tokens": f"{found['tokens']:,}",
        "tokens/s, measuring lengths": f"{found['lengths']['tokens_per_s']:,.0f}",
        "tokens/s, training": f"{highest:,.0f}",
    }
    options, _, reason = found["advice"].partition(": ")
    machine = found["machine"]
    surroundings = f"{machine['platform']}, Python {machine['python']}, {_device(machine['device'])}, BLAS {machine['blas'] or 'of the wheel'}"
    lengths = columns([count for _, _, count in histogram], edges, "tokens")
    body = (
        f"<header><h1>{escape(title)}</h1><p>{escape(surroundings)}</p></header>{figures(key_figures)}"
        + section(
            "Modes", escape(_verdict(found)), table(_HEAD, map(_cells, found["modes"]), numbers=range(1, len(_HEAD)))
        )
        + section("Training", "Real tokens a second, by mode.", bars(speeds))
        + section("Fill", "Share of the rows that is real tokens.", bars(fills))
        + (section("Compared with the baseline", "Speeds; above 1 is faster.", bars(before)) if before else "")
        + section("Lengths", "Samples by their tokens.", lengths)
        + section("Least padding", f"<code>{escape(options)}</code>: {escape(reason)}", "")
    )
    return page(title, body, "lazarus-cli", origin=origin)


def _name(path: str) -> str:
    """Last part of a path; names stay as they are."""
    return path.rstrip("/").rpartition("/")[2] or path


def _about(found: JSON) -> str:
    machine = found["machine"]
    return (
        f"{found['samples']:,} samples, {found['tokens']:,} tokens, measured at "
        f"{found['lengths']['tokens_per_s']:,.0f} tokens/s. {machine['platform']}, Python {machine['python']}, "
        f"{_device(machine['device'])}, BLAS {machine['blas'] or 'of the wheel'}."
    )


def _device(name: str) -> str:
    """The kind of a device: `cpu` of MLX's `Device(cpu, 0)`."""
    return name.removeprefix("Device(").partition(",")[0]


def _cells(mode: JSON) -> tuple[str, ...]:
    lengths = ", ".join(map(str, mode["bucket_edges"])) or f"{mode['row_len']:,}"
    return (
        mode["mode"],
        lengths,
        f"{100 * mode['padding_share']:.2f} %",
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
