"""Sources of images: what they hold, and what they refuse."""

import contextlib
import os
import zipfile

import numpy as np
import PIL.Image
import pytest
from sets import IMAGES

from jax_inr import ConfigError, DeviceError, ImageError, save_image
from jax_inr.datasets.sources import sourced
from jax_inr.io.formats import FORMATS, SUFFIXES


def test_an_array_its_file_and_its_archive_are_the_same(tmp_path):
    labels = np.arange(7)
    np.save(tmp_path / "a.npy", IMAGES)
    np.save(tmp_path / "l.npy", labels)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=labels)
    sources = [
        sourced(IMAGES, labels),
        sourced(tmp_path / "a.npy", tmp_path / "l.npy"),
        sourced(tmp_path / "a.npz"),
        sourced(iter(IMAGES), labels),
    ]
    for source in sources:
        entries = list(source)
        assert [entry.label for entry in entries] == list(range(7))
        assert np.array_equal(np.stack([e.image for e in entries]), IMAGES)


def test_a_part_has_the_entries_of_the_whole():
    part = list(sourced(IMAGES, np.arange(7)).part(2, 5))
    assert [(e.name, e.label) for e in part] == [("2", 2), ("3", 3), ("4", 4)]


def test_folders_are_classes(tmp_path):
    for index, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_image(tmp_path / name, IMAGES[index])
    source = sourced(tmp_path)
    assert source.classes == ("cat", "dog")
    names, labels = source.names_and_labels()
    assert (names, labels) == (["cat/1.png", "cat/2.png", "dog/1.png"], [0, 0, 1])
    save_image(tmp_path / "loose.png", IMAGES[0])
    assert sourced(tmp_path).names_and_labels()[1] is None


def test_grey_images_need_no_axis_of_channels():
    assert next(iter(sourced(np.zeros((3, 8, 8))))).image.shape == (8, 8, 1)


def test_what_has_a_length_and_no_index_is_a_stream():
    kept = {"a": IMAGES[0], "b": IMAGES[1]}
    first, second = sourced(kept.values())
    assert first.image is IMAGES[0] or np.array_equal(first.image, IMAGES[0])
    assert (first.name, second.name) == ("0", "1")
    assert sourced(kept.values()).count is None


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((2, 3, 8, 8)), None, "shape"),
        (np.zeros((0, 8, 8, 3)), None, "shape"),
        (IMAGES, [1], "1 labels do not go with 7 images"),
        (IMAGES, np.zeros(7), "must be whole numbers"),
        ("nowhere.npy", None, "nowhere.npy"),
        ("nowhere", None, "neither a folder nor"),
    ],
)
def test_what_is_no_source_is_said_in_a_line(images, labels, words):
    with pytest.raises((ConfigError, ImageError), match=words) as caught:
        sourced(images, labels)
    assert "\n" not in str(caught.value) and caught.value.hint


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ImageError):
        sourced(tmp_path / "p.npy")


def test_an_archive_without_images_lists_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", one=IMAGES, two=IMAGES)
    with pytest.raises(ImageError, match="holds one, two"):
        sourced(tmp_path / "a.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no image"):
        sourced(tmp_path / "empty")


def npy(header: str) -> bytes:
    head = header.encode("latin-1")
    return b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head + bytes(900)


def described(shape, dtype="'<f4'"):
    return npy(f"{{'descr':{dtype},'fortran_order':False,'shape':{shape}}}\n")


@pytest.mark.parametrize(
    "data",
    [
        described("(-1,8,8,3)"),
        described("(1.5,8,8,3)"),
        described(f"({10**22},8,8,3)"),
        described(f"({10**12},8,8,3)"),
        described("(1,8,8,3)", "'O'"),
        described("(1,3,3,3)", "[('a','<f4')]"),
        described("(1,3,3,3)", "'M8[s]'"),
        described("(1,3,3,3)", "b'\xff'"),
        npy("{'descr':'<f4',\n"),
        npy("[" * 50_000),
        b"",
    ],
)
def test_a_hostile_array_is_an_error_of_one_line_that_names_it(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", data)
    for name in ("a.npy", "a.npz"):
        # A shape of 12 TB is memory that is not there, if nothing is mapped.
        with pytest.raises((ImageError, DeviceError)) as caught:
            sourced(tmp_path / name)
        line = str(caught.value)
        assert str(tmp_path / name) in line and caught.value.hint
        # Neither numpy's lines nor its advice to trust the file.
        for words in ("\\n", "allow_pickle", "max_header_size"):
            assert words not in line


def test_no_changed_byte_of_an_array_raises_another_error(tmp_path):
    for save, name in ((np.save, "a.npy"), (np.savez, "a.npz")):
        save(tmp_path / name, np.zeros((1, 4, 4), np.uint8))
        data = (tmp_path / name).read_bytes()
        for index in range(len(data)):
            changed = bytearray(data)
            changed[index] ^= 0x55
            (tmp_path / name).write_bytes(changed)
            with contextlib.suppress(ImageError, DeviceError):
                sourced(tmp_path / name)


def test_an_empty_archive_holds_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    with pytest.raises(ImageError, match="holds nothing, and none of images"):
        sourced(tmp_path / "a.npz")


def test_a_folder_gives_all_that_is_read_as_an_image(tmp_path):
    # What Pillow calls the files of the formats that we read; of HEIC it knows none.
    PIL.Image.init()
    of_pillow = {s for s, f in PIL.Image.EXTENSION.items() if f in (*FORMATS, "MPO")}
    # Of several frames; the first alone would be read.
    of_pillow -= {".avifs"}
    assert of_pillow | {".heic", ".heif", ".hif"} == set(SUFFIXES)
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix.upper()}").touch()
    (tmp_path / "a.txt").touch()
    assert sourced(tmp_path).count == len(SUFFIXES)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.timeout(60)
def test_a_pipe_is_no_array(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for arguments in ([tmp_path / name], [IMAGES, tmp_path / name]):
        with pytest.raises(ImageError, match="not a regular file"):
            sourced(*arguments)
