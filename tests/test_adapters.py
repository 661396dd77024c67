"""A caller's own objects: fitted, saved, loaded, resumed as the built-in ones are."""

import dataclasses
import importlib.util
import sys
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError, Interrupted
from jax_inr.field import ImageField
from jax_inr.fitting import fit, fit_many, resume
from jax_inr.tasks import Task

eqx = pytest.importorskip("equinox")
SMALL = Config(
    num_frequencies=6,
    sigma=1.0,
    optimizer="adam",
    learning_rate=0.02,
    steps=40,
    eval_every=10,
    batch_size=50,
)

# An encoding as a user writes it, in a file of their own.
ENCODING = '''
import dataclasses
import jax, jax.numpy as jnp

@dataclasses.dataclass(frozen=True)
class Cosines:
    """Products of cosines along the axes; the last feature is trained."""

    count: int = 3
    is_smooth = True

    @property
    def num_features(self):
        return self.count**2 + 1

    def init(self, key):
        return {"params": {"slope": jax.random.normal(key, (2,))},
                "constants": {"rates": jnp.pi * jnp.arange(self.count)}}

    def apply(self, variables, x):
        rows, columns = jnp.cos(variables["constants"]["rates"][:, None] * x).T
        slope = variables["params"]["slope"] @ x
        return jnp.append(jnp.outer(rows, columns).ravel(), slope)
'''


@pytest.fixture
def user_encoding(tmp_path):
    """The encoding of the user's file, imported from there."""
    path = tmp_path / "user_encoding.py"
    path.write_text(ENCODING)
    spec: Any = importlib.util.spec_from_file_location("user_encoding", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_encoding"] = module
    spec.loader.exec_module(module)
    yield module.Cosines()
    del sys.modules["user_encoding"]


class LinenNetwork(nn.Module):
    @nn.compact
    def __call__(self, features):
        hidden = nn.tanh(nn.Dense(10)(features))
        return nn.sigmoid(nn.Dense(3)(hidden))


def pair_init(key):
    return {"w": 0.1 * jax.random.normal(key, (12, 3)), "b": jnp.zeros(3)}


def pair_apply(params, features):
    return jax.nn.sigmoid(features @ params["w"] + params["b"])


@dataclasses.dataclass(frozen=True)
class ObjectNetwork:
    """The protocol, with a constant that gets no gradient."""

    channels: int = 3

    def init(self, key):
        weights = 0.1 * jax.random.normal(key, (12, self.channels))
        return {"params": {"w": weights}, "constants": {"scale": jnp.float32(2.0)}}

    def apply(self, variables, features):
        sums = features @ variables["params"]["w"]
        return jax.nn.sigmoid(variables["constants"]["scale"] * sums)


def equinox_network():
    key = jax.random.key(3)
    return eqx.nn.MLP(12, 3, 10, 1, final_activation=jax.nn.sigmoid, key=key)


NETWORKS: dict[str, Any] = {
    "linen": LinenNetwork,
    "equinox": equinox_network,
    "pair": lambda: (pair_init, pair_apply),
    "object": ObjectNetwork,
}


def absolute(prediction, value):
    return jnp.abs(prediction - value)


def stop_after(steps):
    """A `stop` and an `on_progress` that end a fit after some steps."""
    at = [0]

    def on_progress(progress):
        at[0] = progress.step

    return {
        "on_progress": on_progress,
        "stop": lambda: "SIGTERM" if at[0] >= steps else "",
    }


def assert_same(first, second):
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name], err_msg=name)


def whole_life(image, tmp_path, parts, config=SMALL):
    """Fit, interrupt, resume, save, load, render, differentiate, and fit many."""
    through = fit(image, config, **parts, out=tmp_path / "through")
    losses = [row["loss"] for row in through.rows]
    assert through.steps == config.steps and losses[-1] < losses[0]

    # Interrupted in the middle, and gone on with the same objects: bit for bit.
    out = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        fit(image, config, **parts, out=out, **stop_after(11))
    with pytest.raises(CheckpointError) as caught:
        resume(out)
    assert any(f"give that object, as {name}=" in caught.value.hint for name in parts)
    again = resume(out, **parts)
    assert_same(again, through)
    files = [tmp_path / name / "field.safetensors" for name in ("through", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()

    field = through.field
    given = {k: v for k, v in parts.items() if k in ("encoding", "network")}
    if given:
        with pytest.raises(CheckpointError) as caught:
            ImageField.load(files[0])
        message = f"{caught.value}"
        assert "which is not one of ours" in message and "\n" not in message
    loaded = ImageField.load(files[0], **given)
    np.testing.assert_array_equal(loaded.render(), field.render())
    assert loaded.render(5, 4).shape == (5, 4, 3)
    coords = jnp.asarray(np.random.default_rng(0).random((4, 2)), jnp.float32)
    slope, step = field.gradient(coords), jnp.array([1e-3, 0.0])
    luma = jnp.array([0.2126, 0.7152, 0.0722])
    change = (field(coords + step) - field(coords - step)) @ luma / 2e-3
    np.testing.assert_allclose(slope[:, 0], change, rtol=0.1, atol=0.05)

    many = fit_many(image, [config, config.replace(seed=1)], **parts)
    assert many[0].psnr_db == pytest.approx(through.psnr_db, abs=0.1)
    assert not many.failures


def test_a_users_encoding_lives_as_ours_do(image, tmp_path, user_encoding):
    whole_life(image, tmp_path, {"encoding": user_encoding})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_users_network_lives_as_ours_do(name, image, tmp_path):
    whole_life(image, tmp_path, {"network": NETWORKS[name]()})


def test_a_users_optimizer_and_loss_live_as_ours_do(image, tmp_path):
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.02))
    whole_life(image, tmp_path, {"optimizer": chain, "loss": absolute})


def test_a_loss_is_what_is_minimised(image):
    config = SMALL.replace(batch_size=None, steps=1, learning_rate=1e-6)
    fitted = fit(image, config, loss=absolute)
    untrained = fit(image, SMALL.replace(batch_size=None, steps=0))
    expected = np.abs(untrained.prediction - image).mean()
    assert fitted.rows[0]["loss"] == pytest.approx(expected, rel=1e-4)


def test_a_users_optimizer_is_optaxs_own(image):
    config = SMALL.replace(batch_size=None)
    ours, theirs = fit(image, config), fit(image, config, optimizer=optax.adam(0.02))
    np.testing.assert_allclose(theirs.prediction, ours.prediction, atol=1e-4)


# What is refused, in one line that names the object and both shapes


class Wide(nn.Module):
    @nn.compact
    def __call__(self, features):
        return nn.Dense(4)(features)


def impure_apply(params, features):
    return jnp.zeros(int(features.sum()))


@dataclasses.dataclass(frozen=True)
class LyingEncoding:
    num_features = 5

    def init(self, key):
        return {}

    def apply(self, variables, x):
        return x


class OpaqueState:
    pass


OPAQUE = optax.GradientTransformation(
    lambda params: OpaqueState(),  # pyright: ignore[reportArgumentType]
    lambda updates, state, params=None: (updates, state),
)


class Odd(NamedTuple):
    init: Any = lambda params: ()
    update: Any = lambda grads, state, params=None: (
        jax.tree.map(lambda g: g[None], grads),
        state,
    )


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"network": Wide()}, ["network Wide", "(4,)", "(3,)"]),
        (
            {"network": (pair_init, impure_apply)},
            ["pair_init, test_adapters.impure_apply", "traced", "(12,)"],
        ),
        ({"network": "mlp"}, ["network 'mlp' is no network"]),
        ({"encoding": LyingEncoding()}, ["encoding LyingEncoding()", "(2,)", "(5,)"]),
        ({"encoding": object()}, ["encoding <object object> is no encoding"]),
        ({"optimizer": OPAQUE}, ["optimizer", "no pytree", "OpaqueState"]),
        ({"optimizer": 0.1}, ["optimizer 0.1 is no optax.GradientTransformation"]),
        ({"optimizer": Odd()}, ["updates of shapes", "(1, 12, 128)", "(12, 128)"]),
        ({"loss": 3}, ["loss 3 is no function"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_does_not_fit_is_refused_in_one_line(parts, words, image):
    with pytest.raises(ConfigError) as caught:
        fit(image, SMALL, **parts)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_items_and_values_of_differing_length_are_refused():
    def predict(field, item):
        return field(item)

    items, values = np.zeros((5, 2), np.float32), np.zeros((4, 3), np.float32)
    with pytest.raises(ConfigError) as caught:
        Task(items=items, values=values, shape=(4, 5, 3), predict=predict)
    message = str(caught.value)
    assert "(5, 2)" in message and "(4, 3)" in message and "\n" not in message
