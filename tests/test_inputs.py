"""An image or a config in any plain form is the one that was meant, or refused."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from jax_inr.config import Config
from jax_inr.errors import ConfigError, ImageError
from jax_inr.inputs import as_config, as_image, paired
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
    palette = Image.new("P", (7, 5))
    palette.info["transparency"] = 0
    np.testing.assert_array_equal(as_image(palette).image, np.ones((5, 7, 3)))


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


DEEP = np.random.default_rng(4).integers(0, 2**16, (5, 7)).astype(np.uint16)
SHALLOW = np.random.default_rng(5).integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_a_pillow_image_of_16_bits_keeps_them(mode):
    order = ">u2" if mode == "I;16B" else "<u2"
    image = Image.frombytes(mode, (7, 5), DEEP.astype(order).tobytes())
    found = as_image(image).image
    np.testing.assert_allclose(found[..., 0], DEEP / 65535, atol=1e-7)


def test_a_pillow_image_of_floats_keeps_them():
    floats = (DEEP / 65535).astype(np.float32)
    np.testing.assert_array_equal(
        as_image(Image.fromarray(floats)).image[..., 0], floats
    )


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "HSV"]
)
def test_an_opaque_pillow_image_is_what_pillow_says(mode):
    image = Image.fromarray(SHALLOW)
    for step in {"La": ["LA"], "RGBa": ["RGBA"], "PA": ["RGBA"]}.get(mode, []):
        image = image.convert(step)
    image = image.convert(mode)
    grey = mode in ("1", "L", "LA", "La")
    flat = image.convert("LA") if mode == "La" else image
    flat = flat.convert("RGBA") if mode in ("RGBa", "PA") else flat
    expected = np.asarray(flat.convert("L" if grey else "RGB")) / 255
    found = as_image(image).image
    np.testing.assert_allclose(found.squeeze(), expected, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_is_what_its_file_is(orientation, tmp_path):
    about = Image.Exif()
    about[274] = orientation
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "a.png"
    Image.fromarray(SHALLOW).save(path, exif=about, icc_profile=profile)
    with Image.open(path) as opened:
        given = as_image(opened)
    read = load_image(path)
    np.testing.assert_array_equal(given.image, read.image)
    assert given.notices == read.notices


def test_a_pillow_image_that_is_none_is_one_line():
    buffer = io.BytesIO()
    Image.fromarray(SHALLOW).resize((200, 200)).save(buffer, "PNG")
    cut = Image.open(io.BytesIO(buffer.getvalue()[:5000]))
    for image in (cut, Image.new("I", (3, 3))):
        with pytest.raises(ImageError, match="the Pillow image of mode") as caught:
            as_image(image)
        assert "\n" not in str(caught.value)


def test_one_goes_with_many_and_many_with_as_many():
    assert paired(["a"], [1, 2]) == (["a", "a"], [1, 2])
    assert paired(["a", "b"], [1]) == (["a", "b"], [1, 1])
    assert paired(["a", "b"], [1, 2]) == (["a", "b"], [1, 2])
    for images, configs in (([], [1]), (["a"], []), (["a", "b"], [1, 2, 3])):
        with pytest.raises(ConfigError):
            paired(images, configs)
