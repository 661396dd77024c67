"""A small classifier of fields by their weights alone, in Flax."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

BATCH = 128


class Classifier(nn.Module):
    """Two dense layers over the standardised weights, with dropout."""

    classes: int
    width: int = 256
    dropout: float = 0.4

    @nn.compact
    def __call__(self, rows: Float[Array, "n p"], train: bool) -> Float[Array, "n k"]:
        for _ in range(2):
            rows = nn.relu(nn.Dense(self.width)(rows))
            rows = nn.Dropout(self.dropout, deterministic=not train)(rows)
        return nn.Dense(self.classes)(rows)


def accuracy(fields: Any, *, epochs: int = 60, seed: int = 0) -> dict[str, float]:
    """Train on the set's train split; the accuracy of val and test.

    The weights are those of the epoch that is best on val: test decides nothing.
    """
    parts = {name: fields.split(name) for name in ("train", "val", "test")}
    labels = np.asarray(fields.labels)
    rows = {
        name: np.asarray(fields.params.oindex[indices, :], np.float32)
        for name, indices in parts.items()
    }
    mean, deviation = rows["train"].mean(0), rows["train"].std(0) + 1e-8
    data = {
        name: (jnp.asarray((r - mean) / deviation), jnp.asarray(labels[parts[name]]))
        for name, r in rows.items()
    }
    module = Classifier(int(labels.max()) + 1)
    key = jax.random.key(seed)
    params = module.init(key, data["train"][0][:1], train=False)
    optimizer = optax.adamw(1e-3, weight_decay=1e-2)
    state, best, kept = optimizer.init(params), -1.0, 0.0
    for epoch in range(epochs):
        params, state = _epoch(
            module, params, state, data["train"], jax.random.fold_in(key, epoch)
        )
        found = float(_share(module, params, *data["val"]))
        if found > best:
            best, kept = found, float(_share(module, params, *data["test"]))
    return {"val": best, "test": kept}


@functools.partial(jax.jit, static_argnums=0)
def _epoch(module: Classifier, params: Any, state: Any, data: Any, key: Any) -> Any:
    rows, labels = data
    optimizer = optax.adamw(1e-3, weight_decay=1e-2)
    order_key, dropout_key = jax.random.split(key)
    batches = len(rows) // BATCH
    order = jax.random.permutation(order_key, len(rows))[: batches * BATCH]

    def loss(params: Any, chosen: Array, key: Any) -> Array:
        scores = module.apply(params, rows[chosen], train=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(
            scores,  # pyright: ignore[reportArgumentType]
            labels[chosen],
        ).mean()

    def step(carry: Any, batch: Any) -> Any:
        (params, state), (chosen, key) = carry, batch
        updates, state = optimizer.update(
            jax.grad(loss)(params, chosen, key), state, params
        )
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(dropout_key, batches)
    carry, _ = jax.lax.scan(
        step, (params, state), (order.reshape(batches, BATCH), keys)
    )
    return carry


@functools.partial(jax.jit, static_argnums=0)
def _share(module: Classifier, params: Any, rows: Array, labels: Array) -> Array:
    """The share of rows that are classified rightly."""
    scores: Any = module.apply(params, rows, train=False)
    return (scores.argmax(-1) == labels).mean()
