"""io.heic: photos of phones, with the optional package and without."""

import io
import sys

import numpy as np
import pytest
from image_files import DISPLAY_P3, SRGB, matrix_profile, srgb_decode, srgb_encode
from PIL import Image as PillowImage

from jax_inr.errors import ImageError
from jax_inr.io.images import load_image

BLOCKS = np.kron(
    np.random.default_rng(0).integers(40, 216, (4, 6, 3)), np.ones((16, 16, 1))
).astype(np.uint8)


def heic(levels: np.ndarray, mode: str = "RGB", **options) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    size = levels.shape[1::-1]
    found = pillow_heif.from_bytes(mode=mode, size=size, data=levels.tobytes())
    buffer = io.BytesIO()
    options = {"quality": 100, "chroma": 444, **options}
    found.save(buffer, **options)
    return buffer.getvalue()


def test_levels_and_alpha(load):
    found = load(heic(BLOCKS))
    assert found.image.shape == (64, 96, 3)
    np.testing.assert_allclose(found.image, BLOCKS / 255, atol=0.03)
    assert found.notices == ()
    alpha = np.full((64, 96, 1), 255, np.uint8)
    alpha[:, 48:] = 0
    found = load(heic(np.dstack([BLOCKS, alpha]), "RGBA"))
    np.testing.assert_allclose(found.image[:, 49:], 1, atol=0.01)
    assert found.notices == ("is transparent: composited on white",)


def test_a_profile_is_converted_and_the_photo_upright(load):
    exif = PillowImage.Exif()
    exif[274] = 6
    icc = matrix_profile(DISPLAY_P3)
    pillow_heif = pytest.importorskip("pillow_heif")
    found = pillow_heif.from_bytes(mode="RGB", size=(96, 64), data=BLOCKS.tobytes())
    found.info["icc_profile"], found.info["icc_profile_type"] = icc, "prof"
    buffer = io.BytesIO()
    found.save(buffer, quality=100, chroma=444, exif=exif.tobytes())
    found = load(buffer.getvalue())
    linear = srgb_decode(BLOCKS / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    expected = np.rot90(srgb_encode(linear), -1)
    np.testing.assert_allclose(found.image, expected, atol=0.04)
    assert "converted from its colour profile to sRGB" in found.notices


def test_more_pixels_than_allowed_are_not_decoded(tmp_path):
    (tmp_path / "a.heic").write_bytes(heic(BLOCKS))
    with pytest.raises(ImageError, match="96x64 is more than 6143 pixels"):
        load_image(tmp_path / "a.heic", max_pixels=64 * 96 - 1)
    assert load_image(tmp_path / "a.heic", max_pixels=64 * 96).image.shape[0] == 64


def test_without_the_package_the_message_says_so(refused, monkeypatch):
    data = heic(BLOCKS)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = refused(data)
    assert "a HEIC file, which is not read without pillow-heif" in message
    assert "damaged" not in message


def test_a_cut_or_changed_file_is_refused_or_read(load, refused):
    data = heic(BLOCKS)
    for length in (20, 100, len(data) // 2):
        refused(data[:length])


@pytest.mark.parametrize("twelve", [False, True])
@pytest.mark.parametrize("mode", ["RGB;16", "RGBA;16"])
def test_white_of_10_and_12_bits_is_white(load, monkeypatch, twelve, mode):
    pillow_heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", twelve)
    found = load(heic(np.full((64, 64, len(mode) - 3), 65535, np.uint16), mode))
    assert found.image.min() == found.image.max() == 1
    assert found.notices == ("has more than 8 bits per channel: all are kept",)


def test_a_premultiplied_alpha_is_divided_out(load):
    levels = np.full((64, 64, 4), 64, np.uint8)
    levels[..., 3] = 128
    found = load(heic(levels, "RGBa"))
    np.testing.assert_allclose(found.image, 64 / 255 + 127 / 255, atol=0.01)


def test_of_several_images_the_primary_one_is_used(load):
    pillow_heif = pytest.importorskip("pillow_heif")
    several = pillow_heif.HeifFile()
    for level in (0, 255, 100):
        several.add_frombytes("RGB", (64, 64), bytes([level]) * 64 * 64 * 3)
    buffer = io.BytesIO()
    several.save(buffer, quality=100, primary_index=1)
    found = load(buffer.getvalue())
    np.testing.assert_allclose(found.image, 1, atol=0.01)
    assert found.notices == ("has several images: only the primary one is used",)


def test_a_file_without_a_colour_box_says_so(load):
    found = load(heic(BLOCKS).replace(b"colrnclx", b"colxnclx"))
    assert found.notices == (
        "says nothing of its colours in its boxes: taken for sRGB",
    )


def test_a_photo_that_is_turned_or_mirrored_says_so(load):
    pillow_heif = pytest.importorskip("pillow_heif")
    for orientation in range(1, 9):
        exif, buffer = PillowImage.Exif(), io.BytesIO()
        exif[274] = orientation
        # Which pillow-heif writes as irot and imir boxes.
        image = pillow_heif.from_bytes(mode="L", size=(96, 64), data=bytes(96 * 64))
        image.save(buffer, exif=exif.tobytes())
        told = any("turned upright" in line for line in load(buffer.getvalue()).notices)
        assert told == (orientation > 1), orientation
