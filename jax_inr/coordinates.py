"""Pixel grids and windows: the one place that says where a pixel lies.

A pixel's coordinate is its top left corner, `(row / height, column / width)` in
[0, 1), rows first. The end point is excluded, so every second pixel of a grid twice
as large is a pixel of the native grid, and pixel (0, 0) never moves.
"""

import numpy as np
from jaxtyping import Float

Window = tuple[float, float, float, float]
FULL: Window = (0.0, 0.0, 1.0, 1.0)  # top, left, bottom, right


def pixel_axes(
    height: int, width: int, window: Window = FULL
) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " w"]]:
    """The row and the column coordinates of a grid of pixels over a window.

    Rounded to float32 from float64, so that a pixel has the same coordinate whether
    it is met in a window or in the whole picture.
    """
    top, left, bottom, right = window
    rows = top + (bottom - top) * (np.arange(height) / height)
    columns = left + (right - left) * (np.arange(width) / width)
    return rows.astype(np.float32), columns.astype(np.float32)


def pixel_grid(
    height: int, width: int, window: Window = FULL
) -> Float[np.ndarray, "h w 2"]:
    """The coordinates of a picture's pixels, (h, w, 2) float32, row before column.

    The full window covers [0, 1) on both axes; `window` is
    `(top, left, bottom, right)` in the same units and may leave the unit square.
    """
    axes = pixel_axes(height, width, window)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
