"""Stencils: weighted sums of the colours around a position.

Averages over boxes, downsampling and blur are one operator, a kernel that slides over
a tile of pixels. A point beyond the image's edge takes the colour of the nearest pixel,
as `scipy.ndimage` does under mode "nearest".
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Kernel = tuple[tuple[float, ...], ...]
# Most rows and columns of a tile: neighbours share their points, so a larger tile costs
# fewer points a measurement, but a step then draws measurements in larger lumps.
MAX_TILE = 16


@dataclasses.dataclass(frozen=True)
class Stencil:
    """A kernel at `tile` places, `stride` pixels apart, from the item's pixel on.

    The item is the position (2,) of a pixel. Entry (i, j) of a measurement is the sum
    of `kernel[a][b]` times the colour `(first + stride * (i, j) + (a, b))` pixels from
    there. Without a tile a measurement is a single sum (c,), else (rows, columns, c).
    """

    kernel: Kernel
    height: int  # of the image sought
    width: int
    first: tuple[int, int] = (0, 0)
    stride: int = 1
    tile: tuple[int, int] | None = None

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the points."""
        sides = len(self.kernel), len(self.kernel[0])
        rows, columns = self.tile or (1, 1)
        reach = (rows - 1) * self.stride, (columns - 1) * self.stride
        return reach[0] + sides[0], reach[1] + sides[1]

    def points(self, item: Float[Array, " 2"]) -> Float[Array, "p 2"]:
        """The positions of the points, row by row; inside the image."""
        axes = []
        for axis, side in enumerate((self.height, self.width)):
            steps = (self.first[axis] + np.arange(self.size[axis])) / side
            last = np.float32((side - 1) / side)
            positions = item[axis] + jnp.asarray(steps, jnp.float32)
            axes.append(jnp.clip(positions, 0, last))
        grid = jnp.meshgrid(*axes, indexing="ij")
        return jnp.stack(grid, axis=-1).reshape(-1, 2)

    def combine(self, colours: Float[Array, "p c"], item: Any) -> Float[Array, "..."]:
        """The sums: (c,), or (rows, columns, c) of a tile."""
        kernel = jnp.asarray(self.kernel, colours.dtype)
        if self.tile is None:
            return jnp.tensordot(
                kernel.ravel(), colours, 1, precision=jax.lax.Precision.HIGHEST
            )
        channels = colours.shape[-1]
        image = colours.reshape(*self.size, channels).transpose(2, 0, 1)[:, None]
        sums = jax.lax.conv_general_dilated(
            image,
            kernel[None, None],
            (self.stride, self.stride),
            "VALID",
            precision=jax.lax.Precision.HIGHEST,
        )
        return sums[:, 0].transpose(1, 2, 0)


def as_kernel(weights: np.ndarray) -> Kernel:
    """An array of weights as nested tuples, which hash and compare by value."""
    return tuple(tuple(float(w) for w in row) for row in weights)


def tile_side(side: int) -> int:
    """The largest divisor of a side that is at most MAX_TILE."""
    return max(d for d in range(1, min(side, MAX_TILE) + 1) if side % d == 0)


def in_tiles(
    image: Float[np.ndarray, "h w *k"], rows: int, columns: int
) -> Float[np.ndarray, "n rows columns *k"]:
    """An image cut into tiles, row by row; `rows` and `columns` divide its sides."""
    height, width, *rest = image.shape
    cut = image.reshape(height // rows, rows, width // columns, columns, *rest)
    return cut.swapaxes(1, 2).reshape(-1, rows, columns, *rest)
