"""An image or a config in any plain form is the one that was meant, or refused."""

import numpy as np
import pytest
from PIL import Image

from jax_inr.config import Config
from jax_inr.errors import ConfigError, ImageError
from jax_inr.inputs import as_config, as_image
from jax_inr.io.images import load_image
from jax_inr.presets import preset

LEVELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
WHITE = np.float32(255)


@pytest.fixture
def path(tmp_path):
    Image.fromarray(LEVELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_one_image_in_every_form_has_the_same_pixels(path):
    floats = LEVELS / WHITE
    forms = [
        *(path, str(path), load_image(path), Image.fromarray(LEVELS), LEVELS),
        *(floats, floats.astype(np.float64), np.uint16(257) * LEVELS.astype(np.uint16)),
        *(floats.tolist(), np.asfortranarray(floats), floats[::-1][::-1]),
    ]
    for form in forms:
        found = as_image(form).image
        assert found.dtype == np.float32 and found.flags.c_contiguous
        np.testing.assert_allclose(found, floats, atol=1e-7)


def test_equal_pixels_have_one_hash_and_others_another():
    first = as_image(LEVELS)
    assert as_image(LEVELS.copy()).sha256 == first.sha256
    assert as_image(LEVELS / WHITE).sha256 == first.sha256
    changed = LEVELS.copy()
    changed[2, 3, 1] ^= 1
    assert as_image(changed).sha256 != first.sha256
    # The same bytes in another shape are another image.
    assert as_image(LEVELS.reshape(7, 5, 3)).sha256 != first.sha256


def test_two_axes_are_a_grey_image():
    assert as_image(LEVELS[..., 0]).image.shape == (5, 7, 1)


def test_a_pillow_image_of_another_mode_is_shown_on_white():
    grey = Image.fromarray(LEVELS[..., 0])
    assert as_image(grey).image.shape == (5, 7, 1)
    clear = Image.new("RGBA", (7, 5), (0, 0, 0, 0))
    np.testing.assert_array_equal(as_image(clear).image, np.ones((5, 7, 3)))
    half = Image.new("RGBA", (7, 5), (255, 0, 0, 128))
    expected = [1, 127 / 255, 127 / 255]
    np.testing.assert_allclose(as_image(half).image[0, 0], expected, atol=1 / 255)
    palette = Image.fromarray(LEVELS).convert("P")
    assert as_image(palette).image.shape == (5, 7, 3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (LEVELS.astype(np.int64), "no white"),
        (LEVELS > 3, "no white"),
        (LEVELS.astype(complex), "no array of numbers"),
        (np.array(["a"]), "no array of numbers"),
        (None, "no array of numbers"),
        ({"a": 1}, "no array of numbers"),
        ([[1], [1, 2]], "is no image"),
        (LEVELS.astype(float), r"outside \[0, 1\]"),
        (np.full((2, 2, 3), np.nan), "not finite"),
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.zeros(3), r"\(3,\)"),
        (np.zeros((0, 2)), r"\(0, 2, 1\)"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(wrong, words):
    with pytest.raises(ImageError, match=words) as caught:
        as_image(wrong)
    assert "\n" not in str(caught.value)


def test_one_config_in_every_form():
    assert as_config(None) == preset("default") == as_config("default")
    assert as_config("fast") == preset("fast")
    assert as_config({"steps": 3}) == preset("default").replace(steps=3)
    config = Config(steps=3)
    assert as_config(config) is config


@pytest.mark.parametrize("wrong", [3, [], "fats", {"stpes": 3}, {"steps": -1}])
def test_what_is_no_config_is_refused(wrong):
    with pytest.raises(ConfigError):
        as_config(wrong)
