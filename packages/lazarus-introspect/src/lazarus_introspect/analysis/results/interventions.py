"""Results of interventions: ablation, patching, steering."""

from lazarus_introspect.analysis.results.base import Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Token
from lazarus_introspect.pictures import Part, bars, heatmap, table, visible


class Resampled(Frozen):
    """Where the output of one component came from."""

    component: str
    prompts: tuple[int, ...]
    """Index of the reference prompt, for each position of the text, generated ones included."""
    positions: tuple[int, ...]
    """Position in the reference prompts, as they were cut to equal lengths."""


class Ablated(Frozen):
    """One joint ablation."""

    layers: tuple[int, ...]
    text: str
    meets_criterion: bool | None
    """None without a criterion."""
    kl: float
    """KL(clean || ablated) of the first new token, nats."""
    top_token: str
    top_changed: bool
    logprob_change: float
    """Change of the log-probability of the clean run's first new token, nats."""
    resampled: tuple[Resampled, ...] | None = None
    """resample: the sources of each component; None for the other methods."""


class AblationResult(Result):
    """The original text, and the text of each ablation."""

    criterion: str | None
    original: str
    original_meets_criterion: bool | None
    ablations: tuple[Ablated, ...]

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Ablation of {self.provenance.model}"

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        return super().about() | {"Original": visible(self.original, 300)}

    def pictures(self) -> list[Part]:
        """The effect of each ablation as bars, and the texts as a map."""
        names = [f"layer {','.join(map(str, each.layers))}" for each in self.ablations]
        said = {None: "", True: " (meets the criterion)", False: " (does not meet the criterion)"}
        return [
            bars(
                "KL to the original, by ablated layers",
                {name: each.kl for name, each in zip(names, self.ablations, strict=True)},
                unit="nats",
                note="KL(original || ablated) of the first new token.",
            ),
            bars(
                "Change of the log-probability of the original's first token",
                {name: each.logprob_change for name, each in zip(names, self.ablations, strict=True)},
                unit="nats",
            ),
            table(
                "Texts",
                ["ablated", "text"],
                [
                    [name, visible(each.text, 600) + said[each.meets_criterion]]
                    for name, each in zip(names, self.ablations, strict=True)
                ],
            ),
        ]


class PatchResult(Result):
    """A sweep of activation patches; `prompt` and `ids` are those of the clean prompt."""

    corrupt_prompt: str
    corrupt_ids: tuple[int, ...]
    corrupt_tokens: tuple[str, ...]
    kind: str
    direction: str
    by: str
    """`position` or `head`."""
    positive: Token
    negative: Token
    sites: tuple[str, ...]
    columns: tuple[int, ...]
    clean: float
    """logit[positive] - logit[negative] of the clean run."""
    corrupt: float
    difference: tuple[tuple[float, ...], ...]
    """The same of each patched run: sites, columns."""
    normalised: tuple[tuple[float, ...], ...] | None
    """0 as the corrupt run, 1 as the clean one; None if they do not differ."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Patching of {self.provenance.model}"

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        pair = f"{visible(self.positive.text)!r} - {visible(self.negative.text)!r}"
        return super().about() | {
            "Target": f"{len(self.corrupt_ids):,} tokens: {visible(''.join(self.corrupt_tokens), 300)}",
            "Difference": f"logit of {pair}: source {self.clean:+.3f}, target {self.corrupt:+.3f}",
        }

    def pictures(self) -> list[Part]:
        """The sweep as a map of sites and positions, or of sites and heads."""
        read = self.corrupt_tokens if self.direction == "denoise" else self.tokens
        is_head = self.by == "head"
        columns = [f"head {each}" if is_head else f"{each} {visible(read[each])}" for each in self.columns]
        return [
            heatmap(
                f"Effect of patching {self.kind} ({self.direction})",
                self.difference if self.normalised is None else self.normalised,
                rows=self.sites,
                columns=columns,
                unit="logit difference" if self.normalised is None else "share of the difference",
                upwards="site",
                across="" if is_head else "position",
                is_diverging=True,
                note="The difference itself: source and target do not differ."
                if self.normalised is None
                else "0: as the target, 1: as the source.",
            )
        ]


class SteeringResult(Result):
    """The text without and with steering."""

    site: str
    alpha: float
    mode: str
    vector_norm: float
    stream_norm: float
    """Mean norm of the stream at the site, on the prompt."""
    original: str
    steered: str
    kl: float
    """KL(original || steered) of the first new token, nats."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Steering of {self.provenance.model}"

    def pictures(self) -> list[Part]:
        """The norms as bars, and the texts."""
        return [
            table("Texts", ["", "text"], [["original", self.original], ["steered", self.steered]]),
            bars(
                f"Norms at {self.site}",
                {"vector": self.vector_norm, "vector times alpha": self.vector_norm * abs(self.alpha)}
                | {"stream": self.stream_norm},
                note=f"{self.mode}, alpha {self.alpha:g}; KL of the first new token {self.kl:.4f} nats.",
            ),
        ]
