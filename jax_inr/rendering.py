"""Rendering: a function of position over a grid of any size, in bounded memory."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jax_inr.coordinates import FULL, Window, pixel_axes, pixel_grid
from jax_inr.errors import ConfigError
from jax_inr.kept import QUICK_COMPILE, Kept
from jax_inr.model import Model, Variables
from jax_inr.tensors import float32, structure

CHUNK_PIXELS = 1 << 14

# A function of a model, its variables and coordinates (..., 2), as in `derivatives`.
Function = Callable[[Model, Variables, Any], Any]


def colours(model: Model, variables: Variables, coords: Array) -> Array:
    """The colours at coordinates: the function that is rendered by default."""
    return model.predict(variables, coords)


@functools.partial(Kept, static=(0, 1))
def _values(
    function: Function, model: Model, variables: Variables, coords: Array
) -> Array:
    return function(model, variables, coords)


def values(
    function: Function,
    model: Model,
    variables: Variables,
    coords: Float[Array | np.ndarray, "*n 2"],
) -> Array:
    """A function's values, compiled once for each structure and shape of coords.

    Raises:
        ConfigError: the variables are those of several fields, stacked.
    """
    with float32():
        try:
            return _values(function, structure(model), variables, coords)
        except (TypeError, ValueError) as error:
            drawn, given = jax.tree.leaves(model.shapes()), jax.tree.leaves(variables)
            if len(given) == len(drawn) and all(
                np.shape(leaf)[1:] == shape.shape
                for leaf, shape in zip(given, drawn, strict=True)
            ):
                raise ConfigError(
                    f"this field is {len(given[0])} fields in a stack",
                    "take one: jax.tree.map(lambda leaf: leaf[0], field)",
                ) from error
            raise


@functools.partial(Kept, static=(0,), compiler_options=QUICK_COMPILE)
def features_by_rows(
    model: Model, variables: Variables, coords: Float[Array | np.ndarray, "h w 2"]
) -> Float[Array, "h w f"]:
    """The features over a grid, for what is drawn once: compiling is what takes time.

    model: with zeros for its numbers (`tensors.structure`).
    """
    return jax.lax.map(lambda row: model.encode(variables, row), coords)


def render(
    model: Model,
    variables: Variables,
    height: int,
    width: int,
    window: Window = FULL,
    function: Function = colours,
) -> Float[np.ndarray, "h w k"]:
    """The model's colours over a grid of pixels, (height, width, c) float32.

    A per-pixel network goes through in chunks of equal size, so that memory beside
    the image itself does not grow with it; the CNN sees the whole grid at once.
    """
    strips = render_strips(model, variables, height, width, window, function)
    return assemble(strips, height)


def assemble(
    strips: Iterable[Float[np.ndarray, "rows w k"]], height: int
) -> Float[np.ndarray, "h w k"]:
    """The image of `height` rows whose strips these are, from top to bottom."""
    image, top = np.empty(0, np.float32), 0
    for strip in strips:
        if not top:
            image = np.empty((height, *strip.shape[1:]), np.float32)
        image[top : top + len(strip)] = strip
        top += len(strip)
    return image


def render_strips(
    model: Model,
    variables: Variables,
    height: int,
    width: int,
    window: Window = FULL,
    function: Function = colours,
) -> Iterator[Float[np.ndarray, "rows w k"]]:
    """`render`'s image from top to bottom in strips of whole rows, bit for bit.

    Memory holds a chunk of pixels and a row, however large the image is.
    """
    if not model.per_pixel:
        grid = pixel_grid(height, width, window)
        yield np.asarray(values(function, model, variables, grid))
        return
    rest: np.ndarray | None = None
    for chunk in _chunks(model, variables, height, width, window, function):
        rest = chunk if rest is None else np.concatenate([rest, chunk])
        if whole := len(rest) // width:
            shape = whole, width, *rest.shape[1:]
            yield rest[: whole * width].reshape(shape)
            rest = rest[whole * width :]


def _chunks(
    model: Model,
    variables: Variables,
    height: int,
    width: int,
    window: Window,
    function: Function,
) -> Iterator[np.ndarray]:
    """The values of all pixels in reading order, a chunk at a time, (n, k)."""
    rows, columns = pixel_axes(height, width, window)
    pixels = height * width
    size = min(CHUNK_PIXELS, pixels)
    for start in range(0, pixels, size):
        # The last chunk repeats the last pixel: another shape would compile once more.
        index = np.minimum(np.arange(start, start + size), pixels - 1)
        coords = np.stack([rows[index // width], columns[index % width]], axis=-1)
        chunk = values(function, model, variables, coords)
        yield np.asarray(chunk)[: pixels - start]
