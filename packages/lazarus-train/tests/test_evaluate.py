import json
import math

import pytest

import lazarus_models
import lazarus_models.adapters
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
from lazarus_train.data.dataset import read_dataset
from lazarus_train.engine.evaluation import held_out, plan_held_out
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.preflight.inputs import check_run


def test_the_held_out_loss_is_that_of_every_sample_by_itself(setup):
    lm = lazarus_models.load(setup.model)
    dataset = check_run(setup.config()).dataset
    nats, labels = 0.0, 0
    for index in range(len(dataset)):
        ids, loss_mask = dataset.sample(index)
        logits = lm.model(mx.array(ids)[None])[0]
        losses = mx.logsumexp(logits, axis=-1)[:-1] - logits[mx.arange(len(ids) - 1), mx.array(ids[1:])]
        nats += sum(loss for loss, is_label in zip(losses.tolist(), loss_mask[1:], strict=True) if is_label)
        labels += int(loss_mask[1:].sum())
    answers = sum(len(json.loads(line)["completion"].encode()) for line in setup.data.read_text().splitlines())
    data = plan_held_out(dataset, CausalObjective(), lm.tokenizer, "data")
    found = held_out(lm.model, CausalObjective(), data)
    assert found.units == labels
    assert found.loss == pytest.approx(nats / labels, abs=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nats / labels), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / answers, rel=1e-5)


def test_measuring_is_without_dropout_and_leaves_the_mode_as_it_was(setup):
    lm = lazarus_models.load(setup.model)
    lazarus_models.apply_lora(lm.model, lazarus_models.LoraConfig(rank=2, dropout=0.5), seed=0)
    adapters = lazarus_models.adapters.adapter_weights(lm.model)
    lazarus_models.trees.set_weights(lm.model, {name: mx.ones_like(tensor) for name, tensor in adapters.items()})
    dataset = check_run(setup.config()).dataset
    data = plan_held_out(dataset, CausalObjective(), lm.tokenizer, "data")
    lm.model.eval()
    without = held_out(lm.model, CausalObjective(), data)
    lm.model.train()
    assert held_out(lm.model, CausalObjective(), data) == without
    assert lm.model.training


def dataset_of(folder, rows, encoder):
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_dataset(file, encoder, FieldNames())


@pytest.mark.parametrize("texts", [[" two  spaces, and \u00e9 ", "\n"], ["<s>", "a </s> b"]])
def test_bytes_are_the_texts_own_where_decoding_drops_spaces(real_data, tmp_path, texts):
    """SentencePiece writes a space in front of a text and drops one when it decodes."""
    tokenizer = load_tokenizer(str(real_data / "models" / "stories260k"))
    encoder = Encoder(tokenizer, template="plain")
    for rows in ([{"text": each} for each in texts], [{"prompt": "Say it.", "completion": each} for each in texts]):
        data = plan_held_out(dataset_of(tmp_path, rows, encoder), CausalObjective(), tokenizer, "rows")
        assert data.label_bytes == sum(len(each.encode()) for each in texts)


def test_without_a_bos_the_first_token_is_not_predicted_and_its_bytes_do_not_count(setup, tmp_path):
    """Else a tokenizer of longer tokens would have fewer bits a byte for nothing."""
    file = setup.model / "tokenizer_config.json"
    file.write_text(json.dumps({"eos_token": "</s>"}))
    encoder = Encoder(load_tokenizer(str(setup.model)))
    dataset = dataset_of(tmp_path, [{"text": "What is it?"}, {"text": "\u00e9"}], encoder)
    first = encoder.tokenizer.decode([int(dataset.ids[0])])
    assert not encoder.tokenizer.adds_bos
    assert "What is it?".startswith(first)
    data = plan_held_out(dataset, CausalObjective(), encoder.tokenizer, "rows")
    half = 0  # the first byte of a letter of two: the letter counts with its last
    assert data.label_bytes == len("What is it?") - len(first) + 2 - half
