"""io.jpeg: kinds that are refused, and damage that libjpeg passes over."""

import numpy as np
import pytest
from image_files import encode
from PIL import Image as PillowImage

from jax_inr.errors import ImageError
from jax_inr.io import jpeg

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 96, 3), np.uint8)


def variants() -> list[bytes]:
    return [
        encode(NOISE, "JPEG"),
        encode(NOISE, "JPEG", progressive=True, subsampling="4:2:0"),
        encode(NOISE[..., 0], "JPEG", optimize=True),
        encode(PillowImage.fromarray(NOISE).convert("CMYK"), "JPEG"),
        encode(NOISE, "JPEG", restart_marker_blocks=3),
    ]


def test_sound_streams_are_not_called_damaged(load):
    for data in variants():
        stream = jpeg.markers(data)
        assert (stream.height, stream.width, stream.lossless) == (64, 96, False)
        assert jpeg.damage(stream) == ""
        # Bytes behind the end are no part of the image.
        assert not [n for n in load(data + b"more").notices if "damaged" in n]


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_damage_with_an_end_mark_is_said(load, number):
    data = variants()[number]
    middle = len(data) // 2
    (notice,) = load(data[:middle] + b"\xff\xd9").notices
    assert notice.startswith("is damaged")
    worse = data[:middle] + bytes(400) + data[middle + 400 :]
    assert any("damaged" in notice for notice in load(worse).notices)


def test_garbage_between_the_tables_damages_no_pixel(load):
    data = encode(NOISE, "JPEG")
    at = data.index(b"\xff\xdb")
    for garbage in (b"\0\1\2\3", b"\xff\xe2\0\x10ICC_PROFILE\0\x05\x02"):
        found = load(data[:at] + garbage + data[at:])
        np.testing.assert_array_equal(found.image, load(data).image)
        assert not [notice for notice in found.notices if "damaged" in notice]


@pytest.mark.parametrize(
    ("marker", "bits", "words"),
    [
        (0xC1, 12, "12 bits per channel"),
        (0xC5, 8, "hierarchical JPEG"),
        (0xF7, 8, "JPEG-LS"),
    ],
)
def test_sound_kinds_that_are_not_read_are_named(marker, bits, words):
    data = bytearray(encode(NOISE, "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 1], data[start + 4] = marker, bits
    with pytest.raises(ImageError, match=words) as caught:
        jpeg.markers(bytes(data))
    assert "damaged" not in str(caught.value)


def test_frames_are_read_by_the_table_of_the_standard():
    """ITU-T T.81, table B.1: bits of a marker are its process, hierarchy and coding."""
    data = bytearray(encode(NOISE, "JPEG"))
    at = data.index(b"\xff\xc0") + 1
    for marker in {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}:  # tables, and reserved
        data[at] = marker
        process, hierarchical, arithmetic = marker & 3, marker & 4, marker & 8
        if hierarchical or (arithmetic and process == 3):
            with pytest.raises(ImageError, match="which is not read"):
                jpeg.markers(bytes(data))
        else:
            assert jpeg.markers(bytes(data)).lossless == (process == 3)


def test_scans_are_bounded(refused):
    data = encode(NOISE, "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    scan = data[first : data.index(b"\xff", first + 14)]
    assert jpeg.damage(jpeg.markers(data)) == ""
    many = data[:first] + scan * (jpeg.MAX_SCANS + 1) + data[first:]
    assert "more than 500 scans" in refused(many)


def test_the_markers_of_any_bytes():
    """No index, no length and no end is taken for granted."""
    data = encode(NOISE[:8, :8], "JPEG")
    for end in range(len(data)):
        jpeg.markers(data[:end])
    for _ in range(300):
        start = int(RNG.integers(len(data)))
        changed = data[:start] + RNG.bytes(3) + data[start + 3 :]
        try:
            jpeg.markers(changed)
        except ImageError as error:
            assert str(error).isprintable()
