"""Results of uncertainty and calibration."""

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.pictures import Part, bars, table, visible
from lazarus_introspect.probing.calibration import Bin, Calibration
from lazarus_introspect.probing.findings import PromptSetResult


class NextToken(Frozen):
    """The model's uncertainty about the first new token of a prompt, and its answer."""

    prompt: str
    entropy: float
    """Nats."""
    normalised_entropy: float
    """As a share of the logarithm of the vocabulary, in [0, 1]."""
    top_token: str
    top_probability: float
    margin: float
    """Probability of the first minus that of the second token."""
    predicted: str | None
    """Greedy answer, with as many tokens as the right one; None without an answer."""
    confidence: float | None
    """Probability of that answer."""
    answer: str | None
    is_right: bool | None
    agreement: float | None
    """Share of sampled answers that are equal to the greedy one; None without samples."""


class CalibrationFigures(Frozen):
    """Calibration of one kind of confidence."""

    confidence_of: str
    """`probability` or `agreement`."""
    answers: int
    accuracy: float
    confidence: float
    bins: tuple[Bin, ...]
    """Lower and upper end, answers, mean confidence and accuracy."""
    ece: float
    ece_interval: tuple[float, float]
    ece_null: float
    """Mean error of perfectly calibrated confidences, by chance."""
    ece_p: float
    brier: float
    brier_interval: tuple[float, float]
    brier_baseline: float
    """That of a constant confidence equal to the accuracy."""
    auroc: float | None
    auroc_interval: tuple[float, float] | None


def calibration_figures(kind: str, found: Calibration, answers: int) -> CalibrationFigures:
    """Calibration as a result.

    Args:
        kind: Kind of confidence.
        found: The figures.
        answers: Number of answers.
    """
    return CalibrationFigures(confidence_of=kind, answers=answers, **found._asdict())


class UncertaintyResult(PromptSetResult):
    """Uncertainty of prompts, and calibration where answers are known."""

    rows: tuple[NextToken, ...]
    calibration: tuple[CalibrationFigures, ...]
    """None of them without answers."""

    def pictures(self) -> list[Part]:
        """The entropy of each prompt, and accuracy by confidence."""
        found: list[Part] = [
            bars(
                "Entropy of the first new token",
                {f"{place} {visible(each.prompt, 40)}": each.entropy for place, each in enumerate(self.rows)},
                unit="nats",
            )
        ]
        for each in self.calibration:
            note = (
                f"ECE {each.ece:.3f} (of perfectly calibrated confidences {each.ece_null:.3f}, p {each.ece_p:.2g}); "
                f"Brier {each.brier:.3f}, of a constant {each.brier_baseline:.3f}."
            )
            rows = [
                [f"{one.low:.2f} to {one.high:.2f}", str(one.answers), f"{one.confidence:.3f}", f"{one.accuracy:.3f}"]
                for one in each.bins
                if one.answers
            ]
            head = ["confidence", "answers", "mean confidence", "accuracy"]
            found.append(table(f"Calibration of {each.confidence_of}", head, rows, note=note))
        return found
