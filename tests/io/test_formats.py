"""io.formats: every format's right image, or a refusal; nothing in between."""

import base64
import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    DISPLAY_P3,
    LOSSY,
    SRGB,
    chunk,
    encode,
    fixed,
    matrix_profile,
    on_white,
    png,
    profile,
    srgb_decode,
    srgb_encode,
    tiff,
)
from PIL import Image, ImageCms, ImageFile
from png_reference import CHANNELS, decode_png, read_png

from jax_inr.errors import ImageError
from jax_inr.io.images import load_image

EDGE = Path(__file__).parents[3] / "shared" / "images" / "edge"
needs_edge = pytest.mark.skipif(
    not EDGE.is_dir(), reason="the edge images are not beside the repository"
)
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (7, 11, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (7, 11, 4), np.uint16)
CAT = skimage.data.chelsea()[60:180:2, 100:280:2]  # (60, 90, 3)
FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", *LOSSY)
FRAMES = "has several frames: only the first is used"
WHITE = "is transparent: composited on white"
TURNED = "turned upright, as its EXIF orientation says"
BOXES = "turned upright, as its irot and imir boxes say"
KEPT = "has more than 8 bits per channel: all are kept"
CUT = "has more than 8 bits per channel: read with 8"


def blocks() -> np.ndarray:
    """Flat 8x8 blocks (16, 24, 3), all different: JPEG keeps them."""
    levels = np.array([[0, 60, 130], [190, 250, 30]], np.uint8)
    grey = levels.repeat(8, 0).repeat(8, 1)
    return np.stack([grey, grey // 2 + 20, 255 - grey], -1)


# -- orientation and frames

# EXIF 2.32, tag 274: the visual side of the 0th row and of the 0th column.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "deflate", "AVIF"])
def test_all_orientations_give_the_upright_image(load, kind):
    upright = blocks()
    for orientation, (row, column) in SIDES.items():
        stored = upright if row in ("top", "bottom") else upright.swapaxes(0, 1)
        stored = stored[::-1] if row in ("bottom", "right") else stored
        stored = stored[:, ::-1] if column in ("bottom", "right") else stored
        exif = Image.Exif()
        exif[274] = orientation
        options = {"compression": "tiff_deflate"} if kind == "deflate" else {}
        format_ = "TIFF" if kind == "deflate" else kind
        found = load(
            encode(np.ascontiguousarray(stored), format_, exif=exif, **options)
        )
        atol = 4 if kind in LOSSY else 0
        np.testing.assert_allclose(found.image * 255, upright, atol=atol + 1e-4)
        assert found.image.flags["C_CONTIGUOUS"]
        notice = BOXES if kind == "AVIF" else TURNED
        assert found.notices == ((notice,) if orientation > 1 else ())


def test_deep_images_are_turned_once(load):
    for kind in ("PNG", "TIFF"):
        exif = Image.Exif()
        exif[274] = 6
        found = load(encode(DEEP[..., 0], kind, exif=exif))
        expected = np.rot90(DEEP[..., 0], -1)
        np.testing.assert_array_equal(found.image[..., 0] * 65535, expected)


@pytest.mark.parametrize("value", [0, 9, 99])
def test_a_wrong_orientation_is_ignored(load, value):
    exif = Image.Exif()
    exif[274] = value
    found = load(encode(COLOUR, "PNG", exif=exif))
    np.testing.assert_array_equal(found.image * 255, COLOUR)


BROKEN = b"Exif\0\0garbage"


def test_garbage_exif_does_not_hide_the_image(load):
    for garbage in (
        BROKEN,
        b"garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\x09",
    ):
        for kind in ("JPEG", "PNG", "WEBP"):
            found = load(encode(blocks(), kind, exif=garbage))
            np.testing.assert_allclose(found.image * 255, blocks(), atol=4)
            if garbage == BROKEN:
                assert found.notices == ("has broken EXIF data: ignored",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_is_used_and_said(load, kind):
    first, second = Image.fromarray(blocks()), Image.new("RGB", (24, 16), "red")
    found = load(encode(first, kind, save_all=True, append_images=[second, first]))
    expected = load(encode(first, "JPEG" if kind == "MPO" else kind))
    # Pillow's MPO halves the colours' resolution.
    assert np.abs(found.image - expected.image).mean() < 0.04
    assert found.notices == (FRAMES,)
    assert expected.notices == ()


# -- alpha


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "PNG LA", "TIFF LA"])
def test_hidden_colours_never_show(load, kind):
    kind, mode = kind.split()[0], "LA" if "LA" in kind else "RGBA"
    colour = blocks()[..., : len(mode) - 1]
    alpha = np.zeros((16, 24, 1), np.uint8)
    alpha[:, 8:16], alpha[:, 16:] = 102, 255
    found = load(encode(Image.fromarray(np.dstack([colour, alpha]), mode), kind))
    expected = on_white(colour / 255, alpha / 255)
    np.testing.assert_allclose(
        found.image, expected, atol=0.02 if kind in LOSSY else 1e-6
    )
    assert (found.image[:, :8] == 1).all()
    assert found.notices == (WHITE,)


def test_transparent_palettes_hide_their_colours(load):
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2])
    several = load(encode(palette, "PNG", transparency=bytes([0, 51])))
    np.testing.assert_allclose(
        several.image, [[[1, 1, 1], [0.8, 1, 0.8], [0, 0, 1]]], atol=1e-6
    )
    for kind in ("PNG", "GIF"):
        one = load(encode(palette, kind, transparency=1))
        np.testing.assert_array_equal(one.image, [[[1, 0, 0], [1, 1, 1], [0, 0, 1]]])
        assert one.notices == (WHITE,)


def test_an_opaque_alpha_changes_and_says_nothing(load):
    opaque = np.dstack([COLOUR, np.full((7, 11), 255, np.uint8)])
    found = load(encode(opaque, "PNG"))
    np.testing.assert_array_equal(found.image, COLOUR.astype(np.float32) / 255)
    assert found.notices == ()


def test_premultiplied_alpha_is_composited_once(load):
    alpha = np.full((7, 11, 1), 0.6)
    colour = COLOUR / 255
    stored = np.rint(np.dstack([colour * alpha, alpha]) * 255).astype(np.uint8)
    data = tiff(stored, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_allclose(load(data).image, on_white(colour, alpha), atol=0.01)
    deep = np.rint(np.dstack([colour * alpha, alpha]) * 65535).astype(np.uint16)
    found = load(tiff(deep, photometric="rgb", extrasamples=["assocalpha"]))
    np.testing.assert_allclose(found.image, on_white(colour, alpha), atol=1e-4)
    assert KEPT in found.notices


def test_the_transparent_colour_of_each_png_type(load):
    """The judge is the reference decoder; PngSuite lacks most of these."""
    grey = np.tile(np.arange(16, dtype=np.uint8), (4, 1))
    deep = DEEP[..., :3].astype(">u2")
    deep[0, 0] = deep[1, 1] ^ 1  # the key's high bytes only
    cases = [
        *((np.packbits(grey & 1, axis=1), 0, 1, key) for key in (b"\0\0", b"\0\1")),
        (grey[:, :4] * 4 + 1, 0, 2, b"\0\1"),
        (grey[:, :8] * 17, 0, 4, b"\0\3"),
        (grey, 0, 8, b"\xff\5"),  # bits beyond the depth do not count
        (deep[..., 0], 0, 16, deep[2, 3, 0].item().to_bytes(2)),
        (
            COLOUR,
            2,
            8,
            bytes([0, COLOUR[2, 3, 0], 0, COLOUR[2, 3, 1], 0, COLOUR[2, 3, 2]]),
        ),
        (deep, 2, 16, deep[1, 1].tobytes()),
    ]
    for array, colour_type, depth, key in cases:
        data = png(array, colour_type, depth, chunk(b"tRNS", key))
        if depth < 8:
            data = data.replace(data[8:33], widened(data, array.shape[1] * 8 // depth))
        found = load(data)
        np.testing.assert_allclose(found.image, decode_png(data), atol=1e-6)
        assert WHITE in found.notices


def widened(data: bytes, width: int) -> bytes:
    """The IHDR chunk of a PNG with another width: its rows are packed."""
    return chunk(b"IHDR", struct.pack(">I", width) + data[20:29])


# -- depth


def test_a_16_bit_grey_ramp_keeps_its_levels(load):
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    header = b"P5 64 64 65535\n"
    deflate = tiff(ramp, byteorder=">", compression="zlib", predictor=True)
    for data in (
        encode(ramp, "PNG"),
        encode(ramp, "TIFF"),
        tiff(ramp, byteorder=">"),
        deflate,
        tiff(65535 - ramp, photometric="miniswhite"),
        header + ramp.astype(">u2").tobytes(),
    ):
        found = load(data)
        assert found.image.shape == (64, 64, 1)
        np.testing.assert_allclose(found.image[..., 0] * 65535, ramp, atol=0.01)
        assert found.notices == (KEPT,)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_colour_keeps_its_levels(load, order, compression):
    for channels in (3, 4):
        kind = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        options = {"byteorder": order, "compression": compression, **kind}
        found = load(tiff(DEEP[..., :channels], photometric="rgb", **options))
        alpha = DEEP[..., 3:] / 65535 if channels == 4 else np.ones((7, 11, 1))
        expected = on_white(DEEP[..., :3] / 65535, alpha)
        np.testing.assert_allclose(found.image, expected, atol=1e-6)
        assert KEPT in found.notices


def test_16_bit_png_of_each_type(load):
    for colour_type in (0, 2, 4, 6):
        channels = CHANNELS[colour_type]
        data = png(DEEP[..., :channels].astype(">u2"), colour_type, 16)
        found = load(data)
        np.testing.assert_allclose(found.image, decode_png(data), atol=1e-6)
        assert found.image.shape[2] == (1 if channels < 3 else 3)
        assert KEPT in found.notices


def test_netpbm_of_any_white(load, refused):
    for white in (1, 15, 255, 1000, 65535):
        for channels, magic in ((1, 5), (3, 6)):
            levels = RNG.integers(0, white + 1, (5, 6, channels))
            body = levels.astype(">u2" if white > 255 else "u1").tobytes()
            plain = " ".join(map(str, levels.ravel())).encode()
            for number, rest in ((magic, body), (magic - 3, plain)):
                head = b"P%d # a comment\n6 5\n%d\n" % (number, white)
                found = load(head + rest)
                cut = CUT in found.notices
                atol = 0.5 / 65535 if white > 255 and not cut else 0.5 / 255
                np.testing.assert_allclose(
                    found.image, levels / white, atol=atol + 1e-6
                )
                assert (white > 255) == (cut or KEPT in found.notices)
            assert "truncated" in refused(b"P%d 6 5 %d\n" % (magic, white) + body[:-1])
    too_white = b"P5 1 2 1000\n" + struct.pack(">HH", 60_000, 500)
    np.testing.assert_array_equal(load(too_white).image[..., 0], [[1], [0.5]])


def test_12_bit_tiff_is_not_dark(load):
    levels = np.array([[0, 1, 4094, 4095], [7, 2048, 9, 300]])
    body = b""
    for first, second in levels.reshape(-1, 2):
        body += ((first << 12) | second).item().to_bytes(3)
    tags = [(256, 4), (257, 2), (258, 12), (259, 1), (262, 1)]
    tags += [(273, 8 + 2 + 12 * 8 + 4), (278, 2), (279, len(body))]
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, value in tags:
        data += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
    found = load(data + bytes(4) + body)
    np.testing.assert_allclose(found.image[..., 0], levels / 4095, atol=1e-6)


def test_floats_are_used_as_they_are_or_refused(load, refused):
    values = RNG.random((7, 11), np.float32)
    np.testing.assert_array_equal(load(encode(values, "TIFF")).image[..., 0], values)
    pfm = b"Pf\n11 7\n-1.0\n" + values[::-1].tobytes()
    np.testing.assert_array_equal(load(pfm).image[..., 0], values)
    for wrong in (1.5, -0.1, np.nan, np.inf):
        values[3, 4] = wrong
        assert "float values from" in refused(encode(values, "TIFF"))


def test_integers_without_a_white_are_refused(refused):
    for kind in (np.int16, np.int32, np.uint32):
        message = refused(tiff(DEEP[..., 0].astype(kind)))
        assert "no agreed white" in message or "damaged" in message


def test_a_deep_avif_says_that_it_was_cut(load):
    """An 8x8 image of 10 bits: 0, 16, 32, ... row by row."""
    data = base64.b64decode(
        "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAA"
        "cGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAA"
        "KQAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAA"
        "FGlzcGUAAAAAAAAACAAAAAgAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIA"
        "AgAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAMW1kYXQSAAoIOAi/bwICBpAyGxICQ0qAAPIAAACQ"
        "PIBAyBvhs93oj+gtXZLP/Q=="
    )
    found = load(data)
    assert found.notices == (CUT,)
    ramp = np.arange(64).reshape(8, 8) * 16 / 1023
    np.testing.assert_allclose(found.image.mean(-1), ramp, atol=0.05)


# -- colour


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "JPEG"])
def test_display_p3_becomes_srgb(load, kind):
    hues = [[200, 60, 60], [60, 200, 60], [60, 60, 200], [230, 200, 40], [9, 99, 9]]
    colours = np.array(hues, np.uint8)[None].repeat(8, 0).repeat(8, 1)
    found = load(encode(colours, kind, icc_profile=matrix_profile(DISPLAY_P3)))
    linear = srgb_decode(colours / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    assert np.abs(srgb_encode(linear) - colours / 255).max() > 0.1
    atol = 0.03 if kind in LOSSY else 0.006
    np.testing.assert_allclose(found.image, srgb_encode(linear), atol=atol)
    assert found.notices == ("converted from its colour profile to sRGB",)


def test_srgb_under_any_name_changes_nothing(load):
    named = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for embedded in (named, matrix_profile(SRGB)):
        found = load(encode(CAT, "PNG", icc_profile=embedded))
        np.testing.assert_array_equal(found.image, CAT.astype(np.float32) / 255)
        assert found.notices == ()
        grey = load(encode(CAT[..., 0], "PNG", icc_profile=embedded))
        np.testing.assert_array_equal(grey.image * 255, CAT[..., :1])
        assert grey.notices == ()


def test_a_grey_profile_keeps_one_channel(load):
    gamma = profile(b"GRAY", {b"kTRC": b"curv" + bytes(4) + b"\0\0\0\1\2\x33"})
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = load(encode(ramp, "PNG", icc_profile=gamma))
    assert found.image.shape == (16, 16, 1)
    expected = srgb_encode((ramp / 255) ** (0x233 / 256))
    np.testing.assert_allclose(found.image[..., 0], expected, atol=0.004)
    assert np.abs(expected - ramp / 255).max() > 0.03
    deep = load(encode(DEEP[..., 0], "PNG", icc_profile=gamma))
    expected = srgb_encode((DEEP[..., 0] / 65535) ** (0x233 / 256))
    np.testing.assert_allclose(deep.image[..., 0], expected, atol=1e-4)


@pytest.mark.parametrize("primaries", [SRGB, DISPLAY_P3])
def test_deep_colour_with_a_profile_keeps_its_depth(load, primaries):
    deep = CAT.astype(np.uint16) * 257 + 100
    packed = chunk(b"iCCP", b"x\0\0" + zlib.compress(matrix_profile(primaries)))
    found = load(png(deep.astype(">u2"), 2, 16, packed))
    assert KEPT in found.notices
    linear = srgb_decode(deep / 65535) @ (np.linalg.inv(SRGB) @ primaries).T
    np.testing.assert_allclose(found.image, srgb_encode(linear), atol=0.002)


def test_alpha_outlives_a_profile(load):
    colour = np.dstack([blocks(), np.full((16, 24), 102, np.uint8)])
    found = load(encode(colour, "PNG", icc_profile=matrix_profile(DISPLAY_P3)))
    linear = srgb_decode(blocks() / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    expected = on_white(srgb_encode(linear), np.array(0.4))
    np.testing.assert_allclose(found.image, expected, atol=0.012)


@pytest.mark.parametrize("broken", [b"x", b"no profile" * 50, None])
def test_a_broken_profile_is_ignored_and_said(load, broken):
    wrong = profile(b"GRAY", {b"kTRC": b"curv" + bytes(4) + b"\0\0\0\1\2\x33"})
    found = load(encode(COLOUR, "PNG", icc_profile=broken or wrong))
    np.testing.assert_array_equal(found.image * 255, COLOUR)
    assert found.notices == ("has a broken colour profile: ignored",)


def test_cmyk(load):
    ink = np.dstack([blocks(), np.full((16, 24), 50, np.uint8)])
    cmyk = Image.frombytes("CMYK", (24, 16), ink.tobytes())
    naive = (1 - ink[..., :3] / 255) * (1 - 50 / 255)
    for kind in ("JPEG", "TIFF"):
        found = load(encode(cmyk, kind))
        np.testing.assert_allclose(found.image, naive, atol=0.03)
        assert found.notices == (
            "CMYK without a colour profile: colours are approximate",
        )
    # A printer that knows cyan only, and prints it grey: L falls from 100 to 0.
    grid = np.zeros((2, 2, 2, 2, 3), np.uint8)
    grid[0, ..., 0], grid[..., 1:] = 255, 128
    steps = np.arange(256, dtype=np.uint8)
    unit = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1" + bytes(4) + b"\4\3\2\0" + unit
    table += np.tile(steps, 4).tobytes() + grid.tobytes() + np.tile(steps, 3).tobytes()
    printer = profile(b"CMYK", {b"A2B0": table}, b"prtr")
    found = load(encode(cmyk, "TIFF", icc_profile=printer))
    lightness = 100 * (1 - ink[..., :1] / 255.0)
    lab = np.dstack([lightness, np.zeros((16, 24, 2))])
    expected = skimage.color.lab2rgb(lab, illuminant="D65")  # grey: any white will do
    np.testing.assert_allclose(found.image, expected, atol=0.02)
    assert found.notices == ("converted from its colour profile to sRGB",)


def test_lab(load):
    srgb = CAT / 255
    xyz = srgb_decode(srgb) @ SRGB.T
    lab = skimage.color.xyz2lab(xyz, illuminant="D50")
    stored = np.rint(lab * [2.55, 1, 1]).astype(np.int16).astype(np.uint8)
    found = load(tiff(stored, photometric="cielab"))
    np.testing.assert_allclose(found.image, srgb, atol=0.02)
    assert found.notices == ("converted from Lab to sRGB",)


def test_simple_modes_have_the_right_channels(load):
    bits = RNG.integers(0, 2, (7, 11)).astype(bool)
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        found = load(encode(Image.fromarray(bits), kind))
        np.testing.assert_array_equal(found.image[..., 0], bits)
        grey = load(encode(COLOUR[..., 0], kind))
        np.testing.assert_array_equal(grey.image * 255, COLOUR[..., :1])
    for grey in (COLOUR[..., 0], np.tile(np.arange(4, dtype=np.uint8) * 85, (2, 2))):
        negative = load(tiff(255 - grey, photometric="miniswhite"))
        np.testing.assert_array_equal(negative.image[..., 0] * 255, grey)
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        palette = Image.fromarray(COLOUR).quantize(64)
        found = load(encode(palette, kind))
        expected = np.asarray(palette.convert("RGB"))
        np.testing.assert_array_equal(found.image * 255, expected)
        assert found.notices == ()
    ycbcr = Image.fromarray(blocks()).convert("YCbCr")
    np.testing.assert_allclose(
        load(encode(ycbcr, "TIFF")).image * 255, blocks(), atol=3
    )


# -- damage


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_file_is_refused_or_its_image_is_whole(load, refused, kind, capfd):
    data = encode(blocks(), kind)
    whole = load(data).image
    lengths = {
        *range(1, len(data), 1 + len(data) // 60),
        *range(len(data) - 9, len(data)),
    }
    for length in sorted(lengths):
        try:
            found = load(data[:length])
        except ImageError:
            message = refused(data[:length])
            assert "truncated" in message or length < 12, message
        else:
            # The last byte of a BMP is padding.
            assert kind == "BMP"
            assert length == len(data) - 1
            np.testing.assert_array_equal(found.image, whole)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bits_never_crash_and_never_pass_in_png(load, kind, capfd):
    data = bytearray(encode(blocks(), kind))
    rng = np.random.default_rng(7)
    for position in rng.integers(0, len(data), 80):
        bit = 1 << int(rng.integers(8))
        data[position] ^= bit
        try:
            image = load(bytes(data)).image
        except ImageError as error:
            assert str(error).isprintable()
        else:
            assert kind != "PNG"
            assert image.dtype == np.float32
            assert image.shape[2] in (1, 3)
            assert image.min() >= 0
            assert image.max() <= 1
        data[position] ^= bit
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", ["group4", "tiff_lzw", "jpeg", "tiff_deflate"])
def test_a_damaged_tiff_prints_nothing(load, compression, capfd):
    """libtiff prints its errors, and Pillow goes on after some of them."""
    mode = "1" if compression == "group4" else "RGB"
    found = Image.fromarray(blocks()).convert(mode)
    data = bytearray(encode(found, "TIFF", compression=compression))
    refusals = []
    for position in range(len(data)):
        data[position] ^= 0x55
        try:
            load(bytes(data))
        except ImageError as error:
            assert str(error).isprintable()
            refusals.append(str(error))
        data[position] ^= 0x55
    assert capfd.readouterr() == ("", "")
    if compression == "group4":
        assert any("ad code word" in refusal for refusal in refusals)


def test_other_readers_of_tiff_hear_of_its_errors(load, capfd):
    noise = RNG.integers(0, 2, (64, 64)).astype(bool)
    data = bytearray(encode(noise, "TIFF", compression="group4"))
    load(bytes(data))
    data[len(data) // 2] ^= 0x55
    with contextlib.suppress(OSError), Image.open(io.BytesIO(data)) as found:
        found.load()
    assert "ode word" in capfd.readouterr().err


def test_png_rows_that_are_missing_are_not_black(refused):
    """Checksums hold, the stream just ends early: Pillow would say nothing."""
    whole = png(COLOUR, 2, 8)
    for rows in range(7):
        short = png(COLOUR[:rows], 2, 8)
        data = whole[:33] + short[33:]
        assert "rows are missing" in refused(data)


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(FORMATS).flatmap(
        lambda kind: st.integers(0, 60).map(lambda n: encode(COLOUR, kind)[:n])
    ),
    rest=st.binary(max_size=300),
)
def test_only_image_errors_escape(tmp_path_factory, start, rest):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(start + rest)
    try:
        image = load_image(path, max_pixels=10**6).image
    except ImageError as error:
        assert str(error).isprintable()
    else:
        assert image.dtype == np.float32


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
        (b"\xff\x0a\x10", "a JPEG XL file"),
        (
            b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", b"P\0 \2") + bytes(99),
            "a PNG as Apple's tools change it (CgBI)",
        ),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
        (b"\x76\x2f\x31\x01" + bytes(9), "an OpenEXR file"),
        (b"#?RADIANCE\n", "a Radiance HDR file"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a raw photo of a camera (CR3)"),
        (b"\0\0\0\x18ftypisom\0\0\0\1isommp42", "a film"),
        (b"text", "not in an image format"),
    ],
)
def test_other_formats_are_named_and_not_even_tried(refused, data, words):
    message = refused(data)
    assert words in message
    assert "damaged" not in message


def test_much_text_in_a_png_takes_bounded_work(load):
    long = chunk(b"tEXt", b"k\0" + b"x" * 2_000_000)
    many = [chunk(b"tEXt", b"k%d\0x" % number) for number in range(10_000)]
    for extra in ([long], many):
        np.testing.assert_array_equal(
            load(png(COLOUR, 2, 8, *extra)).image * 255, COLOUR
        )


# -- real files


@needs_edge
def test_pngsuite_against_the_reference_decoder():
    paths = sorted((EDGE / "pngsuite").glob("*.png"))
    assert len(paths) >= 175
    for path in paths:
        if path.name.startswith("x"):
            with pytest.raises(ImageError):
                load_image(path)
            continue
        found = load_image(path)
        expected = decode_png(path.read_bytes())
        np.testing.assert_allclose(found.image, expected, atol=2e-6, err_msg=path.name)
        deep = path.stem.endswith("16")
        assert (KEPT in found.notices) == deep, path.name
        transparent = read_png(path.read_bytes())[1].min() < 1
        assert (WHITE in found.notices) == transparent, path.name


@needs_edge
def test_one_photograph_in_eight_orientations():
    folder = EDGE / "exif"
    upright = load_image(folder / "Landscape_1.jpg").image
    for number in range(2, 9):
        found = load_image(folder / f"Landscape_{number}.jpg")
        assert found.image.shape == upright.shape
        assert np.abs(found.image - upright).mean() < 0.02
        assert found.notices == (TURNED,)


# What each file of Pillow's is: channels, and what there is to say or why not.
PILLOW = {
    "16_bit_noise.tif": (1, KEPT),
    "16bit.cropped.tif": (1, KEPT),
    "1_trns.png": (1, WHITE),
    "7x13.png": (3, ""),
    "LICENSE": (0, "not in an image format"),
    "anim_frame1.webp": (3, ""),
    "background_outside_palette.gif": (3, FRAMES),
    "broken.png": (0, "more than 50000000 pixels"),
    "broken_data_stream.png": (0, "wrong checksum in chunk IDAT"),
    "broken_exif_dpi.jpg": (3, ""),
    "bw_gradient.png": (1, ""),
    "chi.gif": (3, FRAMES),
    "decompression_bomb.gif": (0, "too many pixels"),
    "dispose_bgnd.gif": (3, FRAMES),
    "hopper.Lab.tif": (3, "converted from Lab to sRGB"),
    "hopper.avif": (3, ""),
    "hopper.iccprofile.tif": (3, ""),
    "hopper_16bit.pgm": (1, KEPT),
    "pil_sample_cmyk.jpg": (3, "CMYK without a colour profile"),
    "truncated_image.png": (0, "truncated"),
    "truncated_jpeg.jpg": (0, "truncated"),
}


@needs_edge
def test_pillow_s_odd_files():
    assert {path.name for path in (EDGE / "pillow").iterdir()} == set(PILLOW)
    for name, (channels, words) in PILLOW.items():
        path = EDGE / "pillow" / name
        if channels:
            found = load_image(path)
            assert found.image.shape[2] == channels, name
            assert words in "".join(found.notices), name
            assert bool(found.notices) == bool(words), name
        else:
            with pytest.raises(ImageError, match=words):
                load_image(path)
    avif, lab, icc = (
        load_image(EDGE / "pillow" / f"hopper.{kind}").image
        for kind in ("avif", "Lab.tif", "iccprofile.tif")
    )
    assert np.abs(avif - icc).mean() < 0.02
    assert np.abs(lab - icc).mean() < 0.02


# -- what a host program or a file's writer may have done


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
def test_a_host_that_shows_truncated_images_changes_nothing(refused, monkeypatch, kind):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encode(CAT, kind)
    refused(data[: len(data) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_palette_indices_without_a_colour_are_refused(refused):
    indices = np.full((4, 4), 3, np.uint8)
    palette = chunk(b"PLTE", bytes(9))
    assert "palette index 3 of 3 colours" in refused(png(indices, 3, 8, palette))


def test_bytes_behind_the_end_of_a_gif_are_no_damage(load):
    data = encode(blocks(), "GIF")
    np.testing.assert_array_equal(load(data + b"more").image, load(data).image)


def test_long_texts_and_bad_checksums_beside_the_image_are_no_damage(load):
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000)))
    wrong = chunk(b"tIME", bytes(7))[:-1] + b"x"
    exif = b"\nexif\n      14\n" + b"II*\0\x08\0\0\0\0\0\0\0\0\0".hex().encode()
    raw = chunk(b"tEXt", b"Raw profile type exif\0" + exif)
    found = load(png(COLOUR, 2, 8, text, wrong, raw))
    np.testing.assert_array_equal(found.image * 255, COLOUR)
    assert found.notices == ()


def test_the_exif_text_that_came_before_the_chunk_turns_the_image(load):
    exif = Image.Exif()
    exif[274] = 3
    told = exif.tobytes().hex().encode()
    for name, packed in ((b"tEXt", bytes), (b"zTXt", zlib.compress)):
        body = packed(b"\nexif\n%8d\n%s\n" % (len(told) // 2, told))
        kind = b"" if name == b"tEXt" else b"\0"
        text = chunk(name, b"Raw profile type exif\0" + kind + body)
        found = load(png(COLOUR, 2, 8, text))
        np.testing.assert_array_equal(found.image * 255, COLOUR[::-1, ::-1])
        assert found.notices == (TURNED,)


COMMENT = b"<?xml version='1.0'?><!-- a --><svg xmlns='x'/>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "PPM"])
def test_a_drawing_in_a_comment_is_no_drawing(load, kind):
    data = encode(CAT[:16, :16], kind)
    commented = {
        "JPEG": data[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(COMMENT)) + COMMENT,
        "PNG": data[:33] + chunk(b"tEXt", b"Comment\0" + COMMENT),
        "GIF": data[:781] + b"\x21\xfe" + bytes([len(COMMENT)]) + COMMENT + b"\0",
        "PPM": data[:3] + b"#" + COMMENT + b"\n",
    }[kind]
    rest = data[{"JPEG": 2, "PNG": 33, "GIF": 781, "PPM": 3}[kind] :]
    np.testing.assert_array_equal(load(commented + rest).image, load(data).image)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\xef\xbb\xbf\r\n\t ",
        b"<?xml version='1.0'?><!-- <svg> in words -->\n",
        b"<!DOCTYPE svg PUBLIC 'x' 'y'>",
        b"<!-- -->" * 400,
    ],
)
def test_drawings_are_named(refused, start):
    assert "an SVG drawing" in refused(start + b"<svg xmlns='x'/>")


@pytest.mark.timeout(20)
def test_what_looks_long_like_a_drawing_takes_no_time(refused):
    for start in (b" " * 5000, b"<!-- -->" * 1000, b"<?" * 2000, b"<!--" * 1000):
        assert "not in an image format" in refused(start + b"text")


def test_a_gif_frame_beyond_its_canvas_is_shown_whole(load):
    data = bytearray(encode(CAT, "GIF"))
    whole = load(bytes(data))
    data[6:10] = struct.pack("<HH", 50, 40)
    found = load(bytes(data))
    np.testing.assert_array_equal(found.image, whole.image)
    assert found.notices == ("has a frame beyond its canvas: shown whole",)
    assert whole.notices == ()


def test_an_avif_without_a_colour_box_says_so(load):
    data = encode(CAT, "AVIF")
    assert load(data).notices == ()
    found = load(data.replace(b"colrnclx", b"colxnclx"))
    assert found.notices == (
        "says nothing of its colours in its boxes: taken for sRGB",
    )


def test_a_png_with_an_unknown_critical_chunk_is_named(refused):
    levels = np.zeros((3, 4), np.uint8)
    line = refused(png(levels, 0, 8, chunk(b"ABCD", b"x")))
    assert "a PNG with the unknown chunk ABCD" in line
