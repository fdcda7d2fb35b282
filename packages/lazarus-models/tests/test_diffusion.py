import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from lazarus_core.errors import LazarusError
from lazarus_models.backend import mx
from lazarus_models.cli.app import app
from lazarus_models.errors import GenerationError
from lazarus_models.generation import (
    DiffusionConfig,
    answer_length,
    diffuse,
    generate_diffusion,
    mask_token,
    prompt_ids,
)
from suite import examples

MASK = 4


def toy(ids, cache=None):
    """A model of five tokens that likes the token after its neighbour's, and masks most of all."""
    before = mx.concatenate([ids[:, :1], ids[:, :-1]], axis=1)
    liked = mx.where(before == MASK, 0, (before + 1) % MASK)
    return (mx.arange(5) == liked[..., None]) * 2.0 + (mx.arange(5) == MASK) * 9.0


@settings(deadline=None, max_examples=examples(30))
@given(
    length=st.integers(1, 12),
    block=st.integers(1, 12),
    extra=st.integers(0, 12),
    remasking=st.sampled_from(["low_confidence", "random"]),
    temperature=st.sampled_from([0.0, 1.0]),
    guidance=st.sampled_from([0.0, 1.5]),
)
def test_no_mask_is_left_and_a_seed_fixes_the_text(length, block, extra, remasking, temperature, guidance):
    config = DiffusionConfig(
        mask_id=MASK,
        length=length,
        block=block,
        steps=-(-length // block) + extra,
        remasking=remasking,
        temperature=temperature,
        guidance=guidance,
        causal=True,
        seed=1,
    )
    answer = diffuse(toy, [1, 2], config)
    assert len(answer) == length
    assert MASK not in answer
    assert diffuse(toy, [1, 2], config) == answer


def test_a_block_is_finished_before_the_next_begins():
    seen = []

    def watching(ids, cache=None):
        seen.append(ids[0, 2:].tolist())
        return toy(ids)

    diffuse(
        watching, [1, 2], DiffusionConfig(mask_id=MASK, length=6, block=3, steps=6, remasking="random", causal=True)
    )
    assert all(row[3:] == [MASK] * 3 or MASK not in row[:3] for row in seen)


def test_one_token_a_block_with_causal_attention_is_greedy_generation(stories):
    from lazarus_models import GenerationConfig
    from lazarus_models.generation import generate_tokens

    # The mask is the token to be chosen, so it reads the place before it: a causal model predicts the next token.
    def shifted(ids, cache=None):
        logits = stories.model(ids)
        return mx.concatenate([logits[:, :1], logits[:, :-1]], axis=1)

    config = DiffusionConfig(mask_id=0, length=8, block=1, steps=8, causal=True)
    greedy = GenerationConfig(max_new_tokens=8, logit_bias={0: -math.inf})
    assert diffuse(shifted, [1], config) == list(generate_tokens(stories.model, [1], greedy))


def test_draws_follow_the_models_probabilities():
    logits = mx.array([0.0, 1.0, 2.0, -1.0, 5.0])

    def fixed(ids, cache=None):
        return mx.broadcast_to(logits, (*ids.shape, 5))

    drawn = [
        diffuse(
            fixed,
            [0],
            DiffusionConfig(mask_id=MASK, length=200, block=200, steps=1, temperature=1.0, causal=True, seed=seed),
        )
        for seed in range(40)
    ]
    shares = np.bincount(list(itertools.chain(*drawn)), minlength=5) / 8000
    expected = np.array([*np.exp([0.0, 1.0, 2.0, -1.0]), 0.0])
    assert shares == pytest.approx(expected / expected.sum(), abs=0.02)


def test_a_bidirectional_model_reads_later_tokens_too(tiny):
    config = DiffusionConfig(mask_id=5, length=4, block=4, steps=4)
    assert len(diffuse(tiny.model, [1, 2, 3], config)) == 4


def test_fewer_steps_than_blocks_are_refused():
    with pytest.raises(ValidationError, match="`steps` 1 is below the 2 blocks"):
        DiffusionConfig(mask_id=0, length=8, block=4, steps=1)


def infer(lm, *arguments):
    given = ["infer", "-m", lm.path, "--raw", *arguments]
    return CliRunner().invoke(app, list(map(str, given)))


def test_a_total_length_is_prompt_and_answer(stories):
    prompt, total = "Once upon a time", 24
    ids = prompt_ids(stories, prompt, raw=True)
    length = answer_length(stories, prompt, total, raw=True)
    assert len(ids) + length == total
    config = DiffusionConfig(mask_id=5, length=length, block=length, steps=length)
    done = generate_diffusion(stories, prompt, config, raw=True)
    computed = diffuse(stories.model, ids, config)
    stops = [place for place, token in enumerate(computed) if token in stories.stop_ids]
    assert list(done.ids) == computed[: stops[0] + 1 if stops else None]
    asked = infer(stories, "-p", prompt, "--total-length", total, "--mask-token", 5, "--block", length, "--json")
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout)
    assert (found["ids"], found["response"]) == (list(done.ids), done.text)
    assert (found["prompt_tokens"], found["finish_reason"]) == (len(ids), "stop" if stops else "length")
    assert (
        infer(stories, prompt, "--total-length", total, "--mask-token", 5, "--block", length).stdout == done.text + "\n"
    )


def test_an_answer_ends_at_its_first_stop_token_or_text(stories):
    config = DiffusionConfig(mask_id=5, length=16, block=16, steps=16, temperature=1.0)
    whole = generate_diffusion(stories, "Once", config, raw=True)
    assert whole.finish_reason == "length" and len(whole.ids) == 16
    ending = whole.ids[6]
    first = whole.ids.index(ending)
    lm = replace(stories, generation_config={"eos_token_id": ending})
    cut = generate_diffusion(lm, "Once", config, raw=True)
    assert cut.ids == whole.ids[: first + 1]
    assert cut.finish_reason == "stop" and whole.text.startswith(cut.text)
    word = whole.text[4:7]
    stopped = generate_diffusion(stories, "Once", config, raw=True, stop=[word])
    assert stopped.text == whole.text[: whole.text.index(word)] and stopped.finish_reason == "stop"


def test_prompts_of_any_length_have_the_same_total(stories):
    asked = infer(
        stories, "-p", "Once", "-p", "Once upon a time there was", "--total-length", 30, "--mask-token", 5, "--json"
    )
    assert asked.exit_code == 0, asked.output
    lines = list(map(json.loads, asked.stdout.splitlines()))
    assert [line["id"] for line in lines] == ["1", "2"]
    for line in lines:
        is_whole = line["finish_reason"] == "length"
        assert (line["prompt_tokens"] + len(line["ids"]) == 30) is is_whole
    assert lines[0]["prompt_tokens"] < lines[1]["prompt_tokens"]


def test_the_mask_is_an_id_a_text_or_that_of_the_config(stories):
    text, found = next(iter(stories.tokenizer.special_tokens.items()))
    assert mask_token(stories, text) == found == mask_token(stories, str(found))
    raw = {**stories.config.raw, "mask_token_id": 7}
    known = replace(stories, config=stories.config.model_copy(update={"raw": raw}))
    assert mask_token(known) == 7 and mask_token(known, "9") == 9
    for lm, asked, words in (
        (stories, None, "config.json has no `mask_token_id`"),
        (
            replace(stories, config=known.config.model_copy(update={"raw": {"mask_token_id": True}})),
            None,
            "has no `mask",
        ),
        (stories, "<nothing>", "is no token of the model"),
        (stories, "512", "`mask_token` contains id 512"),
        (stories, "9" * 30, "is no token of the model"),
    ):
        with pytest.raises(GenerationError, match=words):
            mask_token(lm, asked)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Once upon a time", "--total-length", 3, "--mask-token", 5], "leaves none of `--total-length` 3"),
        (["Once", "--total-length", 9999, "--mask-token", 5], "but the model's context is 512"),
        (["Once", "--total-length", 30], "give `--mask-token`"),
        (["Once", "--steps", 8], "give `--mask-token`"),
        (["Once", "--mask-token", "<no>"], "`--mask-token` '<no>' is no token"),
        (["Once", "--total-length", 40, "--mask-token", 5, "--block", 4, "--steps", 2], "`--steps` 2 is below the"),
        (["Once", "--total-length", 40, "--max-tokens", 4], "give one of `--total-length` and `--max-tokens`"),
        (["Once", "--mask-token", 5, "--repetition-penalty", 1.1], "`--repetition-penalty` has no effect"),
        (["Once", "--mask-token", 5, "--temperature", 1, "--top-k", 4], "`--top-k` has no effect"),
        (["Once", "--mask-token", 5, "--draft", "x"], "masked diffusion has no --draft"),
        (["--mask-token", 5, "--interactive"], "masked diffusion has no --draft"),
    ],
)
def test_what_masked_diffusion_cannot_do_is_one_line(stories, arguments, words):
    done = infer(stories, *arguments)
    assert isinstance(done.exception, LazarusError), done.output
    assert words in done.exception.message
