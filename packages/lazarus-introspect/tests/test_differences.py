"""Differences of weights and activations of two models, against plain computations and known changes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.console import run
from lazarus_introspect.cli.app import app
from lazarus_introspect.differences import activation_diff, effective_tensors, linear_cka, weight_diff
from lazarus_introspect.differences.weights import tensor_difference
from lazarus_introspect.errors import RequestError, SiteError
from lazarus_models import LoraConfig, apply_lora, init_model, quantize, save, save_adapter
from lazarus_models.backend import mx
from lazarus_models.trees import set_weights, weights
from lazarus_tokenkit import load_tokenizer

IDS = [[1, 5, 9, 200, 33, 7, 5, 9, 200, 60, 61, 62], [4, 8, 15, 16, 23, 42]]


def small(seed=0):
    return init_model("nano", load_tokenizer("byte"), seed=seed)


# weights


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 1000), st.sampled_from([None, 2]))
def test_figures_of_a_tensor_are_those_of_a_plain_computation(rows, columns, seed, stack):
    rng = np.random.default_rng(seed)
    shape = (rows, columns) if stack is None else (stack, rows, columns)
    before, after = rng.normal(size=(2, *shape))
    found = tensor_difference("layers.3.x", before, after)
    change = (after - before).reshape(-1, columns)
    singular = np.linalg.svd(change, compute_uv=False) ** 2
    shares = singular / singular.sum()
    assert found.relative == pytest.approx(np.linalg.norm(change) / np.linalg.norm(before))
    assert found.cosine == pytest.approx(
        float(before.ravel() @ after.ravel()) / np.linalg.norm(before) / np.linalg.norm(after)
    )
    assert found.largest == pytest.approx(np.abs(change).max())
    assert found.top_share == pytest.approx(shares[0]) and found.top_eight_share == pytest.approx(shares[:8].sum())
    entropy = -(shares[shares > 1e-15] * np.log(shares[shares > 1e-15])).sum()
    assert found.effective_rank == pytest.approx(np.exp(entropy), abs=1e-6)
    assert (found.layer, found.is_unchanged) == (3, False)


def test_a_tensor_computed_in_parts_has_the_same_figures(monkeypatch):
    from lazarus_introspect.differences import weights as module

    before, after = np.random.default_rng(0).normal(size=(2, 40, 6))
    whole = tensor_difference("x", before, after)
    monkeypatch.setattr(module, "_PART", 25)
    parts = tensor_difference("x", before, after)
    for name in ("relative", "cosine", "largest", "top_share", "effective_rank"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name))


def test_known_changes_are_said():
    one, two = small(), small()
    name, other = "model.layers.1.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"
    tensors = {key: np.array(value) for key, value in weights(two.model).items()}
    rank_one = np.outer(np.arange(96) + 1.0, np.ones(32))
    set_weights(
        two.model,
        {
            name: mx.array((tensors[name] + rank_one).astype(np.float32)),
            other: mx.array(-tensors[other]),
            "model.norm.weight": mx.zeros(32),
        },
    )
    found = {each.name: each for each in weight_diff(one, two).tensors}
    assert found[name].effective_rank == pytest.approx(1, abs=1e-3) and found[name].top_share == pytest.approx(1)
    assert (found[other].relative, found[other].cosine) == (pytest.approx(2), pytest.approx(-1))
    assert found["model.norm.weight"].cosine is None and found["model.norm.weight"].top_share is None
    assert sum(not each.is_unchanged for each in found.values()) == 3
    assert all(each.relative == 0 and each.cosine == 1 for each in found.values() if each.is_unchanged)
    plain = weight_diff(one, two, has_spectrum=False)
    assert {each.top_share for each in plain.tensors} == {None}
    total = sum(float(((np.array(v) - tensors[k]) ** 2).sum()) for k, v in weights(two.model).items())
    assert plain.relative == pytest.approx(
        (total / sum(float((v**2).sum()) for v in tensors.values())) ** 0.5, rel=1e-5
    )


def test_an_adapter_changes_its_layers_by_its_rank():
    one, two = small(), small()
    apply_lora(two.model, LoraConfig(rank=2, alpha=4.0), seed=0)
    random = {
        name: mx.random.normal(tensor.shape, key=mx.random.key(place))
        for place, (name, tensor) in enumerate(weights(two.model).items())
        if name.endswith("lora_b")
    }
    set_weights(two.model, random)
    found = weight_diff(one, two)
    changed = {each.name: each for each in found.tensors if not each.is_unchanged}
    assert changed.keys() == {name.replace("lora_b", "weight") for name in random}
    assert all(1 <= each.effective_rank <= 2 + 1e-3 for each in changed.values())
    assert (found.only_first, found.only_second) == ((), ())


@pytest.mark.parametrize("name", ["olmoe", "llama", "gemma3_text", "jamba"])
def test_a_quantized_model_is_compared_by_its_numbers(name, opened, data):
    from lazarus_models import load

    lm = load(data / "models/families" / name)
    plain = {key: np.array(make()) for key, make in effective_tensors(lm).items()}
    coded = quantize(load(data / "models/families" / name), bits=4, group_size=32)
    tensors = {key: np.array(make()) for key, make in effective_tensors(coded).items()}
    assert {key: value.shape for key, value in tensors.items()} == {key: value.shape for key, value in plain.items()}
    found = weight_diff(lm, coded)
    changed = [each for each in found.tensors if not each.is_unchanged]
    assert changed and all(each.relative < 0.2 and each.cosine > 0.98 for each in changed)
    adapted = opened("qwen3+lora")
    assert all(make().ndim for make in effective_tensors(adapted).values())


def test_models_without_common_tensors_are_refused(opened):
    with pytest.raises(RequestError) as found:
        weight_diff(opened("mamba"), small())
    assert found.value.code == "LI-E170"
    other = weight_diff(opened("stories260k"), opened("llama"))
    assert other.other_shapes["model.layers.0.mlp.up_proj.weight"] == ((172, 64), (144, 64))
    assert any(".layers.4." in name for name in other.only_first) and other.only_second == ()


# activations


@given(st.integers(0, 100))
def test_cka_ignores_rotations_and_factors_and_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    turned = x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] * 7 + rng.normal(size=5)
    assert linear_cka(x, turned, permutations=1).cka == pytest.approx(1)
    assert linear_cka(x, y, permutations=1).cka == pytest.approx(linear_cka(y, x, permutations=1).cka)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(a.T @ b) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    assert linear_cka(x, y, permutations=1).cka == pytest.approx(expected)
    assert linear_cka(x, np.ones((20, 3))) is None


def test_cka_of_unrelated_representations_is_that_of_shuffled_tokens():
    rng = np.random.default_rng(0)
    p_values = [linear_cka(*rng.normal(size=(2, 30, 40)), seed=seed).p for seed in range(40)]
    assert sum(p <= 0.05 for p in p_values) <= 6
    found = linear_cka(*rng.normal(size=(2, 30, 40)))
    assert found.cka > 0.4 and abs(found.cka - found.shuffled) < 0.1  # large without any relation


@pytest.mark.parametrize("name", ["llama", "olmoe", "mamba", "jamba", "gemma3_text", "llama+4bit"])
def test_a_model_does_not_differ_from_itself(name, opened):
    lm = opened(name)
    found = activation_diff(lm, lm, IDS)
    assert found.tokens == 16 and found.missing == () and (found.kl, found.agreement) == (0, 1)
    for each in found.sites:
        assert each.relative == 0 and each.cosine == pytest.approx(1)
        assert each.cka is None or each.cka == pytest.approx(1)
    assert {each.site.split(".")[-1] for each in found.sites} >= {"embed", "resid_post", "resid_final"}


def test_figures_of_a_site_are_those_of_a_plain_computation(opened):
    from lazarus_introspect import run_with_cache

    one, two = opened("llama"), opened("llama+4bit")
    found = activation_diff(one, two, IDS, names=["blocks.1.mlp_out", "blocks.0.attn.hook_z"], skip=0)
    both = [
        [np.array(run_with_cache(lm, [ids], "blocks.1.mlp_out")[1]["mlp_out", 1][0]) for ids in IDS]
        for lm in (one, two)
    ]
    a, b = (np.concatenate(each).astype(float) for each in both)
    z, own = found.sites
    assert (z.site, own.site) == ("blocks.0.attn.z", "blocks.1.mlp_out") and found.tokens == 18
    assert own.relative == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-6)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert own.cosine == pytest.approx(cosines.mean()) and own.cosine > own.cosine_shuffled + 0.3
    assert own.p == 0.01 and own.cka > own.cka_shuffled


def test_other_widths_have_cka_only_and_missing_sites_are_said(opened):
    one, two = opened("stories260k"), opened("mamba")
    found = activation_diff(one, two, IDS, max_tokens=10)
    assert found.tokens == 10 and "blocks.0.attn_out" in found.missing
    assert {each.site for each in found.sites} >= {"embed", "blocks.3.resid_post"}
    wide = activation_diff(small(), init_model("tiny-test", load_tokenizer("byte"), seed=1), IDS, names=["embed"])
    (embed,) = wide.sites
    assert (embed.relative, embed.cosine, embed.cosine_shuffled) == (None, None, None) and embed.cka is not None


def test_what_cannot_be_compared_is_said(opened):
    lm = opened("llama")
    for more, code in (
        ({"skip": 12}, "LI-E172"),
        ({"names": ["blocks.0.attn.pattern"]}, "LI-E173"),
    ):
        with pytest.raises(RequestError) as found:
            activation_diff(lm, lm, IDS, **more)
        assert found.value.code == code
    for names, code in ((["blocks.*.nix"], "LI-E100"), (["blocks.0.moe.experts"], "LI-E101")):
        with pytest.raises(SiteError) as missing:
            activation_diff(lm, lm, IDS, names=names)
        assert missing.value.code == code
    with pytest.raises(RequestError) as none:
        activation_diff(lm, opened("mamba"), IDS, names=["blocks.*.attn_out"])
    assert none.value.code == "LI-E173"


# commands


@pytest.fixture
def ask(capsys):
    def asked(*words):
        with pytest.raises(SystemExit) as ended:
            run(lambda **options: app(list(map(str, words)), **options), "lazarus-introspect")
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return asked


def test_the_commands_compare_models_and_adapters(ask, tmp_path):
    lm = small()
    save(lm, tmp_path / "one")
    save(small(1), tmp_path / "two")
    config = LoraConfig(rank=2, alpha=4.0)
    apply_lora(lm.model, config, seed=0)
    set_weights(
        lm.model,
        {n: mx.ones(t.shape) for n, t in weights(lm.model).items() if n.endswith("layers.0.mlp.up_proj.lora_b")},
    )
    save_adapter(lm.model, config, tmp_path / "adapter")
    names = (tmp_path / "one", tmp_path / "two")
    code, shown, said = ask("weight-diff", *names)
    assert (code, said) == (0, "") and "effective rank" in shown and "of 20 tensors unchanged" in shown
    code, shown, _ = ask("weight-diff", tmp_path / "one", tmp_path / "adapter", "--json", "--html", tmp_path / "a.html")
    found = json.loads(shown)
    (changed,) = [each for each in found["tensors"] if not each["is_unchanged"]]
    assert code == 0 and changed["name"] == "model.layers.0.mlp.up_proj.weight"
    assert changed["effective_rank"] == pytest.approx(1, abs=1e-3) and found["unchanged"] == len(found["tensors"]) - 1
    assert "up_proj" in (tmp_path / "a.html").read_text("utf-8")
    assert found["provenance"]["weights"] != found["second"]["weights"]
    assert "all tensors are equal" in ask("weight-diff", tmp_path / "one", tmp_path / "one")[1]
    code, shown, said = ask(
        "activation-diff", tmp_path / "one", tmp_path / "adapter", "-p", "hello", "-p", "you", "--raw"
    )
    assert (code, said) == (0, "") and "blocks.1.resid_post" in shown and "(shuffled)" in shown
    code, shown, _ = ask(
        *(
            "activation-diff",
            *names,
            "-p",
            "hello",
            "--raw",
            "--sites",
            "embed",
            "--json",
            "--html",
            tmp_path / "b.html",
        )
    )
    found = json.loads(shown)
    assert [each["site"] for each in found["sites"]] == ["embed"] and found["compared"] == len(
        found["prompts"][0]["ids"]
    ) - 1
    assert found["prompts"][0]["ids"] and found["kl"] > 0


def test_bad_input_is_one_line(ask, tmp_path, data):
    save(small(), tmp_path / "one")
    other = data / "models/families/llama"
    for words, expected in (
        (["weight-diff", tmp_path / "one", tmp_path / "nix"], "nix"),
        (["activation-diff", tmp_path / "one", other, "-p", "abcd"], "tokenizers differ"),
        (["activation-diff", other, other, "-p", "a", "--raw", "--skip", "9"], "--skip 9"),
        (
            ["activation-diff", other, other, "-p", "abcd", "--sites", "blocks.0.attn.pattern"],
            "give --sites of a vector",
        ),
    ):
        code, shown, said = ask(*words)
        assert (code, shown, said.count("\n")) == (2, "", 1)
        assert expected in said and "Traceback" not in said
