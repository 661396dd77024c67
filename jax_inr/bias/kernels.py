"""The experiment on the neural tangent kernel: what it says before any training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax_inr import ntk, spectral
from jax_inr.bias.fits import Json, Tell, doublings, draw, predictor, select, train
from jax_inr.bias.forms import Form
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.networks import count_params
from jax_inr.training import TrainData, make_plan

COMPONENTS = 10  # of the residual, whose decay is predicted
PICTURES = 8  # eigenvectors that are shown
FIRST_SHARE = 0.02  # of the first component that a step of gradient descent takes


def kernel(encoding: str, form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """Eigenvalues and eigenvectors on a sub-grid, and the decay of the residual.

    The residual is that of the untrained network against the picture's grey levels;
    it decays under full-batch gradient descent, in float64.
    """
    side = form.ntk_side
    config = Config(
        encoding="none" if encoding == "none" else "gaussian",
        optimizer="sgd",
        momentum=0.0,
    )
    plan = make_plan(config, side, side, 1)
    at = np.ix_(*(np.arange(side) * size // side for size in image.shape[:2]))
    coords = pixel_grid(*image.shape[:2])[at].reshape(-1, 2)
    grey = image[at].mean(-1).reshape(-1, 1)
    variables = draw(plan, seed)
    with jax.enable_x64(True):  # pyright: ignore[reportCallIssue]
        exact = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float64))
        variables, coords, grey = exact(variables), exact(coords), exact(grey)
        one = select(variables, 0)
        tangent = jax.jit(ntk.empirical_ntk, static_argnums=0)
        values, vectors = ntk.eigen(tangent(plan.model, one, coords))
        rate = ntk.learning_rate(values, FIRST_SHARE)
        plan = make_plan(config.replace(learning_rate=rate), side, side, 1)
        data = TrainData(plan.model.encode(one, coords)[None], grey[None])
        predict = predictor(plan, (side * side,))

        def components(variables: dict) -> np.ndarray:
            residual = predict(variables, data.inputs)[0] - np.ravel(grey)
            return np.asarray(vectors).T @ residual

        start, steps = components(variables), doublings(form.ntk_steps)
        trained = train(plan, variables, data, seed, steps, tell)
        left = np.stack([components(found) / start for _, found in trained])
        predicted = np.asarray(ntk.predicted_decay(values, rate, np.array(steps)))
        values, vectors = np.asarray(values), np.asarray(vectors)
    pictures = vectors.T.reshape(-1, side, side)
    # Weighted by energy: where in the spectrum an eigenvector lives.
    power = np.abs(np.fft.fft2(pictures)) ** 2
    radius = (power * spectral.radii(side, side)).sum((1, 2)) / power.sum((1, 2))
    left, predicted = left[:, :COMPONENTS], predicted[:, :COMPONENTS]
    return {
        "side": side,
        "sigma": None if encoding == "none" else config.sigma,
        "num_params": count_params(one),
        "learning_rate": rate,
        "eigenvalues": values,
        "eigenvectors": pictures[:PICTURES],
        "frequencies": radius,
        "steps": steps,
        "left": left,
        "predicted": predicted,
        "worst": float(np.abs(left - predicted).max()),
    }
