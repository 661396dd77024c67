"""The render chunk: a model's colours over a grid of any size, in bounded memory."""

import functools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jaxtyping import Array, Float

from jax_inr import derivatives
from jax_inr.coordinates import FULL, Window, pixel_axes, pixel_grid
from jax_inr.derivatives import Derivative
from jax_inr.networks import Model, Variables

CHUNK_PIXELS = 1 << 14


@functools.partial(jax.jit, static_argnums=0)
def predict_chunk(
    model: Model, variables: Variables, coords: Float[Array, "*n 2"]
) -> Float[Array, "*n c"]:
    """`model.predict`, jitted once per model and shape of coordinates."""
    return model.predict(variables, coords)


@functools.partial(jax.jit, static_argnums=(0, 1))
def derivative_chunk(
    function: Callable[..., Array],
    model: Model,
    variables: Variables,
    coords: Float[Array, "*n 2"],
) -> Array:
    """A function of `derivatives`, jitted as `predict_chunk` is."""
    return function(model, variables, coords)


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
    return assemble(render_bands(model, variables, height, width, window), height)


def assemble(
    bands: Iterable[Float[np.ndarray, "rows w k"]], height: int
) -> Float[np.ndarray, "h w k"]:
    """The picture of `height` rows whose bands these are, from top to bottom."""
    picture, top = np.empty(0, np.float32), 0
    for band in bands:
        if not top:
            picture = np.empty((height, *band.shape[1:]), np.float32)
        picture[top : top + len(band)] = band
        top += len(band)
    return picture


def render_bands(
    model: Model,
    variables: Variables,
    height: int,
    width: int,
    window: Window = FULL,
    derivative: Derivative = "none",
    native: tuple[int, int] = (1, 1),
) -> Iterator[Float[np.ndarray, "rows w k"]]:
    """`render`'s picture from top to bottom in bands of whole rows, bit for bit.

    Memory holds a chunk of pixels and a row, however large the picture is.

    Args:
        derivative: what to draw instead of the colours: "gradient", (h, w, 2), or
            "laplacian", (h, w, c); see `derivatives`.
        native: height and width whose pixels are the unit of a derivative.
    """
    if not model.per_pixel:
        grid = pixel_grid(height, width, window)
        yield np.asarray(predict_chunk(model, variables, grid))
        return
    rest: np.ndarray | None = None
    for values in _chunks(model, variables, height, width, window, derivative, native):
        rest = values if rest is None else np.concatenate([rest, values])
        if whole := len(rest) // width:
            yield rest[: whole * width].reshape(whole, width, -1)
            rest = rest[whole * width :]


def _chunks(
    model: Model,
    variables: Variables,
    height: int,
    width: int,
    window: Window,
    derivative: Derivative,
    native: tuple[int, int],
) -> Iterator[np.ndarray]:
    """The values of all pixels in reading order, a chunk at a time, (n, k)."""
    rows, columns = pixel_axes(height, width, window)
    pixels = height * width
    chunk = min(CHUNK_PIXELS, pixels)
    per_pixel = 1 / np.array(native, np.float32)
    for start in range(0, pixels, chunk):
        # The last chunk repeats the last pixel: another shape would compile once more.
        index = np.minimum(np.arange(start, start + chunk), pixels - 1)
        coords = np.stack([rows[index // width], columns[index % width]], axis=-1)
        match derivative:
            case "none":
                values = predict_chunk(model, variables, coords)
            case "gradient":
                function = derivatives.gradient
                values = derivative_chunk(function, model, variables, coords)
                values = np.asarray(values) * per_pixel
            case "laplacian":
                function = derivatives.curvature
                values = derivative_chunk(function, model, variables, coords)
                values = np.asarray(values) @ per_pixel**2
        yield np.asarray(values)[: pixels - start]
