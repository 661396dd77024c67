"""Penalties: integrals over the unit square that are known in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr import fit_many
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError, OutputError
from jax_inr.job import make_job
from jax_inr.plan import make_data
from jax_inr.tasks import (
    NonlocalVariation,
    Penalty,
    SquaredGradient,
    TotalVariation,
    absolute,
    deblur,
    reconstruct,
    similar_places,
    weight_decay,
)
from jax_inr.training import init_state, train_step


def mean_over_square(penalty, field, side=200):
    points = jnp.asarray(pixel_grid(side, side).reshape(-1, 2))
    return jnp.mean(jax.vmap(lambda x: penalty(field, x))(points))


def test_the_total_variation_of_a_ramp_is_its_slope_times_channels():
    def ramp(x):
        return jnp.stack([3 * x[0] + 4 * x[1], -6 * x[0] - 8 * x[1]])

    penalty = TotalVariation(epsilon=1e-6)
    np.testing.assert_allclose(penalty(ramp, jnp.array([0.3, 0.8])), 15, rtol=1e-5)
    square = SquaredGradient()
    np.testing.assert_allclose(square(ramp, jnp.array([0.3, 0.8])), 125, rtol=1e-5)


def test_joint_variation_is_that_of_one_channel_times_the_length_of_the_colour():
    """Of f(x) * colour, |grad f| * |colour|; apart, |grad f| * sum |colour_c|."""
    colour = jnp.array([2.0, -3.0, 6.0])

    def field(x):
        return colour * jnp.sin(3 * x[0] - 2 * x[1])

    x = jnp.array([0.2, 0.6])
    slope = abs(np.cos(3 * 0.2 - 2 * 0.6)) * np.sqrt(13)
    joint = TotalVariation(epsilon=1e-6, is_joint=True)(field, x)
    np.testing.assert_allclose(joint, 7 * slope, rtol=1e-5)
    apart = TotalVariation(epsilon=1e-6)(field, x)
    np.testing.assert_allclose(apart, 11 * slope, rtol=1e-5)


def test_weight_decay_is_the_sum_of_squares_of_all_parameters():
    params = {"a": jnp.array([[1.0, -2.0]]), "b": {"c": jnp.array([3.0])}}
    np.testing.assert_allclose(weight_decay(params), 14)


def test_the_nonlocal_variation_is_the_mean_distance_to_the_colours_of_places():
    def field(x):
        return jnp.stack([3 * x[0], 4 * x[0], x[1]])

    places = jnp.array([[0.5, 0.5], [0.7, 0.5], [0.1, 0.5], [0.5, 0.5]])
    found = NonlocalVariation(epsilon=1e-6)(field, places)
    np.testing.assert_allclose(found, 5 * (0.2 + 0.4 + 0.0) / 3, rtol=1e-4)
    slope = jax.grad(lambda x: NonlocalVariation()(field, x))(places[:1].repeat(3, 0))
    assert jnp.isfinite(slope).all()


@pytest.mark.parametrize(
    ("weight", "points", "said"),
    [
        (-1.0, 4, "weight is -1.0"),
        (float("nan"), 4, "weight is nan"),
        (1.0, 0, "at 0 points"),
    ],
)
def test_a_penalty_that_cannot_be_is_refused(weight, points, said):
    with pytest.raises(ConfigError, match=said):
        Penalty(TotalVariation(), weight, points)


def test_a_penalty_of_no_item_is_refused():
    with pytest.raises(ConfigError, match="0 items"):
        Penalty(NonlocalVariation(), 1.0, 4, np.zeros((0, 3, 2)))


def test_the_total_variation_of_a_disk_is_its_circumference():
    """The co-area formula: the variation of a step is its height times its length."""
    radius, width = 0.3, 0.02

    def disk(x):
        away = jnp.sqrt(jnp.sum((x - 0.5) ** 2) + 1e-12)
        return jax.nn.sigmoid((radius - away) / width)[None]

    found = mean_over_square(TotalVariation(epsilon=1e-4), disk)
    np.testing.assert_allclose(found, 2 * np.pi * radius, rtol=0.01)


def test_the_squared_gradient_of_a_wave_has_its_mean():
    def wave(x):
        return jnp.sin(2 * jnp.pi * (2 * x[0] + 3 * x[1]))[None]

    expected = (2 * np.pi) ** 2 * (4 + 9) / 2
    found = mean_over_square(SquaredGradient(), wave)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_unit_of_length_is_a_pixel_where_sides_are_given():
    def ramp(x):
        return (10 * x[0] + 20 * x[1])[None]

    found = SquaredGradient(10, 20)(ramp, jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(found, 1 + 1, rtol=1e-6)


@pytest.mark.parametrize(
    "penalty", [TotalVariation(), TotalVariation(is_joint=True), SquaredGradient()]
)
def test_a_flat_field_costs_nothing_and_has_a_finite_slope(penalty):
    def cost(colour):
        return penalty(lambda x: colour * jnp.ones(3) + 0 * x[0], jnp.zeros(2))

    value, slope = jax.value_and_grad(cost)(0.5)
    np.testing.assert_allclose(value, 0, atol=1e-9)
    assert jnp.isfinite(slope)

    def tilt(size):
        return penalty(lambda x: size * x[:1], jnp.zeros(2))

    assert jnp.isfinite(jax.grad(tilt)(0.0))


CONFIG = Config(num_frequencies=4, hidden_features=(8,), optimizer="adam", steps=3)


def one_step(penalties):
    """The state after a step, and the loss before it."""
    task = reconstruct(np.full((4, 6, 1), 0.25, np.float32)).replace(
        penalties=penalties
    )
    job = make_job(task, CONFIG)
    plan = job.plan()
    variables = job.model.init(jax.random.key(0))
    data = make_data(plan, task, variables, job.rates)
    state = init_state(plan, variables)
    after, loss = train_step(
        plan, state, variables["constants"], data, jax.random.key(1)
    )
    return state, after, float(loss)


def test_a_penalty_adds_its_weighted_mean_to_the_loss():
    """Weight decay adds weight * sum of squares; constants add themselves."""
    state, _, plain = one_step(())
    squares = float(weight_decay(state.params))
    decayed = one_step((Penalty(weight_decay, 0.5, None),))[2]
    np.testing.assert_allclose(decayed - plain, 0.5 * squares, rtol=1e-4)
    both = (Penalty(lambda field, x: 3.0, 0.5, 7), Penalty(weight_decay, 0.0, None))
    np.testing.assert_allclose(one_step(both)[2] - plain, 1.5, rtol=1e-4)


def test_a_penalty_with_items_is_the_mean_over_rows_of_them():
    """Every row as often as any other: the mean of many draws is that of the rows."""
    plain = one_step(())[2]
    items = {"a": np.array([1.0, 2.0, 6.0]), "b": np.array([0.0, 4.0, 5.0])}
    penalty = Penalty(lambda field, row: row["a"] * row["b"], 0.5, 20_000, items)
    mean = (0 + 8 + 30) / 3
    np.testing.assert_allclose(one_step((penalty,))[2] - plain, mean / 2, rtol=0.02)


@pytest.mark.slow
def test_lanes_have_items_of_their_own_and_share_a_program():
    """Fits of two images, each with its own similar places, are as they are alone."""
    random = np.random.default_rng(3)
    made = []
    for image in random.random((2, 6, 8, 1)).astype(np.float32):
        places = similar_places(image, 3, 3, 2)
        penalty = Penalty(NonlocalVariation(), 0.5, 16, places)
        made.append(reconstruct(image).replace(penalties=(penalty,)))
    assert make_job(made[0], CONFIG).alike == make_job(made[1], CONFIG).alike
    together = fit_many(made, CONFIG)
    for one, many in zip(made, together, strict=True):
        alone = fit_many(one, CONFIG)[0]
        np.testing.assert_allclose(many.prediction, alone.prediction, atol=1e-6)


@pytest.mark.slow
def test_weights_of_penalties_are_numbers_of_one_program():
    """A sweep over them shares a plan, and each lane is the fit of its own weight."""
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8, 1)
    task = reconstruct(image)
    swept = [
        task.replace(
            penalties=(
                Penalty(TotalVariation(6, 8), weight, 5),
                Penalty(weight_decay, weight / 10, None),
            )
        )
        for weight in (0.0, 0.1, 1.0)
    ]
    assert len({make_job(one, CONFIG).plan() for one in swept}) == 1
    together = fit_many(swept, CONFIG)
    for one, many in zip(swept, together, strict=True):
        alone = fit_many(one, CONFIG)[0]
        np.testing.assert_allclose(many.prediction, alone.prediction, atol=1e-6)
    assert np.abs(together[0].prediction - together[2].prediction).max() > 1e-4


@pytest.mark.slow
def test_a_run_of_another_weight_or_loss_is_another_run(tmp_path):
    """A folder never gives back the fit of another penalty, loss or operator."""
    task = reconstruct(np.full((6, 8, 1), 0.5, np.float32))
    tv = Penalty(TotalVariation(), 0.1, 4)
    first = task.replace(penalties=(tv,))
    fit_many(first, CONFIG, out=tmp_path)
    others = [
        task.replace(penalties=(dataclasses.replace(tv, weight=0.2),)),
        task.replace(penalties=(dataclasses.replace(tv, points=5),)),
        task.replace(penalties=(Penalty(SquaredGradient(), 0.1, 4),)),
        task.replace(penalties=(dataclasses.replace(tv, items=np.zeros((3, 2))),)),
        first.replace(loss=absolute),
    ]
    for other in others:
        with pytest.raises(OutputError, match="operator, loss or penalties"):
            fit_many(other, CONFIG, out=tmp_path)[0]
    assert fit_many(first, CONFIG, out=tmp_path)[0].steps == CONFIG.steps


def test_kernels_that_differ_late_are_different_tasks(tmp_path):
    """Files cut a long operator short; the hash is of all of it."""
    image = np.full((16, 16, 1), 0.5, np.float32)
    first = np.ones((11, 11))
    # Beginning and end trade places, as the kernel is turned for a convolution.
    first[0, 1], second = 0.9, np.ones((11, 11))
    second[1, 0] = 0.9
    fit_many(deblur(image, first), CONFIG, out=tmp_path)
    with pytest.raises(OutputError, match="operator"):
        fit_many(deblur(image, second), CONFIG, out=tmp_path)[0]
