"""Fields that are images: what the tests of the tasks measure."""

import jax
import jax.numpy as jnp

from jax_inr.tasks import predict_item


def lookup(image):
    """The field of an image's pixels: a position is that of a pixel, or an error."""
    size = jnp.asarray(image.shape[:2])

    def field(x):
        row, column = jnp.round(x * size).astype(int)
        return image[row, column]

    return field


def bilinear(image):
    """The field between an image's pixels; zero beyond."""
    height, width, _ = image.shape

    def field(x):
        at = x * jnp.asarray([height, width])
        low = jnp.floor(at).astype(int)
        total = jnp.zeros(image.shape[-1])
        for down in (0, 1):
            for right in (0, 1):
                row, column = low[0] + down, low[1] + right
                weight = (1 - abs(at[0] - row)) * (1 - abs(at[1] - column))
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                total += jnp.where(inside, weight, 0) * image[row, column]
        return total

    return field


def predictions(task, field):
    """What a task's measurements of a field are, (n, ...)."""

    def all_of(items):
        return jax.vmap(lambda item: predict_item(task, field, item))(items)

    return jax.jit(all_of)(jax.tree.map(jnp.asarray, task.items))


def through_points(task, field):
    """The same by way of the colours at the task's points."""
    assert task.points is not None and task.combine is not None

    def one(item):
        return task.combine(jax.vmap(field)(task.points(item)), item)

    return jax.jit(jax.vmap(one))(jax.tree.map(jnp.asarray, task.items))


def of_image(task, kind=lookup):
    """The measurements as a function of the image's pixels, flat and flat."""

    def measure(pixels):
        return predictions(task, kind(pixels.reshape(task.shape))).ravel()

    return measure
