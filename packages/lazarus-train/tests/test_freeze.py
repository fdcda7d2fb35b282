import pytest

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_train import train
from lazarus_train.engine.freeze import freeze_matching
from lazarus_train.errors import SetupError


def test_what_is_frozen_stays_and_the_rest_learns(setup):
    train(setup.config(freeze=("*embed*", "*.mlp.*"), max_steps=2))
    before, after = (
        lazarus_models.trees.weights(lazarus_models.load(path).model)
        for path in (setup.model, setup.folder / "run" / "final")
    )
    same = {name for name in before if mx.array_equal(before[name], after[name])}
    assert same == {name for name in before if "embed" in name or ".mlp." in name}


def test_a_pattern_that_matches_nothing_is_refused(setup):
    with pytest.raises(
        SetupError, match=r"'\*\.mpl\.\*' matches no trainable parameter; they have names such as `model\."
    ):
        freeze_matching(lazarus_models.load(setup.model).model, ["*.mpl.*"])


def test_freezing_everything_is_refused(setup):
    with pytest.raises(SetupError, match="leaves no trainable parameter"):
        freeze_matching(lazarus_models.load(setup.model).model, ["*"])
