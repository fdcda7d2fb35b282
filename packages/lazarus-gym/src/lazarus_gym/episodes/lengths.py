"""The length cache of the samples of a run, by lazarus-tokenkit."""

from pathlib import Path

from lazarus_gym.episodes.run_folder import LENGTHS, SAMPLES
from lazarus_gym.errors import EpisodeError


def check_tokenizer(name: str) -> None:
    """Refuses the name of a tokenizer that cannot be opened.

    Raises:
        EpisodeError: lazarus-tokenkit is not installed (LG-E153).
    """
    try:
        from lazarus_tokenkit import load_tokenizer
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    load_tokenizer(name)


def write_lengths(folder: Path, tokenizer: str) -> int:
    """Writes `lengths.jsonl` of a run and returns the number of tokens of its longest sample.

    Args:
        folder: Folder of the run.
        tokenizer: A directory, a name or `byte`.

    Raises:
        EpisodeError: lazarus-tokenkit is not installed (LG-E153).
    """
    try:
        from lazarus_tokenkit import build_lengths, load_tokenizer
        from lazarus_tokenkit.encoding import Encoder
        from lazarus_tokenkit.lengths import LengthTally
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    tally = LengthTally()
    build_lengths([folder / SAMPLES], Encoder(load_tokenizer(tokenizer)), folder / LENGTHS, tally=tally, force=True)
    return tally.stats.max


def _not_installed() -> EpisodeError:
    return EpisodeError("a length cache needs lazarus-tokenkit: install `lazarus-gym[lengths]`", "LG-E153")
