"""The task: a pytree whose arrays are leaves and whose functions are structure."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_inr.tasks import (
    Penalty,
    SquaredGradient,
    Task,
    absolute,
    reconstruct,
    tomography,
)
from jax_inr.tasks.task import Task as Defined


def total(task, slope):
    """The loss that a fit minimises, of a field with one parameter."""

    def field(x):
        return slope * jnp.sum(x)[None] * jnp.ones(3)

    found = jax.vmap(lambda item: task.predict(field, item))(task.items)
    loss = jnp.mean(task.loss(found, jnp.asarray(task.values)))
    at = jnp.array([0.5, 0.5])
    return loss + sum(p.weight * p.function(field, at) for p in task.penalties)


def test_tasks_made_alike_are_one_program_and_weights_are_leaves(image):
    traces = []

    @jax.jit
    def loss(task, slope):
        traces.append(task)
        return total(task, slope)

    for weight in (0.1, 0.2):
        task = reconstruct(image[:8]).replace(
            penalties=(Penalty(SquaredGradient(8, 17), weight),)
        )
        loss(task, 1.0)
    loss(reconstruct(image[:8] / 2).replace(penalties=task.penalties), 1.0)
    assert len(traces) == 1
    loss(task.replace(loss=absolute), 1.0)
    assert len(traces) == 2


def test_a_task_passes_through_vmap_over_its_penalties_weight(image):
    task = reconstruct(image)
    weights = jnp.array([0.0, 1.0, 10.0])

    def loss(weight):
        return total(task.replace(penalties=(Penalty(SquaredGradient(), weight),)), 2.0)

    found = jax.vmap(loss)(weights)
    # |grad|^2 of slope * (x0 + x1) in three channels, at slope 2.
    np.testing.assert_allclose(found - total(task, 2.0), weights * 24, rtol=1e-5)


def test_some_of_the_measurements_are_a_task_too(image):
    task = reconstruct(image).replace(weights=np.arange(12 * 17.0))
    kept = np.arange(12 * 17) % 3 == 0
    part = task.at(kept)
    assert part.num_measurements == kept.sum() and part.shape == task.shape
    np.testing.assert_array_equal(part.values, image.reshape(-1, 3)[kept])
    np.testing.assert_array_equal(part.weights, np.flatnonzero(kept))
    views = tomography(np.zeros((8, 2)), np.zeros(2)).at(slice(4))
    assert views.items.shape == (4, 2, 2)


def test_ones_own_task_needs_items_values_and_a_prediction():
    """The mean colour of each row, from five points of one's own."""
    rows = np.linspace(0, 1, 4, endpoint=False, dtype=np.float32)

    def predict(field, row):
        columns = jnp.linspace(0, 1, 5)
        points = jnp.stack([jnp.full(5, row), columns], axis=-1)
        return jnp.mean(jax.vmap(field)(points), axis=0)

    task = Task(rows, np.zeros((4, 1), np.float32), predict, shape=(4, 4, 1))
    found = jax.vmap(lambda item: task.predict(lambda x: x[:1], item))(task.items)
    np.testing.assert_allclose(found[:, 0], rows)
    assert task.points is None and task.combine is None and Defined is Task
