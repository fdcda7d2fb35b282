"""The commands of `images`: prepare, grid."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import progress, say, show
from lazarus_tokenkit.cli.options import AsJson, load


def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            help="File NAME-idx3-ubyte[.gz], .npz or .parquet, or folder of .png files.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON Lines file to write.")],
    levels: Annotated[int, typer.Option("--levels", min=2, max=256, help="Number of grey levels.")] = 8,
    shrink: Annotated[
        int, typer.Option("--shrink", min=1, help="Take the mean of square blocks of this many pixels a side.")
    ] = 1,
    labels: Annotated[
        int | None, typer.Option("--labels", min=0, help="Number of labels [default: the largest one plus one].")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read this many images [default: all].")] = None,
    array: Annotated[
        str | None, typer.Option("--array", help="Array with the images of an .npz file [default: the only one].")
    ] = None,
    label_array: Annotated[
        str | None, typer.Option("--label-array", help="Array with the labels of an .npz file [default: the only one].")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write images as rows of token ids: a label and quantised pixels. Plans, training and `verify` take such rows.

    Writes a manifest beside the rows, OUTPUT.images.json, by which `lazarus verify --sources` walks back to the image files.

    Example: train-images-idx3-ubyte.gz --levels 8 -o images.jsonl
    """
    from lazarus_tokenkit.images import ImageSettings, prepare_images

    settings = ImageSettings(
        levels=levels, shrink=shrink, labels=labels, limit=limit, array=array, label_array=label_array
    )
    with progress("reading", total=limit, unit="images") as advance:
        found = prepare_images(source, output, settings, force=force, on_progress=advance)
    pixels = found.pixels
    if as_json:
        members = {
            "images": found.count,
            "by_label": list(found.by_label),
            "tokenizer": pixels.name,
            "mask_id": pixels.mask_id,
            "tokens_per_image": pixels.length,
            "manifest": None if found.manifest is None else str(found.manifest),
        }
        show(json.dumps(members, indent=2))
        return
    say(
        f"{found.count:,} images of {pixels.height} x {pixels.width} pixels, {pixels.levels} levels,"
        f" {pixels.labels} labels: {pixels.length:,} tokens each"
    )
    say(f"tokenizer {pixels.name}, mask id {pixels.mask_id}")
    say(f"wrote {output}; next: lazarus data lengths build -d {shlex.quote(str(output))} -t {pixels.name} -o LENGTHS")


def grid(
    data: Annotated[Path, typer.Argument(help="Rows that `images prepare` wrote.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")],
    tokenizer: Annotated[
        str | None,
        typer.Option("-t", "--tokenizer", help="Tokenizer of the rows [default: the one that their manifest names]."),
    ] = None,
    first: Annotated[int, typer.Option("--first", min=0, help="Begin at this row, from 0.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Show this many images.")] = 100,
    columns: Annotated[int, typer.Option("--columns", min=1, max=1000, help="Images a row of the grid.")] = 10,
    zoom: Annotated[int, typer.Option("--zoom", min=1, max=64, help="Pixels of the file along a side of a pixel.")] = 4,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write rows of token ids as one PNG file, as a model sees them after quantisation.

    Example: images.jsonl -o images.png
    """
    from lazarus_tokenkit.images import write_grid

    chosen = None if tokenizer is None else load(tokenizer)
    found = write_grid(data, output, chosen, first=first, count=count, columns=columns, zoom=zoom, force=force)
    if as_json:
        show(json.dumps({"output": str(output), "images": len(found), "labels": found}))
        return
    shown = " ".join("-" if label is None else str(label) for label in found[:20])
    say(f"wrote {output}: {len(found)} images, labels {shown}{' ..' if len(found) > 20 else ''}")
