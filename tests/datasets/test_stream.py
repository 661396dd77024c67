"""A stream's fields are those of single fits, however its lanes are filled."""

import dataclasses
import itertools

import jax
import numpy as np
import optax
import pytest
from conftest import compilations
from sets import IMAGES, TINY

import jax_inr
from jax_inr import ConfigError, ImageError, fit, fit_stream
from jax_inr.datasets import stream
from jax_inr.datasets.pool import Pool

# Both compute the same sums in float32, in other orders; a few hundred steps of a
# SIREN let such differences grow.
TOLERANCE = 2e-5


def distance(a, b) -> float:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max()) for x, y in leaves)


@pytest.fixture(scope="module")
def targeted():
    """A target that some images reach early, some late, some never."""
    return TINY.replace(target_psnr=29.0)


@pytest.fixture(scope="module")
def done(targeted):
    return list(fit_stream(IMAGES, targeted, lanes=3))


def test_the_images_end_at_different_steps(done):
    assert [fit.index for fit in done] == list(range(7))
    assert {fit.stopped for fit in done} == {"steps", "target_psnr"}
    assert len({fit.steps for fit in done}) > 2


def test_a_lane_is_a_fit(targeted, done):
    for index in (0, 5):
        single = fit(IMAGES[index], targeted.replace(seed=index))
        streamed = done[index]
        assert (streamed.steps, streamed.stopped) == (single.steps, single.stopped)
        assert streamed.psnr_db == pytest.approx(single.psnr_db, abs=2e-3)
        assert distance(streamed.params, single.field.params) < TOLERANCE
        assert streamed.field(np.zeros((1, 2))).shape == (1, 3)


@pytest.mark.parametrize("lanes", [1, 5])
def test_no_number_of_lanes_changes_a_bit(targeted, done, lanes):
    again = list(fit_stream(IMAGES, targeted, lanes=lanes))
    assert [distance(a.params, b.params) for a, b in zip(done, again, strict=True)] == (
        [0.0] * 7
    )
    assert [a.steps for a in done] == [b.steps for b in again]


def test_the_seed_follows_the_index_and_not_the_order(targeted, done):
    late = list(fit_stream(IMAGES[4:], targeted, lanes=3, first_index=4))
    assert [fit.index for fit in late] == [4, 5, 6]
    assert [distance(a.params, b.params) for a, b in zip(late, done[4:], strict=True)]
    assert all(
        distance(a.params, b.params) == 0 for a, b in zip(late, done[4:], strict=True)
    )
    # The law is one of the index: another index is another field.
    other = next(fit_stream(IMAGES[4:5], targeted, lanes=3))
    assert distance(other.params, done[4].params) > 1e-2


def test_a_shared_start_is_the_seeds():
    config = TINY.replace(steps=1, learning_rate=1e-9)
    shared = list(fit_stream(IMAGES[:3], config, lanes=2, init="shared"))
    drawn = list(fit_stream(IMAGES[:3], config, lanes=2, init="random"))
    assert distance(shared[0].params, shared[2].params) < 1e-6
    assert distance(drawn[0].params, shared[0].params) == 0
    assert distance(drawn[2].params, shared[2].params) > 1e-2


def test_a_start_is_a_fields_or_its_files(tmp_path, done):
    done[1].field.save(tmp_path / "start.safetensors")
    config = TINY.replace(steps=1, learning_rate=1e-9)
    for start in (done[1].field, tmp_path / "start.safetensors"):
        (found,) = fit_stream(IMAGES[:1], config, lanes=2, start=start)
        assert distance(found.params, done[1].params) < 1e-6


@pytest.mark.slow_cases("muon-alternate", "grid-lattice", "wire")
@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 9},
        {"optimizer": "muon", "train_pixels": "alternate"},
        {"network": "wire", "rgb_max": 256},
        {"encoding": "dense_grid", "network": "mlp", "num_levels": 2, "coarsest": 2}
        | {"finest": 4, "batch_size": 12, "sampling": "lattice"},
    ],
    ids=["batches", "muon-alternate", "wire", "grid-lattice"],
)
def test_other_configs_are_fits_too(changes):
    config = TINY.replace(steps=12, **changes)
    (streamed,) = fit_stream(IMAGES[2:3], config, lanes=1)
    single = fit(IMAGES[2], config)
    assert distance(streamed.params, single.field.params) < TOLERANCE
    # Of the fitted pixels, as the fit's own evaluations are.
    psnr_db = single.rows[-1]["psnr_db"]
    assert streamed.psnr_db == pytest.approx(psnr_db, abs=2e-3)


def test_lanes_that_step_together_are_the_same_fields(targeted, done):
    pool = Pool((6, 6, 3), targeted, 4, together=True)
    waiting, found = list(range(7)), {}
    while len(found) < 7:
        for lane in pool.free[: len(waiting)]:
            index = waiting.pop(0)
            pool.give(lane, index, index, IMAGES[index])
        pool.advance()
        for index, _, steps, _, params in pool.collect():
            found[index] = steps, params
    for fitted in done:
        steps, params = found[fitted.index]
        assert steps == fitted.steps
        assert distance(params, fitted.params) < TOLERANCE


def test_refilled_lanes_compile_nothing(targeted, done):
    with compilations() as count:
        list(fit_stream(IMAGES, targeted.replace(seed=9, target_psnr=20.0), lanes=3))
    assert count[0] == 0


def test_a_field_that_diverges_harms_no_other():
    config, wild_steps = TINY.replace(steps=60), optax.sgd(1e38)
    # The error of a black image at a black start is zero, and so is its gradient.
    start = next(fit_stream(IMAGES[:1], TINY.replace(steps=1), lanes=1)).field
    black = jax.tree.map(np.zeros_like, start.params)
    black["dense_2"]["bias"] = np.full(3, -1, np.float32)
    start = dataclasses.replace(start, variables=start.variables | {"params": black})
    given = [IMAGES[0], np.zeros((6, 6, 3)), IMAGES[1]]
    wild, calm, last = fit_stream(
        given, config, lanes=2, start=start, optimizer=wild_steps
    )
    assert (wild.stopped, calm.stopped, last.stopped) == (
        ("diverged", "steps", "diverged")
    )
    assert np.isnan(wild.psnr_db) and calm.psnr_db == np.inf
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(wild.params))


def test_shapes_have_lanes_of_their_own_and_keep_the_order():
    config = TINY.replace(steps=3)
    mixed = [IMAGES[0], IMAGES[1][:4, :5], IMAGES[2], IMAGES[3][:4, :5]]
    found = list(fit_stream(iter(mixed), config, lanes=2))
    assert [f.index for f in found] == [0, 1, 2, 3]
    assert [f.shape for f in found] == [(6, 6, 3), (4, 5, 3)] * 2
    alone = next(fit_stream(mixed[3:], config, lanes=2, first_index=3))
    assert distance(alone.params, found[3].params) == 0


def test_images_are_read_no_further_ahead_than_the_window():
    read = [0]

    def endless():
        for i in itertools.count():
            read[0] += 1
            yield IMAGES[i % 7]

    fits = fit_stream(endless(), TINY.replace(steps=3), lanes=2)
    for index in range(9):
        assert next(fits).index == index
        assert read[0] <= index + 1 + stream.WINDOW * 2


def test_lanes_are_found_by_a_measurement():
    found = list(fit_stream(IMAGES, TINY.replace(steps=3)))
    assert len(found) == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"init": "zero"}, "init is 'zero'"),
        ({"lanes": 0}, "lanes is 0"),
        ({"config": {"steps": 0}}, "steps is 0"),
        ({"config": {"max_seconds": 1.0}}, "max_seconds"),
        ({"labels": [1, 2]}, "2 labels do not go with 7 images"),
        ({"labels": [0.5] * 7}, "whole numbers"),
        ({"start": 3}, "a int is no start"),
    ],
)
def test_what_cannot_be_is_said_at_once(options, words):
    with pytest.raises(ConfigError, match=words):
        fit_stream(IMAGES, **options)


def test_a_start_of_another_network_is_named(done):
    wide = TINY.replace(hidden_features=(9, 8))
    with pytest.raises(ConfigError, match="the start's dense_0/bias has shape"):
        next(fit_stream(IMAGES, wide, lanes=1, start=done[0].field))


def test_mixed_channels_are_refused_by_index():
    with pytest.raises(ImageError, match="image 1 has 1 channel"):
        list(fit_stream([IMAGES[0], IMAGES[1][..., :1]], TINY, lanes=1))


def test_a_wrong_keyword_names_the_right_one():
    with pytest.raises(TypeError, match="did you mean lanes"):
        fit_stream(IMAGES, lane=3)  # pyright: ignore


def test_the_module_is_public():
    assert jax_inr.fit_stream is fit_stream
