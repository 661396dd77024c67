"""A caller's own objects: fitted, saved, loaded, resumed as the built-in ones are."""

import dataclasses
import importlib.util
import itertools
import json
import re
import sys
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

from jax_inr.config import Config
from jax_inr.errors import (
    CheckpointError,
    ConfigError,
    DivergedError,
    ImageError,
    Interrupted,
    OutputError,
)
from jax_inr.field import ImageField
from jax_inr.fitting import fit, fit_many, resume
from jax_inr.io.runs import RunFolder
from jax_inr.tasks import HeldOut, Task

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


def linen(activation, width=10):
    return nn.Sequential([nn.Dense(width), activation, nn.Dense(3), nn.sigmoid])


NETWORKS: dict[str, Any] = {
    "linen": LinenNetwork,
    # Its list of layers cannot be hashed.
    "sequential": lambda: linen(nn.tanh),
    "equinox": equinox_network,
    "pair": lambda: (pair_init, pair_apply),
    "object": ObjectNetwork,
}


@dataclasses.dataclass(frozen=True)
class Powers:
    """The powers of a position's numbers."""

    count: int = 3

    @property
    def num_features(self):
        return 2 * self.count

    def init(self, key):
        return {}

    def apply(self, variables, x):
        return (x[:, None] ** jnp.arange(self.count)).ravel()


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


@pytest.mark.slow_cases("equinox", "sequential", "object", "pair")
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


class Drawn(NamedTuple):
    """An optimizer's state of many types."""

    key: Any
    is_even: Any
    sums: Any
    count: Any
    small: Any


def noisy_sgd(rate=0.5):
    """SGD with noise, whose state has a random key, a truth and complex numbers."""

    def init(params):
        sums = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.complex64), params)
        truth, count = jnp.array(True), jnp.array(0, jnp.uint16)
        return Drawn(jax.random.key(5), truth, sums, count, jnp.zeros(2, jnp.float16))

    def update(updates, state, params=None):
        del params
        key, now = jax.random.split(state.key)
        sums = jax.tree.map(lambda s, g: 0.9 * s + 1j * g, state.sums, updates)
        sign = jnp.where(state.is_even, 1.0, 0.9) + 0.1 * jax.random.normal(now)
        steps = jax.tree.map(lambda s: -rate * sign * s.imag, sums)
        small = state.small + jnp.float16(0.25)
        return steps, Drawn(key, ~state.is_even, sums, state.count + 1, small)

    return optax.GradientTransformation(init, update)


@pytest.mark.slow
def test_an_optimizers_state_of_any_type_is_saved_and_resumed(image, tmp_path):
    whole_life(image, tmp_path, {"optimizer": noisy_sgd()})


@pytest.mark.slow
def test_a_state_with_a_random_key_is_rolled_back_where_a_fit_diverges(image, tmp_path):
    sound = noisy_sgd()

    def update(updates, state, params=None):
        steps, after = sound.update(updates, state, params)
        factor = jnp.where(state.count == 25, jnp.nan, 1.0)
        return jax.tree.map(lambda step: factor * step, steps), after

    breaking = optax.GradientTransformation(sound.init, update)
    with pytest.raises(DivergedError, match="not finite at step 26"):
        fit(image, SMALL, optimizer=breaking, out=tmp_path / "a")


@pytest.mark.slow
def test_an_integer_buffer_of_an_equinox_module_is_a_constant(image, tmp_path):
    class Permuted(eqx.Module):
        order: Any
        inner: Any

        def __call__(self, features):
            return self.inner(features[self.order])

    def network(order):
        return Permuted(jnp.asarray(order), equinox_network())

    whole_life(image, tmp_path, {"network": network(np.arange(12)[::-1])})
    with pytest.raises(OutputError, match="another run: network"):
        resume(tmp_path / "through", steps=50, network=network(np.arange(12)))
    # The buffer is no part of the file.
    path = tmp_path / "through" / "field.safetensors"
    with pytest.raises(CheckpointError, match="was given"):
        ImageField.load(path, network=network(np.arange(12)))


def small_state(image, optimizer, tmp_path):
    whole_life(image, tmp_path, {"optimizer": optimizer})


@pytest.mark.slow
def test_a_state_of_bfloat16_is_saved_and_resumed(image, tmp_path):
    small_state(image, optax.adam(0.02, mu_dtype=jnp.bfloat16), tmp_path)


@pytest.mark.slow
def test_random_keys_among_constants_are_saved_and_resumed(image, tmp_path):
    def init(key):
        return {"params": pair_init(key), "constants": {"key": key}}

    def apply(variables, features):
        shift = 0.01 * jax.random.normal(variables["constants"]["key"], (3,))
        return pair_apply(variables["params"], features) + shift

    whole_life(image, tmp_path, {"network": (init, apply)})


@pytest.mark.slow
def test_a_network_of_one_array(image, tmp_path):
    pair = lambda key: 0.1 * jax.random.normal(key, (12, 3)), lambda w, x: x @ w
    whole_life(image, tmp_path, {"network": pair})


@dataclasses.dataclass
class Loss:
    """A loss without a hash."""

    factor: Any = 1.0

    def __call__(self, prediction, value):
        return (self.factor * (prediction - value)) ** 2


@pytest.mark.slow
def test_what_has_no_hash_is_a_loss_and_a_pair_too(image, tmp_path):
    class Apply(Loss):
        def __call__(self, params, features):
            return pair_apply(params, features)

    parts = {"loss": Loss(np.ones(3, np.float32)), "network": (pair_init, Apply())}
    whole_life(image, tmp_path, parts)


FACTOR = 1.0


def by_name(prediction, value):
    return (FACTOR * (prediction - value)) ** 2


@pytest.mark.slow_cases("name")
@pytest.mark.parametrize("kind", ["object", "name"])
def test_a_loss_that_has_changed_is_compiled_anew(kind, image, monkeypatch):
    loss = Loss() if kind == "object" else by_name
    first = fit(image, SMALL, loss=loss).rows[0]["loss"]
    loss.factor = 10.0  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 10.0)
    assert fit(image, SMALL, loss=loss).rows[0]["loss"] == pytest.approx(100 * first)


def test_an_array_of_the_object_is_none_of_the_file(image, tmp_path):
    def pair(scale):
        scales = jnp.asarray(scale)
        return pair_init, lambda w, x: pair_apply(w, scales * x)

    path = tmp_path / "field.safetensors"
    fit(image, SMALL, network=pair(np.ones(12))).field.save(path)
    ImageField.load(path, network=pair(np.ones(12)))
    with pytest.raises(CheckpointError, match="was given"):
        ImageField.load(path, network=pair(np.arange(12.0)))


@pytest.mark.slow
def test_a_module_is_the_same_under_another_name(image, tmp_path):
    names: list[dict[str, Any]] = [{"__name__": n} for n in ("__main__", "train")]
    for each in names:
        exec(compile(ENCODING, "/tmp/train.py", "exec"), each)
    sys.modules["train"] = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("train", None)  # pyright: ignore
    )
    first, second = (each["Cosines"]() for each in names)
    fit(image, SMALL, encoding=first, out=tmp_path / "a")
    del sys.modules["train"]
    assert fit(image, SMALL, encoding=second, out=tmp_path / "a").steps == SMALL.steps
    ImageField.load(tmp_path / "a" / "field.safetensors", encoding=second)


def test_a_pair_of_long_names_is_told_by_its_fingerprint(image, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Part:
        function: Any
        words: str = "w" * 250

        def __call__(self, *arguments):
            return self.function(*arguments)

    path = tmp_path / "field.safetensors"
    pair = Part(pair_init), Part(pair_apply)
    fit(image, SMALL, network=pair).field.save(path)
    ImageField.load(path, network=(Part(pair_init), Part(pair_apply)))
    with pytest.raises(CheckpointError, match="was given"):
        ImageField.load(path, network=(Part(pair_init), Part(pair_apply, "v" * 250)))


def test_names_that_meet_are_refused(image):
    def init(key):
        return {"a/b": jnp.ones((12, 3)), "a": {"b": jnp.ones(3)}}

    def apply(w, x):
        return x @ w["a/b"] + w["a"]["b"]

    with pytest.raises(ConfigError, match=r"two tensors are called .*network/a/b"):
        fit(image, SMALL, network=(init, apply))


def test_a_save_that_fails_at_a_signal_is_told(image, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OutputError("cannot write there")

    monkeypatch.setattr(RunFolder, "save_checkpoint", fail)
    with pytest.raises(Interrupted, match="1 failed: cannot write there") as caught:
        fit(image, SMALL, out=tmp_path / "a", **stop_after(11))
    assert "resumed" not in str(caught.value)


@pytest.mark.parametrize("change", ["shape", "rgb_max", "weights", "held out"])
def test_another_task_is_another_run(change, tmp_path):
    first = task_of({"weights": np.ones(4, np.float32)})
    held = dataclasses.replace(first, weights=None)
    first = first.replace(held_out=HeldOut(held, 10))
    other = {
        "shape": {"shape": (4, 2, 3)},
        "rgb_max": {"rgb_max": 256},
        "weights": {"weights": np.full(4, 2.0, np.float32)},
        "held out": {"held_out": HeldOut(held.replace(loss=Loss(2.0)), 10)},
    }[change]
    config = SMALL.replace(batch_size=None)
    fit(first, config, out=tmp_path / "a")
    with pytest.raises(OutputError, match="another run: the task has other"):
        fit(first.replace(**other), config, out=tmp_path / "a")


@pytest.mark.slow
def test_an_equinox_network_of_a_caller_with_x64(image, tmp_path):
    with jax.enable_x64(True):
        network = equinox_network()
        fitted = fit(image, SMALL, network=network, out=tmp_path / "a")
        assert fitted.field.render().dtype == np.float32
        ImageField.load(tmp_path / "a" / "field.safetensors", network=network)


# Another object than the first is no continuation


def scaled(factor):
    return lambda prediction, value: (factor * (prediction - value)) ** 2


def equinox_of(seed, activation=jax.nn.relu):
    final = {"activation": activation, "final_activation": jax.nn.sigmoid}
    return eqx.nn.MLP(12, 3, 10, 1, **final, key=jax.random.key(seed))


OTHERS: dict[str, tuple[str, Any, Any]] = {
    "rate": ("optimizer", lambda: optax.adam(1e-2), lambda: optax.adam(1e-3)),
    "schedule": (
        "optimizer",
        lambda: optax.sgd(optax.linear_schedule(0.1, 0.01, 40)),
        lambda: optax.sgd(optax.linear_schedule(0.1, 0.02, 40)),
    ),
    "activation": ("network", lambda: linen(nn.tanh), lambda: linen(nn.relu)),
    "start": ("network", lambda: equinox_of(0), lambda: equinox_of(1)),
    "closure": ("loss", lambda: scaled(1.0), lambda: scaled(2.0)),
}


@pytest.mark.slow_cases("closure", "schedule", "start", "activation")
@pytest.mark.parametrize("name", OTHERS)
def test_another_object_is_another_run(name, image, tmp_path):
    part, first, other = OTHERS[name]
    fit(image, SMALL, **{part: first()}, out=tmp_path / "a")
    kept = (tmp_path / "a" / "field.safetensors").read_bytes()
    with pytest.raises(OutputError, match=f"another run: {part} is") as caught:
        fit(image, SMALL, **{part: other()}, out=tmp_path / "a")
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match=f"another run: {part} is"):
        resume(tmp_path / "a", steps=50, **{part: other()})
    # One made anew, equal to the first, goes on.
    again = fit(image, SMALL, **{part: first()}, out=tmp_path / "a")
    assert again.steps == SMALL.steps
    assert (tmp_path / "a" / "field.safetensors").read_bytes() == kept
    assert resume(tmp_path / "a", steps=50, **{part: first()}).steps == 50


def test_a_field_is_loaded_with_the_objects_it_has_alone(image, tmp_path):
    path = tmp_path / "field.safetensors"
    network = LinenNetwork()
    fit(image, SMALL, network=linen(nn.tanh), encoding=Powers()).field.save(path)
    given = {"encoding": Powers(), "network": linen(nn.tanh)}
    assert ImageField.load(path, **given).render().shape == image.shape
    for part, other in (
        ("network", linen(nn.relu)),
        ("network", linen(nn.tanh, 11)),
        ("network", network),
        ("encoding", Powers(4)),
    ):
        with pytest.raises(CheckpointError, match=f"the field has {part}") as caught:
            ImageField.load(path, **(given | {part: other}))
        assert "was given" in str(caught.value) and "\n" not in str(caught.value)


def test_a_field_is_loaded_with_another_start_of_its_network(image, tmp_path):
    path = tmp_path / "field.safetensors"
    fitted = fit(image, SMALL, network=equinox_of(0)).field
    fitted.save(path)
    loaded = ImageField.load(path, network=equinox_of(1))
    np.testing.assert_array_equal(loaded.render(), fitted.render())
    with pytest.raises(CheckpointError, match="was given"):
        ImageField.load(path, network=equinox_of(0, jax.nn.tanh))


def test_the_summary_names_a_callers_objects(image, tmp_path):
    parts = {"network": linen(nn.tanh), "optimizer": optax.adam(1e-2)}
    fit(image, SMALL, **parts, out=tmp_path / "a")
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert "Sequential" in summary["network"] and summary["learning_rate"] is None
    assert "optax" in summary["optimizer"]


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


# A state of one number at first, and of two after a step.
GROWING = optax.GradientTransformation(
    lambda params: jnp.zeros(1),
    lambda updates, state, params=None: (updates, jnp.zeros(2)),
)
INTEGERS = (lambda key: {"w": jnp.zeros((12, 3), jnp.int32)}, pair_apply)
_count = itertools.count(12)
IMPURE = (lambda key: {"w": jnp.zeros((next(_count), 3))}, pair_apply)


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
        ({"optimizer": GROWING}, ["another state after a step", "[2]", "[1]"]),
        ({"network": INTEGERS}, ["parameter network/w is int32", "no gradient"]),
        ({"network": IMPURE}, ["draws shapes", "(12, 3)", "(13, 3)", "again"]),
        ({"loss": 3}, ["loss 3 is no function"]),
        ({"loss": lambda a, b: jnp.int32(1)}, ["gives int32", "no gradient"]),
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


SOUND: dict[str, Any] = {
    "items": np.zeros((4, 2), np.float32),
    "values": np.zeros((4, 3), np.float32),
    "shape": (2, 2, 3),
    "predict": lambda field, item: field(item),
}


def task_of(changes: dict[str, Any]) -> Task:
    return Task(**(SOUND | changes))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"shape": (2, 0, 3)}, ConfigError, "shape is (2, 0, 3)"),
        ({"values": 1.0}, ConfigError, "values is one number"),
        ({"values": ["a"] * 4}, ConfigError, "values are <U1, not numbers"),
        ({"values": np.zeros((4, 3), np.complex64)}, ConfigError, "complex"),
        ({"values": np.full((4, 3), np.nan)}, ImageError, "12 of the 12 values"),
        ({"items": [0, 1, 2, 3]}, ConfigError, "items hold int, not arrays"),
        ({"weights": 1.0}, ConfigError, "weights hold float, not arrays"),
        ({"values": np.zeros((0, 3)), "items": np.zeros((0, 2))}, ConfigError, "no m"),
        ({"predict": None}, ConfigError, "needs either predict"),
    ],
)
def test_a_task_that_is_none_is_refused_in_one_line(changes, error, words):
    Task(**SOUND)
    with pytest.raises(error) as caught:
        task_of(changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 2), [2, 2, 3], (2, 2.5, 3), 4])
def test_a_shape_that_is_none_is_refused(shape, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=re.escape(f"task: shape is {shape}")):
        task_of({"shape": shape})


def test_values_may_be_any_sequence_of_numbers(image):
    values = [[0.1, 0.2, 0.3]] * 4
    assert task_of({"values": values}).values.shape == (4, 3)


# Modules that are no pure functions of the features


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=False)(x))


class Normalising(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=False)(x))


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(3)(x)


class Half(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, dtype=jnp.bfloat16)(x)


@pytest.mark.parametrize(
    "module, says, hint",
    [
        (Dropping, "cannot be traced for an input", "be deterministic"),
        (Normalising, "cannot be traced for an input", "use_running_average"),
        (Training, "cannot be traced for a key: .*'train'", "arguments defaults"),
        (Half, "gives bfloat16, not float32", "astype"),
    ],
)
def test_a_module_of_another_trade_is_told_what_to_do(module, says, hint, image):
    with pytest.raises(ConfigError, match=says) as caught:
        fit(image, SMALL, network=module())
    assert module.__name__ in str(caught.value) and hint in caught.value.hint
