"""Digits drawn by models of image tokens: recognised share by guidance and order, times of training and drawing.

    python tools/benchmarks/image_tokens.py FOLDER [--columns 20]

Makes 4,000 images of digits (a 5 x 7 font, shifted, with noise), trains a small model by masked diffusion and one by next-token
prediction, and draws images of every digit. The nearest template decides which digit an image shows. Random weights and guidance
scale 0, which ignores the label, are the controls: one image in ten is right by chance.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))

from image_learning import learn, make_inputs, recognised
from lazarus_core.console import show
from lazarus_models import load

ORDERS = {"diffusion": ("low_confidence", "random"), "next-token": ("random",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for images, models and runs")
    parser.add_argument("--columns", type=int, default=20, help="images of each digit")
    given = parser.parse_args()
    made = make_inputs(given.folder)
    show("| method | weights | scale | order | recognised | CPU s |")
    show("|---|---|---|---|---|---|")
    for method, orders in ORDERS.items():
        share = recognised(load(made.model), method, given.columns)
        show(f"| {method} | random | 1 | {orders[0]} | {share:.1%} | |")
        start = time.process_time()
        lm = load(learn(made, given.folder / method, method))
        show(f"| {method} | trained | | | | {time.process_time() - start:.0f} |")
        for scale in (0.0, 1.0, 2.0):
            for order in orders:
                start = time.process_time()
                share = recognised(lm, method, given.columns, guidance_scale=scale, remasking=order)
                seconds = time.process_time() - start
                show(f"| {method} | trained | {scale:g} | {order} | {share:.1%} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
