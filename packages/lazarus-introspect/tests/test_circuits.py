"""Models with a known circuit: they do what they were written for, detectors find them, and random models have none."""

import json
import re

import numpy as np
import pytest

import suite
from lazarus_core.console import run
from lazarus_introspect import hooked, run_with_cache
from lazarus_introspect.causal import Component, ablation_hooks
from lazarus_introspect.circuits import (
    CIRCUITS,
    attributed_components,
    detector_rates,
    planted_model,
    random_model,
    read_graph,
)
from lazarus_introspect.circuits.planted import MODULUS, addition_first_token, describe
from lazarus_introspect.circuits.rates import DetectorRate, questions, wilson
from lazarus_introspect.cli.app import app
from lazarus_introspect.errors import RequestError
from lazarus_models import load, save
from lazarus_models.backend import mx
from lazarus_models.trees import weights


def predictions(model, asked):
    return [int(mx.argmax(model.lm.model(mx.array([each.ids]))[0, -1])) for each in asked]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("circuit", ["copy", "induction"])
def test_a_circuit_predicts_what_it_was_written_for(circuit, seed):
    model = planted_model(circuit, seed=seed)
    asked = questions(model, seed=seed)
    assert predictions(model, asked) == [each.positive for each in asked]
    rest = random_model(circuit, seed=seed)
    assert sum(a == b.positive for a, b in zip(predictions(rest, asked), asked, strict=True)) <= 3


def test_modular_addition_knows_every_sum():
    model = planted_model("modular-addition", seed=1)
    first = addition_first_token(model.lm)
    pairs = [(a, b) for a in range(MODULUS) for b in range(MODULUS)]
    ids = mx.array([[first + a, first + b, first - 1] for a, b in pairs])
    found = np.array(mx.argmax(model.lm.model(ids)[:, -1], axis=-1)) - first
    assert found.tolist() == [(a + b) % MODULUS for a, b in pairs]


def test_a_circuit_needs_its_parts():
    model = planted_model("induction", seed=0)
    asked = questions(model, seed=0)
    right = [each.positive for each in asked]
    for kind, (layer, head) in model.heads.items():
        with hooked(model.lm, ablation_hooks(model.lm, [Component(layer, "head", head)])):
            assert sum(a == b for a, b in zip(predictions(model, asked), right, strict=True)) <= 6, kind
        others = [Component(layer, "head", each) for each in range(4) if each != head]
        with hooked(model.lm, ablation_hooks(model.lm, others)):
            assert predictions(model, asked) == right
    _, cache = run_with_cache(model.lm, [list(asked[0].ids)], "blocks.*.attn.pattern")
    layer, head = model.heads["induction"]
    assert float(cache["pattern", layer][0, head, -1, 5]) > 0.99  # the place after the earlier copy of the last token


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_models_are_those_of_their_seed_and_can_be_stored(circuit, tmp_path):
    one, again, other = (planted_model(circuit, seed=seed) for seed in (3, 3, 4))
    first, second, third = (weights(each.lm.model) for each in (one, again, other))
    assert all(mx.array_equal(first[name], second[name]) for name in first)
    assert not all(mx.array_equal(first[name], third[name]) for name in first)
    assert describe(one) == describe(again) and describe(one)
    assert describe(random_model(circuit, seed=3)) == {}
    save(one.lm, tmp_path / "model")
    loaded = load(tmp_path / "model")
    ids = mx.array([[5, 6, 7]])
    assert mx.array_equal(loaded.model(ids), one.lm.model(ids))
    with pytest.raises(RequestError) as found:
        planted_model("nix")
    assert found.value.code == "LI-E174"


@pytest.mark.slow
def test_detectors_find_every_planted_circuit_and_none_in_random_models():
    """All planted components are found. In random models the stated rate holds for all detectors together."""
    planted, random = suite.repeats(10, 1), suite.repeats(60, 1)
    found = detector_rates(planted=planted, random=random)
    assert {(each.detector, each.circuit) for each in found if each.planted} == {
        ("heads: previous", "copy"),
        ("heads: previous", "induction"),
        ("heads: induction", "induction"),
        ("attribution", "copy"),
        ("attribution", "induction"),
        ("attribution", "modular-addition"),
        ("probes", "modular-addition"),
        ("experts", "routed-expert"),
    }
    assert [(each.detector, each.circuit) for each in found if each.planted and each.true_positive_rate != 1] == []
    assert all(each.random == random for each in found)
    for each in found:
        assert each.false <= 0.05 * random + 2.5 * (0.05 * 0.95 * random) ** 0.5, each
    total = sum(each.false for each in found)
    trials = random * len(found)
    assert total <= 0.05 * trials + 2 * (0.05 * 0.95 * trials) ** 0.5


def test_attribution_needs_a_consistent_share_of_some_size():
    model = planted_model("copy", seed=0)
    asked = questions(model, seed=0)
    found = attributed_components(model.lm, asked)
    assert [each.name for each in found if each.detected] == [model.component]
    (own,) = [each for each in found if each.name == model.component]
    assert own.share > 0.8 and own.q < 0.01
    turned = [each._replace(positive=each.negative, negative=each.positive) for each in asked]
    assert not any(each.detected for each in attributed_components(model.lm, turned))
    assert not any(each.detected for each in attributed_components(model.lm, asked, min_share=1.5))
    assert not any(each.detected for each in attributed_components(model.lm, asked[:3]))  # too few for a small p


def test_rates_and_their_intervals():
    rate = {"detector": "a", "circuit": "b", "planted": 4, "found": 4, "random": 20, "false": 1, "rate": 0.05}
    assert DetectorRate(**rate).is_as_stated and DetectorRate(**rate).false_positive_rate == 0.05
    assert not DetectorRate(**{**rate, "found": 3}).is_as_stated
    assert not DetectorRate(**{**rate, "false": 6}).is_as_stated
    none = DetectorRate(**{**rate, "planted": 0, "found": 0})
    assert none.true_positive_rate is None and none.true_interval is None and none.is_as_stated
    for total in (1, 7, 40):
        for hits in range(total + 1):
            low, high = wilson(hits, total)
            assert 0 <= low <= hits / total <= high <= 1
            for end in {low, high} - {0.0, 1.0}:  # the ends are where a z test just rejects
                assert (hits / total - end) ** 2 / (end * (1 - end) / total) == pytest.approx(1.959963984540054**2)


# commands


@pytest.fixture
def ask(capsys):
    def asked(*words):
        with pytest.raises(SystemExit) as ended:
            run(lambda **options: app(list(map(str, words)), **options), "lazarus-introspect")
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return asked


def test_the_command_prints_rates(ask):
    words = ["circuit", "rates", "--detectors", "attribution", "--planted", "1", "--random", "1"]
    code, shown, _ = ask(*words)
    assert code == 0 and re.search(r"(?m)^attribution +modular-addition +1 of 1 +21% to 100% +0 of 1 +", shown)
    code, shown, _ = ask("circuit", "rates", "--detectors", "probes", "--planted", "1", "--random", "1", "--json")
    (found,) = json.loads(shown)["rates"]
    assert code == 0 and (found["circuit"], found["found"], found["false"]) == ("modular-addition", 1, 0)
    code, shown, said = ask("circuit", "rates", "--detectors", "nix")
    assert (code, shown) == (2, "") and "--detectors 'nix' is unknown; choose from heads" in said


def test_the_command_says_no_if_a_circuit_is_not_found(ask, monkeypatch):
    from lazarus_introspect.circuits import rates as module

    monkeypatch.setattr(module, "planted_model", random_model)
    monkeypatch.setattr(
        module,
        "_attribution",
        lambda circuit, own, others, seed: [
            DetectorRate(detector="x", circuit=circuit, planted=1, found=0, random=1, false=0, rate=0.05)
        ],
    )
    code, shown, _ = ask("circuit", "rates", "--detectors", "attribution", "--planted", "1", "--random", "1")
    assert code == 1 and "5% *" in shown


@pytest.fixture
def stored(ask, data, tmp_path):
    """Stores the result of a command."""

    def made(name, *words, family="stories260k"):
        folder = data / "models" / (family if family == "stories260k" else f"families/{family}")
        code, shown, _ = ask(*words, "-m", folder, "--raw", "--json")
        assert code == 0
        (tmp_path / name).write_text(shown, "utf-8")
        return tmp_path / name

    return made


def test_graphs_have_the_effects_of_the_result(ask, stored, tmp_path):
    path = stored("a.json", "ablate", "-p", 'the "cat"', "--layers", "0-3", "--max-tokens", "2", "-c", "x")
    result = json.loads(path.read_text("utf-8"))
    graph = read_graph(path)
    effects = {each.component: each.effect for each in graph.edges}
    assert effects == {f"layer {each['layers'][0]}": each["kl"] for each in result["ablations"]}
    assert [each.effect for each in graph.edges] == sorted(effects.values(), reverse=True)
    assert "does not meet the criterion" in graph.edges[0].detail
    for form, expected in (("html", "layer 3"), ("dot", 'prompt [label="the \\"cat\\""]'), ("json", '"left_out":2')):
        output = tmp_path / f"circuit.{form}"
        words = ["circuit", "export", "-i", path, "-o", output, "-f", form, *(["--top", "2"] if form == "json" else [])]
        code, shown, said = ask(*words)
        assert (code, shown) == (0, "") and said == f"wrote {output}: {2 if form == 'json' else 4} components\n"
        assert expected in output.read_text("utf-8")
        assert ask(*words)[0] == 0  # its like is replaced
        output.write_text("mine", "utf-8")
        assert ask(*words)[0] == 2 and output.read_text("utf-8") == "mine"
    dot = graph.to_dot()
    assert dot.count("-> output") == 4 and dot.count("penwidth=5.50") == 1 and dot.endswith("}\n")
    assert re.fullmatch(r"[^\n]*\n+(  [^\n]+;\n|digraph circuit \{\n|\}\n)*", dot)


def test_graphs_of_experts_and_shares(stored):
    experts = read_graph(stored("e.json", "moe", "ablate", "-p", "a", "--layers", "1", family="mixtral"))
    assert {each.component for each in experts.edges} == {f"layer 1 expert {expert}" for expert in range(8)}
    some = read_graph(stored("s.json", "ablate", "-p", "a", "--layers", "1", "--expert", "0,2", family="mixtral"))
    assert some.edges[0].component == "layer 1 experts 0,2"
    path = stored("d.json", "attribute", "-p", "Once upon a time", "--positive", " Lily", "--negative", " Tim")
    shares, result = read_graph(path), json.loads(path.read_text("utf-8"))
    assert len(shares.edges) == 40 + 5 and shares.output == "logit of ' Lily' - ' Tim'"
    rest = sum(result[name] for name in ("embed", "pos_embed", "norm_bias"))
    assert sum(each.effect for each in shares.edges) + rest == pytest.approx(result["total"], abs=1e-6)
    assert "style=dashed" in shares.to_dot()


@pytest.mark.parametrize(
    "content, expected",
    [
        ("{}", "`analysis` None has no circuit"),
        ('{"analysis": "patch"}', "`analysis` 'patch' has no circuit"),
        ('{"analysis": "ablate", "provenance": {}}', "incomplete"),
        ('{"analysis": "moe ablate", "experts": 3}', "incomplete"),
        ("[", "json"),
    ],
)
def test_other_files_are_refused(content, expected, ask, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content, "utf-8")
    code, shown, said = ask("circuit", "export", "-i", path, "-o", tmp_path / "b.html")
    assert (code, shown, said.count("\n")) == (2, "", 1) and expected in said
    assert not (tmp_path / "b.html").exists()
