"""The empirical NTK: against brute force, and against training itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import draw

from jax_inr.analysis import ntk
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.model import make_model

tangent = jax.jit(ntk.empirical_ntk)


@pytest.fixture
def exact():
    """float64, so that a difference of 1e-6 is one of the method."""
    with jax.enable_x64(True):
        yield


def network(encoding: str, channels: int, hidden: tuple[int, ...]):
    config = Config(
        encoding=encoding,  # pyright: ignore[reportArgumentType]
        num_frequencies=4,
        sigma=2.0,
        hidden_features=hidden,
    )
    model = make_model(config, 4, 3, channels)
    with jax.enable_x64(False):
        variables = draw(model)
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
    coords = jnp.asarray(pixel_grid(4, 3).reshape(-1, 2), jnp.float64)
    return model, variables, coords


@pytest.mark.parametrize(("encoding", "channels"), [("none", 1), ("gaussian", 2)])
def test_the_kernel_is_that_of_central_differences(exact, encoding, channels):
    model, variables, coords = network(encoding, channels, (3, 2))
    leaves, tree = jax.tree.flatten(variables["params"])
    flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    @jax.jit
    @jax.vmap
    def colours(flat):
        parts = zip(jnp.split(flat, ends), leaves, strict=True)
        params = tree.unflatten([part.reshape(leaf.shape) for part, leaf in parts])
        return model.predict({**variables, "params": params}, coords).ravel()

    # Every parameter moved both ways, in one batch of networks.
    shifts = 1e-6 * np.concatenate([np.eye(flat.size), -np.eye(flat.size)])
    up, down = np.split(np.asarray(colours(flat + shifts)), 2)
    rows = (up - down).T / 2e-6
    kernel = np.asarray(tangent(model, variables, coords))
    assert kernel.shape == (12 * channels, 12 * channels)
    np.testing.assert_allclose(kernel, rows @ rows.T, rtol=1e-6, atol=1e-8)


def test_the_kernel_is_symmetric_and_positive_and_eigen_puts_it_together(exact):
    kernel = tangent(*network("gaussian", 1, (6, 5)))
    values, vectors = ntk.eigen(kernel)
    assert (np.diff(values) <= 0).all() and values[-1] > -1e-10
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    np.testing.assert_allclose((vectors * values) @ vectors.T, kernel, atol=1e-10)


@pytest.mark.parametrize("encoding", ["none", "gaussian"])
def test_gradient_descent_decays_as_the_kernel_predicts(exact, encoding):
    model, variables, coords = network(encoding, 1, (128, 256))
    values, vectors = ntk.eigen(tangent(model, variables, coords))
    target = jnp.asarray(np.random.default_rng(5).random((12, 1)))

    def residual(params):
        return model.predict({**variables, "params": params}, coords) - target

    def components(params):
        return np.asarray(vectors.T @ residual(params).ravel())[:10]

    @jax.jit
    def step(params, rate):
        grads = jax.grad(lambda p: jnp.mean(residual(p) ** 2))(params)
        return optax.apply_updates(params, jax.tree.map(lambda g: -rate * g, grads))

    start = components(variables["params"])
    # A step so small that the kernel stays: what each component loses, in ratio.
    rate = ntk.learning_rate(values, 1e-6)
    left = components(step(variables["params"], rate)) / start
    predicted = np.asarray(ntk.predicted_decay(values, rate, 1))[:10]
    np.testing.assert_allclose((1 - left) / (1 - predicted), 1, atol=0.05)
    # And steps that together take most of the first component.
    rate, params = ntk.learning_rate(values, 0.01), variables["params"]
    for _ in range(80):
        params = step(params, rate)
    left = components(params) / start
    predicted = np.asarray(ntk.predicted_decay(values, rate, 80))[:10]
    assert predicted[0] < 0.5
    np.testing.assert_allclose(left, predicted, atol=0.05)


def test_decay_of_several_steps_is_that_of_one_after_the_other():
    values = jnp.array([3.0, 1.0, 0.1])
    decay = np.asarray(ntk.predicted_decay(values, 0.2, np.array([1, 2, 5])))
    assert decay.shape == (3, 3)
    np.testing.assert_allclose(decay[1], decay[0] ** 2, rtol=1e-6)
    np.testing.assert_allclose(decay[2], decay[0] ** 5, rtol=1e-6)
    rate = ntk.learning_rate(values, 0.3)
    assert ntk.predicted_decay(values, rate, 1)[0] == pytest.approx(0.7)
