"""io.heic: photos of phones, with the optional package and without."""

import io
import sys

import numpy as np
import pytest
from image_files import DISPLAY_P3, SRGB, matrix_profile, srgb_decode, srgb_encode
from PIL import Image as PillowImage

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
