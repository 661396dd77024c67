"""io.tiff: every layout of a TIFF holds the same image; what is no image is named."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    DISPLAY_P3,
    SRGB,
    encode,
    on_white,
    srgb_decode,
    srgb_encode,
    tiff,
)
from PIL import Image as PillowImage

from jax_inr.io import tiff as io_tiff
from jax_inr.io import tifftags
from jax_inr.io.images import load_image
from jax_inr.io.raster import finish

RNG = np.random.default_rng(0)
FRAMES = "has several frames: only the first is used"


def read(data: bytes, max_pixels: int = 10**6) -> tuple[np.ndarray, list[str]]:
    """The image in [0, 1] and its notices."""
    notices: list[str] = []
    levels = finish(io_tiff.read(data, max_pixels, notices), notices)
    return levels / (255 if levels.dtype == np.uint8 else 1), notices


@settings(max_examples=200, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "u2", "f2", "f4", "f8"]),
    channels=st.sampled_from([1, 3]),
    alpha=st.sampled_from([None, "unassalpha", "assocalpha", "unspecified"]),
    planar=st.booleans(),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    compression=st.sampled_from([None, "lzw", "zlib", "packbits", "zstd", "lzma"]),
    predictor=st.booleans(),
    layout=st.sampled_from([{}, {"rowsperstrip": 3}, {"tile": (16, 16)}]),
)
def test_layout_does_not_change_the_image(
    dtype, channels, alpha, planar, order, big, compression, predictor, layout
):
    rng = np.random.default_rng(channels)
    colour, opacity = rng.random((19, 23, channels)), rng.random((19, 23, 1))
    bands = [colour, opacity] if alpha else [colour]
    samples = np.concatenate(bands, -1)
    if alpha == "assocalpha":
        samples = np.concatenate([colour * opacity, opacity], -1)
    white = 1 if dtype[0] == "f" else np.iinfo(dtype).max
    levels = samples if white == 1 else np.rint(samples * white)
    levels = levels.astype(dtype)
    if planar and levels.shape[2] > 1:
        stored, config = np.moveaxis(levels, -1, 0), "separate"
    else:
        stored, config = levels, "contig"
    predicted = predictor and compression in ("lzw", "zlib", "zstd", "lzma")
    data = tiff(
        np.ascontiguousarray(stored if stored.shape[-1] > 1 else stored[..., 0]),
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig=config if levels.shape[2] > 1 else None,
        extrasamples=[alpha] if alpha else None,
        byteorder=order,
        bigtiff=big,
        compression=compression,
        predictor=predicted or None,
        **layout,
    )
    image, notices = read(data)
    expected = levels.astype(np.float64) / white
    if alpha in ("unassalpha", "assocalpha"):
        opacity = expected[..., -1:]
        expected = on_white(expected[..., :-1], opacity)
        if alpha == "assocalpha":
            expected = levels[..., :-1].astype(np.float64) / white + 1 - opacity
    expected = expected[..., :channels]
    # Rounded samples may exceed their rounded alpha by a level.
    near = 3 / 255 if dtype == "u1" and alpha == "assocalpha" else 0.002
    np.testing.assert_allclose(image, np.minimum(expected, 1), atol=near)
    dropped = "has 1 more channels than its colours: not used" in notices
    assert dropped == (alpha == "unspecified")


@settings(max_examples=40, deadline=None)
@given(
    bits=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 14]),
    inverted=st.booleans(),
    order=st.sampled_from("<>"),
)
def test_packed_bits(bits, inverted, order):
    white = 2**bits - 1
    levels = np.random.default_rng(bits).integers(0, white + 1, (5, 7))
    rows = b""
    for row in levels:
        text = "".join(f"{level:0{bits}b}" for level in row)
        text += "0" * (-len(text) % 8)
        rows += int(text, 2).to_bytes(len(text) // 8)
    image, _ = read(plain_tiff(7, 5, bits, 0 if inverted else 1, rows, order))
    expected = levels / white
    np.testing.assert_allclose(
        image[..., 0], 1 - expected if inverted else expected, atol=1e-6
    )


def plain_tiff(
    width: int, height: int, bits: int, photometric: int, rows: bytes, order="<"
) -> bytes:
    """A TIFF of one strip, written by hand."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, height), (279, len(rows))]
    start = 8 + len(rows) + len(rows) % 2
    mark = b"II" if order == "<" else b"MM"
    data = mark + struct.pack(order + "HI", 42, start)
    data += rows.ljust(start - 8, b"\0") + struct.pack(order + "H", len(tags))
    for tag, value in tags:
        data += struct.pack(order + "HHII", tag, 4, 1, value)
    return data + bytes(4)


@pytest.mark.parametrize("shift", [0, 8])
@pytest.mark.parametrize("order", "<>")
def test_palettes_of_8_and_of_16_bits(shift, order):
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = tiff(
        indices, photometric="palette", colormap=table << shift, byteorder=order
    )
    image, notices = read(data)
    np.testing.assert_allclose(image, table.T[indices] / 255, atol=1e-6)
    assert notices == []


def test_a_palette_without_the_colour_is_damage():
    data = tiff(
        np.full((4, 4), 3, np.uint8),
        photometric="palette",
        colormap=np.full((3, 256), 9000, np.uint16),
    )
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages.first.tags[320]
    # The palette's count, cut to 2 colours.
    data = data[: tag.offset + 4] + struct.pack("<I", 6) + data[tag.offset + 8 :]
    with pytest.raises(ValueError, match="palette index 3 of 2 colours"):
        read(data)


def test_ycbcr_is_converted_however_it_is_packed():
    smooth = np.kron(RNG.integers(0, 256, (3, 4, 3)), np.ones((8, 8, 1)))
    colour = PillowImage.fromarray(smooth.astype(np.uint8))
    for kind in ("raw", "jpeg"):
        data = encode(colour.convert("YCbCr"), "TIFF", compression=kind, quality=95)
        image, notices = read(data)
        np.testing.assert_allclose(image * 255, smooth, atol=12)
        assert notices == []


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_fax_is_turned_once(load, compression, orientation):
    bits = RNG.integers(0, 2, (9, 14)).astype(bool)
    exif = PillowImage.Exif()
    exif[274] = orientation
    bilevel = PillowImage.fromarray(bits)
    found = load(encode(bilevel, "TIFF", compression=compression, exif=exif))
    plain = load(encode(bilevel, "TIFF", exif=exif))
    np.testing.assert_array_equal(found.image, plain.image)
    assert found.notices == plain.notices


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
def test_a_missing_strip_is_never_black(refused, compression):
    levels = RNG.integers(0, 256, (64, 16, 3), np.uint8)
    data = bytearray(tiff(levels, compression=compression, rowsperstrip=16))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        counts = file.pages.first.tags[279]
    size = counts.valuebytecount // 4
    at = counts.valueoffset + 2 * size
    data[at : at + size] = bytes(size)
    assert "outside the file" in refused(bytes(data))


def test_damage_in_a_jpeg_strip_is_said(load):
    levels = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    data = bytearray(tiff(levels, compression="jpeg", photometric="ycbcr"))
    assert load(bytes(data)).notices == ()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        middle = page.dataoffsets[0] + page.databytecounts[0] // 2
    data[middle : middle + 60] = bytes(60)
    (notice,) = load(bytes(data)).notices
    assert "damaged" in notice


# -- which image


def pages(*parts: tuple[np.ndarray, dict]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for array, options in parts:
            writer.write(array, photometric="rgb", metadata=None, **options)
    return buffer.getvalue()


SMALL = RNG.integers(0, 256, (6, 8, 3), np.uint8)
FULL = RNG.integers(0, 256, (12, 16, 3), np.uint8)


def test_a_reduced_copy_is_not_the_image():
    image, notices = read(pages((SMALL, {"subfiletype": 1}), (FULL, {})))
    np.testing.assert_allclose(image, FULL / 255, atol=1e-6)
    assert notices == ["begins with a reduced copy: the full image behind it is used"]
    image, notices = read(pages((FULL, {}), (SMALL, {"subfiletype": 1})))
    np.testing.assert_allclose(image, FULL / 255, atol=1e-6)
    assert notices == []
    image, notices = read(pages((FULL, {}), (SMALL, {})))
    assert notices == [FRAMES]


def test_a_pyramid_in_subifds_is_fine_and_a_thumbnail_before_them_is_not(refused):
    copy = {"subfiletype": 1}
    image, notices = read(pages((FULL, {"subifds": 1}), (SMALL, copy)))
    np.testing.assert_allclose(image, FULL / 255, atol=1e-6)
    assert notices == []
    for first in ({}, copy):
        data = pages((SMALL, {"subifds": 1, **first}), (FULL, {}))
        assert "a raw photo of a camera" in refused(data)


def test_raw_photos_are_refused_by_name(refused):
    dng = pages((FULL, {"extratags": [(50706, 1, 4, (1, 4, 0, 0), True)]}))
    assert "a raw photo of a camera" in refused(dng)
    cfa = plain_tiff(4, 4, 8, 32803, bytes(16))
    assert "a raw photo of a camera" in refused(cfa)
    cr2 = plain_tiff(4, 4, 8, 1, b"CR\2\0" + bytes(12))
    assert "a raw photo of a camera" in refused(cr2)


# -- what is refused


def test_what_is_not_read_is_named(refused):
    whites = "no agreed white"
    for dtype in ("i1", "i2", "i4", "u4"):
        assert whites in refused(tiff(RNG.integers(0, 99, (5, 4)).astype(dtype)))
    assert "bits per channel" in refused(tiff(np.ones((5, 4), np.complex64)))
    assert "a mask" in refused(plain_tiff(4, 4, 8, 4, bytes(16)))
    assert "LogL" in refused(plain_tiff(4, 4, 16, 32844, bytes(32)))
    fax = plain_tiff(4, 4, 8, 1, bytes(16))
    thunder = fax.replace(
        struct.pack("<HHII", 259, 4, 1, 1), struct.pack("<HHII", 259, 4, 1, 32809)
    )
    assert "compressed by THUNDERSCAN" in refused(thunder)
    assert "compressed by WEBP" in refused(tiff(FULL, compression="webp"))


def test_a_lossless_jpeg_never_reaches_the_decoder_that_it_would_break(refused):
    levels = RNG.integers(0, 256, (32, 16, 3), np.uint8)
    data = tiff(levels, compression="jpeg", photometric="rgb", rowsperstrip=16)
    for start in (data.index(b"\xff\xc0"), data.rindex(b"\xff\xc0")):
        changed = bytearray(data)
        changed[start + 1] = 0xC3
        message = refused(bytes(changed))
        assert "damaged" in message
    assert "another kind" in message


def test_a_sound_lossless_jpeg_is_read_exactly(load):
    levels = RNG.integers(0, 256, (16, 24), np.uint8)
    stream = bytes(imagecodecs.jpeg8_encode(levels, lossless=True))
    data = plain_tiff(24, 16, 8, 1, stream)
    none, jpeg = (struct.pack("<HHII", 259, 4, 1, kind) for kind in (1, 7))
    found = load(data.replace(none, jpeg))
    np.testing.assert_array_equal(np.round(255 * found.image[..., 0]), levels)
    assert found.notices == ()


@pytest.mark.parametrize("side", [2**15, 65520])
def test_a_huge_tile_is_refused(refused, side):
    data = tiff(np.zeros((16, 16), np.uint8), tile=(16, 16))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = [file.pages.first.tags[tag] for tag in (322, 323)]
    changed = bytearray(data)
    for tag in tags:
        size = "<H" if tag.dtype == 3 else "<I"
        struct.pack_into(size, changed, tag.valueoffset, side)
    assert "more samples than fit" in refused(bytes(changed))


def test_what_tifffile_logs_stays_here(caplog, tmp_path):
    data = bytearray(tiff(SMALL))
    position = data.index(struct.pack("<HH", 282, 5))  # XResolution, of no type
    data[position + 2 : position + 4] = b"\x63\0"
    (tmp_path / "a.tif").write_bytes(data)
    load_image(tmp_path / "a.tif")
    assert not caplog.records


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5])
def test_a_float_alpha_out_of_range_is_refused(refused, kind, value):
    levels = np.full((4, 5, 4), 0.5, np.float32)
    levels[1, 2, 3] = value
    message = refused(tiff(levels, photometric="rgb", extrasamples=[kind]))
    assert "float alpha from" in message and "not in [0, 1]" in message


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_too_many_strips_are_refused_before_they_are_read(
    refused, monkeypatch, order, big
):
    monkeypatch.setattr(tifffile, "TiffFile", None)
    levels = np.zeros((tifftags.MAX_NUMBERS + 1, 1), np.uint8)
    data = tiff(levels, rowsperstrip=1, byteorder=order, bigtiff=big)
    assert f"{len(levels)} strips" in refused(data)
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages, byteorder=order, bigtiff=big) as file:
        file.write(SMALL, subifds=1, metadata=None)
        file.write(levels, rowsperstrip=1, metadata=None)
    assert f"{len(levels)} strips" in refused(pages.getvalue())


def test_folders_in_a_ring_end(load):
    data = bytearray(tiff(SMALL, byteorder="<", metadata=None))
    start = int.from_bytes(data[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[end : end + 4] = data[4:8]
    np.testing.assert_array_equal(load(bytes(data)).image, load(tiff(SMALL)).image)


def test_tiles_far_larger_than_a_narrow_image_are_refused(refused):
    data = tiff(np.zeros((200_000, 1), np.uint8), tile=(16, 2048), compression="zlib")
    assert "more samples than fit" in refused(data)


def rationals(*numbers: float) -> list[int]:
    return [part for x in numbers for part in (round(x * 10_000), 10_000)]


P3_XY = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def test_chromaticities_are_applied_and_another_curve_is_told(load):
    white = (318, 5, 2, rationals(0.3127, 0.329), True)
    corners = (319, 5, 6, rationals(*P3_XY), True)
    linear = srgb_decode(SMALL / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    for tags in ([corners], [white, corners]):
        found = load(tiff(SMALL, extratags=tags))
        np.testing.assert_allclose(found.image, srgb_encode(linear), atol=0.005)
        assert found.notices == ("converted from its own gamma and primaries to sRGB",)
    same = (319, 5, 6, rationals(0.64, 0.33, 0.3, 0.6, 0.15, 0.06), True)
    assert load(tiff(SMALL, extratags=[white, same])).notices == ()
    unit = np.linspace(0, 1, 256)
    told = ("has a transfer function of its own: not applied",)
    for values, notices in (
        (srgb_decode(unit), ()),
        (unit**2.2, ()),
        (unit**1.8, told),
        (unit, told),
    ):
        table = np.rint(values * 65535).astype(int).tolist()
        for count in (1, 3):
            curve = (301, 3, 256 * count, table * count, True)
            found = load(tiff(SMALL, extratags=[curve]))
            np.testing.assert_array_equal(found.image, load(tiff(SMALL)).image)
            assert found.notices == notices


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_odd_tags_of_colour_refuse_no_image(load, dtype):
    scale = {"u1": 1, "u2": 257, "f4": 1 / 255}[dtype]
    image = (SMALL.astype(np.float64) * scale).astype(dtype)
    plain = load(tiff(image, photometric="rgb"))
    told = "has a transfer function of its own: not applied"
    flat = "has primaries that are no colours: ignored"
    table = np.rint(np.linspace(0, 1, 256) ** 2.2 * 65535).astype(int).tolist()
    for tag, notices in (
        # The numbers of 8 bits, whatever the image has.
        ((301, 3, 768, table * 3, True), ()),
        ((301, 3, 768, list(range(768)), True), (told,)),
        ((301, 3, 7, list(range(7)), True), (told,)),
        ((301, 2, 6, "words", True), (told,)),
        ((319, 5, 6, [0, 0] * 6, True), ()),
        ((319, 5, 6, rationals(*[0.3] * 6), True), (flat,)),
        ((319, 5, 6, [0, 0, *rationals(*P3_XY[1:])], True), (flat,)),
        ((319, 5, 2, rationals(0.64, 0.33), True), ()),
    ):
        found = load(tiff(image, photometric="rgb", extratags=[tag]))
        np.testing.assert_array_equal(found.image, plain.image)
        assert found.notices == (*notices, *plain.notices), tag


def test_a_float_just_above_1_is_told_with_its_digits(refused):
    image = np.full((4, 4), 0.5, np.float32)
    image[1, 2] = np.nextafter(np.float32(1), np.float32(2))
    assert "from 0.5 to 1.00000012 are not in [0, 1]" in refused(tiff(image))
