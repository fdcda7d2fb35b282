"""What an episode is on disk: one JSON object a line, and the chat samples made of solved episodes.

An episode that is *solved* or *lost* is finished and saved. One that is *truncated* (a limit of moves), *stuck* (the policy had
no move that was accepted) or *aborted* (the connection failed) is counted with its reason and never saved.
"""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["solved", "lost", "truncated", "stuck", "aborted"]
SAVED: tuple[Status, ...] = ("solved", "lost")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Turn(_Frozen):
    """One move."""

    observation: str
    """The board before the move."""
    move: str
    valid: bool
    code: str
    """The server's word for the outcome."""
    message: str
    """The server's sentence for the outcome."""


class Episode(_Frozen):
    """One puzzle, from its start to its end."""

    id: str
    index: int = Field(ge=0)
    """Place in the run."""
    game: str
    difficulty: str
    seed: int
    policy: str
    status: Status
    reason: str = ""
    """Why it ended, where it was not solved."""
    rules: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    final: str = ""
    """The board at the end."""
    moves: int = 0
    invalid_moves: int = 0
    hints_used: int = 0
    reference_moves: int | None = None
    """Moves that the server named as needed at the start."""
    reward: float = 0.0
    """What an OpenEnv server paid; else 1 for a solved puzzle, less the share of the reference moves that hints gave, or 0."""

    @property
    def is_saved(self) -> bool:
        """Whether it belongs in a file: finished, and with at least one move."""
        return self.status in SAVED and bool(self.turns)

    def line(self) -> bytes:
        """The line of `episodes.jsonl`."""
        return (json.dumps(self.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def reward_of(*, is_solved: bool, hints_used: int, reference_moves: int | None, moves: int) -> float:
    """The reward of an episode, as `lazarus_gym.environments` defines it.

    >>> reward_of(is_solved=True, hints_used=2, reference_moves=8, moves=9)
    0.75

    Args:
        is_solved: Whether it was solved.
        hints_used: Hints that the player took.
        reference_moves: Moves needed from the start; None where the server named none, then `moves` is taken.
        moves: Moves that were made.
    """
    if not is_solved:
        return 0.0
    return 1 - min(1.0, hints_used / max(1, reference_moves or moves))


def sample_of(episode: Episode) -> dict[str, Any]:
    """A solved episode as a chat sample. The assistant's messages are the accepted moves, so they alone carry loss."""
    head = f"You play {episode.game.replace('_', ' ')}. Answer each position with one command and nothing else."
    messages = [{"role": "system", "content": "\n".join([head, *episode.rules])}]
    outcome = ""
    for turn in episode.turns:
        if not turn.valid:
            continue
        messages.append(
            {"role": "user", "content": f"{outcome}\n\n{turn.observation}" if outcome else turn.observation}
        )
        messages.append({"role": "assistant", "content": turn.move})
        outcome = turn.message
    return {
        "id": episode.id,
        "messages": messages,
        "game": episode.game,
        "difficulty": episode.difficulty,
        "seed": episode.seed,
        "outcome": {"status": episode.status, "message": outcome, "final": episode.final, "reward": episode.reward},
    }
