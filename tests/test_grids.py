"""Grids against an independent reference, lattices against single coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.interpolate import RegularGridInterpolator

from jax_inr.config import Config
from jax_inr.grids import draw_table, grid_features, hash_node, lattice_features

DENSE = Config(encoding="dense_grid", num_levels=3, coarsest=3, finest=12)
HASH = DENSE.replace(encoding="hash_grid", log2_table_size=5)


def draw_tables(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [config.level_shape(cells) for cells in config.level_cells]
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def at(config, tables, coords):
    coords = jnp.asarray(coords, jnp.float32)
    return jax.vmap(lambda one: grid_features(config, tables, one))(coords)


def test_levels_are_in_geometric_progression():
    assert Config(num_levels=4, coarsest=16, finest=128).level_cells == (
        16,
        32,
        64,
        128,
    )
    assert Config(num_levels=1, coarsest=7, finest=128).level_cells == (7,)
    cells = Config(num_levels=16, coarsest=16, finest=2048).level_cells
    assert cells[0] == 16 and cells[-1] == 2048
    growth = (2048 / 16) ** (1 / 15)
    np.testing.assert_allclose(np.divide(cells[1:], cells[:-1]), growth, rtol=0.03)


def test_a_level_is_dense_until_it_outgrows_its_table():
    assert HASH.level_shape(3) == (4, 4, 2)
    assert HASH.level_shape(6) == (32, 2)
    assert DENSE.level_shape(6) == (7, 7, 2)


def test_a_dense_grid_is_scipys_linear_interpolation():
    tables = draw_tables(DENSE)
    coords = np.random.default_rng(1).random((500, 2)).astype(np.float32)
    found = at(DENSE, tables, coords)
    for level, (cells, table) in enumerate(zip(DENSE.level_cells, tables, strict=True)):
        nodes = np.arange(cells + 1) / cells
        reference = RegularGridInterpolator((nodes, nodes), np.asarray(table, float))
        expected = reference(coords.astype(float))
        # Float32 positions are off by up to 2e-7 cells.
        np.testing.assert_allclose(
            found[:, 2 * level : 2 * level + 2], expected, atol=5e-6
        )


def test_the_hash_is_the_papers_with_numbers_of_unbounded_size():
    for row, column in np.random.default_rng(2).integers(0, 60_000, (200, 2)):
        product = int(column) * 2_654_435_761 % 2**32
        for entries in (32, 2**14):
            found = hash_node(jnp.array([row, column], jnp.int32), entries)
            assert int(found) == (int(row) ^ product) % entries


def test_hashed_nodes_interpolate_as_dense_ones_do():
    """A dense table filled with what the hash table says of each node."""
    tables = draw_tables(HASH)
    full = []
    for cells, table in zip(HASH.level_cells, tables, strict=True):
        if table.ndim == 2:
            nodes = np.moveaxis(np.mgrid[: cells + 1, : cells + 1], 0, -1).reshape(
                -1, 2
            )
            index = [int(hash_node(jnp.asarray(n), len(table))) for n in nodes]
            table = table[np.array(index)].reshape(cells + 1, cells + 1, 2)
        full.append(table)
    coords = np.random.default_rng(3).random((100, 2))
    np.testing.assert_allclose(at(HASH, tables, coords), at(DENSE, full, coords), 1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 7), (13, 37), (224, 12)])
def test_a_lattice_gives_what_its_crossings_give(height, width):
    tables = draw_tables(DENSE)
    rows, columns = jnp.arange(height) / height, jnp.arange(width) / width
    crossings = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), -1)
    expected = at(DENSE, tables, crossings.reshape(-1, 2))
    found = lattice_features(DENSE, tables, rows, columns)
    np.testing.assert_allclose(found.reshape(-1, 6), expected, atol=1e-5)


@pytest.mark.parametrize("config", [DENSE, HASH])
def test_gradients_reach_tables_and_coordinates(config):
    tables = draw_tables(config)
    coords = jnp.array([0.37, 0.71])  # inside a cell at every level
    check_grads(
        lambda t, x: grid_features(config, t, x).sum(), (tables, coords), 1, rtol=2e-2
    )
    grads = jax.grad(lambda t: grid_features(config, t, coords).sum())(tables)
    for table, grad in zip(tables, grads, strict=True):
        # The four corners' weights sum to one, for each of the two features.
        np.testing.assert_allclose(grad.sum(), table.shape[-1], rtol=1e-5)


def test_beyond_the_square_the_last_cell_goes_on():
    tables = draw_tables(DENSE)
    inside = at(DENSE, tables, [[0.99, 0.5], [0.995, 0.5]])
    beyond = at(DENSE, tables, [[1.005, 0.5]])
    slope = (inside[1] - inside[0]) / 0.005
    np.testing.assert_allclose(beyond[0], inside[1] + 0.01 * slope, atol=1e-3)


def test_initial_numbers_are_as_small_as_the_papers():
    table = draw_table(jax.random.key(0), (64, 64, 2))
    assert np.abs(table).max() <= 1e-4
    np.testing.assert_allclose(np.std(table), 1e-4 / 3**0.5, rtol=0.05)
