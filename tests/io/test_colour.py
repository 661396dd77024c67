"""io.colour: signals and profiles against float64 maths of the standards."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    DISPLAY_P3,
    SRGB,
    chunk,
    matrix_profile,
    png,
    profile,
    srgb_decode,
    srgb_encode,
)

from jax_inr.errors import ImageError
from jax_inr.io import colour

RNG = np.random.default_rng(0)
UNIT = RNG.random((9, 11, 3), np.float32)
LEVELS = RNG.integers(0, 256, (7, 11, 3), np.uint8)
SIGNAL = "converted from its own gamma and primaries to sRGB"

# IEC 61966-2-1 and ITU-R BT.2020-2: linear RGB to XYZ of D65.
SRGB_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
BT2020_XYZ = np.array(
    [[0.6370, 0.1446, 0.1689], [0.2627, 0.6780, 0.0593], [0.0, 0.0281, 1.0610]]
)


def test_the_curve_of_srgb_is_its_own_inverse():
    levels = np.linspace(0, 1, 4097, dtype=np.float32)
    round_trip = colour.srgb_encode(colour.srgb_decode(levels))
    np.testing.assert_allclose(round_trip, levels, atol=2e-6)
    np.testing.assert_allclose(
        colour.srgb_encode(levels), srgb_encode(levels), atol=1e-6
    )


@pytest.mark.parametrize(
    ("primaries", "matrix"),
    [(12, np.linalg.inv(SRGB) @ DISPLAY_P3), (9, np.linalg.inv(SRGB_XYZ) @ BT2020_XYZ)],
)
@pytest.mark.parametrize(
    ("transfer", "power"), [(13, None), (1, None), (4, 2.2), (8, 1)]
)
def test_code_points(primaries, matrix, transfer, power):
    notices = []
    convert = colour.from_code(primaries, transfer, 3, notices)
    linear = srgb_decode(UNIT) if power is None else UNIT**power
    assert convert is not None
    expected = srgb_encode(linear @ matrix.T)
    np.testing.assert_allclose(convert(UNIT), expected, atol=0.003)
    assert notices == [SIGNAL]


def test_code_points_of_srgb_change_nothing():
    for primaries in (1, 2):
        for transfer in (1, 2, 6, 13, 14, 15):
            notices = []
            assert colour.from_code(primaries, transfer, 3, notices) is None
            assert notices == []


def test_what_is_not_applied_is_said_or_refused():
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        with pytest.raises(ImageError, match=f"HDR image .{name}"):
            colour.from_code(9, transfer, 3, [])
    notices = []
    assert colour.from_code(77, 12, 3, notices) is None
    assert len(notices) == 2
    assert all("not applied" in notice for notice in notices)


def test_grey_has_no_primaries():
    notices = []
    assert colour.from_code(9, 13, 1, notices) is None
    convert = colour.from_code(9, 8, 1, notices)
    assert convert is not None
    found = convert(UNIT[..., :1])
    np.testing.assert_allclose(found, srgb_encode(UNIT[..., :1]), atol=1e-5)


# -- the chunks of PNG


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(*xy: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in xy)))


P3_XY = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
SRGB_XY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


@settings(max_examples=60, deadline=None)
@given(
    gamma=st.floats(0.2, 2.6),
    p3=st.booleans(),
    deep=st.booleans(),
    grey=st.booleans(),
)
def test_gamma_and_primaries_of_png(tmp_path_factory, gamma, p3, deep, grey):
    from jax_inr.io.images import load_image

    gamma = round(gamma, 4)
    levels = LEVELS[..., :1] if grey else LEVELS
    white = 65535 if deep else 255
    stored = (levels * np.uint16(257)).astype(">u2") if deep else levels
    extra = (gama(gamma), chrm(*(P3_XY if p3 else SRGB_XY)))
    path = tmp_path_factory.getbasetemp() / "gamma.png"
    path.write_bytes(png(stored, 0 if grey else 2, 16 if deep else 8, *extra))
    found = load_image(path)
    unit = stored.astype(np.float64) / white
    wide = p3 and not grey
    if abs(gamma * 2.2 - 1) < 0.05 and not p3:
        expected = unit
        assert SIGNAL not in found.notices
    else:
        linear = unit ** (1 / gamma)
        if wide:
            linear = linear @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
        expected = srgb_encode(linear)
        assert SIGNAL in found.notices
    np.testing.assert_allclose(found.image, expected, atol=0.004)


def test_the_first_of_cicp_iccp_srgb_and_gamma_counts(load):
    cicp = chunk(b"cICP", bytes([1, 13, 0, 1]))
    iccp = chunk(b"iCCP", b"x\0\0" + zlib.compress(matrix_profile(DISPLAY_P3)))
    srgb, gamma = chunk(b"sRGB", b"\0"), gama(1)
    plain = LEVELS / 255
    for extra in ((gamma, srgb), (gamma, iccp, cicp), (srgb, cicp)):
        found = load(png(LEVELS, 2, 8, *extra))
        np.testing.assert_allclose(found.image, plain, atol=1e-6)
        assert found.notices == ()
    both = load(png(LEVELS, 2, 8, gamma, iccp))
    alone = load(png(LEVELS, 2, 8, iccp))
    np.testing.assert_array_equal(both.image, alone.image)
    late = png(LEVELS, 2, 8).replace(
        chunk(b"IEND", b""), gamma + iccp + chunk(b"IEND", b"")
    )
    np.testing.assert_allclose(load(late).image, plain, atol=1e-6)


def test_primaries_that_are_no_colours(load, refused):
    flat = chrm(0.3127, 0.329, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)
    assert "primaries are no colours" in refused(png(LEVELS, 2, 8, gama(0.3), flat))
    zero = load(png(LEVELS, 2, 8, chunk(b"gAMA", bytes(4)), chunk(b"cHRM", b"x")))
    np.testing.assert_allclose(zero.image, LEVELS / 255, atol=1e-6)


# -- profiles


def test_no_black_point_is_matched():
    """A profile whose black is half grey: its black stays so."""
    lift = np.linspace(0.2, 1, 256)
    table = np.rint(lift * 65535).astype(">u2").tobytes()
    tone = b"curv" + bytes(4) + struct.pack(">I", 256) + table
    convert = colour.from_icc(profile(b"GRAY", {b"kTRC": tone}), 1, notices := [])
    assert convert is not None
    black = convert(np.zeros((1, 1, 1), np.float32)).item()
    assert abs(black - srgb_encode(np.array(0.2))) < 0.01
    assert notices == ["converted from its colour profile to sRGB"]


def test_all_dark_shades_survive_a_linear_profile():
    tone = b"curv" + bytes(4) + struct.pack(">I", 0)
    convert = colour.from_icc(profile(b"GRAY", {b"kTRC": tone}), 1, [])
    assert convert is not None
    dark = (np.arange(64, dtype=np.float32) * 20 / 65535)[None, :, None]
    found = convert(dark)
    assert len(np.unique(found)) == 64
    np.testing.assert_allclose(found, srgb_encode(dark), atol=1e-4)


@pytest.mark.parametrize("cut", [0, 20, 127, 200, -1])
def test_a_profile_of_another_kind_or_cut_is_a_notice(cut):
    whole = matrix_profile(DISPLAY_P3)
    assert colour.from_icc(whole[:cut] if cut >= 0 else whole, 4, notices := [])
    assert notices[0] == "has a broken colour profile: ignored"
    if cut >= 0:
        assert colour.from_icc(whole[:cut], 3, notices := []) is None
        assert notices == ["has a broken colour profile: ignored"]
