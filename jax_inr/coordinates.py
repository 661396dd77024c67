"""Pixel grids and windows: the one place that says where a pixel lies.

A pixel's coordinate is its top left corner, `(row / height, column / width)` in
[0, 1), rows first. The end point is excluded, so every second pixel of a grid twice
as large is a pixel of the native grid, and pixel (0, 0) never moves.
"""

import math

import numpy as np
from jaxtyping import Float

from jax_inr.errors import ConfigError

Number = int | float
Window = tuple[Number, Number, Number, Number]
FULL: Window = (0.0, 0.0, 1.0, 1.0)  # top, left, bottom, right
MAX_SIDE = 65_535
# Float32 keeps six digits: farther out a pixel of the unit square has no place.
MAX_REACH = 1000.0


def check_view(height: int, width: int, window: Window = FULL) -> None:
    """Refuse a grid that cannot be drawn.

    Raises:
        ConfigError: a side is not a whole number from 1 to MAX_SIDE, or the window
            is empty, upside down, not finite or beyond MAX_REACH.
    """
    for name, side in (("height", height), ("width", width)):
        if not isinstance(side, int | np.integer) or not 1 <= side <= MAX_SIDE:
            raise ConfigError(
                f"{name} is {side!r}; it must be a whole number from 1 to {MAX_SIDE}"
            )
    if len(window) != 4:
        raise ConfigError(f"window is {window!r}; it must be top, left, bottom, right")
    top, left, bottom, right = window
    for low, high, names in ((top, bottom, "top bottom"), (left, right, "left right")):
        first, second = names.split()
        # Both written so that nan fails.
        if not -MAX_REACH <= low <= MAX_REACH or not -MAX_REACH <= high <= MAX_REACH:
            raise ConfigError(
                f"window {first} {low:g}, {second} {high:g} must lie in "
                f"{-MAX_REACH:g} to {MAX_REACH:g}; 0 to 1 is the image"
            )
        if not low < high:
            raise ConfigError(
                f"window {first} {low:g} must be less than {second} {high:g}",
                "the order is top,left,bottom,right",
            )


def view_size(
    height: int | None, width: int | None, window: Window, native: tuple[int, int]
) -> tuple[int, int]:
    """Height and width of a view: of a side left out, what keeps pixels square.

    native: the image's own (height, width), taken where both are left out.
    """
    if height is None and width is None:
        return native
    top, left, bottom, right = window
    tall, wide = (bottom - top) * native[0], (right - left) * native[1]
    # A window that is empty or not finite is refused by `check_view`.
    aspect = wide / tall if tall > 0 and wide > 0 and math.isfinite(wide / tall) else 1
    if height is None:
        height = max(round((width or 1) / aspect), 1)
    if width is None:
        width = max(round(height * aspect), 1)
    return height, width


def pixel_axes(
    height: int, width: int, window: Window = FULL
) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " w"]]:
    """The row and the column coordinates of a grid of pixels over a window.

    Rounded to float32 from float64, so that a pixel has the same coordinate whether
    it is met in a window or in the whole image.
    """
    top, left, bottom, right = window
    rows = top + (bottom - top) * (np.arange(height) / height)
    columns = left + (right - left) * (np.arange(width) / width)
    return rows.astype(np.float32), columns.astype(np.float32)


def pixel_grid(
    height: int, width: int, window: Window = FULL
) -> Float[np.ndarray, "h w 2"]:
    """The coordinates of an image's pixels, (h, w, 2) float32, row before column.

    The full window covers [0, 1) on both axes; `window` is
    `(top, left, bottom, right)` in the same units and may leave the unit square.
    """
    axes = pixel_axes(height, width, window)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
