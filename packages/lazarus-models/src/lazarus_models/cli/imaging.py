"""The command `model images`, which draws images."""

import json
import re
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from lazarus_core.commands import Force
from lazarus_core.console import say, show
from lazarus_models.cli.options import Adapter, AnyBase, AsJson, Model, load_model

_GRID = re.compile(r"([0-9]{1,5})x([0-9]{1,5})", re.ASCII)
_COLUMNS = 8


def images(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")],
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="Labels, such as 0-9 or 3,3,7; - is no label [default: all, in turn]."),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            "--grid",
            metavar="ROWSxCOLUMNS",
            help=f"Draw so many images. Each row of the grid has one label [default: a row a label, {_COLUMNS} columns].",
        ),
    ] = None,
    method: Annotated[
        Literal["diffusion", "next-token"],
        typer.Option("--method", help="How the model was trained: masked diffusion, or next-token prediction."),
    ] = "diffusion",
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Masked diffusion: forward passes [default: 64, at most one a pixel]."),
    ] = None,
    guidance_scale: Annotated[
        float,
        typer.Option("--guidance-scale", min=0.0, help="Strength of the label: 0 ignores it, 1 is the plain model."),
    ] = 1.0,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Divide logits by this. 0 takes the most likely level.")
    ] = 1.0,
    remasking: Annotated[
        Literal["low_confidence", "random"],
        typer.Option("--remasking", help="Masked diffusion: pixels that are decided first."),
    ] = "random",
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Use this random seed.")] = 0,
    zoom: Annotated[int, typer.Option("--zoom", min=1, max=64, help="Pixels of the file along a side of a pixel.")] = 4,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw images with a model that was trained on image tokens, as one PNG file. The same seed gives the same images.

    Example: -m run/final --labels 0-9 --grid 10x10 --guidance-scale 2 -o grid.png
    """
    from lazarus_core.outputs import check_output
    from lazarus_models.generation.image_sampling import ImageConfig, check_images, draw_images
    from lazarus_tokenkit.images import PNG, check_grid, save_grid
    from lazarus_tokenkit.tokenizers import pixel_format

    check_output(output, PNG, force=force)
    _check_options(method, steps, remasking)
    config = ImageConfig(
        method=method,
        steps=steps,
        guidance_scale=guidance_scale,
        temperature=temperature,
        remasking=remasking,
        seed=seed,
    )
    given = None if labels is None else parse_labels(labels)
    size = None if grid is None else _parse_grid(grid)
    lm = load_model(model, adapter, any_base=any_base)
    pixels = pixel_format(lm.tokenizer)
    chosen = given or list(range(pixels.labels)) or [None]
    rows, columns = size or (len(chosen), _COLUMNS)
    wanted = [chosen[row % len(chosen)] for row in range(rows) for _ in range(columns)]
    check_images(lm, pixels, wanted)
    check_grid((pixels.height, pixels.width), len(wanted), columns, zoom)
    start = time.perf_counter()
    drawn = draw_images(lm, wanted, config)
    seconds = time.perf_counter() - start
    save_grid(list(drawn), output, columns=columns, zoom=zoom)
    if as_json:
        members = {
            "output": str(output),
            "rows": rows,
            "columns": columns,
            "labels": wanted,
            "seconds": round(seconds, 3),
        }
        show(json.dumps(members))
        return
    say(f"{len(wanted)} images of {pixels.height} x {pixels.width} pixels in {seconds:.1f} s")
    show(str(output))


def parse_labels(text: str) -> list[int | None]:
    """Reads a list of labels.

    >>> parse_labels("0-2,7,-")
    [0, 1, 2, 7, None]

    Raises:
        GenerationError: A part is not a label, a range of labels, or `-`.
    """
    from lazarus_models.generation.image_sampling import MAX_IMAGES

    found: list[int | None] = []
    for part in text.split(","):
        numbers = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part.strip(), re.ASCII)
        if part.strip() == "-":
            found.append(None)
        elif numbers is not None:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            if last < first:
                raise _refusal(
                    f"`--labels` has the range {part.strip()}, which ends before it begins: give {last}-{first}"
                )
            found += range(first, last + 1)
        else:
            raise _refusal(f"`--labels` has {part[:40]!r}: give numbers, ranges such as 0-9, or - for no label")
        if len(found) > MAX_IMAGES:
            raise _refusal(f"`--labels` has more than {MAX_IMAGES:,} labels: give fewer")
    return found


def _parse_grid(text: str) -> tuple[int, int]:
    from lazarus_models.generation.image_sampling import MAX_IMAGES

    found = _GRID.fullmatch(text)
    rows, columns = map(int, found.groups()) if found is not None else (0, 0)
    if not rows or not columns:
        raise _refusal(f"`--grid` is {text[:40]!r}: give ROWSxCOLUMNS, such as 10x10")
    if rows * columns > MAX_IMAGES:
        raise _refusal(f"`--grid` {text} has {rows * columns:,} images: give 1 to {MAX_IMAGES:,}")
    return rows, columns


def _check_options(method: str, steps: int | None, remasking: str) -> None:
    if method == "next-token" and (steps is not None or remasking != "random"):
        raise _refusal("`--steps` and `--remasking` have no effect with `--method next-token`; remove them")


def _refusal(words: str) -> Exception:
    from lazarus_models.errors import GenerationError

    return GenerationError(words, "LM-E551")
