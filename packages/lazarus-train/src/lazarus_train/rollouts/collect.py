"""Draws the answers of some prompts, in one turn or in conversation with an environment, and their rewards."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.errors import LazarusError, reworded
from lazarus_core.plugins import reason
from lazarus_tokenkit import Encoder
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.errors import SetupError
from lazarus_train.rollouts.advantages import overlong_penalty
from lazarus_train.rollouts.environments import Environment, close, following_ids
from lazarus_train.rollouts.generate import Drawn, Request, draw_answers, rollout_seed
from lazarus_train.rollouts.prompts import Prompts
from lazarus_train.rollouts.record import TRUNCATED, Rollout, rounded
from lazarus_train.rollouts.rewards import OK, Answer, Reward, verdicts_of

Lines = Mapping[int, NDArray[np.float32]]
"""Log-probabilities of the whole vocabulary by index of the drawn token."""


class Asked(NamedTuple):
    """An answer to draw.

    Args:
        sample: Sample id of the prompt.
        copy: Number of the answer among the answers to the prompt.
    """

    sample: int
    copy: int


@dataclass(frozen=True)
class Drawing:
    """Settings of drawing answers.

    Args:
        seed: Seed of the run.
        limit: Largest number of new tokens of an answer.
        context: Largest number of tokens of a conversation; None for no limit.
        temperature: Divisor of the logits; 0 takes the most likely tokens.
        stop_ids: Tokens that end an answer.
        batch_texts: Answers of one thread that are drawn at the same time.
        overlong_buffer: Tokens of the growing penalty of long answers.
        turns: Most answers in an environment.
        scores_unfinished: Whether an episode that has not ended has the rewards so far; otherwise it is truncated.
    """

    seed: int
    limit: int
    context: int | None
    temperature: float
    stop_ids: Sequence[int]
    batch_texts: int
    overlong_buffer: int = 0
    turns: int = 1
    scores_unfinished: bool = False


@dataclass
class _Conversation:
    """A roll-out in progress."""

    asked: Asked
    prompt: Sequence[int]
    environment: Environment | None
    ids: list[int] = field(default_factory=list[int])
    is_drawn: list[bool] = field(default_factory=list[bool])
    logprobs: list[float] = field(default_factory=list[float])
    lines: dict[int, NDArray[np.float32]] = field(default_factory=dict[int, "NDArray[np.float32]"])
    seeds: list[int] = field(default_factory=list[int])
    texts: list[str] = field(default_factory=list[str])
    reward: float = 0.0
    status: str | None = None


class Collected(NamedTuple):
    """Roll-outs with the distributions that they were drawn from.

    Args:
        rollouts: In the order in which they were asked for.
        lines: Distributions of each.
    """

    rollouts: list[Rollout]
    lines: list[Lines]


@dataclass(frozen=True)
class Collector:
    """Draws and scores answers.

    Args:
        prompts: The prompts.
        encoder: Encoder of the data.
        reward: Computes rewards; None with an environment.
        drawing: Settings.
        make_environment: Makes the environment of a conversation; None for one answer to each prompt.
        draw: Draws answers by a model.
    """

    prompts: Prompts
    encoder: Encoder
    reward: Reward | None
    drawing: Drawing
    make_environment: Callable[[], Environment] | None = None
    draw: Callable[..., list[Drawn]] = draw_answers

    def collect(self, replicas: Replicas, asked: Sequence[Asked], step: int) -> Collected:
        """Draws answers with the model in evaluation mode. Its mode is restored.

        Args:
            replicas: The model and its copies; each thread draws a contiguous part of the answers.
            asked: The answers; copies of one prompt are next to each other.
            step: Index of the step, from 0.
        """
        was_training = replicas.model.training
        replicas.model.eval()
        replicas.refresh()
        try:
            with ExitStack() as sessions:
                talks = [self._begin(each, sessions) for each in asked]
                for turn in range(self.drawing.turns if self.make_environment else 1):
                    open_talks = [talk for talk in talks if talk.status is None]
                    if not open_talks:
                        break
                    self._draw(replicas, open_talks, step, turn)
        finally:
            replicas.model.train(was_training)
        found = self._scored(talks, step)
        return Collected(found, [talk.lines for talk in talks])

    @property
    def _unfinished(self) -> str:
        """Status of an answer that was cut, and of an episode that has not ended."""
        return OK if self.drawing.scores_unfinished else TRUNCATED

    def _begin(self, asked: Asked, sessions: ExitStack) -> _Conversation:
        ids = self.prompts.ids(asked.sample)
        if self.make_environment is None:
            return _Conversation(asked, ids, None)
        environment = self.make_environment()
        sessions.callback(close, environment)
        row = self.prompts.row(asked.sample)
        place = self.prompts.dataset.place(asked.sample)
        try:
            with reworded(lambda message: f"{place}: {message.replace('`seed`', 'seed')}"):
                environment.reset(seed=row.get("seed", asked.sample), task=row.get("task"))
        except LazarusError:
            raise
        except Exception as error:  # an environment of another package
            raise SetupError(
                f"{place}: the environment cannot begin ({reason(error)}): correct the row, or update the package of the environment",
                "LR-E251",
            ) from error
        return _Conversation(asked, ids, environment)

    def _draw(self, replicas: Replicas, talks: Sequence[_Conversation], step: int, turn: int) -> None:
        """One more answer in each conversation."""
        requests = [self._request(talk, step, turn) for talk in talks]
        for talk, request in zip(talks, requests, strict=True):
            if request is None:
                self._end(talk)
        ready = [(talk, request) for talk, request in zip(talks, requests, strict=True) if request is not None]
        size = max(1, -(-len(ready) // replicas.threads))
        parts = [[request for _, request in ready[first : first + size]] for first in range(0, len(ready), size)]
        drawn = [each for part in replicas.each(self._answers, parts) for each in part]
        for (talk, request), each in zip(ready, drawn, strict=True):
            self._take(talk, request.seed, each, turn)

    def _end(self, talk: _Conversation) -> None:
        """Ends a conversation without room for a further token. Its last message is that of the environment, which nothing reads."""
        while talk.is_drawn and not talk.is_drawn[-1]:
            talk.ids.pop()
            talk.is_drawn.pop()
        talk.status = self._unfinished if talk.ids else TRUNCATED  # without a token, there is nothing to train on

    def _answers(self, model: Any, requests: Sequence[Request]) -> list[Drawn]:
        drawing = self.drawing
        return self.draw(
            model,
            requests,
            temperature=drawing.temperature,
            stop_ids=drawing.stop_ids,
            batch_size=drawing.batch_texts,
        )

    def _request(self, talk: _Conversation, step: int, turn: int) -> Request | None:
        """The next answer of a conversation; None if there is no room for a token."""
        drawing, ids = self.drawing, [*talk.prompt, *talk.ids]
        room = drawing.limit if drawing.context is None else min(drawing.limit, drawing.context - len(ids))
        if room < 1:
            return None
        return Request(ids, rollout_seed(drawing.seed, step, talk.asked.sample, talk.asked.copy, turn), room)

    def _take(self, talk: _Conversation, seed: int, drawn: Drawn, turn: int) -> None:
        """Adds an answer to its conversation, and the reply of the environment."""
        first = sum(talk.is_drawn)
        talk.lines |= {first + place: line for place, line in drawn.lines.items()}
        talk.ids += drawn.ids
        talk.is_drawn += [True] * len(drawn.ids)
        talk.logprobs += drawn.logprobs
        talk.seeds.append(seed)
        body = drawn.ids[:-1] if drawn.has_ended else drawn.ids
        talk.texts.append(self.encoder.tokenizer.decode(body, skip_special=True))
        if not drawn.has_ended:
            talk.status = self._unfinished
        elif talk.environment is None:
            talk.status = OK
        else:
            self._reply(talk, talk.environment, turn)

    def _reply(self, talk: _Conversation, environment: Environment, turn: int) -> None:
        try:
            reply = environment.step(talk.texts[-1])
        except Exception as error:  # noqa: BLE001 (an environment of another package, or a server that died; the status names it)
            talk.status = f"the environment raised {type(error).__name__}"
            return
        try:
            talk.reward += float(reply.reward)
            is_done = bool(reply.done)
            is_cut = not is_done and (reply.truncated or turn + 1 == self.drawing.turns)
            text = "" if is_done or is_cut else reply.observation.text
        except (AttributeError, TypeError, ValueError) as error:
            raise SetupError(
                f"`environment` gave {reply!r:.80} for an answer: give `reward`, `done`, `truncated` and `observation.text`",
                "LR-E251",
            ) from error
        if is_done:
            talk.status = OK
        elif is_cut:
            talk.status = self._unfinished
        else:
            ids = following_ids(self.encoder, text)
            talk.ids += ids
            talk.is_drawn += [False] * len(ids)

    def _scored(self, talks: Sequence[_Conversation], step: int) -> list[Rollout]:
        """Roll-outs with rewards. An answer that did not end has none."""
        plain = [self._rollout(talk, step) for talk in talks]
        if self.reward is None:
            return [
                replace(each, reward=rounded(talk.reward), true_reward=rounded(talk.reward))
                if each.status == OK
                else each
                for each, talk in zip(plain, talks, strict=True)
            ]
        places = [place for place, each in enumerate(plain) if each.status == OK]
        answers = [self._answer(plain[place]) for place in places]
        verdicts = verdicts_of(self.reward, answers) if answers else []
        for place, verdict in zip(places, verdicts, strict=True):
            penalty = overlong_penalty(plain[place].length, self.drawing.limit, self.drawing.overlong_buffer)
            parts = {**verdict.parts, **({"overlong": penalty} if self.drawing.overlong_buffer else {})}
            reward = None if verdict.reward is None else rounded(verdict.reward + penalty)
            plain[place] = replace(
                plain[place],
                status=verdict.status,
                reward=reward,
                true_reward=reward,
                parts={name: rounded(value) for name, value in parts.items()},
            )
        return plain

    def _answer(self, rollout: Rollout) -> Answer:
        sample, prompts = rollout.sample, self.prompts
        return Answer(prompts.text(sample), rollout.texts[-1], prompts.row(sample), prompts.answer(sample))

    def _rollout(self, talk: _Conversation, step: int) -> Rollout:
        return Rollout(
            step=step + 1,
            sample=talk.asked.sample,
            copy=talk.asked.copy,
            seeds=tuple(talk.seeds),
            ids=tuple(talk.ids),
            is_drawn=tuple(talk.is_drawn),
            logprobs=tuple(rounded(each) for each in talk.logprobs),
            texts=tuple(talk.texts),
            status=talk.status or TRUNCATED,
        )
