"""jit against float64 numpy at awkward pixel counts: wrong numbers that nobody sees.

jaxlib 0.10.2 returned wrong sums on the CPU, without a word, for products with small
constant matrices over many rows (jax-ml/jax#39103). These tests hold every version to
float64 at counts around the sizes where that began.

The tolerance is 1e-5 throughout: float32 sums of 1e5 terms, taken in blocks, err by
some 1e-6, while a block of 16 rows that is missed or counted twice changes a mean over
100,003 rows by 1e-4, and what is compared row by row by all of it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import draw
from skimage.metrics import structural_similarity

from jax_inr import metrics
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.job import make_job
from jax_inr.model import make_model
from jax_inr.plan import make_data
from jax_inr.rendering import render
from jax_inr.tasks import reconstruct
from jax_inr.training import init_state, train_step

COUNTS = (32_767, 32_768, 32_769, 65_537, 100_003)
TOLERANCE = 1e-5
RNG = np.random.default_rng(11)
LEVELS = np.array([0.1, 0.9, 0.4, 0.3], np.float32)
NARROW = Config(num_frequencies=4, sigma=1.0, hidden_features=(3, 8))
REAL = Config(sigma=1.0)  # the notebook's widths: 256-128-256-3


def close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE)


def variables_of(config):
    return draw(make_model(config, 1, 1, 3))


def float64_forward(config, variables, coords):
    """Colours and the activations that the last layer sees, in float64."""
    b = np.asarray(variables["constants"]["frequencies"], np.float64)
    phases = 2 * np.pi * np.asarray(coords, np.float64) @ b
    x = np.concatenate([np.sin(phases), np.cos(phases)], -1)
    layers = [variables["params"][f"dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = np.maximum(x @ np.float64(layer["kernel"]) + np.float64(layer["bias"]), 0)
    y = x @ np.float64(layers[-1]["kernel"]) + np.float64(layers[-1]["bias"])
    return 1 / (1 + np.exp(-y)), x


@functools.cache
def reference(config):
    """One image of 100,003 pixels: its float64 colours; a part is a part of it."""
    coords = pixel_grid(1, COUNTS[-1])[0]
    return (coords, *float64_forward(config, variables_of(config), coords))


# The form of the bug: a small matrix times each row, then a reduction


MATRICES = {
    "ones": np.ones,
    "identity": lambda shape: np.eye(*shape),
    "random": lambda shape: np.random.default_rng(5).random(shape),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("width", [2, 3, 8, 32])
def test_a_product_with_a_small_constant_matrix(name, width):
    matrix = MATRICES[name]((width, width)).astype(np.float32)
    rows = np.ones((COUNTS[-1], width), np.float32)
    rows[:, 0] += np.arange(COUNTS[-1]) % 7

    @jax.jit
    def product(rows):
        return jax.vmap(lambda row: jnp.asarray(matrix) @ row)(rows)

    @jax.jit
    def energy(rows):
        return jnp.sum(jax.vmap(lambda row: jnp.asarray(matrix) @ row)(rows) ** 2)

    for count in COUNTS[::2]:
        expected = rows[:count].astype(np.float64) @ matrix.T.astype(np.float64)
        close(product(rows[:count]), expected)
        close(energy(rows[:count]) / np.sum(expected**2), 1)


def test_the_sum_of_known_wrong_value():
    # 884,736 = 32,768 rows times 3 sums of 3 ones, squared; 0.10.2 said 98,304.
    ones = jnp.ones((3, 3))
    total = jax.jit(lambda x: jnp.sum(jax.vmap(lambda r: ones @ r)(x) ** 2))
    assert total(jnp.ones((32_768, 3))) == 884_736


# The network, its loss and its gradient


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("config", [NARROW, REAL], ids=["narrow", "real"])
def test_forward_and_loss(config, count):
    coords, colours, _ = reference(config)
    model, variables = make_model(config, 1, 1, 3), variables_of(config)
    target = np.resize(LEVELS, (count, 3))

    @jax.jit
    def forward(variables, coords, target):
        prediction = model.predict(variables, coords)
        return prediction, jnp.mean((prediction - target) ** 2)

    prediction, loss = forward(variables, coords[:count], target)
    close(prediction, colours[:count])
    close(loss, np.mean((colours[:count] - target) ** 2))


@pytest.mark.parametrize("count", COUNTS)
def test_the_step_that_trains(count):
    config = NARROW.replace(learning_rate=1.0, momentum=0.0)
    coords, colours, hidden = reference(NARROW)
    colours, hidden = colours[:count], hidden[:count]
    target = np.resize(LEVELS, (1, count, 3))
    # Pixels of a common grid, so that one reference serves all counts.
    task = reconstruct(target).replace(items=coords[:count])
    job = make_job(task, config)
    plan, variables = job.plan(), variables_of(NARROW)
    data = make_data(plan, task, variables, job.rates)
    assert plan.keep_features and len(data.inputs) == count
    state = init_state(plan, variables)
    step = jax.jit(train_step, static_argnums=0)
    after, loss = step(plan, state, variables["constants"], data, jax.random.key(0))
    error = colours - target[0]
    close(loss, np.mean(error**2))
    # The last layer's gradient by the chain rule: the sum that runs over all pixels.
    delta = 2 * error / error.size * colours * (1 - colours)
    for name, expected in (("kernel", hidden.T @ delta), ("bias", delta.sum(0))):
        before = state.params["dense_2"][name]
        close(np.asarray(before - after.params["dense_2"][name]), expected)


@pytest.mark.parametrize("count", COUNTS)
def test_the_render_path(count):
    _, colours, _ = reference(NARROW)
    model = make_model(NARROW, 1, count, 3)
    window = (0.0, 0.0, 1.0, count / COUNTS[-1])
    image = render(model, variables_of(NARROW), 1, count, window)
    close(image[0], colours[:count])


# Metrics


@pytest.mark.parametrize("count", COUNTS)
def test_psnr(count):
    target = RNG.random((1, count, 3), dtype=np.float32)
    prediction = target + np.float32(0.1) * RNG.standard_normal(
        target.shape, np.float32
    )
    x = np.clip(prediction.astype(np.float64), 0, 1)
    expected = -10 * np.log10(np.mean((x - target) ** 2))
    close(jax.jit(metrics.psnr)(prediction, target), expected)
    rounded = (
        np.floor(np.clip(prediction, 0, 1) * np.float32(255) + np.float32(0.5)) / 255
    )
    expected = -10 * np.log10(np.mean((rounded - target.astype(np.float64)) ** 2))
    close(jax.jit(metrics.psnr_8bit)(prediction, target), expected)


# Images of about the same counts of pixels, for a metric that needs two dimensions:
# 32,767, 32,768, 32,769, 65,520 and 100,005 pixels.
@pytest.mark.parametrize(
    ("height", "width"), [(151, 217), (128, 256), (99, 331), (65, 1008), (295, 339)]
)
def test_ssim(height, width):
    target = RNG.random((height, width, 1), dtype=np.float32)
    prediction = np.clip(target + np.float32(0.1), 0, 1) ** 2
    expected = structural_similarity(
        prediction.astype(np.float64),
        target.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=2,
    )
    close(jax.jit(metrics.ssim)(prediction, target), expected)
