"""Held-out pixels: the mask's laws, and that no fit looks at what it holds out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.config import Config
from jax_inr.cost import job_bytes
from jax_inr.errors import ConfigError
from jax_inr.fitting import fit
from jax_inr.job import make_job
from jax_inr.splits import num_trained, train_mask
from jax_inr.tasks import from_config

ALTERNATE = Config(train_pixels="alternate")
RANDOM = Config(train_pixels="random", train_fraction=0.3)
SMALL: Any = dict(
    num_frequencies=8, sigma=2.0, hidden_features=(16,), learning_rate=0.5
)
SIDES = st.integers(1, 40)

# The mask


@given(SIDES, SIDES)
def test_alternate_takes_even_rows_and_columns(height, width):
    rows, columns = np.mgrid[:height, :width]
    expected = (rows % 2 == 0) & (columns % 2 == 0)
    np.testing.assert_array_equal(train_mask(ALTERNATE, height, width), expected)


@given(SIDES, SIDES, st.floats(1e-6, 1.0), st.integers(0, 2**32 - 1))
def test_random_takes_its_share_and_the_same_again(height, width, fraction, seed):
    config = RANDOM.replace(train_fraction=fraction, seed=seed)
    mask = train_mask(config, height, width)
    assert mask.shape == (height, width) and mask.dtype == bool
    assert mask.sum() == max(round(fraction * height * width), 1)
    # Nothing but seed, fraction and size decides.
    other = config.replace(steps=7, sigma=3.0, batch_size=5)
    np.testing.assert_array_equal(train_mask(other, height, width), mask)


@given(SIDES, SIDES, st.sampled_from(["all", "alternate", "random"]))
def test_what_is_counted_is_what_is_taken(height, width, kind):
    config = RANDOM.replace(train_pixels=kind)
    mask = train_mask(config, height, width)
    assert mask.sum() == num_trained(config, height, width) >= 1
    assert kind != "all" or mask.all()


def test_seeds_draw_every_pixel_equally_often():
    count = 2000
    masks = [train_mask(RANDOM.replace(seed=s), 7, 9) for s in range(count)]
    share = 19 / 63  # round(0.3 * 63) of 63 pixels
    # Five standard deviations of a binomial.
    limit = 5 * np.sqrt(share * (1 - share) / count)
    assert np.abs(np.mean(masks, axis=0) - share).max() < limit


# The fit


def changed(image, where):
    """The image with other colours at some pixels."""
    return np.where(where[..., None], 1 - image, image)


def outcome(result):
    """All numbers of a fit that are not about time or about held-out pixels."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result.rows]
    return rows, result.summary["stopped"], result.summary["train_psnr_db"]


@pytest.mark.parametrize(
    "fields",
    [
        {"train_pixels": "alternate"},
        {"train_pixels": "random", "batch_size": 16},
        {"train_pixels": "random", "batch_size": 20, "target_psnr": 10.0},
        {"train_pixels": "alternate", "batch_size": 500, "target_psnr": 10.0},
    ],
    ids=["full", "batch", "batch to a target", "full to a target"],
)
def test_held_out_pixels_change_no_bit_of_a_fit(image, fields):
    config = Config(steps=30, eval_every=5, **SMALL, **fields)
    mask = train_mask(config, *image.shape[:2])
    ours = fit(image, config)
    if "target_psnr" in fields:
        assert ours.summary["stopped"] == "target_psnr"
        assert ours.summary["train_psnr_db"] >= 10.0
    others = fit(changed(image, ~mask), config)
    assert outcome(others) == outcome(ours)
    for name, leaf in ours.tensors.items():
        np.testing.assert_array_equal(others.tensors[name], leaf)
    # The two numbers, and that of the whole picture, by numpy in float64.
    for picture, result in ((image, ours), (changed(image, ~mask), others)):
        error = (np.clip(result.prediction, 0, 1).astype(np.float64) - picture) ** 2
        for key, where in (
            ("train_psnr_db", mask),
            ("heldout_psnr_db", ~mask),
            ("psnr_db", mask | True),
        ):
            expected = -10 * np.log10(error[where].mean())
            assert result.summary[key] == pytest.approx(expected, abs=1e-4)
    # The last row is of the trained pixels, the parameters being those that are kept.
    assert ours.rows[-1]["psnr_db"] == pytest.approx(
        ours.summary["train_psnr_db"], abs=1e-4
    )


def test_every_trained_pixel_counts(image):
    config = Config(steps=3, train_pixels="alternate", **SMALL)
    mask = np.zeros(image.shape[:2], bool)
    mask[10, 16] = True  # the last even row and column
    ours, others = fit(image, config), fit(changed(image, mask), config)
    assert outcome(ours) != outcome(others)


def test_a_fit_of_every_pixel_says_nothing_of_held_out_ones(image):
    summary = fit(image, Config(steps=2, **SMALL)).summary
    assert not {"train_psnr_db", "heldout_psnr_db"} & set(summary)


def test_targets_divided_by_256_are_measured_as_they_were_trained_on(image):
    config = Config(steps=3, rgb_max=256, train_pixels="alternate", **SMALL)
    result, mask = fit(image, config), train_mask(config, 12, 17)
    error = result.prediction.astype(np.float64) - image * (255 / 256)
    expected = -10 * np.log10((error[~mask] ** 2).mean())
    assert result.summary["heldout_psnr_db"] == pytest.approx(expected, abs=1e-4)


def test_memory_is_estimated_of_trained_pixels():
    config = Config(num_frequencies=256)
    image = np.zeros((512, 512, 3), np.float32)
    quartered = config.replace(train_pixels="alternate")
    whole, quarter = (
        job_bytes(make_job(from_config(one, image), one)) for one in (config, quartered)
    )
    # Features are most of it; activations of a tile are as many as ever.
    assert 3 < whole / quarter < 4


# What is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "cnn", "encoding": "none"}, "neighbours"),
        ({"sampling": "lattice"}, "whole rows and columns"),
    ],
)
@pytest.mark.parametrize("kind", ["alternate", "random"])
def test_what_cannot_hold_out_pixels_says_why(fields, message, kind):
    with pytest.raises(ConfigError, match=message):
        Config(train_pixels=kind, **fields)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_a_fraction_lies_between_none_and_all(fraction):
    with pytest.raises(ConfigError, match="train_fraction"):
        Config(train_fraction=fraction)
