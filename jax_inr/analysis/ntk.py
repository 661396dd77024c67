"""The empirical neural tangent kernel of a per-pixel network, and what it predicts.

For a network f with parameters p, K = J J^T with J = df/dp over a set of pixels
(arXiv 1806.07572). Under gradient descent on the mean squared error with a small
learning rate, the residual's share along each eigenvector of K decays by itself.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jax_inr.model import Model, Variables


def jacobian(
    model: Model, variables: Variables, coords: Float[Array, "n 2"]
) -> Float[Array, "rows p"]:
    """The derivatives of all colours by all trained parameters; rows pixel by pixel."""
    flat, unravel = ravel_pytree(variables["params"])

    def colour(flat: Array, pixel: Array) -> Array:
        return model.predict({**variables, "params": unravel(flat)}, pixel)

    rows = jax.vmap(jax.jacrev(colour), (None, 0))(flat, coords)
    return rows.reshape(-1, flat.size)


def empirical_ntk(
    model: Model, variables: Variables, coords: Float[Array, "n 2"]
) -> Float[Array, "rows rows"]:
    """The kernel K = J J^T over pixels and channels; positive semi-definite."""
    rows = jacobian(model, variables, coords)
    return jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)


def eigen(
    kernel: Float[Array, "m m"],
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Eigenvalues, largest first, and the eigenvectors as columns in that order."""
    values, vectors = jnp.linalg.eigh(kernel)
    return values[::-1], vectors[:, ::-1]


def predicted_decay(
    values: Float[Array, " m"], learning_rate: float, steps: Any
) -> Float[Array, "*s m"]:
    """What is left of each eigen-component after steps of gradient descent.

    The loss is the mean of the m squares, with no half, so that a step takes
    2 * learning_rate * value / m of a component: (1 - that) ** steps.
    """
    rates = 2 * learning_rate * values / values.shape[0]
    return (1 - rates) ** jnp.asarray(steps)[..., None]


def learning_rate(values: Float[Array, " m"], share: float) -> float:
    """The learning rate at which a step takes a share of the first component."""
    return share * values.shape[0] / (2 * float(values[0]))
