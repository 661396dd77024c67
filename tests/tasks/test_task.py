"""The task: measurements as arrays, and functions that compare by value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import predictions

from jax_inr.config import Config
from jax_inr.job import make_job
from jax_inr.plan import make_data
from jax_inr.tasks import (
    Task,
    deblur,
    from_laplacian,
    reconstruct,
    superresolve,
    tomography,
)
from jax_inr.training import init_state, train_step


def test_functions_of_tasks_made_alike_are_one_function(image):
    """What a program is compiled for: equal functions share one."""
    for make in (
        lambda i: superresolve(i, 2),
        lambda i: deblur(i, np.ones((3, 3))),
        lambda i: tomography(i[:, :12], np.arange(12)),
        lambda i: from_laplacian(i),
    ):
        first, second = make(image), make(image / 2)
        for name in ("predict", "points", "combine", "loss"):
            one, other = getattr(first, name), getattr(second, name)
            assert one == other and hash(one) == hash(other)
    assert superresolve(image, 2).combine != superresolve(image, 3).combine


def test_some_of_the_measurements_are_a_task_too(image):
    task = reconstruct(image).replace(weights=np.arange(12 * 17.0))
    kept = np.arange(12 * 17) % 3 == 0
    part = task.some(kept)
    assert len(part.values) == kept.sum() and part.shape == task.shape
    np.testing.assert_array_equal(part.values, image.reshape(-1, 3)[kept])
    np.testing.assert_array_equal(part.weights, np.flatnonzero(kept))
    np.testing.assert_array_equal(part.pixels.ravel(), kept)
    # A part of a part: the pixels are those of the image still.
    again = part.some(np.arange(kept.sum()) < 2)
    np.testing.assert_array_equal(np.flatnonzero(again.pixels), [0, 3])
    views = tomography(np.zeros((8, 2)), np.zeros(2)).some(np.arange(16) < 4)
    assert views.items.shape == (4, 2, 2)


def test_ones_own_task_needs_items_values_and_a_prediction():
    """The mean colour of each row, from five points of one's own."""
    rows = np.linspace(0, 1, 4, endpoint=False, dtype=np.float32)

    def predict(field, row):
        columns = jnp.linspace(0, 1, 5)
        points = jnp.stack([jnp.full(5, row), columns], axis=-1)
        return jnp.mean(jax.vmap(field)(points), axis=0)

    values = np.zeros((4, 1), np.float32)
    task = Task(items=rows, values=values, predict=predict, shape=(4, 4, 1))
    found = predictions(task, lambda x: x[:1])
    np.testing.assert_allclose(found[:, 0], rows)


def stepped(task):
    """The loss before the first step, the parameters after it, and the predictions."""
    config = Config(num_frequencies=4, hidden_features=(8,), optimizer="adam")
    job = make_job(task, config)
    plan = job.plan()
    variables = job.model.init(jax.random.key(0))
    data = make_data(plan, task, variables, job.rates)
    state, key = init_state(plan, variables), jax.random.key(1)
    after, loss = train_step(plan, state, variables["constants"], data, key)
    found = predictions(task, lambda x: job.model.predict(variables, x))
    return float(loss), after.params, np.asarray(found)


@pytest.mark.parametrize(
    "make", [reconstruct, lambda i: deblur(i, np.ones((3, 3)))], ids=["pixels", "tiles"]
)
def test_weights_multiply_the_losses_of_measurements(make, image):
    """The loss is mean(w * loss), and what weighs nothing may be anything."""
    task = make(image)
    weights = np.random.default_rng(0).random(len(task.values)).astype(np.float32)
    weights[::2] = 0
    task = task.replace(weights=weights)
    loss, params, found = stepped(task)
    trailing = (1,) * (found.ndim - 1)
    squares = (found - task.values) ** 2
    expected = np.mean(weights.reshape(-1, *trailing) * squares)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert loss > 0
    values = np.array(task.values)
    values[::2] += 0.5
    other_loss, other_params, _ = stepped(task.replace(values=values))
    assert other_loss == loss
    for one, other in zip(*map(jax.tree.leaves, (params, other_params)), strict=True):
        np.testing.assert_array_equal(one, other)
