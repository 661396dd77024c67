"""Files of images: what others read is what was written, whole or not at all."""

import ast
import json
import os
import resource
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from png_reference import decode_png
from tiff_reference import read_tiff

from jax_inr.config import Config
from jax_inr.errors import ConfigError, ImageError, OutputError
from jax_inr.field import ImageField
from jax_inr.io import writers
from jax_inr.io.images import save_image, to_uint8
from jax_inr.model import make_model
from jax_inr.tensors import flatten

SHAPE = (23, 31, 3)


def waves(channels=3):
    rng = np.random.default_rng(1)
    smooth = np.linspace(-0.2, 1.2, 23 * 31 * channels, dtype=np.float32)
    noise = rng.normal(0, 0.01, smooth.size).astype(np.float32)
    return (smooth + noise).reshape(23, 31, channels)


def bands(image, *, rows=(1, 9, 4, 8, 1)):
    """The image in bands of uneven height, as a render gives them."""
    yield from np.split(image, np.cumsum(rows)[:-1])


def written(path, channels=3):
    image = waves(channels)
    writers.write_image(path, bands(image), 23, 31, channels)
    assert os.listdir(path.parent) == [path.name]
    return image, path.read_bytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".16.png"])
def test_png_is_what_two_decoders_read(tmp_path, suffix, channels):
    image, data = written(tmp_path / f"a{suffix}", channels)
    white = 65535 if "16" in suffix else 255
    # Rounded to the nearest level, half up.
    exact = np.clip(image.astype(np.float64), 0, 1)
    np.testing.assert_allclose(decode_png(data), exact, atol=0.5001 / white)
    if suffix == ".png":
        with Image.open(tmp_path / "a.png") as opened:
            read = np.asarray(opened).reshape(23, 31, channels)
        np.testing.assert_array_equal(read, to_uint8(image))
    else:
        assert data[24] == 16
        assert len(np.unique(decode_png(data))) > 300


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".npy"])
def test_float_files_keep_every_bit(tmp_path, suffix, channels):
    path = tmp_path / f"a{suffix}"
    image, data = written(path, channels)
    read = read_npy(data) if suffix == ".npy" else read_tiff(data)
    np.testing.assert_array_equal(read, image, strict=True)


def read_npy(data: bytes) -> np.ndarray:
    """An array of floats, from the description of NPY 1.0."""
    assert data[:8] == b"\x93NUMPY\x01\x00"
    end = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:end].decode("ascii"))
    assert end % 64 == 0 and not header["fortran_order"]
    return np.frombuffer(data[end:], header["descr"]).reshape(header["shape"])


def test_a_grey_tiff_is_one_image_for_pillow(tmp_path):
    image, _ = written(tmp_path / "a.tif", 1)
    with Image.open(tmp_path / "a.tif") as opened:
        assert (opened.size, opened.mode, opened.n_frames) == ((31, 23), "F", 1)  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_array_equal(np.asarray(opened), image[..., 0])


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 2, 3]))
def test_no_shape_is_taken_for_another(tmp_path_factory, height, width, channels):
    shape = height, width, channels
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 64
    folder = tmp_path_factory.mktemp("shapes")
    decoders = {".tif": read_tiff, ".npy": read_npy}
    for suffix, decode in decoders.items():
        path = folder / f"a{suffix}"
        writers.write_image(path, iter([image]), *shape)
        np.testing.assert_array_equal(decode(path.read_bytes()), image, strict=True)


def test_long_offsets_are_read_alike(tmp_path, monkeypatch):
    # As a file of 4 GiB has them.
    plain = tifffile.imwrite
    monkeypatch.setattr(
        tifffile, "imwrite", lambda *a, **how: plain(*a, **{**how, "bigtiff": True})
    )
    image, data = written(tmp_path / "a.tif", 1)
    assert data[2] == 43
    np.testing.assert_array_equal(read_tiff(data), image, strict=True)


def test_a_large_tiff_has_long_offsets(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(tifffile, "imwrite", lambda *a, **how: seen.update(how))
    writers.write_image(tmp_path / "a.tif", iter([]), 18_919, 18_919, 3)
    assert seen["bigtiff"]
    writers.write_image(tmp_path / "a.tif", iter([]), 18_900, 18_900, 3)
    assert not seen["bigtiff"]


@pytest.mark.parametrize("suffix", writers.SUFFIXES)
def test_what_raises_half_way_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def broken():
        yield waves()[:9]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writers.write_image(path, broken(), *SHAPE)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", writers.SUFFIXES)
def test_a_disk_that_fills_up_leaves_the_old_file_and_is_told(tmp_path, suffix):
    path, limits = tmp_path / f"a{suffix}", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_bytes(b"old")
    # Noise, which no format makes smaller than the limit; many rows, as of a render.
    noise = np.random.default_rng(0).random((100, 100, 3), np.float32)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large") as caught:
            writers.write_image(path, iter([noise]), 100, 100, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "free some space" in caught.value.hint
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]


def test_a_png_of_nan_is_refused(tmp_path):
    image = waves()
    image[20, 3, 1] = np.nan
    with pytest.raises(ImageError, match=r"cannot write .*\.png: .*not finite"):
        writers.write_image(tmp_path / "a.png", bands(image), *SHAPE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".png", ".16.png"])
def test_a_png_of_two_channels_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(ConfigError, match="a PNG of 2 channels") as caught:
        writers.write_image(path, bands(waves(2)), 23, 31, 2)
    assert str(path) in str(caught.value) and os.listdir(tmp_path) == []


def test_a_name_with_nul_is_refused(tmp_path):
    path = f"{tmp_path}/a\0b.npy"
    for write in (
        lambda: writers.write_image(path, bands(waves()), *SHAPE),
        lambda: writers.check_space(path, *SHAPE),
        lambda: save_image(f"{tmp_path}/a\0b.png", waves()),
    ):
        with pytest.raises(OutputError, match="has no NUL"):
            write()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.png.zip", "png", "a.16"])
def test_unknown_suffixes_are_refused(name):
    with pytest.raises(ConfigError, match="unknown suffix") as caught:
        writers.suffix_of(name)
    assert all(suffix in caught.value.hint for suffix in writers.SUFFIXES)


def test_a_disk_too_small_is_told_before(tmp_path, monkeypatch):
    path, usage = tmp_path / "a.npy", shutil.disk_usage(tmp_path)
    # A float takes four bytes.
    free = 4 * 100 * 90 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    writers.check_space(path, 100, 90, 3)
    words = "it takes 106.64 KiB, and the disk has 105.47 KiB left"
    with pytest.raises(OutputError, match=words):
        writers.check_space(path, 100, 91, 3)
    words = r"it takes 3.35 GiB, .* 105.47 KiB left"
    with pytest.raises(OutputError, match=words):
        writers.check_space(path, 30_000, 10_000, 3)
    # What a PNG takes is not known before.
    writers.check_space(tmp_path / "a.png", 1000, 1000, 3)
    monkeypatch.undo()
    with pytest.raises(OutputError, match="nowhere"):
        writers.check_space(tmp_path / "nowhere" / "a.npy", 1, 1, 1)


def test_a_disk_that_says_it_has_no_size_is_of_unknown_size(tmp_path, monkeypatch):
    """As some mounts of object stores and of other machines do."""
    nothing = SimpleNamespace(total=0, used=0, free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: nothing)
    writers.check_space(tmp_path / "a.npy", 100, 100, 3)
    monkeypatch.setattr(nothing, "total", 1)
    with pytest.raises(OutputError, match=r"117\.19 KiB, .* has 0 bytes left"):
        writers.check_space(tmp_path / "a.npy", 100, 100, 3)


def test_a_field_file_is_what_safetensors_describes(tmp_path):
    """Read by the format's description alone: a length, JSON, and then the bytes."""
    config = Config(num_frequencies=3, hidden_features=(5, 4))
    model = make_model(config, 6, 7, 3)
    variables = draw(model)
    field = ImageField.make(model, variables, (6, 7, 3), config)
    field.save(tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    del header["__metadata__"]
    expected, end = flatten(variables), 0
    assert header.keys() == expected.keys()
    for name, about in sorted(header.items(), key=lambda x: x[1]["data_offsets"]):
        first, last = about["data_offsets"]
        # No byte belongs to two tensors, or to none.
        assert first == end and about["dtype"] == "F32"
        end = last
        leaf = np.frombuffer(data[start + first : start + last], "<f4")
        np.testing.assert_array_equal(leaf.reshape(about["shape"]), expected[name])
    assert start + end == len(data)
