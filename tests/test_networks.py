"""Networks against float64 numpy; what is trained, what is drawn, what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.stats
from conftest import draw
from jax.test_util import check_grads

from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.model import count_params, make_model

MLP = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12))
CNN = Config(network="cnn", encoding="none", hidden_features=(4, 5))
COORDS = jnp.asarray(pixel_grid(6, 9).reshape(-1, 2))


# For drawing: compiled so, random bits cost a third of the time.
UNOPTIMISED = {"xla_backend_optimization_level": 0}


def build(config, channels=3, seed=7):
    model = make_model(config, 6, 9, channels)
    return model, draw(model, seed)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def float64_mlp(config, variables, coords):
    """The per-pixel network written out in float64 numpy."""
    x = np.asarray(coords, np.float64)
    if config.encoding != "none":
        b = np.eye(2)
        if config.encoding == "gaussian":
            b = np.asarray(variables["constants"]["frequencies"], np.float64)
        x = np.concatenate([np.sin(2 * np.pi * x @ b), np.cos(2 * np.pi * x @ b)], -1)
    layers = variables["params"]
    for i in range(len(layers)):
        layer = layers[f"dense_{i}"]
        kernel, bias = (np.asarray(layer[n], np.float64) for n in ("kernel", "bias"))
        x = x @ kernel + bias
        x = sigmoid(x) if i == len(layers) - 1 else np.maximum(x, 0)
    return x


def float64_cnn(variables, height, width):
    """The CNN on raw indices, row in channel 0, by scipy's correlation, float64."""
    x = np.mgrid[0:height, 0:width].astype(np.float64)
    layers = variables["params"]
    for i in range(len(layers)):
        layer = layers[f"conv_{i}"]
        kernel, bias = (np.asarray(layer[n], np.float64) for n in ("kernel", "bias"))
        planes = [
            sum(
                scipy.signal.correlate2d(x[k], kernel[:, :, k, o], mode="same")
                for k in range(len(x))
            )
            + bias[o]
            for o in range(len(bias))
        ]
        x = np.stack(planes)
        x = sigmoid(x) if i == len(layers) - 1 else np.maximum(x, 0)
    return np.moveaxis(x, 0, -1)


# The per-pixel network


@pytest.mark.parametrize("encoding", ["gaussian", "basic", "none"])
def test_the_mlp_agrees_with_float64(encoding):
    config = MLP.replace(encoding=encoding)
    model, variables = build(config)
    colours = jax.jit(model.predict)(variables, COORDS)
    assert colours.shape == (54, 3) and colours.dtype == jnp.float32
    expected = float64_mlp(config, variables, COORDS)
    # Phases reach 2 pi * 6: 4e-6 in the features, damped by weights below one.
    np.testing.assert_allclose(colours, expected, atol=5e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_follow_config_and_picture(channels):
    model, variables = build(MLP, channels)
    shapes = jax.tree.map(jnp.shape, variables)
    assert shapes == {
        "constants": {"frequencies": (2, 8)},
        "params": {
            "dense_0": {"kernel": (16, 16), "bias": (16,)},
            "dense_1": {"kernel": (16, 12), "bias": (12,)},
            "dense_2": {"kernel": (12, channels), "bias": (channels,)},
        },
    }
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    # Trained numbers alone: 16*16+16 + 16*12+12 + 12*c+c, and no frequencies.
    assert count_params(variables) == 476 + 13 * channels
    for leading in ((), (5,), (2, 3), (1, 2, 3)):
        coords = jnp.zeros((*leading, 2))
        assert model.predict(variables, coords).shape == (*leading, channels)
        assert model.encode(variables, coords).shape == (*leading, 16)


def test_a_batch_a_vmap_and_a_loop_are_the_same():
    model, variables = build(MLP)
    batch = model.predict(variables, COORDS)
    mapped = jax.vmap(model.predict, (None, 0))(variables, COORDS)
    predict = jax.jit(model.predict)
    loop = jnp.stack([predict(variables, one) for one in COORDS[:8]])
    np.testing.assert_allclose(mapped, batch, atol=1e-6)
    np.testing.assert_allclose(loop, batch[:8], atol=1e-6)
    jitted = jax.jit(model.predict)(variables, COORDS.reshape(6, 9, 2))
    np.testing.assert_allclose(jitted.reshape(-1, 3), batch, atol=1e-6)


def test_a_pixel_sees_no_other():
    model, variables = build(MLP)
    jacobian = jax.jit(jax.jacobian(model.predict, 1))(variables, COORDS[:4])
    blocks = np.abs(jacobian).max(axis=(1, 3))  # (pixel out, pixel in)
    assert (np.diag(blocks) > 0).all()
    assert not (blocks - np.diag(np.diag(blocks))).any()


def test_encode_then_colours_is_predict():
    model, variables = build(MLP)
    features = model.encode(variables, COORDS)
    split = model.colours(variables, features)
    np.testing.assert_array_equal(split, model.predict(variables, COORDS))


def test_vmap_over_seeds_is_many_networks(key):
    model = make_model(MLP, 6, 9, 3)
    keys = jax.random.split(key, 3)
    several = jax.jit(jax.vmap(model.init), compiler_options=UNOPTIMISED)(keys)
    colours = jax.jit(jax.vmap(model.predict, (0, None)))(several, COORDS)
    init = jax.jit(model.init, compiler_options=UNOPTIMISED)
    predict = jax.jit(model.predict)
    for i in range(3):
        np.testing.assert_allclose(
            colours[i], predict(init(keys[i]), COORDS), atol=1e-6
        )


def test_gradients_are_those_of_finite_differences():
    model, variables = build(MLP)

    @jax.jit
    def loss(params):
        return jnp.mean(model.predict({**variables, "params": params}, COORDS) ** 2)

    # Small steps keep off the kinks of ReLU; float32 then leaves three digits.
    check_grads(
        loss, (variables["params"],), 1, ["rev"], atol=2e-3, rtol=2e-3, eps=1e-2
    )


# The CNN


def test_the_cnn_agrees_with_float64():
    model, variables = build(CNN)
    colours = jax.jit(model.predict)(variables, jnp.asarray(pixel_grid(6, 9)))
    assert colours.shape == (6, 9, 3)
    np.testing.assert_allclose(colours, float64_cnn(variables, 6, 9), atol=2e-6)


def test_the_cnn_takes_raw_indices_rows_first():
    model, variables = build(CNN)
    features = model.encode(variables, jnp.asarray(pixel_grid(6, 9)))
    np.testing.assert_allclose(features, np.moveaxis(np.mgrid[0:6, 0:9], 0, -1))


@pytest.mark.parametrize("shape", [(2,), (54, 2), (1, 6, 9, 2)])
def test_the_cnn_refuses_anything_but_a_grid(shape):
    model, variables = build(CNN)
    with pytest.raises(ValueError, match="whole grid"):
        model.predict(variables, jnp.zeros(shape))


def test_the_cnn_has_the_tensors_of_the_contract():
    _, variables = build(CNN)
    assert jax.tree.map(jnp.shape, variables) == {
        "constants": {},
        "params": {
            "conv_0": {"kernel": (3, 3, 2, 4), "bias": (4,)},
            "conv_1": {"kernel": (3, 3, 4, 5), "bias": (5,)},
            "conv_2": {"kernel": (3, 3, 5, 3), "bias": (3,)},
        },
    }


# What is drawn


@pytest.mark.parametrize(("config", "first"), [(MLP, "dense_0"), (CNN, "conv_0")])
def test_initial_weights_and_biases_are_uniform_in_torchs_bound(key, config, first):
    model = make_model(config, 6, 9, 3)
    init = jax.jit(model.init, compiler_options=UNOPTIMISED)
    draws = [init(one)["params"] for one in jax.random.split(key, 300)]
    layers = jax.tree.map(lambda *leaves: np.stack(leaves), *draws)
    assert first in layers
    for layer in layers.values():
        bound = np.prod(layer["kernel"].shape[1:-1]) ** -0.5  # 1 / sqrt(fan_in)
        for leaf in layer.values():
            draws = np.asarray(leaf, np.float64).ravel()[:20_000] / bound
            assert np.abs(draws).max() <= 1 + 1e-6
            # Of a variance of uniform draws the variance is 4 / (45 n).
            spread = 5 * np.sqrt(4 / 45 / len(draws))
            assert np.var(draws) == pytest.approx(1 / 3, abs=spread)
            assert scipy.stats.kstest(draws, "uniform", (-1, 2)).pvalue > 1e-4


def test_frequencies_are_normal_and_carry_sigma():
    _, variables = build(MLP.replace(num_frequencies=3000, sigma=7.0))
    draws = np.asarray(variables["constants"]["frequencies"]).ravel() / 7.0
    assert scipy.stats.kstest(draws, "norm").pvalue > 1e-3


def test_every_draw_is_independent_of_the_others(key):
    # All of 1000 numbers: a shared key would give them the same ranks.
    config = MLP.replace(num_frequencies=500, hidden_features=(1, 1000, 1000))
    _, variables = build(config)
    params = variables["params"]
    draws = [
        variables["constants"]["frequencies"],
        params["dense_0"]["kernel"],
        params["dense_1"]["kernel"],
        params["dense_1"]["bias"],
        params["dense_2"]["bias"],
    ]
    ranks = scipy.stats.rankdata([np.ravel(d) for d in draws], axis=1)
    others = np.corrcoef(ranks) - np.eye(len(draws))
    assert np.abs(others).max() < 5 / np.sqrt(1000)


def test_frequencies_follow_the_key_alone():
    _, narrow = build(MLP)
    _, wide = build(MLP.replace(hidden_features=(3,)))
    _, other = build(MLP, seed=8)
    b = narrow["constants"]["frequencies"]
    np.testing.assert_array_equal(b, wide["constants"]["frequencies"])
    assert (b != other["constants"]["frequencies"]).all()


def test_drawing_is_deterministic(key):
    model, variables = build(MLP)
    again = jax.jit(model.init, compiler_options=UNOPTIMISED)(jax.random.key(7))
    jax.tree.map(np.testing.assert_array_equal, variables, again)


# Precision


def dot_products(config):
    """The equations of all matrix products in a network's forward and backward."""
    model = make_model(config, 6, 9, 3)
    variables = build(config)[1]
    inputs = COORDS if model.per_pixel else jnp.zeros((6, 9, 2))

    def loss(params):
        return jnp.sum(model.predict({**variables, "params": params}, inputs))

    def walk(program):
        for eqn in program.eqns:
            if eqn.primitive.name == "dot_general":
                yield eqn
            for value in eqn.params.values():
                for inner in value if isinstance(value, tuple | list) else [value]:
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        yield from walk(inner)

    program = jax.make_jaxpr(jax.grad(loss))(variables["params"])
    return list(walk(program.jaxpr))


@pytest.mark.parametrize("config", [MLP, CNN], ids=["mlp", "cnn"])
def test_float32_products_are_asked_for_forward_and_backward(config):
    highest = jax.lax.Precision.HIGHEST
    products = dot_products(config)
    assert len(products) >= 8
    assert {eqn.params["precision"] for eqn in products} == {(highest, highest)}


def test_tf32_is_the_devices_default_and_spares_the_phases():
    products = dot_products(MLP.replace(matmul_precision="tf32"))
    highest = [
        eqn.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2 for eqn in products
    ]
    assert sum(highest) == 1  # coords @ B


def test_bfloat16_rounds_operands_and_sums_in_float32():
    products = dot_products(MLP.replace(matmul_precision="bfloat16"))
    kinds = [[v.aval.dtype.name for v in p.invars] for p in products]
    assert kinds.count(["float32", "float32"]) == 1  # coords @ B
    assert kinds.count(["bfloat16", "bfloat16"]) == 3  # forward
    assert {p.outvars[0].aval.dtype.name for p in products} == {"float32"}


def test_bfloat16_differs_but_little():
    model, variables = build(MLP)
    coarse, same = build(MLP.replace(matmul_precision="bfloat16"))
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    np.testing.assert_array_equal(
        coarse.encode(variables, COORDS), model.encode(variables, COORDS)
    )
    colours = coarse.predict(variables, COORDS)
    assert colours.dtype == jnp.float32
    error = np.abs(colours - model.predict(variables, COORDS)).max()
    # Eight bits of mantissa in each of three layers whose outputs are below one.
    assert 1e-5 < error < 3 * 2**-8


# Periodic and Gaussian activations


def layers64(variables):
    """Kernel and bias of each layer, complex where it is, in float64."""
    params = variables["params"]
    for index in range(sum(name.startswith("dense_") for name in params)):
        layer: Any = {
            k: np.asarray(v, np.float64) for k, v in params[f"dense_{index}"].items()
        }
        if "kernel_imag" in layer:
            layer["kernel"] = layer["kernel"] + 1j * layer["kernel_imag"]
            layer["bias"] = layer["bias"] + 1j * layer["bias_imag"]
        yield layer["kernel"], layer["bias"]


ACTIVATIONS = {
    "siren": lambda z: np.sin(5 * z),
    "finer": lambda z: np.sin(5 * (np.abs(z) + 1) * z),
    "gauss": lambda z: np.exp(-((3 * z) ** 2)),
    "wire": lambda z: np.exp(1j * 5 * z - np.abs(3 * z) ** 2),
}


@pytest.mark.slow_cases("siren")
@pytest.mark.parametrize("network", list(ACTIVATIONS))
def test_periodic_and_gaussian_activations_agree_with_float64(network):
    config = MLP.replace(network=network, encoding="none", omega_0=5.0, scale_0=3.0)
    model, variables = build(config)
    *hidden, (kernel, bias) = layers64(variables)
    x = 2 * np.asarray(COORDS, np.float64) - 1
    for inner, shift in hidden:
        x = ACTIVATIONS[network](x @ inner + shift)
    expected = (1 + np.real(x @ kernel + bias)) / 2
    np.testing.assert_allclose(model.predict(variables, COORDS), expected, atol=2e-5)


@pytest.mark.torch
def test_siren_agrees_with_siren_pytorch():
    """An independent implementation, given our weights."""
    torch = pytest.importorskip("torch")
    siren_pytorch = pytest.importorskip("siren_pytorch")
    config = Config(network="siren", encoding="none", hidden_features=(32, 32, 32))
    model, variables = build(config)
    net = siren_pytorch.SirenNet(2, 32, 3, num_layers=3, w0=30.0, w0_initial=30.0)
    state = {}
    for index in range(4):
        layer = variables["params"][f"dense_{index}"]
        name = f"layers.{index}" if index < 3 else "last_layer"
        state[f"{name}.weight"] = torch.tensor(np.asarray(layer["kernel"]).T)
        state[f"{name}.bias"] = torch.tensor(np.asarray(layer["bias"]))
    net.load_state_dict(state)
    with torch.no_grad():
        expected = (1 + net(torch.tensor(2 * np.asarray(COORDS) - 1)).numpy()) / 2
    # omega_0 of 30 amplifies a rounding error by up to 30 in each of three layers.
    np.testing.assert_allclose(model.predict(variables, COORDS), expected, atol=5e-4)


def test_gelu_is_the_tanh_form():
    model, variables = build(MLP.replace(activation="gelu", encoding="none"))
    *hidden, (kernel, bias) = layers64(variables)
    x = np.asarray(COORDS, np.float64)
    for inner, shift in hidden:
        z = x @ inner + shift
        x = z / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3)))
    expected = sigmoid(x @ kernel + bias)
    np.testing.assert_allclose(model.predict(variables, COORDS), expected, atol=1e-6)


@pytest.mark.parametrize("encoding", ["periodic", "positional", "trainable", "basic"])
def test_an_encoding_is_the_fourier_features_of_its_frequencies(encoding):
    config = MLP.replace(encoding=encoding, octaves=3.0)
    model, variables = build(config)
    frequencies = {
        "periodic": lambda: variables["constants"]["frequencies"],
        "trainable": lambda: variables["params"]["frequencies"],
        "positional": lambda: np.kron(np.eye(2), 2 ** np.linspace(0, 3, 4) - 1),
        "basic": lambda: np.eye(2),
    }[encoding]()
    phases = 2 * np.pi * np.asarray(COORDS, np.float64) @ np.asarray(frequencies)
    expected = np.concatenate([np.sin(phases), np.cos(phases)], -1)
    np.testing.assert_allclose(model.encode(variables, COORDS), expected, atol=2e-5)
    assert expected.shape[-1] == model.encoding.num_features


def test_trained_frequencies_get_a_gradient_and_drawn_ones_none():
    for encoding, trained in (("trainable", True), ("gaussian", False)):
        model, variables = build(MLP.replace(encoding=encoding))
        assert ("frequencies" in variables["params"]) is trained
        assert ("frequencies" in variables["constants"]) is not trained
    model, variables = build(MLP.replace(encoding="trainable"))
    gradient = jax.grad(
        lambda p: model.predict({**variables, "params": p}, COORDS).sum()
    )(variables["params"])
    assert np.isfinite(gradient["frequencies"]).all()
    assert np.abs(gradient["frequencies"]).max() > 0


def test_the_periodic_encoding_has_period_one_and_the_gaussian_has_not():
    beyond = COORDS + jnp.array([1.0, -2.0])
    for encoding, periodic in (("periodic", True), ("gaussian", False)):
        model, variables = build(MLP.replace(encoding=encoding))
        here, there = (model.predict(variables, c) for c in (COORDS, beyond))
        assert bool(np.abs(here - there).max() < 1e-5) is periodic


def test_sweepable_numbers_are_constants_of_the_model():
    config = MLP.replace(network="wire", encoding="none", omega_0=5.0, scale_0=3.0)
    model, variables = build(config)
    assert float(variables["constants"]["omega_0"]) == 5.0
    other = build(config.replace(omega_0=6.0, scale_0=2.0))[0]
    constants = {"omega_0": jnp.float32(6.0), "scale_0": jnp.float32(2.0)}
    changed = {**variables, "constants": constants}
    np.testing.assert_array_equal(
        model.predict(changed, COORDS), other.predict(changed, COORDS)
    )
    assert (
        np.abs(model.predict(changed, COORDS) - model.predict(variables, COORDS)).max()
        > 1e-3
    )


def test_glorot_weights_are_those_of_stax(key):
    config = Config(num_frequencies=64, hidden_features=(96, 80), init="glorot")
    params = jax.jit(make_model(config, 6, 9, 3).init, compiler_options=UNOPTIMISED)(
        key
    )["params"]
    assert len(params) == 3
    for layer in params.values():
        kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
        # Variance 2 / (fan_in + fan_out), normal but cut off at two deviations.
        spread = np.sqrt(2 / sum(kernel.shape)) / 0.87962566103423978
        draws = kernel.ravel() / spread
        assert np.abs(draws).max() <= 2
        assert scipy.stats.kstest(draws, scipy.stats.truncnorm(-2, 2).cdf).pvalue > 1e-4
        assert scipy.stats.kstest(bias / 1e-2, scipy.stats.norm.cdf).pvalue > 1e-4
