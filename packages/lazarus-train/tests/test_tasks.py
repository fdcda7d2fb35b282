"""Every objective through the one loop: laws 2, 4, 6 and 7."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

import lazarus_models
import lazarus_models.tensor_files
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_models.trees import flatten
from lazarus_plan import PlanCursor
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit import FieldNames, TokenkitError
from lazarus_train import OptimizerSettings, Watcher, train, verify_run
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.step import compute_gradients
from lazarus_train.errors import Interrupted, SetupError
from lazarus_train.objectives.base import Bindings, OwnBatches, make_objective, step_group
from lazarus_train.objectives.forward import causal_sum, part_log_probabilities
from lazarus_train.objectives.next_token import causal_nll
from lazarus_train.objectives.reference import ModelReference
from lazarus_train.objectives.sequence_head import load_with_head
from lazarus_train.objectives.surveys import settle
from lazarus_train.preflight.inputs import check_run
from suite import every_nth

PAIRS = [
    {"prompt": f"What is {a} and {b}?", "chosen": f"{a + b}.", "rejected": f"I say {a * b + 7} it is."}
    for a in range(4)
    for b in range(4)
]
CLASSES = [
    {"prompt": f"Is {a} more than {b}?", "completion": "yes" if a > b else "no"} for a in range(6) for b in range(4)
]
NUMBERS = [{"prompt": f"What is {a} and {b}?", "completion": str(a + b)} for a in range(6) for b in range(4)]
MASK = 299  # the last of the model's 300 ids, which no text of these spells

OBJECTIVES = {
    "diffusion": ({"kind": "diffusion", "mask_id": MASK, "draws": 4}, None),
    "joint": ({"kind": "diffusion", "mask_id": MASK, "draws": 4, "causal_share": 0.5}, None),
    "truncated": ({"kind": "diffusion", "mask_id": MASK, "draws": 4, "truncated_share": 0.7}, None),
    "mntp": ({"kind": "mntp", "mask_id": MASK}, None),
    "dpo": ({"kind": "preference"}, PAIRS),
    "ipo": ({"kind": "preference", "loss": "ipo"}, PAIRS),
    "kto": ({"kind": "preference", "loss": "kto", "desirable_weight": 1.5}, PAIRS),
    "kto_pair": ({"kind": "preference", "loss": "kto_pair"}, PAIRS),
    "orpo": ({"kind": "preference", "loss": "orpo"}, PAIRS),
    "orpo_prompts": ({"kind": "preference", "loss": "orpo", "likelihood": "prompt-and-answer"}, PAIRS),
    "reward": ({"kind": "reward", "center": 0.01}, PAIRS),
    "classification": ({"kind": "classification"}, CLASSES),
    "regression": ({"kind": "regression"}, NUMBERS),
}


def prepare(setup, name, **settings):
    """Rows and plan of an objective, and the run's config."""
    objective, rows = OBJECTIVES[name]
    if rows is not None:
        setup.write_rows(rows)
    setup.build_plan(**{"token_budget": 192, "row_len": 96, **settings})
    return {"objective": objective}


def task_of(setup, config, lm):
    enforced = check_run(config)
    objective = make_objective(config.objective)
    head = objective.sequence_head(enforced.dataset, lm.tokenizer)
    needs_reference = objective.reference_need is not None
    reference = ModelReference(lazarus_models.load(setup.model).model) if needs_reference else None
    if head is not None:
        lm = load_with_head(setup.model, head, seed=0)
    return enforced, objective.bind(Bindings(enforced.dataset, lm.tokenizer, head, reference)), lm.model


def survey(task, model, enforced, batches, tokens):
    """What the loss takes over the first step of a plan, found in pieces of so many tokens."""
    if task.survey is None:
        return {}
    group = step_group(enforced.plan, 0)
    parts = task.survey.batches(group, OwnBatches(lambda: batches, tokens))
    return settle(task.survey, group, [task.survey.sums(group, model, batch) for batch in parts])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_are_one_batch(setup, name):
    config = setup.config(**prepare(setup, name, token_budget=96 * 5))
    enforced, task, model = task_of(setup, config, lazarus_models.load(setup.model))
    if config.objective.kind == "preference":
        lm = lazarus_models.load(setup.model)
        moved = {
            key: each + 0.05 * mx.random.normal(each.shape, key=mx.random.key(1))
            for key, each in flatten(lm.model.parameters()).items()
        }
        lazarus_models.trees.set_weights(lm.model, moved)
        model = lm.model

    def found(micro_rows):
        share = PlanCursor(enforced.plan, micro_rows=micro_rows).share(0)
        rows = share.step.rows
        batches = [make_batch(part, enforced.dataset, share.step.row_len, len(rows)) for part in share.micro_batches]
        units = int(enforced.units[0])
        batches = [task.prepare(batch, seed=5) for batch in batches]
        surveyed = survey(task, model, enforced, batches, tokens=40 * (micro_rows or 50))
        batches = [replace(batch, random_inputs={**batch.random_inputs, **surveyed}) for batch in batches]
        return compute_gradients(model, LossGradients(task.loss, task.metrics), batches, units, 1e9), len(batches)

    whole, _ = found(None)
    for micro_rows in (1, 2):
        parts, count = found(micro_rows)
        assert count > 1
        assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
        assert parts.metrics == pytest.approx(whole.metrics, rel=1e-4, abs=1e-5)
        ours, theirs = flatten(parts.tree), flatten(whole.tree)
        assert max(mx.abs(ours[name] - theirs[name]).max().item() for name in theirs) < 1e-5
    assert whole.norm > 0


def test_a_classifier_of_all_weights_is_verified_straight_and_resumed(setup, stop_after):
    settings = prepare(setup, "classification") | {"max_steps": 3, "save_every": 1}
    train(setup.config("straight", **settings))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", **settings), watcher=stop_after(1))
    train(setup.config("stopped", **settings))
    assert setup.audit("stopped") == setup.audit("straight"), "the same bytes of every file"
    (link,) = [link for link in verify_run(setup.folder / "straight") if link.name == "final"]
    assert "the same bytes" in link.proof


@pytest.mark.slow
@pytest.mark.parametrize("name", every_nth(OBJECTIVES, 4))
def test_stopped_and_resumed_the_run_is_the_same_bits(setup, name, lora_settings, stop_after):
    settings = prepare(setup, name) | {
        "eval_data": {"held-out": setup.data},
        "eval_every": 3,
        "ema": 0.9,
        "neftune_alpha": 5.0,
    }
    if name in ("dpo", "reward"):
        settings["lora"] = lora_settings
    train(setup.config("straight", **settings))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", **settings), watcher=stop_after(2))
    train(setup.config("stopped", **settings))
    assert setup.fingerprints("stopped") == setup.fingerprints("straight")


def test_both_answers_of_a_pair_are_what_they_are_alone(setup):
    config = setup.config(**prepare(setup, "dpo"))
    dataset, plan = check_run(config).dataset, check_run(config).plan
    model = lazarus_models.load(setup.model).model
    step = plan.step(0)
    batch = make_batch(step.rows, dataset, step.row_len)
    found = part_log_probabilities(model, batch)
    assert len(batch.parts) == 2 * len(step.samples) > 2
    for place, part in enumerate(batch.parts):
        ids, loss_mask = dataset.sample(part.sample)
        chosen = dataset.part_lengths(part.sample)[0]
        side = slice(0, chosen) if place % 2 == 0 else slice(chosen, None)
        alone, mask = ids[side], loss_mask[side].copy()
        mask[0] = False
        by_itself = -causal_nll(model(mx.array(alone)[None]), mx.array(alone)[None], mx.array(mask)[None]).item()
        assert found[place].item() == pytest.approx(by_itself, abs=1e-4)
        assert part.labels == mask.sum() > 0


def test_a_reward_is_read_at_the_last_token_of_an_answer_and_chosen_comes_first(setup):
    config = setup.config(**prepare(setup, "reward"))
    enforced, task, model = task_of(setup, config, lazarus_models.load(setup.model))
    step = enforced.plan.step(0)
    _, told = task.loss(model, task.prepare(make_batch(step.rows, enforced.dataset, step.row_len), seed=0))
    margin = 0.0
    for sample in step.samples:
        ids, _ = enforced.dataset.sample(sample)
        chosen = enforced.dataset.part_lengths(sample)[0]
        scores = [model(mx.array(each)[None])[0, 0].item() for each in (ids[:chosen], ids[chosen:])]
        margin += scores[0] - scores[1]
    assert told["reward_margin"].item() == pytest.approx(margin, abs=1e-5)


def test_a_joint_loss_weighs_its_parts_as_asked(setup):
    config = setup.config(**prepare(setup, "joint"))
    config = config.model_copy(update={"objective": config.objective.model_copy(update={"causal_share": 0.25})})
    enforced, task, model = task_of(setup, config, lazarus_models.load(setup.model))
    step = enforced.plan.step(0)
    loss, told = task.loss(model, task.prepare(make_batch(step.rows, enforced.dataset, step.row_len), seed=0))
    by_hand = 0.75 * told["diffusion_loss"].item() + 0.25 * told["causal_loss"].item()
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    assert told["causal_loss"].item() != pytest.approx(told["diffusion_loss"].item(), rel=1e-3)


def test_the_head_at_labels_alone_gives_the_loss_of_the_head_everywhere(setup):
    enforced = check_run(setup.config())
    model = lazarus_models.load(setup.model).model
    step = enforced.plan.step(0)
    batch = make_batch(step.rows, enforced.dataset, step.row_len)
    logits = model(batch.ids, cache=lazarus_models.segment_caches(model, batch.segment_ids))
    everywhere = causal_nll(logits, batch.ids, batch.is_label).item()
    assert causal_sum(model, batch).item() == pytest.approx(everywhere, rel=1e-6)


@pytest.mark.parametrize("reference", ["cached", "copy", "adapters-off"])
def test_dpo_starts_at_ln_2_and_every_reference_says_the_same(setup, lora_settings, reference):
    objective = prepare(setup, "dpo")["objective"] | {"reference": reference}
    lora = lora_settings.model_copy(update={"dropout": 0.0})
    train(setup.config("run", objective=objective, lora=lora, max_steps=6))
    lines = [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert lines[0]["reward_margin"] == 0.0  # policy and reference compute by the same batches: the same bits
    assert lines[0]["reward_accuracy"] == 0.5
    train(setup.config("other", objective=objective | {"reference": "copy"}, lora=lora, max_steps=6))
    other = [json.loads(line) for line in (setup.folder / "other" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in other], abs=1e-4)
    assert lines[-1]["loss"] < math.log(2) - 0.01


def test_the_table_of_the_reference_is_made_once_and_again_for_another_model(setup):
    settings = prepare(setup, "dpo")
    computed: list[int] = []
    watcher = Watcher(on_reference=lambda done, total: computed.append(done))
    train(setup.config(**settings, max_steps=2), watcher=watcher)
    first = computed[-1]  # the pairs of two steps
    assert 0 < first < len(PAIRS)
    computed.clear()
    train(setup.config(**settings, max_steps=4), watcher=watcher)
    assert computed[-1] == len(PAIRS)  # those of further steps too
    computed.clear()
    train(setup.config(**settings, max_steps=6), watcher=watcher)
    assert computed == []
    lm = lazarus_models.load(setup.model)
    lazarus_models.trees.set_weights(lm.model, {"model.norm.weight": mx.full((32,), 1.1)})
    lazarus_models.save(lm, setup.model)
    train(setup.config(**settings, max_steps=2), watcher=watcher, resume="none")
    assert computed[-1] == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric"), [("dpo", "reward_accuracy"), ("reward", "reward_accuracy"), ("classification", "accuracy")]
)
def test_what_is_preferred_is_learnt(setup, name, metric):
    settings = prepare(setup, name, epochs=12)
    train(setup.config(**settings, eval_data={"held-out": setup.data}, optimizer=OptimizerSettings(learning_rate=5e-3)))
    lines = [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    before, after = (line for line in lines if "eval_loss" in line)
    assert after["eval_loss"] < before["eval_loss"]
    low, high = after["eval_accuracy_interval"]
    assert after["eval_accuracy_baseline"] < low < after[f"eval_{metric}"] <= high


@pytest.mark.slow
def test_numbers_are_learnt_and_the_scores_model_is_whole(setup):
    settings = prepare(setup, "regression", epochs=20)
    train(setup.config(**settings, eval_data={"held-out": setup.data}, optimizer=OptimizerSettings(learning_rate=1e-2)))
    lines = [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    before, after = (line for line in lines if "eval_loss" in line)
    assert after["eval_loss"] < before["eval_loss"] / 4
    said = json.loads((setup.folder / "run/final/config.json").read_text())
    assert said["architectures"] == ["LlamaForSequenceClassification"]
    assert said["id2label"] == {"0": "value"}
    weights = lazarus_models.tensor_files.load_tensors(setup.folder / "run/final/model.safetensors")
    assert weights["score.weight"].shape == (1, 32)
    assert not any(name.startswith("lm_head") for name in weights)


def test_a_config_with_an_infinity_is_saved_with_the_scores(setup):
    settings = prepare(setup, "classification")
    said = json.loads((setup.model / "config.json").read_text())
    (setup.model / "config.json").write_text(json.dumps({**said, "time_step_limit": [0.0, math.inf]}))
    train(setup.config(**settings, max_steps=1))
    saved = json.loads((setup.folder / "run/final/config.json").read_text())
    assert saved["time_step_limit"] == [0.0, math.inf]
    assert saved["id2label"] == {"0": "no", "1": "yes"}


def test_a_scores_model_goes_on_from_where_it_was_saved_and_only_for_the_same_scores(setup):
    settings = prepare(setup, "classification")
    train(setup.config("first", **settings, max_steps=2))
    trained = setup.folder / "first" / "final"
    config = setup.config("second", **settings, max_steps=1).model_copy(update={"model": trained})
    train(config)
    tokenizer = lazarus_models.load(setup.model).tokenizer
    head = make_objective(config.objective).sequence_head(check_run(config).dataset, tokenizer)
    lm = load_with_head(trained, head, seed=9)
    stored = lazarus_models.tensor_files.load_tensors(trained / "model.safetensors")
    assert mx.array_equal(lm.model.score.weight, stored["score.weight"])
    other = setup.config("third", objective={"kind": "classification", "classes": ["no", "perhaps", "yes"]})
    with pytest.raises(SetupError, match="gives the scores"):
        train(other.model_copy(update={"model": trained}))


@pytest.mark.parametrize(
    ("name", "objective", "message"),
    [
        ("dpo", {"kind": "causal"}, "train it with objective `preference` or `reward`"),
        ("classification", {"kind": "preference"}, "not a chosen and a rejected answer"),
        ("dpo", {"kind": "classification"}, "not one question and its answer"),
        ("classification", {"kind": "regression"}, "'no' is not a number"),
        ("classification", {"kind": "classification", "classes": ["yes", "perhaps"]}, "'no' is none of the 2 classes"),
        ("classification", {"kind": "diffusion", "mask_id": 0}, "occurs in the data"),
        ("classification", {"kind": "mntp", "mask_id": 300}, "the model has ids below 300"),
    ],
)
def test_rows_that_an_objective_cannot_learn_from_are_refused(setup, name, objective, message):
    prepare(setup, name)
    if objective.get("mask_id") == 0:
        objective = objective | {"mask_id": int(check_run(setup.config()).dataset.ids[0])}
    with pytest.raises(SetupError, match=message):
        train(setup.config(objective=objective))


@pytest.mark.parametrize(
    ("row", "objective", "message"),
    [
        ({"text": "This is a text."}, "classification", "sample 0 of .*more.jsonl is not one question and its answer"),
        (
            {"messages": [{"role": role, "content": "1"} for role in ("user", "assistant") * 2]},
            "regression",
            "sample 0 of .*more.jsonl is not one question and its answer",
        ),
        (
            {"prompt": "What is it?", "completion": "perhaps"},
            "classification",
            "sample 0 of .*more.jsonl: 'perhaps' is none",
        ),
        (
            {"prompt": "What is it?", "completion": "inf"},
            "regression",
            "sample 0 of .*more.jsonl: 'inf' is not a number",
        ),
        ({"prompt": "What is it?", "chosen": "1", "rejected": "2"}, "causal", "sample 0 of .*more.jsonl is a pair"),
    ],
)
def test_a_refused_row_is_named_by_its_file_and_its_number_there(setup, row, objective, message):
    prepare(setup, "classification" if objective == "classification" else "regression")
    more = setup.folder / "more.jsonl"
    more.write_text(json.dumps(row) + "\n")
    with pytest.raises(SetupError, match=message):
        train(setup.config(objective={"kind": objective}, eval_data={"held-out": more}))


def test_of_several_files_the_one_is_named_that_holds_the_refused_row(setup):
    from lazarus_train.data.dataset import Dataset, field_names, read_dataset

    encoder = check_run(setup.config()).encoder
    one = read_dataset(setup.data, encoder, field_names(setup.config()))
    joined = Dataset.joined([one, one])
    assert joined.place(len(one) + 3) == f"sample 3 of {setup.data}"


def test_a_class_alone_is_nothing_to_learn(setup):
    setup.write_rows([{"prompt": f"Is {a} more than 9?", "completion": "no"} for a in range(9)])
    setup.build_plan(token_budget=192, row_len=96)
    with pytest.raises(SetupError, match="every answer of the data is 'no'"):
        train(setup.config(objective={"kind": "classification"}))
    train(setup.config(objective={"kind": "classification", "classes": ["no", "yes"]}, max_steps=1))


@pytest.mark.parametrize("classes", [["yes"], ["no", "yes", "no"], ["no", ""], ["no", " yes"]])
def test_classes_that_are_not_several_are_refused(classes):
    from pydantic import ValidationError

    from lazarus_train import ClassificationSettings

    with pytest.raises(ValidationError, match="classes"):
        ClassificationSettings(classes=classes)


LABELLED = [
    {"prompt": row["prompt"], "completion": row["chosen"], "label": place % 2 > 0} for place, row in enumerate(PAIRS)
]


def test_labelled_answers_are_learnt_by_kto_alone(setup):
    setup.write_rows(LABELLED)
    setup.build_plan(fields=FieldNames(label="label"), token_budget=192, row_len=96)
    kto = {"kind": "preference", "loss": "kto"}
    with pytest.raises(ValidationError, match="`label_field` has no effect"):
        setup.config(objective={"kind": "preference"}, label_field="label")
    with pytest.raises(StalePlan):  # without their labels they are other samples
        train(setup.config(objective=kto))
    pairs = setup.folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    with pytest.raises(TokenkitError, match="no field `completion`"):
        train(setup.config(objective=kto, label_field="label", eval_data={"pairs": pairs}))
    train(setup.config(objective=kto, label_field="label", eval_data={"same": setup.data}, max_steps=2))
    lines = [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    first = next(line for line in lines if "loss" in line)
    assert first["loss"] == pytest.approx(0.5, abs=1e-6)
    assert (first["reward_desirable"], first["reward_undesirable"], first["kl"]) == (0.0, 0.0, 0.0)


def test_changed_labels_are_found_by_the_plan(setup):
    setup.write_rows(LABELLED)
    setup.build_plan(fields=FieldNames(label="label"), token_budget=192, row_len=96)
    setup.write_rows([{**LABELLED[0], "label": True}, *LABELLED[1:]])
    with pytest.raises(StalePlan, match="row"):
        train(setup.config(objective={"kind": "preference", "loss": "kto"}, label_field="label"))


def test_a_plan_that_cuts_a_pair_is_refused(setup):
    prepare(setup, "dpo", row_len=24, token_budget=48, oversize="truncate")
    with pytest.raises(SetupError, match="the plan truncates or splits sample"):
        train(setup.config(objective={"kind": "preference"}))


@pytest.mark.slow
def test_the_bound_of_masked_diffusion_falls(setup):
    settings = prepare(setup, "diffusion", epochs=15)
    train(setup.config(**settings, eval_data={"held-out": setup.data}, optimizer=OptimizerSettings(learning_rate=1e-2)))
    lines = [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    before, after = (line for line in lines if "eval_loss" in line)
    assert before["eval_loss"] == pytest.approx(math.log(300), abs=0.3)
    assert after["eval_loss"] < before["eval_loss"] / 2
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()
