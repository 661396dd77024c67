"""`jax-inr dataset`: a set made, checked, exported; mistakes in a line."""

import json

import numpy as np
import pytest

from jax_inr import FieldSet
from jax_inr.cli.main import main

SMALL = ("--changes", "hidden_features=[4]", "steps=5", "network=siren", "--lanes", "2")


@pytest.fixture
def files(tmp_path):
    images = np.random.default_rng(0).random((5, 6, 6, 3), np.float32)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.arange(5))
    return tmp_path


def words_of(files, *more):
    words = ["dataset", str(files / "images.npy"), "--out", str(files / "set.zarr")]
    return [*words, "--labels", str(files / "labels.npy"), *SMALL, *more]


def test_a_set_is_made_checked_and_exported(files, capsys):
    assert main(words_of(files, "--chunk", "2")) == 0
    said = capsys.readouterr()
    assert "5 fields of 27 parameters" in said.out and "field 5/5" in said.out
    path = str(files / "set.zarr")
    fields = FieldSet.open(path)
    labels = fields.labels
    assert labels is not None and labels.tolist() == list(range(5))
    assert set(fields.steps) == {5}
    # Once more, there is nothing to do.
    assert main(words_of(files, "--chunk", "2")) == 0
    capsys.readouterr()
    assert (
        main(["dataset", path, "--verify", "--images", str(files / "images.npy")]) == 0
    )
    assert "5 fields, 0 faults" in capsys.readouterr().out
    shards = ["--export", "safetensors", "--out", str(files / "shards"), "--quiet"]
    assert main(["dataset", path, *shards]) == 0
    assert json.loads((files / "shards" / "index.json").read_text())["count"] == 5
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--split", "0.5", "0.1", "0.1"), 2, "sum to 1"),
        (("--changes", "stepz=3"), 2, "did you mean steps?"),
        (("--changes", "steps"), 2, "'steps' is not NAME=VALUE"),
        (("--workers", "0"), 2, "workers is 0; it must lie in 1 to 1024"),
        (("--lanes", "4097"), 2, "lanes is 4097; it must lie in 1 to 4096"),
        (("--chunk", "0"), 2, "chunk is 0; it must lie in 1 to 1e+06"),
        (("--workers", "2", "--scheduler", "tcp://h:1"), 2, "leave one of them out"),
        (("--start", "nowhere.safetensors"), 4, "nowhere.safetensors"),
        (("--init", "zero"), 2, "init"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(files, capsys, more, code, said):
    assert main(words_of(files, *more)) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("error: ")
    assert not (files / "set.zarr").exists()


def test_a_set_without_a_place_is_refused(files, capsys):
    assert main(["dataset", str(files / "images.npy")]) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_faults_are_told_and_are_the_exit_code(files, capsys):
    assert main(words_of(files, "--quiet")) == 0
    part = files / "set.zarr" / "params" / "c" / "0" / "0"
    data = bytearray(part.read_bytes())
    data[0] ^= 255
    part.write_bytes(data)
    assert main(["dataset", str(files / "set.zarr"), "--verify"]) == 4
    said = capsys.readouterr()
    assert "field 0: its parameters do not match" in said.err
    assert "5 fields, 1 faults" in said.out
