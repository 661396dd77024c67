"""Image files that were read wrongly or refused though sound, and what each holds.

All but a few store one and the same image, BASE; what a file's colour signal makes of
it is computed here in float64. tests/data/trials holds the files.
"""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_files import DISPLAY_P3, SRGB, on_white, srgb_decode, srgb_encode
from png_reference import read_png

from jax_inr.errors import ImageError
from jax_inr.io.images import load_image

TRIALS = Path(__file__).parents[1] / "data" / "trials"


def stored(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha of a PNG as stored, in [0, 1]; the reference decoder's."""
    return read_png((TRIALS / name).read_bytes())


BASE = stored("png_xmp_orientation_only.png")[0]
P3 = srgb_encode(srgb_decode(BASE) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T)
GREY_ALPHA = stored("png_grey_alpha16_with_grey_icc.png")
WHITE = "is transparent: composited on white"
KEPT = "has more than 8 bits per channel: all are kept"
SIGNAL = "converted from its own gamma and primaries to sRGB"
PROFILE = "converted from its colour profile to sRGB"


def rle4() -> np.ndarray:
    """Four rows of the palette's entries 1 to 5, by the bytes of the file."""
    data = (TRIALS / "bmp_rle4_odd_width.bmp").read_bytes()
    entries = np.frombuffer(data, np.uint8, 64, 54).reshape(16, 4)
    return np.tile(entries[1:6, 2::-1], (4, 1, 1)) / 255


def palette() -> np.ndarray:
    """The colours of 8 bits that the TIFF's palette of 16 holds."""
    with tifffile.TiffFile(TRIALS / "tiff_palette_8bit_colormap.tif") as file:
        page = file.pages.first
        return np.asarray(page.colormap).T[page.asarray()] / 255


def planes() -> np.ndarray:
    grey, alpha = tifffile.imread(TRIALS / "tiff_grey_alpha_planar_deflate.tif") / 255
    return on_white(grey, alpha)[..., None]


def five_bands() -> np.ndarray:
    return tifffile.imread(TRIALS / "five_bands.tif")[..., :3] / 255


def small_gif() -> np.ndarray:
    """A frame of 4x4 red pixels at (2, 2) on a canvas of 8x8."""
    image = np.ones((8, 8, 3))
    image[2:6, 2:6, 1:] = 0
    return image


def mask() -> np.ndarray:
    levels = tifffile.imread(TRIALS / "tiff_float_bigendian_deflate_mask.tif")
    return levels[..., None].astype(np.float64)


# File: its image, how near in [0, 1], and the notices.
READ = {
    "bigtiff_bigendian.tif": (lambda: BASE[..., :1], 1e-6, ()),
    "bmp_bitfields_rgbx.bmp": (lambda: BASE, 1e-6, ()),
    "bmp_rle4_odd_width.bmp": (rle4, 1e-6, ()),
    "five_bands.tif": (
        *(five_bands, 1e-6),
        ("has 2 more channels than its colours: not used",),
    ),
    "gif_frame_smaller_than_screen.gif": (
        *(small_gif, 1e-6),
        ("has a frame smaller than its canvas", WHITE),
    ),
    "icc_1p1MB.png": (
        *(lambda: np.full((8, 8, 3), srgb_encode(np.array(200 / 255))), 1e-4),
        (PROFILE,),
    ),
    "linear16_dark.png": (
        *(lambda: srgb_encode(stored("linear16_dark.png")[0]), 1e-4),
        (PROFILE, KEPT),
    ),
    "png_cICP_P3.png": (lambda: P3, 0.001, (SIGNAL,)),
    "png_gAMA_linear.png": (lambda: srgb_encode(BASE), 1e-5, (SIGNAL,)),
    "png_grey_alpha16_with_grey_icc.png": (
        *(lambda: on_white(srgb_encode(GREY_ALPHA[0]), GREY_ALPHA[1]), 1e-4),
        (PROFILE, KEPT, WHITE),
    ),
    "png_xmp_orientation_only.png": (lambda: BASE, 1e-6, ()),
    "tiff_float_bigendian_deflate_mask.tif": (mask, 0, (KEPT,)),
    "tiff_float_rgb.tif": (lambda: BASE, 0.002, (KEPT,)),
    "tiff_grey_alpha_planar_deflate.tif": (planes, 1e-6, (WHITE,)),
    "tiff_palette_8bit_colormap.tif": (palette, 1e-6, ()),
}
REFUSED = {
    "avif_nclx_bt2020_pq.avif": "an HDR image (PQ of BT.2100)",
    "png_cICP_PQ_16bit.png": "an HDR image (PQ of BT.2100)",
    "raw_like_thumbnail_first.dng": "a raw photo of a camera",
    "tiff_signed_int8.tif": "signed or 32-bit integers have no agreed white",
}
# Read as far as they go, with a notice.
DAMAGED = ("half_scan_with_end_mark.jpg", "jpeg_bitrot.jpg")
# Its own test is below: no other AVIF decoder is independent.
NCLX = "avif_nclx_p3.avif"


def test_every_file_has_its_line():
    listed = {*READ, *REFUSED, *DAMAGED, NCLX}
    assert {path.name for path in TRIALS.iterdir()} == listed


@pytest.mark.parametrize("name", READ)
def test_the_image_is_what_the_file_holds(name):
    expected, atol, notices = READ[name]
    found = load_image(TRIALS / name)
    assert found.image.dtype == np.float32
    np.testing.assert_allclose(found.image, expected(), atol=atol, rtol=0)
    assert found.notices == notices


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name):
    with pytest.raises(ImageError) as caught:
        load_image(TRIALS / name)
    assert REFUSED[name] in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_said(name):
    (notice,) = load_image(TRIALS / name).notices
    assert notice.startswith("is damaged (premature end of data segment)")


def test_the_primaries_of_an_avif_are_converted():
    """Against imagecodecs' levels as stored, and the maths of this file."""
    imagecodecs = pytest.importorskip("imagecodecs")
    levels = imagecodecs.avif_decode((TRIALS / NCLX).read_bytes())
    linear = srgb_decode(levels / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    found = load_image(TRIALS / NCLX)
    np.testing.assert_allclose(found.image, srgb_encode(linear), atol=0.012)
    assert np.abs(found.image - levels / 255).mean() > 0.01
    assert found.notices == (SIGNAL,)
