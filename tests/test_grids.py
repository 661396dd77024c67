"""Grids against an independent reference, Cartesian products against positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.interpolate import RegularGridInterpolator

from jax_inr import grids
from jax_inr.config import Config
from jax_inr.encodings import from_config
from jax_inr.grids import (
    DenseGrid,
    HashGrid,
    Pyramid,
    hash_index,
    level_resolutions,
)

DENSE = DenseGrid(resolutions=(3, 6, 12))
HASH = HashGrid(resolutions=(3, 6, 12), entries=32)
PYRAMID = Pyramid(resolutions=((2, 3), (4, 7), (9, 14)), level_features=(3, 2, 1))


def draw_tables(grid, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [grid.table_shape(resolution) for resolution in grid.resolutions]
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def variables_of(tables):
    return {"params": {f"grid_{level}": table for level, table in enumerate(tables)}}


def features(grid, tables, coords):
    """The features of many positions."""
    coords = jnp.asarray(coords, jnp.float32)
    return jax.vmap(lambda one: grid.apply(variables_of(tables), one))(coords)


def test_levels_are_in_geometric_progression():
    assert level_resolutions(16, 128, 4) == (16, 32, 64, 128)
    assert level_resolutions(7, 128, 1) == (7,)
    cells = level_resolutions(16, 2048, 16)
    assert cells[0] == 16 and cells[-1] == 2048
    growth = (2048 / 16) ** (1 / 15)
    np.testing.assert_allclose(np.divide(cells[1:], cells[:-1]), growth, rtol=0.03)


def test_a_level_is_dense_until_it_outgrows_its_table():
    assert HASH.table_shape(3) == (4, 4, 2)
    assert HASH.table_shape(6) == (32, 2)
    assert DENSE.table_shape(6) == (7, 7, 2)


def test_a_config_names_its_grid():
    sizes = {"num_levels": 3, "coarsest": 3, "finest": 12, "level_features": 4}
    dense = Config(encoding="dense_grid").replace(**sizes)
    assert from_config(dense, 6, 9) == DenseGrid((3, 6, 12), 4)
    hashed = dense.replace(encoding="hash_grid", log2_table_size=5)
    assert from_config(hashed, 6, 9) == HashGrid((3, 6, 12), 4, 32)


@pytest.mark.parametrize("grid", [DENSE, HASH], ids=["dense", "hash"])
def test_features_have_the_shape_and_the_names_that_the_grid_says(grid, key):
    drawn = grid.init(key)
    assert {*drawn} == {"params"} and grid.is_trained
    assert len(grid.apply(drawn, jnp.zeros(2))) == grid.num_features == 6
    assert grid.feature_names[:3] == ["3 cells (0)", "3 cells (1)", "6 cells (0)"]


def test_a_grid_of_three_axes_is_scipys_linear_interpolation():
    grid = DenseGrid(resolutions=(4,), num_axes=3)
    table = draw_tables(grid)[0]
    assert table.shape == (5, 5, 5, 2)
    coords = np.random.default_rng(4).random((100, 3)).astype(np.float32)
    points = np.arange(5) / 4
    reference = RegularGridInterpolator([points] * 3, np.asarray(table, float))
    found = features(grid, [table], coords)
    np.testing.assert_allclose(found, reference(coords.astype(float)), atol=5e-6)


def test_a_dense_grid_is_scipys_linear_interpolation():
    tables = draw_tables(DENSE)
    coords = np.random.default_rng(1).random((500, 2)).astype(np.float32)
    found = features(DENSE, tables, coords)
    for level, (cells, table) in enumerate(zip(DENSE.resolutions, tables, strict=True)):
        points = np.arange(cells + 1) / cells
        reference = RegularGridInterpolator((points, points), np.asarray(table, float))
        expected = reference(coords.astype(float))
        # Float32 positions are off by up to 2e-7 cells.
        np.testing.assert_allclose(
            found[:, 2 * level : 2 * level + 2], expected, atol=5e-6
        )


def test_the_hash_is_the_papers_with_numbers_of_unbounded_size():
    for row, column in np.random.default_rng(2).integers(0, 60_000, (200, 2)):
        product = int(column) * 2_654_435_761 % 2**32
        for entries in (32, 2**14):
            found = hash_index(jnp.array([row, column], jnp.int32), entries)
            assert int(found) == (int(row) ^ product) % entries


def test_hashed_points_interpolate_as_dense_ones_do():
    """A dense table filled with what the hash table says of each grid point."""
    tables = draw_tables(HASH)
    full = []
    for cells, table in zip(HASH.resolutions, tables, strict=True):
        if table.ndim == 2:
            points = np.moveaxis(np.mgrid[: cells + 1, : cells + 1], 0, -1).reshape(
                -1, 2
            )
            index = [int(hash_index(jnp.asarray(n), len(table))) for n in points]
            table = table[np.array(index)].reshape(cells + 1, cells + 1, 2)
        full.append(table)
    coords = np.random.default_rng(3).random((100, 2))
    np.testing.assert_allclose(
        features(HASH, tables, coords), features(DENSE, full, coords), 1e-6
    )


@pytest.mark.slow_cases("224-12", "40-7", "1-1")
@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 7), (13, 37), (224, 12)])
def test_a_cartesian_product_gives_what_its_positions_give(height, width):
    rows, columns = jnp.arange(height) / height, jnp.arange(width) / width
    product = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), -1)
    for grid in (DENSE, PYRAMID):
        tables = draw_tables(grid)
        expected = features(grid, tables, product.reshape(-1, 2))
        found = grid.apply_axes(variables_of(tables), rows, columns)
        np.testing.assert_allclose(found.reshape(-1, 6), expected, atol=1e-5)


@pytest.mark.slow
def test_every_device_interpolates_alike():
    """The products of a GPU, and the rows of a CPU, values and gradients."""
    table = draw_tables(PYRAMID)[2]
    rng = np.random.default_rng(5)
    rows, columns = (jnp.asarray(np.sort(rng.random(n)), jnp.float32) for n in (5, 8))
    probe = rng.standard_normal((5, 8, 1)).astype(np.float32)
    found = [
        jax.value_and_grad(lambda t, f=form: (f(t, rows, columns) * probe).sum())(table)
        for form in (grids._by_rows, grids._by_products)
    ]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_pyramid_is_scipys_linear_interpolation_in_its_own_proportions():
    tables = draw_tables(PYRAMID)
    coords = np.random.default_rng(6).random((300, 2)).astype(np.float32)
    found = np.asarray(features(PYRAMID, tables, coords))
    expected = []
    for cells, table in zip(PYRAMID.resolutions, tables, strict=True):
        points = tuple(np.arange(n + 1) / n for n in cells)
        reference = RegularGridInterpolator(points, np.asarray(table, float))
        expected.append(reference(coords.astype(float)))
    np.testing.assert_allclose(found, np.concatenate(expected, -1), atol=5e-6)
    assert PYRAMID.num_features == len(PYRAMID.feature_names) == 6
    assert PYRAMID.feature_names[-1] == "9 x 14 cells (0)"


def test_a_config_names_its_pyramid():
    config = Config(
        encoding="pyramid", finest=14, num_levels=3, level_features=3, coarsest=99
    )
    found = from_config(config, 90, 140)
    assert found == Pyramid(
        resolutions=((2, 4), (4, 7), (9, 14)), level_features=(3, 2, 1)
    )


@pytest.mark.slow_cases("dense")
@pytest.mark.parametrize("grid", [DENSE, HASH], ids=["dense", "hash"])
def test_gradients_reach_tables_and_coordinates(grid):
    tables = draw_tables(grid)

    def total(tables, x):  # check_grads perturbs by NumPy arrays
        variables = variables_of(jax.tree.map(jnp.asarray, tables))
        return grid.apply(variables, jnp.asarray(x)).sum()

    coords = jnp.array([0.37, 0.71])  # inside a cell at every level
    check_grads(total, (tables, coords), 1, rtol=2e-2)
    grads = jax.grad(total)(tables, coords)
    for table, grad in zip(tables, grads, strict=True):
        # The four corners' weights sum to one, for each of the two features.
        np.testing.assert_allclose(grad.sum(), table.shape[-1], rtol=1e-5)


def test_beyond_the_square_the_last_cell_goes_on():
    tables = draw_tables(DENSE)
    inside = features(DENSE, tables, [[0.99, 0.5], [0.995, 0.5]])
    beyond = features(DENSE, tables, [[1.005, 0.5]])
    slope = (inside[1] - inside[0]) / 0.005
    np.testing.assert_allclose(beyond[0], inside[1] + 0.01 * slope, atol=1e-3)


def test_initial_numbers_are_as_small_as_the_papers():
    grid = DenseGrid(resolutions=(63, 63))
    table, other = grid.tables(grid.init(jax.random.key(0)))
    assert table.shape == (64, 64, 2) and (table != other).any()
    assert np.abs(table).max() <= 1e-4
    np.testing.assert_allclose(np.std(table), 1e-4 / 3**0.5, rtol=0.05)
