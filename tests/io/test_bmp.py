"""io.bmp: masks of any bits and runs of any kind, by the bytes of the format."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import DISPLAY_P3, SRGB, matrix_profile, srgb_decode, srgb_encode

from jax_inr.errors import ImageError
from jax_inr.io import bmp

RNG = np.random.default_rng(0)
WHITE = "is transparent: composited on white"


def header(width, height, bits, compression, size=40, colours=0, extra=b"") -> bytes:
    start = 14 + size + len(extra)
    info = struct.pack("<IiiHHI", size, width, height, 1, bits, compression)
    info += struct.pack("<IiiII", 0, 0, 0, colours, 0)
    head = b"BM" + struct.pack("<III", 0, 0, start)
    return head + info.ljust(size, b"\0") + extra


def masked(levels: np.ndarray, masks: tuple[int, ...], bits: int, down: int) -> bytes:
    """A BMP of levels (h, w, c) that fit their masks."""
    height, width = levels.shape[:2]
    shifts = [(mask & -mask).bit_length() - 1 for mask in masks]
    pixels = sum(levels[..., n].astype(np.uint64) << s for n, s in enumerate(shifts))
    rows = np.zeros((height, -(-width * bits // 32) * 32 // bits), f"<u{bits // 8}")
    rows[:, :width] = pixels
    extra = struct.pack(f"<{len(masks)}I", *masks)
    kind = 3 if len(masks) == 3 else 6
    head = header(width, -height if down else height, bits, kind, extra=extra)
    return head + (rows if down else rows[::-1]).tobytes()


@settings(max_examples=60, deadline=None)
@given(
    masks=st.sampled_from(
        [
            (16, (0xF800, 0x7E0, 0x1F)),
            (16, (0xF00, 0xF0, 0xF)),
            (16, (0x3, 0x1C, 0x20)),
            (16, (0xF000, 0xF00, 0xF0, 0xF)),
            (32, (0xFF000000, 0xFF0000, 0xFF00)),
            (32, (0x3FF, 0xFFC00, 0x3FF00000)),
            (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        ]
    ),
    width=st.integers(1, 9),
    height=st.integers(1, 5),
    down=st.booleans(),
)
def test_masks(masks, width, height, down):
    bits, masks = masks
    whites = [mask >> ((mask & -mask).bit_length() - 1) for mask in masks]
    rng = np.random.default_rng(width)
    levels = np.stack([rng.integers(0, w + 1, (height, width)) for w in whites], -1)
    raster = bmp.read(masked(levels, masks, bits, down), 100, [])
    assert raster is not None
    expected = np.rint(levels / whites * 255)
    found = raster.samples
    if len(masks) == 4:
        assert raster.alpha is not None
        found = np.concatenate([found, raster.alpha], -1)
    np.testing.assert_allclose(found, expected, atol=0.51)


PALETTE = RNG.integers(0, 256, (16, 4), np.uint8)


def runs(body: bytes, width=5, height=2, bits=8, colours=16) -> bytes:
    head = header(width, height, bits, 1 if bits == 8 else 2, colours=colours)
    start = len(head) + PALETTE.nbytes
    head = head[:10] + struct.pack("<I", start) + head[14:]
    return head + PALETTE.tobytes() + body


def colours(*rows) -> np.ndarray:
    """The image of the indices, -1 for white."""
    indices = np.array(rows)
    image = PALETTE[indices][..., 2::-1] / 255
    return np.where(indices[..., None] < 0, 1, image)


NIBBLES = [[3, 4, 5, 6, 7], [1, 2, 1, 2, 1]]


@pytest.mark.parametrize(
    ("bits", "body", "rows", "notices"),
    [
        (8, b"\5\1\0\0\5\2\0\1", [[2] * 5, [1] * 5], ()),
        (8, b"\0\5\1\2\3\4\5\0\0\0\5\2\0\1", [[2] * 5, [1, 2, 3, 4, 5]], ()),
        (8, b"\1\1\0\2\2\1\2\7\0\1", [[-1, -1, -1, 7, 7], [1] + [-1] * 4], (WHITE,)),
        (
            4,
            b"\5\x12\0\0\0\5\x34\x56\x70\0\0\1",
            [[3, 4, 5, 6, 7], [1, 2, 1, 2, 1]],
            (),
        ),
        (
            4,
            b"\5\x12\0\0\0\6\x34\x56\x70\0\0\1",
            [[3, 4, 5, 6, 7], [1, 2, 1, 2, 1]],
            (),
        ),
        (8, b"\x08\1\0\0\5\2\0\1", [[2] * 5, [1] * 5], ()),
        (
            *(8, b"\x09\1\0\0\5\2\0\1", [[2] * 5, [1] * 5]),
            ("is damaged (runs outside the image): parts may be wrong",),
        ),
    ],
)
def test_runs(load, bits, body, rows, notices):
    found = load(runs(body, bits=bits))
    np.testing.assert_allclose(found.image, colours(*rows), atol=1e-6)
    assert found.notices == notices


def test_damaged_runs_are_refused(refused):
    for body in (b"", b"\5\1", b"\5\1\0\0\5\2", b"\0\5\1\2", b"\0\2\1"):
        assert "the runs end early" in refused(runs(body))
    assert "outside the image" in refused(runs(b"\0\2\0\2\5\1\0\1"))
    assert "palette index 9 of 4" in refused(runs(b"\5\x09\0\0\5\1\0\1", colours=4))


def test_what_would_take_long_or_much_is_refused(refused, monkeypatch):
    monkeypatch.setattr(bmp, "MAX_RUNS", 10)
    assert "more than 10 runs" in refused(runs(b"\0\2\0\0" * 20 + b"\0\1"))
    with pytest.raises(ImageError, match="more than 100 pixels"):
        bmp.read(runs(b"\0\1", width=60_000, height=60_000), 100, [])
    for size in ((0, 4), (-3, 4), (4, 0)):
        assert "no size" in refused(runs(b"\0\1", *size))


def of_version(size: int, space: bytes, *fields: tuple[int, bytes], tail=b"") -> bytes:
    """A BMP of 3 x 2 colours; fields: what stands where in its header."""
    data = bytearray(header(3, 2, 24, 0, size=size))
    for place, value in ((70, space), *fields):
        data[place : place + len(value)] = value
    return bytes(data) + PIXELS + tail


PIXELS = RNG.integers(0, 256, (2, 12), np.uint8).tobytes()
PLAIN = of_version(124, b"BGRs")
TOLD = "has primaries or a gamma of its own: not applied"


def test_a_profile_is_converted(load):
    icc = matrix_profile(DISPLAY_P3)
    fields = (126, struct.pack("<II", len(PLAIN) - 14, len(icc)))
    found = load(of_version(124, b"DEBM", fields, tail=icc))
    linear = srgb_decode(load(PLAIN).image) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    np.testing.assert_allclose(found.image, srgb_encode(linear), atol=0.005)
    assert found.notices == ("converted from its colour profile to sRGB",)
    found = load(of_version(124, b"DEBM", fields))
    assert found.notices == ("has a broken colour profile: ignored",)


@pytest.mark.parametrize("scale", [2**30, 2**16])
@pytest.mark.parametrize(
    ("corners", "gamma", "notices"),
    [
        (np.zeros((3, 3)), 0, ()),
        (SRGB.T, 2.2, ()),
        (SRGB.T, 1 / 2.2, ()),
        (SRGB.T, 1, (TOLD,)),
        (DISPLAY_P3.T, 2.2, (TOLD,)),
        (np.zeros((3, 3)), 1.8, (TOLD,)),
    ],
)
def test_calibrated_colours_are_told(load, corners, gamma, notices, scale):
    ends = np.rint(corners * scale).astype("<i4").tobytes()
    exponents = struct.pack("<I", round(gamma * 2**16)) * 3
    for size in (108, 124):
        found = load(of_version(size, bytes(4), (74, ends), (110, exponents)))
        np.testing.assert_array_equal(found.image, load(PLAIN).image)
        assert found.notices == notices


def test_a_profile_elsewhere_is_told(load):
    found = load(of_version(124, b"KNIL"))
    assert found.notices == ("has a colour profile in another file: not applied",)
    assert load(PLAIN).notices == ()
