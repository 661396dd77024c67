"""Multi-resolution grids: trained numbers at nodes, bilinear between; arXiv 2201.05989.

A level is dense, (cells + 1, cells + 1, features), or a table (entries, features) into
which its nodes are hashed. `grid_features` is for one coordinate and gathers;
`lattice_features` is for the crossings of rows and columns, by two matrix products a
level: exact, and with no scatter in its gradient, which is slow on every device.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt

from jax_inr.config import Config

# The second factor of the spatial hash, arXiv 2201.05989, equation 4; the first is 1.
HASH_PRIME = 2_654_435_761
INITIAL_BOUND = 1e-4  # ibid., section 4


def draw_table(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Initial numbers of a level: uniform in +-1e-4."""
    return jax.random.uniform(key, shape, jnp.float32, -INITIAL_BOUND, INITIAL_BOUND)


def grid_features(
    config: Config,
    tables: Sequence[Float[Array, "..."]],
    coords: Float[Array, "2"],
) -> Float[Array, " f"]:
    """The features of one coordinate: those of every level, coarsest first.

    Args:
        config: for `level_cells`.
        tables: the levels' numbers, of `config.level_shape`.
        coords: a position, the picture in [0, 1); beyond it the nearest cell's plane
            goes on.
    """
    levels = zip(config.level_cells, tables, strict=True)
    return jnp.concatenate([_level(table, cells, coords) for cells, table in levels])


def _level(
    table: Float[Array, "..."], cells: int, coords: Float[Array, "2"]
) -> Float[Array, " f"]:
    at = coords * cells
    cell = jnp.clip(jnp.floor(at), 0, cells - 1)
    inside = at - cell
    features = jnp.zeros(table.shape[-1], table.dtype)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        offset = jnp.array(corner)
        node = cell.astype(jnp.int32) + offset
        weights = jnp.where(offset == 1, inside, 1 - inside)
        features += weights.prod() * _lookup(table, node)
    return features


def _lookup(table: Float[Array, "..."], node: Int[Array, "2"]) -> Float[Array, " f"]:
    if table.ndim == 3:
        return table[node[0], node[1]]
    return table[hash_node(node, len(table))]


def hash_node(node: Int[Array, "2"], entries: int) -> UInt[Array, ""]:
    """The entry of a node: exclusive or of its coordinates times primes."""
    row, column = node.astype(jnp.uint32)
    return (row ^ (column * jnp.uint32(HASH_PRIME))) % entries


def lattice_features(
    config: Config,
    tables: Sequence[Float[Array, "m m l"]],
    rows: Float[Array, " r"],
    columns: Float[Array, " k"],
) -> Float[Array, "r k f"]:
    """The features of every crossing of rows and columns; dense levels only.

    Equal to `grid_features` at (rows[i], columns[j]), inside the unit square.
    """
    einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    levels = []
    for cells, table in zip(config.level_cells, tables, strict=True):
        along_rows = einsum("rm,mnl->rnl", _tents(rows, cells), table)
        levels.append(einsum("kn,rnl->rkl", _tents(columns, cells), along_rows))
    return jnp.concatenate(levels, axis=-1)


def _tents(positions: Float[Array, " r"], cells: int) -> Float[Array, "r m"]:
    """The weight of each node, (cells + 1), for positions on an axis."""
    distance = jnp.abs(positions[:, None] * cells - jnp.arange(cells + 1))
    return jnp.maximum(1 - distance, 0)
