"""The task: measurements as arrays, and functions that compare by value."""

import jax
import jax.numpy as jnp
import numpy as np
from fields import predictions

from jax_inr.tasks import (
    Task,
    deblur,
    from_laplacian,
    reconstruct,
    superresolve,
    tomography,
)


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
