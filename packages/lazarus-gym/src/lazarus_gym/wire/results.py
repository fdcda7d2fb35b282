"""Typed replies of a puzzle server."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class PuzzleObservation(_Frozen):
    """The position as a server reports it in JSON."""

    game: str = Field(max_length=100)
    """Title of the game."""
    difficulty: str = Field(max_length=100)
    seed: int
    moves: int = Field(ge=0)
    invalid_moves: int = Field(default=0, ge=0)
    hints_used: int = Field(default=0, ge=0)
    hints_remaining: int | None = None
    optimal_steps: int | None = None
    """Steps that the server says are left. Public servers count it down, so only the value at the start is a reference."""
    is_complete: bool = False
    is_over: bool = False
    """No further move counts: solved, lost or given up. Public servers do not report it."""
    difficulty_profile: dict[str, Any] | None = None
    grid: list[list[Any]] | None = None
    """Numbers of the board, where the game has some; what an empty cell is depends on the game."""
    grid_display: str = ""
    """The board as text."""

    @property
    def text(self) -> str:
        """What a player reads."""
        return self.grid_display


class HintResult(_Frozen):
    """A hint."""

    message: str
    """Its sentence, without `Hint:`."""
    move: str | None
    """The command that follows it; None where the sentence has no known form."""


class MoveResult(_Frozen):
    """The reply to a command of the game."""

    success: bool
    code: str
    """Such as `OK`, `PLACED`, `INVALID_MOVE`, `USAGE`, or `UNKNOWN` for a command that the game does not have."""
    message: str
    observation: PuzzleObservation | None = None
    """The position after the command, where the server sent it."""
    is_complete: bool = False
    """The server says that the puzzle is solved."""
    is_truncated: bool = False
    """A limit of the server ended the episode."""
    reward: float | None = None
    """The reward that the server paid; None where its protocol has none."""


class CheckResult(_Frozen):
    """The reply to `check`."""

    is_complete: bool
    message: str
