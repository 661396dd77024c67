"""The numbers of a summary."""

import importlib.metadata
import platform

import numpy as np
import pytest

from jax_inr import metrics
from jax_inr.config import Config
from jax_inr.io import summaries
from jax_inr.io.images import to_uint8


def test_quality_measures_the_targets_and_the_saved_picture(image):
    noise = np.random.default_rng(0).normal(0, 0.02, image.shape).astype(np.float32)
    image = np.pad(image, ((0, 5), (0, 0), (0, 0)), mode="edge")
    prediction = image + np.pad(noise, ((0, 5), (0, 0), (0, 0)))
    quality = summaries.quality(prediction, image, 255)
    assert quality["psnr_db"] == pytest.approx(float(metrics.psnr(prediction, image)))
    saved = to_uint8(prediction) / 255
    mse = np.mean((saved - image) ** 2)
    assert quality["psnr_8bit_db"] == pytest.approx(-10 * np.log10(mse), abs=1e-4)
    assert 0 < quality["ssim"] < 1


def test_dividing_by_256_is_undone_in_the_saved_picture(image):
    trained_on = image * np.float32(255 / 256)
    quality = summaries.quality(trained_on, image, 256)
    assert quality["psnr_db"] > 120
    assert quality["psnr_8bit_db"] > 50
    np.testing.assert_allclose(summaries.to_image(trained_on, 256), image, atol=1e-6)


def test_held_out_pixels_are_measured_apart_from_the_trained():
    """The fit is 0.1 off at the even rows and columns, and 0.01 at the others."""
    image = np.full((6, 10, 3), 0.5, np.float32)
    prediction = image * np.float32(255 / 256) + np.float32(0.01)
    prediction[::2, ::2] += np.float32(0.09)
    config = Config(train_pixels="alternate", batch_size=None, rgb_max=256)
    found = summaries.split_quality(prediction, image, config)
    assert found["train_psnr_db"] == pytest.approx(20, abs=1e-3)
    assert found["heldout_psnr_db"] == pytest.approx(40, abs=1e-3)
    whole = config.replace(train_pixels="all")
    assert summaries.split_quality(prediction, image, whole) == {}


def test_ssim_of_a_tiny_picture_is_not_available(image):
    assert summaries.quality(image[:10], image[:10], 255)["ssim"] is None


def test_sizes_count_what_is_trained():
    tensors = {
        "params/dense_0/kernel": np.zeros((4, 5)),
        "params/dense_0/bias": np.zeros(5),
        "constants/frequencies": np.zeros((2, 2)),
    }
    sizes = summaries.sizes(tensors, 5, 4)
    assert sizes == {"num_params": 25, "bits_per_pixel": 25 * 32 / 20}


@pytest.mark.parametrize(
    ("backend", "packages"),
    [("jax", "jax jaxlib flax optax"), ("torch", "torch torchmetrics")],
)
def test_versions_name_what_the_numbers_depend_on(backend, packages):
    names = ["jax-inr", *packages.split(), "numpy", "pillow"]
    assert summaries.versions(backend) == {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }
