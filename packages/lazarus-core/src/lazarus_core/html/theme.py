"""The look of every page: colours of the light and the dark theme, and the style sheet."""

LIGHT = {
    "paper": "#ffffff",
    "raised": "#f4f6f9",
    "ink": "#17202e",
    "soft": "#525f70",
    "line": "#dce1e8",
    "shade": "#17202e33",
    "mark": "#2563eb",
    "rest": "#7b8796",
}
DARK = {
    "paper": "#12161d",
    "raised": "#1b212b",
    "ink": "#e8ecf2",
    "soft": "#a7b2c1",
    "line": "#323b48",
    "shade": "#000000b3",
    "mark": "#7aa7ff",
    "rest": "#7d899a",
}
"""Colours by name. `ink` and `soft` are text on `paper` and `raised`; `mark` and `rest` are bars and lines."""
SERIES_LIGHT = ("#2563eb", "#c2410c", "#15803d", "#7c3aed", "#a16207", "#be185d", "#0e7490", "#475569")
SERIES_DARK = ("#7aa7ff", "#f7955a", "#5fc98b", "#b79bff", "#e3b341", "#f487b6", "#4fc3d9", "#b3bfce")
"""Colours of lines, in this order; further lines start again with the first."""
NUM_COLOURS = len(SERIES_LIGHT)


def _declared(colours: dict[str, str], series: tuple[str, ...]) -> str:
    named = [f"--{name}: {colour};" for name, colour in colours.items()]
    return " ".join([*named, *(f"--line{number}: {colour};" for number, colour in enumerate(series))])


_RULES = """
*, ::before, ::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 2.5rem) 3rem; max-width: 68rem; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0 0 .35rem; font-size: clamp(1.4rem, 1.1rem + 1.6vw, 1.9rem); line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; text-wrap: balance; }
h2 { margin: 0 0 .15rem; font-size: 1.1rem; line-height: 1.35; overflow-wrap: anywhere; }
h3 { margin: 1rem 0 .25rem; font-size: .95rem; overflow-wrap: anywhere; }
section { margin-top: 2.5rem; min-width: 0; }
p { margin: 0 0 .75rem; max-width: 44rem; color: var(--soft); font-size: .9375rem; }
code, pre, .code { font: .8125rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
h1 code { font-size: .92em; } p code { background: var(--raised); padding: .05rem .3rem; border-radius: .25rem; }
a { color: var(--mark); }
.unbroken { white-space: nowrap; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 0 3rem; }
.pair > section { display: grid; grid-row: span 3; grid-template-rows: subgrid; row-gap: 0; } .pair > section > * { min-width: 0; } .pair > section > :last-child { grid-row: 3; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 11rem), 1fr)); gap: 1px; margin: 1.5rem 0 0; overflow: hidden; border: 1px solid var(--line); border-radius: .5rem; }
.figures div { display: flex; flex-direction: column; padding: .7rem 1rem; box-shadow: 0 0 0 1px var(--line); }
.figures dt { color: var(--soft); font-size: .8125rem; } .figures dd { order: -1; margin: 0; font-size: 1.05rem; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: fit-content(12rem) minmax(0, 1fr); gap: 0 1.5rem; margin: 1.25rem 0 0; font-size: .9375rem; }
.facts > div { display: grid; grid-column: 1 / -1; grid-template-columns: subgrid; padding: .35rem 0; border-bottom: 1px solid var(--line); }
.facts dt { color: var(--soft); } .facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin-top: .75rem; background: linear-gradient(90deg, var(--paper) 40%, transparent) 0 0 / 3rem 100% no-repeat local, linear-gradient(270deg, var(--paper) 40%, transparent) 100% 0 / 3rem 100% no-repeat local, linear-gradient(90deg, var(--shade), transparent) 0 0 / .9rem 100% no-repeat scroll, linear-gradient(270deg, var(--shade), transparent) 100% 0 / .9rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .875rem; } .scroll + p { margin-top: .75rem; } .scroll + .chart { margin-top: 1.5rem; }
th, td { padding: .4rem 1.5rem .4rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: .25rem; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; vertical-align: bottom; }
td { min-width: 4ch; } td:not(.number):not(:first-child) { min-width: 7rem; } td:last-child:not(.number):not(:first-child) { min-width: 9rem; } td.long { min-width: 16rem; max-width: 46rem; white-space: pre-wrap; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
pre { margin: .75rem 0 0; padding: .9rem 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
.bars { display: grid; grid-template-columns: fit-content(45%) minmax(0, 1fr) max-content; gap: .4rem 1rem; align-items: center; margin: .9rem 0 0; padding: 0; list-style: none; font-size: .875rem; }
.bars li { display: contents; }
.bars .name { overflow-wrap: anywhere; } .bars .value { text-align: right; font-variant-numeric: tabular-nums; }
.bar { height: 1rem; border-radius: .2rem; background: var(--raised); } .bar i { display: block; height: 100%; border-radius: inherit; background: var(--rest); } .bar i.ours { background: var(--mark); }
.chart { margin: .25rem 0 0; font-size: .75rem; line-height: 1.3; color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 0 0 .6rem; padding: 0; list-style: none; font-size: .8125rem; color: var(--ink); }
.legend li { display: flex; gap: .4rem; align-items: baseline; min-width: 0; overflow-wrap: anywhere; } .legend b { font-weight: 600; font-variant-numeric: tabular-nums; }
.key { flex: none; display: inline-block; width: .9rem; height: .25rem; margin-right: .4rem; border-radius: 2px; vertical-align: .22em; } .tip .key { margin: 0; align-self: center; }
.axes { display: grid; grid-template-columns: auto minmax(0, 1fr); margin-top: .55rem; padding-right: 1.25rem; font-variant-numeric: tabular-nums; }
.up { position: relative; margin-right: .5rem; } .up b { visibility: hidden; font-weight: inherit; } .up span { position: absolute; right: 0; transform: translateY(50%); white-space: nowrap; }
.plot { position: relative; height: 12.5rem; touch-action: pan-y; cursor: crosshair; } .plot:focus-visible, .scroll:focus-visible, summary:focus-visible, select:focus-visible { outline: 2px solid var(--mark); outline-offset: 3px; border-radius: 2px; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot path, .plot line { vector-effect: non-scaling-stroke; fill: none; } .grid { stroke: var(--line); stroke-width: 1px; } .grid .base { stroke: var(--rest); }
.curve { stroke-width: 2px; stroke-linejoin: round; } .dots { stroke-width: 7px; stroke-linecap: round; } .column { fill: var(--mark); }
.across { grid-column: 2; position: relative; height: 1.6em; margin-top: .4rem; } .across span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis-title { grid-column: 2; text-align: center; }
.hair { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--soft); pointer-events: none; }
.dot { position: absolute; width: 9px; height: 9px; margin: -4.5px; border: 2px solid var(--paper); border-radius: 50%; pointer-events: none; }
.tip { position: absolute; z-index: 1; top: .25rem; max-width: 80%; padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--raised); color: var(--ink); box-shadow: 0 2px 8px var(--shade); pointer-events: none; }
.tip div { display: flex; gap: .5rem; align-items: baseline; } .tip b { margin-left: auto; } .tip span { overflow-wrap: anywhere; }
[hidden] { display: none; }
details { margin-top: 1rem; } summary { cursor: pointer; font-size: .9375rem; color: var(--ink); }
select { max-width: 100%; margin-left: .4rem; padding: .3rem .5rem; font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--rest); border-radius: .4rem; }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .8125rem; } footer p { max-width: none; font-size: inherit; margin: 0 0 .4rem; }
@media (max-width: 36rem) {
  .facts { grid-template-columns: minmax(0, 1fr); } .facts > div { display: block; } .facts dt { font-size: .8125rem; }
  .bars { grid-template-columns: minmax(0, 1fr); gap: .7rem; } .bars li { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: .2rem 1rem; } .bars .bar { order: 1; grid-column: 1 / -1; height: .75rem; } .bars .value { align-self: end; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); } .figures div { padding: .6rem .8rem; }
}
@media (forced-colors: active) { .bar, .bar i, .key, .dot, .plot svg { forced-color-adjust: none; } }
@media print { .plot { break-inside: avoid; } }
"""
STYLE = (
    f":root {{ color-scheme: light dark; {_declared(LIGHT, SERIES_LIGHT)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_declared(DARK, SERIES_DARK)} }} }}{_RULES}"
    + "".join(
        f".path{number} {{ stroke: var(--line{number}); }} .key{number} {{ background: var(--line{number}); }}\n"
        for number in range(NUM_COLOURS)
    )
)
