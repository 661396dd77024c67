"""Sources of images: what they hold, and what they refuse."""

import os

import numpy as np
import pytest
from sets import IMAGES

from jax_inr import ConfigError, ImageError, save_image
from jax_inr.datasets.sources import sourced


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


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.timeout(60)
def test_a_pipe_is_no_array(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for arguments in ([tmp_path / name], [IMAGES, tmp_path / name]):
        with pytest.raises(ImageError, match="not a regular file"):
            sourced(*arguments)
