"""The store: written by chunks, resumed, and never overwritten by another set."""

import json
import os

import numpy as np
import pytest
from sets import IMAGES, TINY

from jax_inr import CheckpointError, ConfigError, OutputError
from jax_inr.datasets import build as building
from jax_inr.datasets.build import build
from jax_inr.datasets.fieldset import FieldSet
from jax_inr.datasets.store import Store, splits_of

SHORT = TINY.replace(steps=6)


def made(path, **changes):
    options = {"lanes": 2, "chunk": 3, "labels": np.arange(7)} | changes
    config = options.pop("config", SHORT)
    images = options.pop("images", IMAGES)
    return build(path, images, config, **options)


def same(a, b) -> bool:
    """Whether two stores hold the same arrays, byte for byte."""
    names = sorted(n for n, _ in a.group.arrays())
    assert names == sorted(n for n, _ in b.group.arrays())
    return all(a.group[n][...].tobytes() == b.group[n][...].tobytes() for n in names)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("set") / "whole.zarr")


def test_chunks_and_lanes_change_no_byte_of_a_field(whole, tmp_path):
    other = made(tmp_path / "other.zarr", chunk=2, lanes=3)
    assert np.array_equal(other.group["params"][:], whole.group["params"][:])
    assert np.array_equal(other.group["psnr_db"][:], whole.group["psnr_db"][:])


def test_a_second_run_does_what_is_missing(whole, tmp_path, monkeypatch):
    asked = iter(["", "SIGTERM"])
    part = made(tmp_path / "s.zarr", stop=lambda: next(asked))
    assert part.missing() == [1, 2]
    fields = FieldSet.open(tmp_path / "s.zarr")
    assert len(fields.verify()) == 4 and "field 3 is not done" in fields.verify()
    with pytest.raises(IndexError, match="field 4 is not done"):
        fields[4]
    done = []
    fit_chunk = building.fit_chunk
    monkeypatch.setattr(
        building,
        "fit_chunk",
        lambda store, recipe, chunk, source: (
            done.append(chunk) or fit_chunk(store, recipe, chunk, source)
        ),
    )
    again = made(tmp_path / "s.zarr")
    assert done == [1, 2]
    assert same(whole, again)
    # The comparison can tell.
    again.group["params"][0, 0] += np.float32(1e-6)
    assert not same(whole, again)


def test_a_chunk_without_its_last_array_is_not_there(whole, tmp_path):
    store = made(tmp_path / "s.zarr")
    (store.path / "status" / "c" / "1").unlink()
    store.group["params"][3:5] = 0
    assert Store(store.path).missing() == [1]
    assert same(whole, made(tmp_path / "s.zarr"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": SHORT.replace(steps=7)}, "config's steps is 6, not 7"),
        ({"init": "shared"}, "init is random, not shared"),
        ({"labels": None}, "source_sha256"),
        ({"images": IMAGES[::-1]}, "source_sha256"),
        # One in the middle, which neither names nor ends tell.
        (
            {"images": np.where(np.arange(7)[:, None, None, None] == 3, 0.5, IMAGES)},
            "source_sha256",
        ),
        ({"images": IMAGES[:6], "labels": None}, "source_sha256"),
        ({"dtype": "float16"}, "dtype is float32, not float16"),
        ({"chunk": 4}, "chunk is 3, not 4"),
    ],
)
def test_another_set_is_refused_and_left_as_it_is(whole, changes, words):
    before = whole.group["params"][:].tobytes()
    with pytest.raises(OutputError, match=words) as caught:
        made(whole.path, **changes)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert whole.group["params"][:].tobytes() == before


def test_a_folder_that_is_no_set_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="no set of fields"):
        made(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_newer_format_is_refused(tmp_path):
    store = made(tmp_path / "s.zarr")
    file = store.path / "zarr.json"
    about = json.loads(file.read_text())
    about["attributes"]["jax_inr"]["format"] = 2
    file.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="format 2"):
        FieldSet.open(store.path)
    file.write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        FieldSet.open(store.path)


@pytest.mark.parametrize("name", ["status/zarr.json", "params/c/9", "constants/x"])
@pytest.mark.timeout(60)
def test_a_pipe_or_a_link_in_a_set_is_named_and_not_opened(tmp_path, name):
    store = made(tmp_path / "s.zarr")
    kept = tmp_path / "kept"
    kept.write_bytes(b"mine")
    for put in (os.mkfifo, lambda path: path.symlink_to(kept)):
        path = store.path / name
        path.unlink(missing_ok=True)
        put(path)
        for opened in (lambda: FieldSet.open(store.path), lambda: made(store.path)):
            with pytest.raises(CheckpointError, match="a link or no regular") as caught:
                opened()
            assert str(path) in str(caught.value)
    assert kept.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": iter(IMAGES), "labels": None}, "iterator's end is not known"),
        ({"dtype": "int8"}, "dtype"),
        ({"chunk": 0}, "chunk"),
        ({"split": (0.5, 0.1, 0.1)}, "sum to 1"),
        ({"labels": np.arange(6)}, "6 labels do not go with 7 images"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        made(tmp_path / "s.zarr", **changes)
    assert not list(tmp_path.iterdir())


def test_splits_have_their_shares_and_follow_the_seed():
    split = splits_of(100, (0.8, 0.1, 0.1), 3)
    assert np.bincount(split).tolist() == [80, 10, 10]
    assert np.array_equal(split, splits_of(100, (0.8, 0.1, 0.1), 3))
    assert not np.array_equal(split, splits_of(100, (0.8, 0.1, 0.1), 4))


def test_statistics_are_those_of_the_parameters(whole):
    params = whole.group["params"][:].astype(np.float64)
    np.testing.assert_allclose(whole.group["mean"][:], params.mean(0), rtol=1e-6)
    np.testing.assert_allclose(whole.group["deviation"][:], params.std(0), rtol=1e-4)
