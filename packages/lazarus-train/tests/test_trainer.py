"""What a run computes, writes and refuses."""

import json
import math

import pytest

import lazarus_models
import lazarus_models.tensor_files
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_train import OptimizerSettings, Watcher, train
from lazarus_train.engine.state import ADAPTERS
from lazarus_train.errors import Interrupted, NonFinite, SetupError


def test_the_logged_loss_is_the_mean_over_the_labels_of_the_step(setup):
    from lazarus_train.preflight.inputs import check_run

    train(setup.config(max_steps=1))
    line = json.loads((setup.folder / "run" / "metrics.jsonl").read_text())
    enforced = check_run(setup.config())
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


def test_a_watcher_is_told_how_often_the_data_was_seen(setup):
    setup.build_plan(epochs=2)
    epochs: list[float] = []
    train(setup.config(), watcher=Watcher(on_step=lambda report: epochs.append(report.epochs)))
    assert epochs == sorted(epochs)
    assert epochs[-1] == pytest.approx(2.0)
    assert epochs[0] == pytest.approx(epochs[-1] / len(epochs), rel=0.3)


def test_training_lowers_the_held_out_loss_and_says_so(setup):
    setup.build_plan(epochs=6)
    held_out: dict[int, float] = {}
    config = setup.config(eval_data={"held-out": setup.data}, eval_every=10)
    train(config, watcher=Watcher(on_held_out=lambda step, name, result: held_out.update({step: result.loss})))
    steps = sorted(held_out)
    assert steps[0] == 0
    assert 10 in steps
    assert held_out[0] == pytest.approx(math.log(300), abs=0.2)
    assert held_out[steps[-1]] < held_out[10] < held_out[0]


def test_adapters_leave_the_base_alone_and_final_is_the_merged_model(setup, lora_settings):
    train(setup.config(lora=lora_settings))
    base = lazarus_models.trees.weights(lazarus_models.load(setup.model).model)
    final = setup.folder / "run" / "final"
    merged = lazarus_models.trees.weights(lazarus_models.load(final).model)
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
    lazarus_models.trees.set_weights(lm.model, {"model.norm.weight": mx.full((32,), 3e38)})  # finite: logits are not
    lazarus_models.save(lm, setup.model)
    with pytest.raises(NonFinite, match=r"step 1 \(0 in the plan\): loss nan.*samples \d+,") as caught:
        train(setup.config())
    assert caught.value.exit_code == 1
    assert not (setup.folder / "run" / "final").exists()


def test_a_model_with_too_small_a_vocabulary_is_refused(setup):
    setup.write_rows([{"prompt": "What is 1 and 2?", "completion": "3"}])
    setup.build_plan()
    config = json.loads((setup.model / "config.json").read_text())
    (setup.model / "config.json").write_text(json.dumps({**config, "vocab_size": 8}))
    weights = lazarus_models.tensor_files.load_tensors(setup.model / "model.safetensors")
    small = {name: tensor[:8] if "embed" in name else tensor for name, tensor in weights.items()}
    lazarus_models.tensor_files.save_tensors(small, setup.model / "model.safetensors")
    with pytest.raises(SetupError, match="the model has ids below 8"):
        train(setup.config())


@pytest.mark.slow
def test_the_trained_model_opens_in_mlx_lm_unchanged(setup):
    from mlx_lm import load

    train(setup.config(max_steps=2))
    final = setup.folder / "run" / "final"
    theirs, tokenizer = load(str(final))
    ids = mx.arange(20)[None]
    assert mx.array_equal(theirs(ids), lazarus_models.load(final).model(ids))
    ours = lazarus_models.load(final).tokenizer
    assert tokenizer.encode("What is 1 and 2?", add_special_tokens=False) == ours.encode("What is 1 and 2?")


def test_the_trained_model_is_asked_in_the_words_it_was_trained_with(setup):
    from lazarus_tokenkit import Encoder, Message

    train(setup.config("plain", max_steps=1))
    source = (
        "{% for m in messages %}Q {{ m.content }} A{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    (setup.folder / "mine.jinja").write_text(source)
    lengths = setup.build_plan(template=str(setup.folder / "mine.jinja"))
    train(setup.config("mine", max_steps=1, template=str(setup.folder / "mine.jinja")))
    asked = {}
    for run in ("plain", "mine"):
        tokenizer = lazarus_models.load(setup.folder / run / "final").tokenizer
        asked[run] = tokenizer.decode(Encoder(tokenizer).prompt([Message("user", "1 and 2?")]))
    assert len(lengths) == 24
    assert asked == {"plain": "1 and 2?\n", "mine": "Q 1 and 2? A"}


def test_what_else_lies_in_the_folder_stays(setup):
    train(setup.config(max_steps=1))
    (setup.folder / "run" / "notes.txt").write_text("mine")
    train(setup.config(max_steps=1), resume="none")
    assert (setup.folder / "run" / "notes.txt").read_text() == "mine"


def test_a_folder_that_holds_a_model_is_left_alone(setup):
    before = {path.name: path.read_bytes() for path in setup.model.iterdir()}
    for resume in ("auto", "none"):
        with pytest.raises(SetupError, match=r"has `config\.json`, which no run wrote"):
            train(setup.config("model"), resume=resume)
    assert {path.name: path.read_bytes() for path in setup.model.iterdir()} == before


def test_weights_that_are_no_numbers_after_the_last_update_are_not_saved(setup):
    from lazarus_train import OptimizerSettings

    with pytest.raises(NonFinite, match=r"after step 1 the weights `.*` contain NaN or infinity"):
        train(setup.config(max_steps=1, optimizer=OptimizerSettings(learning_rate=1e39)))
    assert list((setup.folder / "run").glob("checkpoints/*")) == []
    assert not (setup.folder / "run/final").exists()


def test_held_out_rows_without_a_label_are_refused(setup):
    held_out = setup.folder / "held-out.jsonl"
    held_out.write_text('{"text": ""}\n')
    with pytest.raises(SetupError, match=r"held-out\.jsonl: no row has a token that carries loss"):
        train(setup.config(eval_data={"held-out": held_out}, max_steps=1))


def test_held_out_rows_of_ends_of_turns_only_have_no_bits_a_byte(setup):
    held_out = setup.folder / "held-out.jsonl"
    held_out.write_text('{"prompt": "a", "completion": ""}\n')
    said: list[str] = []
    watcher = Watcher(on_held_out=lambda done, name, result: said.append(result.in_words()))
    train(setup.config(eval_data={"held-out": held_out}, max_steps=1), watcher=watcher)
    assert len(said) == 2 and not any("nan" in words or "bits" in words for words in said)
    line = json.loads((setup.folder / "run/metrics.jsonl").read_text().splitlines()[0])
    assert (line["eval_tokens"], line["eval_bits_per_byte"]) == (1, None)


def test_a_sample_beyond_the_models_context_is_warned_of(setup):
    config = json.loads((setup.model / "config.json").read_text())
    (setup.model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    warnings: list[str] = []
    train(setup.config(max_steps=1), watcher=Watcher(on_warning=warnings.append))
    assert len(warnings) == 1
    assert "the model's context is 8" in warnings[0]


def test_a_plan_of_lengths_without_a_header_says_what_was_not_checked(setup):
    from lazarus_plan import PlanConfig, build_plan, read_lengths, save_plan

    lengths = setup.build_plan()
    bare = setup.folder / "bare.jsonl"
    bare.write_text("".join(f'{{"id":"{i}","length":{n}}}\n' for i, n in enumerate(lengths.length.tolist())))
    save_plan(build_plan(read_lengths(bare), PlanConfig(token_budget=64, row_len=32)), setup.plan)
    said: list[tuple[str, ...]] = []
    train(
        setup.config(max_steps=1),
        watcher=Watcher(on_start=lambda check, *_: said.append((*check.checked, *check.unchecked))),
    )
    assert said == [("lengths", "data", "template", "tokenizer", "encoding", "token ids")]


def test_answers_are_logged_with_the_losses_and_are_the_same_after_a_stop(setup, stop_after):
    from lazarus_models import GenerationConfig, generate

    settings = {"max_steps": 6, "eval_every": 4, "sample_prompts": ("What is 1 and 2?", "2 and 3?"), "save_every": None}
    train(setup.config("straight", **settings))
    log = (setup.folder / "straight/samples.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["step"], line["prompt"]) for line in lines] == [
        (step, prompt) for step in (0, 4, 6) for prompt in settings["sample_prompts"]
    ]
    final = lazarus_models.load(setup.folder / "straight/final")
    assert lines[-2]["text"] == generate(final, "What is 1 and 2?", GenerationConfig(max_new_tokens=64)).text
    for step in (2, 4):
        with pytest.raises(Interrupted):
            train(setup.config(f"stopped-{step}", **settings), watcher=stop_after(step))
        train(setup.config(f"stopped-{step}", **settings))
        assert (setup.folder / f"stopped-{step}/samples.jsonl").read_text() == log
        assert setup.fingerprints(f"stopped-{step}") == setup.fingerprints("straight")


def test_asking_changes_no_weight(setup, lora_settings):
    settings = {"max_steps": 4, "lora": lora_settings}  # with dropout, which an answer must switch off and on again
    train(setup.config("silent", **settings))
    train(setup.config("asked", **settings, sample_prompts=("1 and 2?",), eval_every=1))
    assert setup.fingerprints("asked") == setup.fingerprints("silent")


@pytest.mark.thorough
def test_an_answer_that_a_kill_cut_off_is_given_again(setup):
    settings = {"max_steps": 2, "sample_prompts": ("1 and 2?", "2 and 3?")}
    train(setup.config(**settings))
    log = setup.folder / "run/samples.jsonl"
    whole = log.read_text()
    log.write_text(whole[: len(whole) - 30])
    train(setup.config(**settings))
    assert log.read_text() == whole


def test_a_warm_up_longer_than_the_plan_is_warned_of(setup):
    warnings: list[str] = []
    settings = OptimizerSettings(warmup_steps=1000)
    train(setup.config(max_steps=1, optimizer=settings), watcher=Watcher(on_warning=warnings.append))
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: `warmup_steps` 1000 are more than the plan's")


@pytest.mark.parametrize(("answers", "is_told"), [(["no", "yes"], False), ([f"it is {a}" for a in range(8)], True)])
def test_answers_that_are_texts_rather_than_classes_are_told(setup, answers, is_told):
    rows = [{"prompt": f"Is it {a}?", "completion": answers[a % len(answers)]} for a in range(8)]
    setup.write_rows(rows)
    setup.build_plan()
    said = []
    config = setup.config(max_steps=1, objective={"kind": "classification"})
    train(config, watcher=Watcher(on_warning=said.append))
    assert any("the 8 answers form 8 classes" in line for line in said) is is_told


def test_one_pair_to_score_is_no_matter_of_classes(setup):
    setup.write_rows([{"prompt": "What is it?", "chosen": "It is 4.", "rejected": "It is 5."}])
    setup.build_plan()
    said = []
    train(setup.config(max_steps=1, objective={"kind": "reward"}), watcher=Watcher(on_warning=said.append))
    assert not said
