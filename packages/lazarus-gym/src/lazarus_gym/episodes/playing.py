"""One episode: a puzzle is started and played to its end by a policy."""

from dataclasses import dataclass

from lazarus_gym.episodes.openenv_session import OpenEnvPlayer
from lazarus_gym.episodes.policies import Policy, View
from lazarus_gym.episodes.records import Episode, Status, Turn, reward_of
from lazarus_gym.wire import Game, MoveResult, PuzzleDifficulty, PuzzleObservation, PuzzleSession

MAX_REFUSED = 3
"""Refused moves in a row after which a policy that follows hints is stuck: the next hint is the same again."""
LOST = ("EXPLODED", "GAME_OVER")


@dataclass(frozen=True)
class Job:
    """An episode to play.

    Args:
        index: Place in the run.
        game: The game.
        difficulty: Its level.
        seed: Seed of the puzzle and of the policy.
        policy: Name of the policy.
    """

    index: int
    game: Game
    difficulty: PuzzleDifficulty
    seed: int
    policy: str

    def episode(self, status: Status, reason: str = "", **members: object) -> Episode:
        """The record of this job.

        Args:
            status: How it ended.
            reason: Why, where it was not solved.
            members: Further fields of `Episode`.
        """
        fields: dict[str, object] = {
            "id": f"{self.game.value}-{self.difficulty.value}-s{self.seed}-{self.policy}-{self.index}",
            "index": self.index,
            "game": self.game.value,
            "difficulty": self.difficulty.value,
            "seed": self.seed,
            "policy": self.policy,
            "status": status,
            "reason": reason,
        }
        return Episode.model_validate(fields | members)


async def play(session: PuzzleSession | OpenEnvPlayer, job: Job, policy: Policy, max_moves: int) -> Episode:
    """Plays an episode.

    Args:
        session: An open session.
        job: What to play.
        policy: Decides on moves.
        max_moves: Moves after which the episode is truncated.

    Raises:
        WireError: The connection failed, so the episode is aborted.
    """
    observation = first = await session.start(job.game, job.difficulty, job.seed)
    turns: list[Turn] = []
    status: Status = "truncated"
    reason = f"not solved in {max_moves} moves"
    refused = 0
    paid: float | None = None
    for _ in range(max_moves):
        said = [(turn.observation, turn.move) for turn in turns]
        choice = await policy.choose(session, View(job.game, observation, session.rules, said))
        if choice.move is None:
            status, reason = "stuck", choice.reason
            break
        result = await session.act(choice.move)
        turns.append(
            Turn(
                observation=observation.text,
                move=choice.move,
                valid=result.success,
                code=result.code,
                message=result.message,
            )
        )
        observation = _after(result, observation)
        if result.reward is not None:
            paid = (paid or 0.0) + result.reward
        refused = 0 if result.success else refused + 1
        if result.is_complete:
            status, reason = "solved", ""
            break
        if result.is_truncated:
            reason = "the server ended the episode by a limit"
            break
        if observation.is_over or result.code in LOST:
            status, reason = "lost", result.message
            break
        if refused >= MAX_REFUSED and job.policy == "hint":
            status, reason = "stuck", f"the server refuses its own hint: {choice.move!r}: {result.message}"
            break
    hints = observation.hints_used if job.policy != "hint" else len(turns)
    return job.episode(
        status,
        reason[:500],
        rules=session.rules,
        turns=tuple(turns),
        final=observation.text,
        moves=sum(turn.valid for turn in turns),
        invalid_moves=sum(not turn.valid for turn in turns),
        hints_used=hints,
        reference_moves=first.optimal_steps,
        reward=reward_of(
            is_solved=status == "solved",
            hints_used=hints,
            reference_moves=first.optimal_steps,
            moves=len(turns),
        )
        if paid is None
        else paid,
    )


def _after(result: MoveResult, before: PuzzleObservation) -> PuzzleObservation:
    """The position after a move. A refused move reports its counters alone, and the board stays."""
    found = result.observation
    if found is None:
        return before
    return found if found.text else found.model_copy(update={"grid_display": before.grid_display})
