"""The error of a fit's predictions of measurements, in batches of bounded memory."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jax_inr.model import Variables
from jax_inr.plan import TrainPlan
from jax_inr.training import predict_batch

BATCH_ITEMS = 1 << 12  # measurements that are predicted at a time

_predict_batch = jax.jit(predict_batch, static_argnums=0)


def measured_mse(
    plan: TrainPlan,
    variables: Variables,
    inputs: Any,
    items: Any,
    values: Float[np.ndarray, "n *v"],
) -> float:
    """The mean squared error, summed in float64, of predictions of n values.

    Args:
        inputs, items: pytrees of leaves (n, ...), as `make_inputs` and a task give
            them.
    """
    total, count = 0.0, len(values)
    size = min(BATCH_ITEMS, count)
    for start in range(0, count, size):
        # The last batch repeats the last item: all batches share one program.
        index = np.minimum(np.arange(start, start + size), count - 1)
        part = jax.tree.map(lambda leaf, index=index: leaf[index], (inputs, items))
        predicted = np.asarray(_predict_batch(plan, variables, *part))
        kept = slice(start, start + size)
        error = predicted[: count - start].astype(np.float64) - values[kept]
        total += float(np.sum(error**2))
    return total / values.size
