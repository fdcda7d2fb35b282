"""Results about heads: shares of a logit difference, and attention."""

import numpy as np

from lazarus_introspect.analysis.results.base import Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Token
from lazarus_introspect.pictures import Part, bars, heatmap, map_grid, token_labels, visible


class HeadShare(Frozen):
    """The share of one head."""

    layer: int
    head: int
    share: float


class AttributionResult(Result):
    """Direct attribution of a logit difference; the shares sum to it."""

    position: int
    positive: Token
    negative: Token
    difference: float
    """logit[positive] - logit[negative], as the model computed it."""
    total: float
    """The sum of all shares."""
    embed: float
    pos_embed: float
    norm_bias: float
    """Share of the bias of the last norm."""
    heads: tuple[HeadShare, ...]
    mixer_rest: tuple[float, ...]
    """Share of each block's attention that no head has; without attention, of the whole mixer."""
    mlp: tuple[float, ...]
    """Share of each block's feed-forward part."""

    def shares(self) -> dict[str, float]:
        """Every share by the name of its component."""
        found = {"embedding": self.embed, "positions": self.pos_embed, "bias of the last norm": self.norm_bias}
        found |= {f"layer {each.layer} head {each.head}": each.share for each in self.heads}
        found |= {f"layer {layer} rest of the mixer": share for layer, share in enumerate(self.mixer_rest)}
        return found | {f"layer {layer} MLP": share for layer, share in enumerate(self.mlp)}

    def pictures(self) -> list[Part]:
        """The largest shares as bars, and those of the heads as a map."""
        shares = {name: share for name, share in self.shares().items() if share}
        order = sorted(shares, key=lambda name: -abs(shares[name]))
        pair = f"{visible(self.positive.text)!r} - {visible(self.negative.text)!r}"
        found: list[Part] = [
            bars(
                f"Shares of the logit difference {pair}",
                {name: shares[name] for name in order},
                unit="logits",
                note=f"All shares sum to {self.total:+.4f}; the difference is {self.difference:+.4f}.",
                most=40,
            )
        ]
        if self.heads:
            count = 1 + max(each.head for each in self.heads)
            matrix = np.full((len(self.mlp), count + 2), np.nan)
            for each in self.heads:
                matrix[each.layer, each.head] = each.share
            matrix[:, count], matrix[:, count + 1] = self.mixer_rest, self.mlp
            found.append(
                heatmap(
                    f"Shares by layer and component of {pair}",
                    matrix,
                    rows=[str(layer) for layer in range(len(matrix))],
                    columns=[*(f"head {head}" for head in range(count)), "rest", "MLP"],
                    unit="logits",
                    upwards="layer",
                    is_diverging=True,
                )
            )
        return found


class HeadPattern(Frozen):
    """The attention of one head."""

    layer: int
    head: int
    entropy: float
    """Mean entropy of the rows as a share of the largest possible, in [0, 1]."""
    first: float
    """Mean attention to the first token."""
    previous: float
    """Mean attention to the token before."""
    own: float
    """Mean attention to the token itself."""
    sink: float
    """Mean share of a learned sink; 0 without."""
    last_row: tuple[float, ...]
    """Attention of the last token to each token."""
    pattern: tuple[tuple[float, ...], ...] | None
    """All rows, if they were asked for."""


class DetectedHead(Frozen):
    """A head that behaves as its kind on random repeated tokens."""

    layer: int
    head: int
    kind: str
    score: float
    control: float
    p: float
    q: float


class AttentionResult(Result):
    """Attention patterns, and detected heads if they were asked for."""

    heads: tuple[HeadPattern, ...]
    absent: dict[int, str]
    """Blocks without attention, each with its mixer."""
    detected: tuple[DetectedHead, ...] | None
    tested: int
    """Heads that were tested for each kind."""

    def pictures(self) -> list[Part]:
        """The patterns of all heads, if the result has them, and four figures of each head as maps."""
        layers = sorted({each.layer for each in self.heads})
        found: list[Part] = []
        groups = {
            f"layer {layer}": [each for each in self.heads if each.layer == layer and each.pattern is not None]
            for layer in layers
        }
        groups = {name: heads for name, heads in groups.items() if heads}
        if groups:
            found.append(
                map_grid(
                    "Attention of each head",
                    {name: [each.pattern or () for each in heads] for name, heads in groups.items()},
                    names={name: [f"head {each.head}" for each in heads] for name, heads in groups.items()},
                    rows=token_labels(self.tokens),
                    columns=token_labels(self.tokens),
                    unit="attention",
                    upwards="from",
                    across="to",
                    note="Rows attend to columns.",
                )
            )
        numbers = sorted({each.head for each in self.heads})
        for field, title in (
            ("entropy", "Entropy of attention, as a share of the largest"),
            ("first", "Attention to the first token"),
            ("previous", "Attention to the token before"),
            ("own", "Attention to the token itself"),
        ):
            matrix = np.full((len(layers), len(numbers)), np.nan)
            for each in self.heads:
                matrix[layers.index(each.layer), numbers.index(each.head)] = getattr(each, field)
            found.append(
                heatmap(
                    title,
                    matrix,
                    rows=[str(layer) for layer in layers],
                    columns=[str(head) for head in numbers],
                    unit="mean over positions",
                    upwards="layer",
                    across="head",
                )
            )
        if self.detected:
            scores = {
                f"{each.kind}: layer {each.layer} head {each.head}": each.score - each.control for each in self.detected
            }
            note = f"Score minus control; all with q below 0.05 of {self.tested:,} heads tested."
            found.append(bars("Detected heads", scores, unit="score minus control", note=note))
        return found
