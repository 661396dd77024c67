"""The learning rate that suits an optimizer and a network is taken where none is asked.

The table of what each comes to is docs/choosing.md; `-m slow` makes it again.
"""

import itertools
import json
from typing import get_args

import numpy as np
import pytest

from jax_inr import fitting, suits
from jax_inr.cli.options import parse_fit
from jax_inr.config import Config, Network, Optimizer
from jax_inr.errors import ConfigError
from jax_inr.experiments.benchmark import choosing
from jax_inr.presets import PRESETS, preset

OPTIMIZERS, NETWORKS = get_args(Optimizer), get_args(Network)
OTHERS = [("optimizer", name) for name in OPTIMIZERS if name != "sgd"]
OTHERS += [("network", name) for name in NETWORKS if name != "mlp"]


def free(changes):
    """What else to change, so that the choice goes with everything else."""
    whole = {"batch_size": None, "sampling": "pixels"}
    if changes.get("network") == "cnn":
        return {**whole, "encoding": "none"}
    return whole if changes.get("optimizer") == "lbfgs" else {}


def test_every_optimizer_and_network_has_a_rate():
    assert list(suits.OPTIMIZERS) == list(OPTIMIZERS)
    assert list(suits.NETWORKS) == list(NETWORKS)
    for optimizer, network in itertools.product(OPTIMIZERS, NETWORKS):
        assert 0 < suits.suited_rate(optimizer, network) <= 1
    for optimizer in OPTIMIZERS:
        assert suits.suited_rate(optimizer, "mlp") == suits.OPTIMIZERS[optimizer]
    for network in NETWORKS:
        assert suits.suited_rate("sgd", network) == suits.NETWORKS[network]


@pytest.mark.parametrize(("field", "name"), OTHERS)
def test_a_choice_brings_its_own_rate_and_keeps_one_that_is_given(field, name):
    choice = {field: name, **free({field: name})}
    base = preset("default")
    optimizer, network = choice.get("optimizer", "sgd"), choice.get("network", "mlp")
    suited = suits.suited_rate(optimizer, network)
    assert base.replace(**choice).learning_rate == suited != base.learning_rate
    assert base.replace(**choice, learning_rate=0.5).learning_rate == 0.5
    # Asked for by name, the rate before is a rate that is given.
    kept = base.replace(**choice, learning_rate=base.learning_rate)
    assert kept.learning_rate == base.learning_rate
    alone = Config(**{**choice, "learning_rate": None})
    assert alone.learning_rate == suited


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_no_other_choice_keeps_the_rate(name):
    base = preset(name)
    same = {"optimizer": base.optimizer, "network": base.network}
    for changes in ({}, same, {"steps": 7, "warmup_steps": 0, "seed": 3}):
        assert base.replace(**changes).learning_rate == base.learning_rate
    rate = base.replace(learning_rate=None).learning_rate
    assert rate == suits.suited_rate(base.optimizer, base.network)
    # A saved config names all of its fields, and comes back with its rate.
    odd = base.replace(learning_rate=0.123)
    assert Config.from_dict(odd.to_dict()) == odd


@pytest.mark.parametrize(("field", "name"), OTHERS)
def test_the_command_takes_the_rate_that_the_library_does(field, name):
    words = [f"--{field}", name]
    words += [
        word
        for key, value in free({field: name}).items()
        for word in (f"--{key.replace('_', '-')}", str(value))
    ]
    asked = preset("default").replace(**{field: name}, **free({field: name}))
    assert parse_fit(words)[1].learning_rate == asked.learning_rate
    given = parse_fit([*words, "--learning-rate", "0.5"])[1]
    assert given.learning_rate == 0.5


@pytest.mark.slow
def test_the_summary_names_optimizer_network_and_rate(tmp_path, image):
    for changes in ({"optimizer": "adam"}, {"network": "siren"}):
        config = preset("default").replace(
            **changes, steps=1, warmup_steps=0, hidden_features=(4,), batch_size=None
        )
        out = tmp_path / "-".join(changes)
        fit = fitting.fit(image, config, out=out, on_notice=lambda text: None)
        summary = json.loads((out / "summary.json").read_text())
        for name in ("optimizer", "network", "learning_rate"):
            assert summary[name] == fit.summary[name] == getattr(config, name)


REFUSED = {("optimizer", "lbfgs"): "batch_size", ("network", "cnn"): "encoding"}


@pytest.mark.parametrize("choice", REFUSED)
def test_what_needs_another_change_is_refused_with_the_reason(choice):
    field, name = choice
    with pytest.raises(ConfigError, match=REFUSED[choice]) as caught:
        preset("default").replace(**{field: name})
    assert "use " in caught.value.hint
    found = choosing.ended({field: name, "steps": 1})
    assert str(caught.value) in found["refused"]
    assert caught.value.hint in found["refused"]


def is_well(found):
    """Whether a choice ends as the table promises; NaN does not."""
    if "refused" in found:
        return True
    return found["psnr_db"] is not None and found["psnr_db"] > choosing.ENOUGH_DB


@pytest.mark.slow
@pytest.mark.parametrize("choice", choosing.CHOICES, ids="-".join)
def test_every_choice_alone_fits_or_is_refused(choice):
    field, name = choice
    found = choosing.ended({field: name, "steps": choosing.STEPS})
    assert is_well(found), found
    assert ("refused" in found) == (choice in REFUSED)
    assert REFUSED.get(choice, "") in found.get("refused", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice", [("optimizer", "adam"), ("network", "siren")], ids="-".join
)
def test_the_rate_of_the_preset_does_not_suit_others(choice):
    """The control: were the rate kept, the table would say so."""
    field, name = choice
    kept = preset("default").learning_rate
    changes = {field: name, "learning_rate": kept, "steps": choosing.STEPS}
    assert not is_well(choosing.ended(changes))


def test_the_table_counts_neither_a_poor_fit_nor_a_diverged_one():
    assert is_well({"learning_rate": 1.0, "psnr_db": 25.1})
    for psnr_db in (24.9, None, np.nan):
        assert not is_well({"learning_rate": 1.0, "psnr_db": psnr_db})
