"""A run, stopped anywhere and resumed, is the run that was never stopped: law 4."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

import lazarus_models
from lazarus_models.backend import mx
from lazarus_plan import StalePlan, load_plan
from lazarus_train import Interrupted, NonFinite, SetupError, Watcher, sft
from lazarus_train.learner import ADAPTERS


def fingerprints(setup, run: str) -> dict[str, str]:
    """SHA-256 of everything that data and weights decide."""
    folder = setup.folder / run
    last = sorted((folder / "checkpoints").iterdir())[-1]
    files = {
        "weights": folder / "final" / "model.safetensors",
        "optimizer": last / "optimizer.safetensors",
        "metrics": folder / "metrics.jsonl",
        "audit": folder / "audit.jsonl",
    }
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def stop_after(step: int) -> Watcher:
    seen: list[int] = []
    return Watcher(on_step=lambda report: seen.append(report.step), should_stop=lambda: seen[-1] == step)


def test_stopped_after_every_step_and_resumed_the_run_is_the_same(setup):
    steps = sft(setup.config("straight")).steps
    assert steps == len(load_plan(setup.plan)) > 6
    straight = fingerprints(setup, "straight")
    for step in range(1, steps):
        with pytest.raises(Interrupted, match=f"after step {step} of {steps}"):
            sft(setup.config(f"stopped-{step}", save_every=None), watcher=stop_after(step))
        sft(setup.config(f"stopped-{step}", save_every=None))
        assert fingerprints(setup, f"stopped-{step}") == straight


def test_with_adapters_and_dropout_too(setup, lora_settings):
    sft(setup.config("straight", lora=lora_settings))
    with pytest.raises(Interrupted):
        sft(setup.config("stopped", lora=lora_settings), watcher=stop_after(3))
    sft(setup.config("stopped", lora=lora_settings))
    assert fingerprints(setup, "stopped") == fingerprints(setup, "straight")


def test_a_run_of_fewer_steps_goes_on_to_more(setup):
    sft(setup.config("straight", max_steps=6))
    sft(setup.config("longer", max_steps=3))
    sft(setup.config("longer", max_steps=6))
    assert fingerprints(setup, "longer") == fingerprints(setup, "straight")


def test_work_beyond_the_last_checkpoint_is_done_again_and_the_fork_stays_visible(setup):
    sft(setup.config("straight"))

    class Killed(BaseException):
        pass

    def kill(report):
        if report.step == 6:
            raise Killed

    with pytest.raises(Killed):
        sft(setup.config("killed", save_every=4), watcher=Watcher(on_step=kill))
    assert len((setup.folder / "killed" / "metrics.jsonl").read_text().splitlines()) == 6
    sft(setup.config("killed", save_every=4))
    assert fingerprints(setup, "killed") == fingerprints(setup, "straight")
    fork = [json.loads(line) for line in (setup.folder / "killed" / "audit.jsonl.rewound").read_text().splitlines()]
    assert fork[0]["rewound_to"] == 4
    assert [line["step"] for line in fork[1:]] == [4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 5, 9])
def test_killed_by_the_system_and_resumed_the_run_is_the_same(setup, after):
    setup.build_plan(epochs=3)
    sft(setup.config("straight"))
    arguments = [
        *("--model", setup.model, "--data", setup.data, "--batch-plan", setup.plan, "-o", setup.folder / "killed"),
        *("--learning-rate", "5e-3", "--save-every", "2"),
    ]
    command = [sys.executable, "-m", "lazarus_train", "sft", *map(str, arguments)]
    audit = setup.folder / "killed" / "audit.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as process:
        while process.poll() is None and not (audit.is_file() and audit.read_bytes().count(b"\n") > after):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    sft(setup.config("killed"))
    assert fingerprints(setup, "killed") == fingerprints(setup, "straight")


def test_a_finished_run_is_left_as_it_is(setup):
    sft(setup.config())
    before = fingerprints(setup, "run")
    assert sft(setup.config()).steps == len(load_plan(setup.plan))
    assert fingerprints(setup, "run") == before


def test_resume_none_starts_again_and_gives_the_same(setup):
    sft(setup.config(max_steps=4))
    before = fingerprints(setup, "run")
    sft(setup.config(max_steps=4), resume="none")
    assert fingerprints(setup, "run") == before


def test_a_checkpoint_of_another_plan_is_refused(setup):
    sft(setup.config(max_steps=2))
    setup.build_plan(seed=1)
    with pytest.raises(StalePlan, match="the checkpoint followed plan"):
        sft(setup.config())


def test_a_resume_from_nowhere_is_refused(setup):
    with pytest.raises(SetupError, match="no such checkpoint"):
        sft(setup.config(), resume=str(setup.folder / "nothing"))


def test_the_logged_loss_is_the_mean_over_the_labels_of_the_step(setup):
    from lazarus_train.gate import enforce

    sft(setup.config(max_steps=1))
    line = json.loads((setup.folder / "run" / "metrics.jsonl").read_text())
    enforced = enforce(setup.config())
    model = lazarus_models.load(setup.model).model
    total, labels = 0.0, 0
    for sample in enforced.plan.step(0).samples:
        ids, loss_mask = enforced.dataset.sample(sample)
        logits = model(mx.array(ids)[None])[0]
        losses = mx.logsumexp(logits, axis=-1)[:-1] - logits[mx.arange(len(ids) - 1), mx.array(ids[1:])]
        total += (losses * mx.array(loss_mask[1:].astype("float32"))).sum().item()
        labels += int(loss_mask[1:].sum())
    assert line["loss_tokens"] == labels
    assert line["loss"] == pytest.approx(total / labels, abs=1e-5)


def test_training_lowers_the_held_out_loss_and_says_so(setup):
    setup.build_plan(epochs=6)
    held_out: dict[int, float] = {}
    config = setup.config(eval_data=setup.data, eval_every=10)
    sft(config, watcher=Watcher(on_held_out=lambda step, result: held_out.update({step: result.loss})))
    steps = sorted(held_out)
    assert steps[0] == 0
    assert 10 in steps
    assert held_out[0] == pytest.approx(math.log(300), abs=0.2)
    assert held_out[steps[-1]] < held_out[10] < held_out[0]


def test_adapters_leave_the_base_alone_and_final_is_the_merged_model(setup, lora_settings):
    sft(setup.config(lora=lora_settings))
    base = lazarus_models.weights(lazarus_models.load(setup.model).model)
    final = setup.folder / "run" / "final"
    merged = lazarus_models.weights(lazarus_models.load(final).model)
    changed = {name for name in base if not mx.array_equal(base[name], merged[name])}
    assert changed == {name for name in base if "_proj" in name}
    lm = lazarus_models.load(setup.model)
    lazarus_models.load_adapter(lm.model, final / ADAPTERS)
    ids = mx.arange(20)[None]
    lm.model.eval()
    difference = lm.model(ids) - lazarus_models.load(final).model(ids)
    assert mx.abs(difference).max().item() < 1e-5


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_samples(setup):
    lm = lazarus_models.load(setup.model)
    lazarus_models.set_weights(lm.model, {"model.norm.weight": mx.full((32,), math.inf)})
    lazarus_models.save(lm, setup.model)
    with pytest.raises(NonFinite, match=r"step 0: loss nan.*samples \[") as caught:
        sft(setup.config())
    assert caught.value.exit_code == 1
    assert not (setup.folder / "run" / "final").exists()


def test_a_model_with_too_small_a_vocabulary_is_refused(setup):
    setup.write_rows([{"prompt": "What is 1 and 2?", "completion": "3"}])
    setup.build_plan()
    config = json.loads((setup.model / "config.json").read_text())
    (setup.model / "config.json").write_text(json.dumps({**config, "vocab_size": 8}))
    weights = lazarus_models.load_tensors(setup.model / "model.safetensors")
    small = {name: tensor[:8] if "embed" in name else tensor for name, tensor in weights.items()}
    lazarus_models.save_tensors(small, setup.model / "model.safetensors")
    with pytest.raises(SetupError, match="the model knows 8"):
        sft(setup.config())


@pytest.mark.slow
def test_the_trained_model_opens_in_mlx_lm_unchanged(setup):
    from mlx_lm import load

    sft(setup.config(max_steps=2))
    final = setup.folder / "run" / "final"
    theirs, tokenizer = load(str(final))
    ids = mx.arange(20)[None]
    assert mx.array_equal(theirs(ids), lazarus_models.load(final).model(ids))
    ours = lazarus_models.load(final).tokenizer
    assert tokenizer.encode("What is 1 and 2?", add_special_tokens=False) == ours.encode("What is 1 and 2?")


def test_the_trained_model_is_asked_in_the_words_it_was_trained_with(setup):
    from lazarus_tokenkit import Encoder, Message

    sft(setup.config("plain", max_steps=1))
    source = (
        "{% for m in messages %}Q {{ m.content }} A{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    (setup.folder / "mine.jinja").write_text(source)
    lengths = setup.build_plan(template=str(setup.folder / "mine.jinja"))
    sft(setup.config("mine", max_steps=1, template=str(setup.folder / "mine.jinja")))
    asked = {}
    for run in ("plain", "mine"):
        tokenizer = lazarus_models.load(setup.folder / run / "final").tokenizer
        asked[run] = tokenizer.decode(Encoder(tokenizer).prompt([Message("user", "1 and 2?")]))
    assert len(lengths) == 24
    assert asked == {"plain": "1 and 2?\n", "mine": "Q 1 and 2? A"}


def test_a_half_written_checkpoint_is_cleared_away(setup):
    sft(setup.config(max_steps=2))
    leftover = setup.folder / "run/checkpoints/.step-0000004.99.tmp"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    sft(setup.config(max_steps=4))
    assert not leftover.exists()


def test_two_runs_in_one_folder_are_refused(setup):
    def second(report):
        with pytest.raises(SetupError, match="another process trains in"):
            sft(setup.config(), resume="none")

    sft(setup.config(max_steps=1), watcher=Watcher(on_step=second))
    assert sft(setup.config(max_steps=2)).steps == 2


def test_what_else_lies_in_the_folder_stays(setup):
    sft(setup.config(max_steps=1))
    (setup.folder / "run" / "notes.txt").write_text("mine")
    sft(setup.config(max_steps=1), resume="none")
    assert (setup.folder / "run" / "notes.txt").read_text() == "mine"


def test_a_folder_that_holds_a_model_is_left_alone(setup):
    before = {path.name: path.read_bytes() for path in setup.model.iterdir()}
    for resume in ("auto", "none"):
        with pytest.raises(SetupError, match=r"holds `config\.json` of something that is not a run"):
            sft(setup.config("model"), resume=resume)
    assert {path.name: path.read_bytes() for path in setup.model.iterdir()} == before


def test_a_checkpoint_of_another_run_is_refused(setup):
    sft(setup.config("first", max_steps=2))
    with pytest.raises(SetupError, match="of another run"):
        sft(setup.config("second"), resume=str(setup.folder / "first/checkpoints/step-0000002"))


def test_a_resume_from_an_older_checkpoint_sets_the_newer_ones_aside(setup):
    sft(setup.config("straight", max_steps=8))
    sft(setup.config("back", max_steps=6))
    older = setup.folder / "back/checkpoints/step-0000002"
    with pytest.raises(Interrupted):
        sft(setup.config("back", save_every=None, max_steps=8), resume=str(older), watcher=stop_after(3))
    aside = setup.folder / "back/checkpoints.rewound"
    assert sorted(path.name for path in aside.iterdir()) == ["step-0000004", "step-0000006"]
    sft(setup.config("back", max_steps=8))
    assert fingerprints(setup, "back") == fingerprints(setup, "straight")
    sft(setup.config("back", max_steps=8), resume="none")
    assert not aside.exists()


def test_a_run_that_ended_earlier_leaves_no_trace_of_it_in_the_metrics(setup):
    for name, ends in (("straight", [6]), ("longer", [2, 3, 6])):
        for end in ends:
            sft(setup.config(name, max_steps=end, eval_data=setup.data, eval_every=4))
    assert fingerprints(setup, "longer") == fingerprints(setup, "straight")
    lines = [json.loads(line) for line in (setup.folder / "longer/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4, 6]


def test_stopped_while_it_measures_and_resumed_the_run_is_the_same(setup):
    settings = {"max_steps": 4, "save_every": None, "eval_data": setup.data, "eval_every": 2}
    sft(setup.config("straight", **settings))
    for at in range(3):
        asked: list[int] = []
        measured: list[int] = []

        def on_measure(done, total, at=at, asked=asked, measured=measured):
            measured.append(done)
            if measured.count(0) == at + 1 and done == 1:
                asked.append(1)

        with pytest.raises(Interrupted, match="the same command goes on"):
            sft(
                setup.config(f"stopped-{at}", **settings),
                watcher=Watcher(on_measure=on_measure, should_stop=lambda asked=asked: bool(asked)),
            )
        assert measured[-2:] == [0, 1], "gives up at once"
        sft(setup.config(f"stopped-{at}", **settings))
        assert fingerprints(setup, f"stopped-{at}") == fingerprints(setup, "straight")


def test_fewer_steps_than_were_done_are_refused_with_the_way_back(setup):
    sft(setup.config(max_steps=6))
    with pytest.raises(SetupError, match=r"the run has done 6 steps; --resume .*step-0000004 goes back to it"):
        sft(setup.config(max_steps=4))
    with pytest.raises(SetupError, match="the run has done 6 steps; give a higher one"):
        sft(setup.config(max_steps=3))
    assert sft(setup.config(max_steps=4), resume=str(setup.folder / "run/checkpoints/step-0000004")).steps == 4


def test_a_finished_run_without_checkpoints_is_not_replaced(setup):
    import shutil

    sft(setup.config(max_steps=2))
    shutil.rmtree(setup.folder / "run/checkpoints")
    before = (setup.folder / "run/final/model.safetensors").read_bytes()
    with pytest.raises(SetupError, match="whose checkpoints are gone"):
        sft(setup.config())
    assert (setup.folder / "run/final/model.safetensors").read_bytes() == before
    sft(setup.config(max_steps=1), resume="none")
    assert (setup.folder / "run/final/model.safetensors").read_bytes() != before


def test_weights_that_are_no_numbers_after_the_last_update_are_not_saved(setup):
    from lazarus_train import OptimizerSettings

    with pytest.raises(NonFinite, match=r"after step 1 the weights `.*` hold NaN or infinity"):
        sft(setup.config(max_steps=1, optimizer=OptimizerSettings(learning_rate=1e39)))
    assert list((setup.folder / "run").glob("checkpoints/*")) == []
    assert not (setup.folder / "run/final").exists()


def test_held_out_rows_without_a_label_are_refused(setup):
    held_out = setup.folder / "held-out.jsonl"
    held_out.write_text('{"text": ""}\n')
    with pytest.raises(SetupError, match=r"held-out\.jsonl: no row has a token that carries loss"):
        sft(setup.config(eval_data=held_out, max_steps=1))


def test_held_out_rows_of_ends_of_turns_only_have_no_bits_a_byte(setup):
    held_out = setup.folder / "held-out.jsonl"
    held_out.write_text('{"prompt": "a", "completion": ""}\n')
    sft(setup.config(eval_data=held_out, max_steps=1))
    line = json.loads((setup.folder / "run/metrics.jsonl").read_text().splitlines()[0])
    assert (line["eval_tokens"], line["eval_bits_per_byte"]) == (1, None)


def test_a_sample_beyond_the_models_context_is_warned_of(setup):
    config = json.loads((setup.model / "config.json").read_text())
    (setup.model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    warnings: list[str] = []
    sft(setup.config(max_steps=1), watcher=Watcher(on_warning=warnings.append))
    assert len(warnings) == 1
    assert "the model was made for 8" in warnings[0]


def test_a_plan_of_lengths_without_a_header_says_what_was_not_checked(setup):
    from lazarus_plan import PlanConfig, build_plan, read_lengths, save_plan

    lengths = setup.build_plan()
    bare = setup.folder / "bare.jsonl"
    bare.write_text("".join(f'{{"id":"{i}","length":{n}}}\n' for i, n in enumerate(lengths.length.tolist())))
    save_plan(build_plan(read_lengths(bare), PlanConfig(token_budget=64, row_len=32)), setup.plan)
    said: list[tuple[str, ...]] = []
    sft(
        setup.config(max_steps=1),
        watcher=Watcher(on_start=lambda check, *_: said.append((*check.checked, *check.unchecked))),
    )
    assert said == [("lengths", "data", "template", "tokenizer", "encoding", "token ids")]


def test_answers_are_logged_with_the_losses_and_are_the_same_after_a_stop(setup):
    from lazarus_models import GenerationConfig, generate

    settings = {"max_steps": 6, "eval_every": 4, "sample_prompts": ("What is 1 and 2?", "2 and 3?"), "save_every": None}
    sft(setup.config("straight", **settings))
    log = (setup.folder / "straight/samples.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["step"], line["prompt"]) for line in lines] == [
        (step, prompt) for step in (0, 4, 6) for prompt in settings["sample_prompts"]
    ]
    final = lazarus_models.load(setup.folder / "straight/final")
    assert lines[-2]["text"] == generate(final, "What is 1 and 2?", GenerationConfig(max_new_tokens=64)).text
    for step in (2, 4):
        with pytest.raises(Interrupted):
            sft(setup.config(f"stopped-{step}", **settings), watcher=stop_after(step))
        sft(setup.config(f"stopped-{step}", **settings))
        assert (setup.folder / f"stopped-{step}/samples.jsonl").read_text() == log
        assert fingerprints(setup, f"stopped-{step}") == fingerprints(setup, "straight")


def test_asking_changes_no_weight(setup):
    sft(setup.config("silent", max_steps=4))
    sft(setup.config("asked", max_steps=4, sample_prompts=("1 and 2?",), eval_every=1))
    assert fingerprints(setup, "asked") == fingerprints(setup, "silent")


def test_an_answer_that_a_kill_cut_off_is_given_again(setup):
    settings = {"max_steps": 2, "sample_prompts": ("1 and 2?", "2 and 3?")}
    sft(setup.config(**settings))
    log = setup.folder / "run/samples.jsonl"
    whole = log.read_text()
    log.write_text(whole[: len(whole) - 30])
    sft(setup.config(**settings))
    assert log.read_text() == whole
