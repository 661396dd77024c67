"""io.images: the right image or one clear line, from any path, in any size."""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from png_reference import decode_png

from jax_inr import metrics
from jax_inr.errors import ConfigError, DeviceError, ImageError, OutputError
from jax_inr.io import images
from jax_inr.io.images import encode_png, load_image, sample_image, save_image, to_uint8

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (13, 17, 3), np.uint8)


@pytest.fixture
def png(tmp_path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(LEVELS).save(path)
    return path


def refusal(path, *words: str, **options) -> ImageError:
    """The ImageError of a path: one line that names it and says the words."""
    with pytest.raises(ImageError) as caught:
        load_image(path, **options)
    message = str(caught.value)
    assert message.isprintable(), message
    assert images.shown(path) in message
    for word in words:
        assert word in message
    assert caught.value.hint
    return caught.value


# -- to_uint8 and writing


def test_every_8_bit_level_survives_the_round_trip():
    levels = np.arange(256, dtype=np.uint8)
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(to_uint8(levels.astype(dtype) / 255), levels)


@settings(deadline=None)
@given(hnp.arrays(np.float32, 20, elements=st.floats(-3, 3, width=32)))
def test_to_uint8_is_the_nearest_level_of_the_clipped_value(values):
    nearest = np.clip(values.astype(np.float64), 0, 1) * 255
    assert np.abs(to_uint8(values) - nearest).max() <= 0.5 + 1e-5


def test_to_uint8_rounds_half_up_and_does_not_wrap():
    halves = np.array([-0.2, 0.5, 1.2, 0.5 / 255 + 1e-8], np.float32)
    np.testing.assert_array_equal(to_uint8(halves), [0, 128, 255, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_to_uint8_refuses_what_is_not_finite(value):
    with pytest.raises(ImageError, match="not finite"):
        to_uint8(np.array([0.5, value]))


def test_to_uint8_refuses_integers_that_would_turn_black_and_white():
    with pytest.raises(TypeError, match="uint8"):
        to_uint8(LEVELS)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (9, 1, 1), (7, 11, 3)])
def test_a_saved_image_is_read_back(tmp_path, shape):
    image = RNG.random(shape, np.float32)
    path = tmp_path / "a.PNG"
    save_image(path, image)
    levels = to_uint8(image).astype(np.float32)
    np.testing.assert_array_equal(load_image(path).image, levels / 255)
    # And by a decoder that is neither ours nor Pillow's.
    np.testing.assert_allclose(decode_png(path.read_bytes()), levels / 255, atol=1e-7)


def test_an_image_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"cannot write .*a\.png: .*not finite"):
        save_image(tmp_path / "a.png", np.full((2, 2, 3), np.nan, np.float32))
    assert not list(tmp_path.iterdir())


def test_only_png_is_written_and_only_images(tmp_path):
    with pytest.raises(OutputError, match=r"a\.gif"):
        save_image(tmp_path / "a.gif", np.zeros((2, 2, 3)))
    for shape in ((2, 2), (2, 2, 2), (2, 2, 4)):
        with pytest.raises(ValueError, match="shape"):
            encode_png(np.zeros(shape))
    assert not list(tmp_path.iterdir())


# -- what a loaded image is


def test_a_image_is_its_levels_its_path_and_its_hash(png):
    found = load_image(png)
    assert found.image.dtype == np.float32
    assert found.image.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found.image, LEVELS.astype(np.float32) / 255)
    assert found.path == str(png)
    assert found.sha256 == hashlib.sha256(png.read_bytes()).hexdigest()
    assert found.notices == ()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (31, 37)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_and_prime_sizes_keep_their_shape(tmp_path, shape, channels):
    image = RNG.random((*shape, channels), np.float32)
    save_image(tmp_path / "a.png", image)
    assert load_image(tmp_path / "a.png").image.shape == (*shape, channels)
    square = load_image(tmp_path / "a.png", size=5).image
    assert square.shape == (5, 5, channels)


def test_the_sample_is_the_cat():
    cat = skimage.data.chelsea()
    whole = sample_image(size=None)
    np.testing.assert_array_equal(whole.image, cat.astype(np.float32) / 255)
    assert (whole.path, whole.notices) == ("skimage.data.chelsea", ())
    square = Image.fromarray(cat[:, 75:375]).resize(
        (224, 224), Image.Resampling.LANCZOS
    )
    expected = np.asarray(square).astype(np.float32) / 255
    np.testing.assert_array_equal(sample_image().image, expected)


# -- resizing


def test_size_crops_the_centre_and_a_pair_does_not(tmp_path):
    image = np.zeros((10, 30, 3), np.float32)
    image[:, 10:20] = 1
    save_image(tmp_path / "a.png", image)
    assert load_image(tmp_path / "a.png", size=7).image.min() == 1
    whole = load_image(tmp_path / "a.png", size=(20, 15)).image
    assert whole.shape == (20, 15, 3)
    assert whole.min() == 0


def test_8_bit_images_are_resized_as_pillow_does(png):
    expected = Image.fromarray(LEVELS).resize((9, 5), Image.Resampling.LANCZOS)
    found = load_image(png, size=(5, 9)).image
    np.testing.assert_array_equal(to_uint8(found), np.asarray(expected))
    np.testing.assert_array_equal(found, to_uint8(found).astype(np.float32) / 255)


def test_16_bit_images_keep_their_levels_when_resized(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    small = load_image(tmp_path / "a.png", size=32).image
    assert len(np.unique(small)) > 512
    means = ramp.reshape(32, 2, 32, 2).mean((1, 3)) / 65535
    np.testing.assert_allclose(small[4:-4, 4:-4, 0], means[4:-4, 4:-4], atol=2e-4)


def test_an_edge_does_not_overshoot_when_resized(tmp_path):
    edge = np.zeros((20, 20), np.uint16)
    edge[:, 10:] = 65535
    Image.fromarray(edge).save(tmp_path / "a.png")
    large = load_image(tmp_path / "a.png", size=33).image
    assert (large.min(), large.max()) == (0, 1)


@pytest.mark.parametrize(
    "size", [0, -1, 2.0, "224", True, (3,), (3, 0), (3, 4, 5), (3, 4.0), 10**5]
)
def test_a_wrong_size_is_a_config_error(png, size):
    with pytest.raises(ConfigError, match="size"):
        load_image(png, size=size)


# -- paths


def test_what_is_not_a_file_is_refused_at_once(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero.png").touch()
    (tmp_path / "under").write_bytes(b"a file")
    refusal(tmp_path / "nope.png", "no such file")
    refusal(tmp_path / "under" / "a.png", "not a directory")
    refusal(tmp_path, "is a directory")
    refusal(tmp_path / "loop", "symbolic links")
    refusal(tmp_path / "dangling", "link points to nothing")
    refusal(tmp_path / "fifo", "pipe")
    refusal("/dev/zero", "device")
    refusal("/dev/null", "device")
    refusal(tmp_path / "zero.png", "empty")
    refusal("", "''", "no such file")
    refusal("a\0b.png", "null")


def test_a_file_without_permission_is_named(png, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    # An administrator may read everything, so that a mode is no test.
    monkeypatch.setattr("builtins.open", denied)
    refusal(png, "permission denied")


def test_a_file_too_large_for_memory_is_not_opened(tmp_path, monkeypatch):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    monkeypatch.delattr("builtins.open")
    refusal(tmp_path / "a.png", "larger than")


def test_a_file_that_grows_is_read_to_the_limit_only(png, monkeypatch):
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 <= size <= 1001
            return bytes(size)

    monkeypatch.setattr(images, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr("builtins.open", lambda *_: Endless())
    refusal(png, "larger than")


def test_the_largest_file_that_is_allowed_is_read(png, monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", png.stat().st_size)
    images.load_image(png)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", png.stat().st_size - 1)
    refusal(png, "larger than")


@pytest.mark.parametrize(
    "name",
    [
        "größe 猫.png",
        " 'quoted' \"twice\".png",
        "-o.png",
        "line\nbreak\x1b[31m.png",
        "n" * 251 + ".png",
        os.fsdecode(b"latin-\xff.png"),
    ],
)
def test_any_name_loads_and_can_be_printed_and_stored(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encode_png(np.ones((2, 2, 3))))
    found = load_image(path)
    assert found.path.isprintable()
    assert json.loads(json.dumps(found.path).encode("utf-8")) == found.path
    path.write_bytes(b"no found")
    refusal(path, "not in an image format")


def test_a_path_may_be_text_and_relative(png, monkeypatch):
    monkeypatch.chdir(png.parent)
    assert load_image("a.png").path == "a.png"


# -- size limits


@pytest.mark.parametrize(
    "kind",
    [
        *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
        *(OverflowError, RecursionError, UserWarning, AssertionError, struct.error),
        *(zlib.error, Image.DecompressionBombError),
    ],
)
def test_whatever_pillow_raises_is_one_line(png, monkeypatch, kind):
    def hostile(*_):
        raise kind("two\nlines")

    monkeypatch.setattr(images, "decode", hostile)
    large = kind is Image.DecompressionBombError
    refusal(png, "too many pixels" if large else "damaged")


def test_a_image_that_memory_does_not_hold_is_no_bad_image(png, monkeypatch):
    def hungry(*_):
        raise MemoryError

    monkeypatch.setattr(images, "decode", hungry)
    with pytest.raises(DeviceError, match="out of memory") as caught:
        load_image(png)
    assert str(png) in str(caught.value) and caught.value.exit_code == 7


def bomb(kind: str, side: int) -> bytes:
    """A few hundred bytes that claim side x side pixels."""
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if kind == "PNG":
        data[16:24] = side.to_bytes(4) * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    elif kind == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    elif kind == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = side.to_bytes(2) * 2
    elif kind == "GIF":
        data[6:10] = side.to_bytes(2, "little") * 2
    elif kind == "TIFF":
        for tag in (b"\x00\x01", b"\x01\x01"):
            start = data.index(tag, 8)
            data[start + 2 : start + 12] = b"\4\0\1\0\0\0" + side.to_bytes(4, "little")
    elif kind == "PPM":
        data = bytearray(b"P5 %d %d 255\n" % (side, side))
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG", "GIF", "TIFF", "PPM"])
@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_bomb_is_refused_by_its_header(tmp_path, kind, side):
    (tmp_path / "bomb").write_bytes(bomb(kind, side))
    refusal(tmp_path / "bomb", "pixels")


def test_the_limit_of_pixels_is_the_caller_s(png):
    assert load_image(png, max_pixels=13 * 17).image.shape == (13, 17, 3)
    error = refusal(png, "17x13", "220", max_pixels=13 * 17 - 1)
    assert "max_pixels" in error.hint


def test_bombs_take_no_memory(tmp_path):
    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body).to_bytes(4)
        return len(body).to_bytes(4) + name + body + checksum

    for kind in ("PNG", "TIFF", "PPM"):
        (tmp_path / f"{kind}.bomb").write_bytes(bomb(kind, 10_000))
    # One honest pixel, and 500 MB that follow it.
    start = encode_png(np.zeros((1, 1, 3)))[:33]
    rest = zlib.compress(bytes(500_000_000), 1)
    zeros = start + chunk(b"IDAT", rest) + chunk(b"IEND", b"")
    (tmp_path / "zeros.bomb").write_bytes(zeros)
    profile = start + chunk(b"iCCP", b"p\0\0" + rest) + zeros[33:]
    (tmp_path / "profile.bomb").write_bytes(profile)
    code = f"""
import resource
from pathlib import Path
from jax_inr.errors import ImageError
from jax_inr.io.images import load_image, sample_image
sample_image()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in Path({str(tmp_path)!r}).glob("*.bomb"):
    try:
        load_image(path)
    except ImageError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert run.stderr == ""
    assert int(run.stdout) < 50_000  # kilobytes


# What a plain PNG does not need is imported late.
LATE = ("jax", "torch", "skimage", "tifffile", "imagecodecs", "simplejpeg")


def test_loading_needs_neither_framework(png):
    code = (
        "import sys; from jax_inr.io.images import load_image;"
        f"load_image({str(png)!r});"
        f"sys.exit(any(name in sys.modules for name in {LATE!r}))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_the_caller_s_wish_to_hear_of_underflow_makes_no_damage(tmp_path, kind):
    dim = np.full((16, 17, 4), 1e-40, np.float32)
    dim[3:, :, 3] = 0.3
    with np.errstate(all="raise"):
        if kind == "TIFF":
            options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
            tifffile.imwrite(tmp_path / "a", dim, **options)
        else:
            levels = to_uint8(dim[..., :3])
            Image.fromarray(levels).save(tmp_path / "a", kind)
        image = load_image(tmp_path / "a", size=8).image
        encode_png(image)
        for metric in (metrics.psnr, metrics.psnr_8bit, metrics.ssim):
            metric(dim, np.zeros_like(dim))


def test_a_small_image_needs_little_memory(tmp_path):
    """No buffer of the largest file is taken for a small one."""
    path = tmp_path / "a.png"
    save_image(path, np.zeros((5, 7, 3)))
    tracemalloc.start()
    try:
        load_image(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22
