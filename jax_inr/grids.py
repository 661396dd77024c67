"""Multi-resolution grids: trained features at grid points, linear between them.

arXiv 2201.05989. A level is dense, (resolution + 1, …, features) with an axis for each
axis of the position, or a hash table (entries, features). `apply` is for one position
and gathers; `DenseGrid.apply_axes` is for the Cartesian product of rows and columns,
whose axes are interpolated one after the other.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.core.scope import LazyRng
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt

from jax_inr.config import Config
from jax_inr.tensors import pytree_dataclass

Variables = dict[str, Any]

# The factors of the spatial hash, arXiv 2201.05989, equation 4.
HASH_PRIMES = (1, 2_654_435_761, 805_459_861)
INITIAL_BOUND = 1e-4  # ibid., section 4


def level_resolutions(coarsest: int, finest: int, num_levels: int) -> tuple[int, ...]:
    """Cells per axis of each level, in geometric progression; arXiv 2201.05989."""
    growth = (finest / coarsest) ** (1 / max(num_levels - 1, 1))
    # Rounded rather than floored: the finest is reached in spite of the power.
    return tuple(round(coarsest * growth**level) for level in range(num_levels))


def pyramid_levels(
    config: Config, height: int, width: int
) -> list[tuple[tuple[int, int], int]]:
    """Cells along rows and columns of a pyramid's levels, and features; coarsest first.

    Levels of less than a cell are left out.
    """
    levels = []
    for level in range(config.num_levels):
        scale = config.finest / (max(height, width) * 2**level)
        cells = round(height * scale), round(width * scale)
        if levels and min(cells) < 1:
            break
        features = min(level + 1, config.level_features)
        levels.append(((max(cells[0], 1), max(cells[1], 1)), features))
    return levels[::-1]


def level_features(
    table: Float[Array, "..."], resolution: Any, x: Float[Array, " d"]
) -> Float[Array, " f"]:
    """The features of one position in one level, linear between its grid points.

    Args:
        table: (resolution + 1, …, features), or a hash table (entries, features).
        resolution: cells of all axes, or an array of those of each.
        x: a position, the image in [0, 1); beyond it the nearest cell's plane goes on.
    """
    cells = jnp.asarray(resolution, x.dtype)
    scaled = x * cells
    cell = jnp.clip(jnp.floor(scaled), 0, cells - 1)
    inside = scaled - cell
    features = jnp.zeros(table.shape[-1], table.dtype)
    for corner in itertools.product((0, 1), repeat=len(x)):
        offset = jnp.array(corner)
        point = cell.astype(jnp.int32) + offset
        weights = jnp.where(offset == 1, inside, 1 - inside)
        features += weights.prod() * _lookup(table, point)
    return features


def _lookup(table: Float[Array, "..."], point: Int[Array, " d"]) -> Float[Array, " f"]:
    if table.ndim == len(point) + 1:
        return table[tuple(point)]
    return table[hash_index(point, len(table))]


def hash_index(point: Int[Array, " d"], entries: int) -> UInt[Array, ""]:
    """The entry of a grid point: exclusive or of its coordinates times primes."""
    axes = point.astype(jnp.uint32)
    index = jnp.uint32(0)
    for axis, prime in zip(axes, HASH_PRIMES, strict=False):
        index = index ^ (axis * jnp.uint32(prime))
    return index % jnp.uint32(entries)


def hat_weights(
    positions: Float[Array, " r"], resolution: int
) -> Float[Array, "r points"]:
    """The hat function of each grid point on an axis, at each position."""
    points = jnp.arange(resolution + 1, dtype=positions.dtype)
    return jnp.maximum(1 - jnp.abs(positions[:, None] * resolution - points), 0)


class Grid:
    """What both kinds of grid share."""

    resolutions: tuple[int, ...]
    features: int
    num_axes: int
    is_trained = True
    is_smooth = False

    @property
    def num_features(self) -> int:
        """The features of all levels."""
        return len(self.resolutions) * self.features

    def table_shape(self, resolution: int) -> tuple[int, ...]:
        """Shape of a level's table."""
        return (resolution + 1,) * self.num_axes + (self.features,)

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw the tables: uniform in +-1e-4."""
        tables = {}
        for level, resolution in enumerate(self.resolutions):
            level_key = LazyRng.create(key, level + 1).as_jax_rng()
            shape, bound = self.table_shape(resolution), INITIAL_BOUND
            draw = jax.random.uniform(level_key, shape, jnp.float32, -bound, bound)
            tables[f"grid_{level}"] = draw
        return {"params": tables}

    def tables(self, variables: Variables) -> list[Float[Array, "..."]]:
        """The tables, coarsest first."""
        levels = range(len(self.resolutions))
        return [variables["params"][f"grid_{level}"] for level in levels]

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " f"]:
        """Give the features of one position: those of every level, coarsest first."""
        levels = zip(self.tables(variables), self.resolutions, strict=True)
        return jnp.concatenate([level_features(table, n, x) for table, n in levels])

    @property
    def feature_names(self) -> list[str]:
        """A title for each feature."""
        return [
            f"{n} cells ({i})" for n in self.resolutions for i in range(self.features)
        ]


@pytree_dataclass()
class DenseGrid(Grid):
    """All grid points of every level. resolutions: cells per axis, coarsest first."""

    resolutions: tuple[int, ...] = (16, 32, 64, 128)
    features: int = 2
    num_axes: int = 2

    def apply_axes(
        self,
        variables: Variables,
        rows: Float[Array, " r"],
        columns: Float[Array, " k"],
    ) -> Float[Array, "r k f"]:
        """Give the features of the Cartesian product of rows and columns.

        Equal to `apply` at (rows[i], columns[j]), inside the unit square.
        """
        return dense_features(self.tables(variables), rows, columns)


@pytree_dataclass()
class HashGrid(Grid):
    """Levels of more than `entries` grid points share entries by a spatial hash."""

    resolutions: tuple[int, ...] = (16, 32, 64, 128)
    features: int = 2
    entries: int = 2**14
    num_axes: int = 2

    def table_shape(self, resolution: int) -> tuple[int, ...]:
        if (resolution + 1) ** self.num_axes > self.entries:
            return (self.entries, self.features)
        return super().table_shape(resolution)


@pytree_dataclass()
class Pyramid(DenseGrid):
    """Dense levels that halve from the finest on, in the proportions of the image.

    resolutions: cells along rows and columns of each level, coarsest first.
    level_features: of each. What changes from pixel to pixel is mostly brightness, so
    that one feature does at the finest level, two at the next, and so on.
    """

    resolutions: Any = ((16, 16), (32, 32))
    level_features: tuple[int, ...] = (2, 1)

    @property
    def num_features(self) -> int:
        return sum(self.level_features)

    def table_shape(self, resolution: Any) -> tuple[int, ...]:
        features = self.level_features[self.resolutions.index(resolution)]
        return (*(cells + 1 for cells in resolution), features)

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " f"]:
        levels = zip(self.tables(variables), self.resolutions, strict=True)
        return jnp.concatenate(
            [level_features(table, jnp.array(n, x.dtype), x) for table, n in levels]
        )

    @property
    def feature_names(self) -> list[str]:
        levels = zip(self.resolutions, self.level_features, strict=True)
        return [f"{r} x {c} cells ({i})" for (r, c), f in levels for i in range(f)]


def dense_features(
    tables: Sequence[Float[Array, "_ _ _"]],
    rows: Float[Array, " r"],
    columns: Float[Array, " k"],
) -> Float[Array, "r k f"]:
    """Dense tables at the Cartesian product of rows and columns.

    A CPU interpolates whole rows of a table, then whole columns, which is a hundredth
    of the arithmetic; for others the two are matrix products, with no scatter in their
    gradients.
    """
    levels = [
        jax.lax.platform_dependent(
            table,
            rows,
            columns,
            cpu=_by_rows,
            default=_by_products,
        )
        for table in tables
    ]
    return jnp.concatenate(levels, axis=-1)


def _by_products(table: Array, rows: Array, columns: Array) -> Array:
    einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    height, width, _ = table.shape
    along_rows = einsum("rm,mnl->rnl", hat_weights(rows, height - 1), table)
    return einsum("kn,rnl->rkl", hat_weights(columns, width - 1), along_rows)


def _by_rows(table: Array, rows: Array, columns: Array) -> Array:
    # Columns lead while they are interpolated, so that what is copied is contiguous.
    along_rows = _interpolated(table, rows).swapaxes(0, 1)
    return _interpolated(along_rows, columns).swapaxes(0, 1)


def _interpolated(table: Array, positions: Array) -> Array:
    """A table's leading axis at positions in [0, 1], linear between its grid points."""
    resolution = len(table) - 1
    scaled = positions * resolution
    cell = jnp.clip(jnp.floor(scaled), 0, resolution - 1)
    inside = scaled - cell
    weights = jnp.stack([1 - inside, inside], axis=1)[:, :, None, None]
    # One gather of both neighbours, and one scatter in the gradient: two of either
    # take as long to run, and longer to compile.
    neighbours = table[cell.astype(jnp.int32)[:, None] + jnp.arange(2)]
    return (weights * neighbours).sum(axis=1)
