"""The experiment on the neural tangent kernel: what it says before any training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax_inr.analysis import ntk
from jax_inr.analysis.spectra import radii
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.fits import (
    Tell,
    doublings,
    draw,
    plan_of,
    predictor,
    select,
    side_by_side,
    train,
    train_to,
)
from jax_inr.experiments.spectral_bias.forms import Form
from jax_inr.model import count_params

COMPONENTS = 10  # of the residual, whose decay is predicted
SHOWN = 8  # eigenvectors that are shown
TINY = 1e-4  # times the learning rate
FIRST_SHARE = 0.01  # of the first component that a step of gradient descent takes


def kernel(encoding: str, form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """Eigenvalues and eigenvectors on a sub-grid, and the decay of the residual.

    The residual is that of the untrained network against the image's grey levels;
    it decays under full-batch gradient descent, in float64.
    """
    side = form.ntk_side
    config = Config(
        encoding="none" if encoding == "none" else "gaussian",
        optimizer="sgd",
        momentum=0.0,
    )
    plan = plan_of(config, (side, side, 1))
    grid = np.ix_(*(np.arange(side) * size // side for size in image.shape[:2]))
    coords = pixel_grid(*image.shape[:2])[grid].reshape(-1, 2)
    grey = image[grid].mean(-1).reshape(-1, 1)
    variables = draw(plan, seed)
    with jax.enable_x64(True):  # pyright: ignore[reportCallIssue]
        exact = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float64))
        variables, coords, grey = exact(variables), exact(coords), exact(grey)
        network = select(variables, 0)
        tangent = jax.jit(ntk.empirical_ntk)
        values, vectors = ntk.eigen(tangent(plan.model, network, coords))
        rate = ntk.learning_rate(values, FIRST_SHARE)
        inputs = plan.model.encode(network, coords)
        data = side_by_side(plan, inputs[None], grey[None], rate)
        predict = predictor(plan, (side * side,))

        def components(variables: dict) -> np.ndarray:
            residual = predict(variables, data.inputs)[0] - np.ravel(grey)
            return np.asarray(vectors).T @ residual

        start, steps = components(variables), doublings(form.ntk_steps)
        trained = train(plan, variables, data, seed, steps, tell)
        lost = np.stack([1 - components(found) / start for _, found in trained])
        expected = 1 - np.asarray(ntk.predicted_decay(values, rate, np.array(steps)))
        # One step so small that the kernel has no time to change.
        tiny = side_by_side(plan, inputs[None], grey[None], TINY * rate)
        after = train_to(plan, variables, tiny, seed, 1, tell)
        rates = (1 - components(after) / start) / (
            1 - np.asarray(ntk.predicted_decay(values, TINY * rate, 1))
        )
        values, vectors = np.asarray(values), np.asarray(vectors)
    images = vectors.T.reshape(-1, side, side)
    # Weighted by energy: where in the spectrum an eigenvector lives.
    power = np.abs(np.fft.fft2(images)) ** 2
    radius = (power * radii(side, side)).sum((1, 2)) / power.sum((1, 2))
    lost, expected = lost[:, :COMPONENTS], expected[:, :COMPONENTS]
    return {
        "side": side,
        "sigma": None if encoding == "none" else config.sigma,
        "num_params": count_params(network),
        "learning_rate": rate,
        "eigenvalues": values,
        "eigenvectors": images[:SHOWN],
        "frequencies": radius,
        "steps": steps,
        # Shares of each component at the start: what is gone after the steps.
        "lost": lost,
        "predicted": expected,
        "worst": float(np.abs(lost - expected).max()),
        "rates": rates[:COMPONENTS],  # of the first decay, measured over predicted
    }


def brute_force(form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """The kernel of a tiny network, against one from central differences."""
    config = Config(num_frequencies=3, sigma=1.0, hidden_features=(5, 4))
    plan = plan_of(config, (3, 2, 2))
    variables = draw(plan, seed)
    with jax.enable_x64(True):  # pyright: ignore[reportCallIssue]
        network = jax.tree.map(lambda x: jnp.asarray(x[0], jnp.float64), variables)
        coords = jnp.asarray(pixel_grid(3, 2).reshape(-1, 2), jnp.float64)
        found = np.asarray(ntk.empirical_ntk(plan.model, network, coords))
        leaves, tree = jax.tree.flatten(network["params"])
        flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

        @jax.jit
        @jax.vmap
        def colours(flat: jax.Array) -> jax.Array:
            parts = zip(jnp.split(flat, ends), leaves, strict=True)
            params = tree.unflatten([p.reshape(leaf.shape) for p, leaf in parts])
            return plan.model.predict({**network, "params": params}, coords).ravel()

        shifts = 1e-6 * np.eye(flat.size)
        rows = np.asarray(colours(flat + shifts) - colours(flat - shifts)).T / 2e-6
    expected = rows @ rows.T
    error = np.abs(found - expected).max() / np.abs(expected).max()
    return {"outputs": len(found), "num_params": flat.size, "error": float(error)}
