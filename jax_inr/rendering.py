"""The render chunk: a model's colours over a grid of any size, in bounded memory."""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float

from jax_inr.coordinates import FULL, Window, pixel_grid
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
    coords = pixel_grid(height, width, window)
    if not model.per_pixel:
        return np.asarray(predict_chunk(model, variables, coords))
    flat = coords.reshape(-1, 2)
    chunk = min(CHUNK_PIXELS, len(flat))
    colours = []
    for start in range(0, len(flat), chunk):
        part = flat[start : start + chunk]
        # Padded to the common shape: another shape would compile once more.
        padded = np.pad(part, ((0, chunk - len(part)), (0, 0)), mode="edge")
        colours.append(np.asarray(predict_chunk(model, variables, padded))[: len(part)])
    return np.concatenate(colours).reshape(height, width, -1)
