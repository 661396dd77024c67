"""Dense layers with positions along the last axis: the form that a CPU is fastest in.

The same networks as `modules.PixelMLP`, written for features (f, n) instead of one
position's (f,): biases are added along whole rows, and their gradients summed along
them, which takes the vector unit where sums over the first axis do not.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_inr.model import Model, Variables
from jax_inr.modules import PixelMLP


def takes_columns(model: Model) -> bool:
    """Whether `colours` knows the model: dense layers of float32, features fixed."""
    module = getattr(model.network, "module", None)
    is_dense = isinstance(module, PixelMLP) and module.precision == "float32"
    return is_dense and not model.trains_encoding


def colours(
    model: Model, variables: Variables, features: Float[Array, "f n"]
) -> Float[Array, "c n"]:
    """The colours of n positions' features; `model.colours`, transposed."""
    module: Any = model.network.module
    params, numbers = variables["params"], variables["constants"]
    last = len(module.hidden_features)
    rows = features
    for index in range(last + 1):
        dense = params[f"dense_{index}"]
        product = jnp.dot(dense["kernel"].T, rows, precision=jax.lax.Precision.HIGHEST)
        rows = product + dense["bias"][:, None]
        if index < last:
            rows = module.activate(rows, numbers)
    return module.finish(rows)
