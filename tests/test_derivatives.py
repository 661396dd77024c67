"""Derivatives: against finite differences of an independent network in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fakes import make_field

from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError

GELU = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12), activation="gelu")
SIREN = Config(encoding="none", network="siren", omega_0=12.0, hidden_features=(16, 12))
SMOOTH = {
    "gelu": GELU,
    "gelu over 256": GELU.replace(rgb_max=256),
    "siren": SIREN,
    "gauss": SIREN.replace(network="gauss", scale_0=3.0),
    "wire": SIREN.replace(network="wire", omega_0=6.0, scale_0=2.0),
}
# Rec. 709: how bright red, green and blue are.
LUMA = (0.2126, 0.7152, 0.0722)
COORDS = np.random.default_rng(3).random((40, 2)).astype(np.float32)


def field_of(config, channels=3):
    return make_field(config, 12, 17, channels)


def reference(field):
    """The field as a function of numpy in float64, written out once more."""
    config = field.config
    leaf = jax.tree.map(lambda x: np.asarray(x, np.float64), field.variables)
    layers = [leaf["params"][f"dense_{i}"] for i in range(3)]

    def gelu(z):
        return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))

    def wire(x):
        omega, scale = leaf["constants"]["omega_0"], leaf["constants"]["scale_0"]
        z = x @ layers[0]["kernel"] + layers[0]["bias"] + 0j
        for layer in layers[1:]:
            z = np.exp(1j * omega * z - np.abs(scale * z) ** 2)
            z = z @ (layer["kernel"] + 1j * layer["kernel_imag"])
            z += layer["bias"] + 1j * layer["bias_imag"]
        return z.real

    activation = {
        "mlp": gelu,
        "siren": lambda z: np.sin(leaf["constants"]["omega_0"] * z),
        "gauss": lambda z: np.exp(-((leaf["constants"]["scale_0"] * z) ** 2)),
        "wire": None,
    }[config.network]

    def colours(x):
        if config.network == "mlp":
            phases = 2 * np.pi * x @ leaf["constants"]["frequencies"]
            x = np.concatenate([np.sin(phases), np.cos(phases)], -1)
        else:
            x = 2 * x - 1
        if config.network == "wire":
            return (1 + wire(x)) / 2
        for layer in layers[:-1]:
            x = activation(x @ layer["kernel"] + layer["bias"])
        x = x @ layers[-1]["kernel"] + layers[-1]["bias"]
        x = 1 / (1 + np.exp(-x)) if config.network == "mlp" else (1 + x) / 2
        return x * config.rgb_max / 255

    return colours


def differences(colours, coords, order, step=1e-4):
    """Central differences (n, c, 2) of first or second order; their error is step^2."""
    coords = coords.astype(np.float64)
    found = []
    for direction in step * np.eye(2):
        ahead, behind = colours(coords + direction), colours(coords - direction)
        if order == 1:
            found.append((ahead - behind) / (2 * step))
        else:
            found.append((ahead - 2 * colours(coords) + behind) / step**2)
    return np.stack(found, -1)


def near(found, expected):
    """Relative to the size of the derivative over the picture."""
    scale = np.sqrt(np.mean(expected**2))
    assert scale > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.slow_cases("wire", "gelu")
@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_are_those_of_finite_differences(name):
    field = field_of(SMOOTH[name])
    colours = reference(field)
    np.testing.assert_allclose(field(COORDS), colours(COORDS), atol=1e-5)
    slopes = differences(colours, COORDS, 1)
    near(field.jacobian(COORDS), slopes)
    near(field.gradient(COORDS), np.einsum("nca,c->na", slopes, LUMA))
    near(field.laplacian(COORDS), differences(colours, COORDS, 2).sum(-1))


@pytest.mark.slow
def test_the_gradient_of_a_relu_field_and_of_a_grey_one():
    relu = field_of(GELU.replace(activation="relu"))
    # No finite difference across a kink: JAX's own reverse mode, which is no jvp.
    slopes = jax.vmap(jax.jacrev(relu))(jnp.asarray(COORDS))
    near(relu.jacobian(COORDS), np.asarray(slopes))
    grey = field_of(GELU, channels=1)
    np.testing.assert_array_equal(grey.gradient(COORDS), grey.jacobian(COORDS)[:, 0])


@pytest.mark.slow_cases("laplacian")
@pytest.mark.parametrize("kind", ["jacobian", "gradient", "laplacian"])
def test_derivatives_take_any_axes_and_compose(kind):
    function = getattr(field_of(GELU), kind)
    expected = np.asarray(function(COORDS))
    grid = function(COORDS.reshape(8, 5, 2))
    np.testing.assert_allclose(grid.reshape(expected.shape), expected, rtol=1e-4)
    np.testing.assert_allclose(function(COORDS[0]), expected[0], rtol=1e-4, atol=1e-5)
    composed = jax.jit(jax.vmap(function))(jnp.asarray(COORDS))
    np.testing.assert_allclose(composed, expected, rtol=1e-4, atol=1e-5)
    # And once more: their derivatives are finite.
    again = jax.jacfwd(function)(jnp.asarray(COORDS[0]))
    assert np.isfinite(again).all() and np.abs(again).max() > 0


@pytest.mark.slow
def test_a_field_holds_in_float64_what_float32_rounds():
    field = field_of(GELU)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), field.variables)
        coords = jnp.asarray(COORDS, jnp.float64)
        from jax_inr import derivatives

        found = np.asarray(derivatives.laplacian(field.model, exact, coords))
    expected = differences(reference(field), COORDS, 2).sum(-1)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        GELU.replace(activation="relu"),
        GELU.replace(encoding="dense_grid", num_levels=2),
        GELU.replace(encoding="hash_grid", num_levels=2),
    ],
    ids=["relu", "dense_grid", "hash_grid"],
)
def test_the_laplacian_of_kinks_is_refused(config):
    field = field_of(config)
    with pytest.raises(ConfigError, match="zero almost everywhere") as caught:
        field.laplacian(COORDS)
    assert "gelu" in caught.value.hint
    with pytest.raises(ConfigError, match="zero almost everywhere"):
        field.render(derivative="laplacian")
    assert np.isfinite(field.gradient(COORDS)).all()


def test_the_cnn_has_no_derivatives():
    field = field_of(Config(network="cnn", encoding="none", hidden_features=(4,)))
    for call in (field.gradient, field.jacobian, field.laplacian):
        with pytest.raises(ConfigError, match="whole grid"):
            call(COORDS)


def test_rendered_derivatives_are_per_pixel_of_the_picture():
    field = field_of(GELU)
    grid = pixel_grid(9, 7, (0.1, 0.2, 0.5, 0.8))
    view = 9, 7, (0.1, 0.2, 0.5, 0.8)
    gradient = np.asarray(field.gradient(grid)) / [12, 17]
    assert field.render(*view, "gradient").shape == (9, 7, 2)
    np.testing.assert_allclose(field.render(*view, "gradient"), gradient, atol=1e-6)
    curvature = differences(reference(field), grid.reshape(-1, 2), 2)
    laplacian = (curvature / [12**2, 17**2]).sum(-1).reshape(9, 7, 3)
    np.testing.assert_allclose(field.render(*view, "laplacian"), laplacian, atol=1e-5)
