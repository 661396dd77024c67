"""The render chunk: a model's colours over a grid of any size, in bounded memory."""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float

from jax_inr.coordinates import FULL, Window, pixel_axes, pixel_grid
from jax_inr.networks import Model, Variables

CHUNK_PIXELS = 1 << 14


@functools.partial(jax.jit, static_argnums=0)
def predict_chunk(
    model: Model, variables: Variables, coords: Float[Array, "*n 2"]
) -> Float[Array, "*n c"]:
    """`model.predict`, jitted once per model and shape of coordinates."""
    return model.predict(variables, coords)


def render(
    model: Model,
    variables: Variables,
    height: int,
    width: int,
    window: Window = FULL,
) -> Float[np.ndarray, "h w c"]:
    """The network's colours over a grid of pixels, (height, width, c) float32.

    A per-pixel network goes through in chunks of equal size, so that memory beside
    the picture itself does not grow with it; the CNN sees the whole grid at once.
    """
    if not model.per_pixel:
        grid = pixel_grid(height, width, window)
        return np.array(predict_chunk(model, variables, grid))
    rows, columns = pixel_axes(height, width, window)
    pixels = height * width
    chunk = min(CHUNK_PIXELS, pixels)
    picture = np.empty((pixels, model.module.channels), np.float32)
    for start in range(0, pixels, chunk):
        # The last chunk repeats the last pixel: another shape would compile once more.
        index = np.minimum(np.arange(start, start + chunk), pixels - 1)
        coords = np.stack([rows[index // width], columns[index % width]], axis=-1)
        colours = np.asarray(predict_chunk(model, variables, coords))
        picture[start : start + chunk] = colours[: pixels - start]
    return picture.reshape(height, width, -1)
