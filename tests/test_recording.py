"""A run's identity: what differs is named, and what may change does not count."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.config import Config
from jax_inr.inputs import as_image
from jax_inr.io import summaries
from jax_inr.io.runs import RunFolder
from jax_inr.lanes import Position
from jax_inr.recording import (
    PARTS,
    RESUMABLE_FIELDS,
    Identity,
    RunRecorder,
    find,
    hash_arrays,
)

CONFIG = Config()
BASE = Identity("a" * 64, CONFIG)
NEW_VALUES = {
    **{"rgb_max": 256, "encoding": "basic", "num_frequencies": 64, "sigma": 2.0},
    **{"octaves": 3.0, "num_levels": 2, "level_features": 4, "coarsest": 8},
    **{"finest": 64, "log2_table_size": 10, "network": "siren", "activation": "gelu"},
    **{"omega_0": 5.0, "scale_0": 5.0, "hidden_features": (8,), "init": "glorot"},
    **{"optimizer": "adam", "learning_rate": 0.1, "momentum": 0.5, "beta2": 0.9},
    **{"schedule": "cosine", "warmup_steps": 1, "train_pixels": "random"},
    **{"train_fraction": 0.1, "batch_size": 5, "sampling": "lattice", "seed": 3},
    **{"matmul_precision": "tf32"},
}
FREE = {"steps": 7, "eval_every": 7, "target_psnr": 7.0, "max_seconds": 7.0}


def test_the_tables_name_every_field():
    names = {field.name for field in dataclasses.fields(Config)}
    assert {*NEW_VALUES, *FREE, "preset"} == names
    assert {*FREE} == {*RESUMABLE_FIELDS}


@pytest.mark.parametrize("name", NEW_VALUES)
def test_a_field_that_decides_steps_is_part_of_the_identity(name):
    other = dataclasses.replace(BASE, config=CONFIG.replace(**{name: NEW_VALUES[name]}))
    for first, second in ((BASE, other), (other, BASE)):
        assert first.difference(second).startswith(f"{name} is ")
    assert str(NEW_VALUES[name]) in BASE.difference(other)


@pytest.mark.parametrize("name", [*FREE, "preset"])
def test_labels_and_stopping_rules_are_not(name):
    value = FREE.get(name, "mine")
    other = dataclasses.replace(BASE, config=CONFIG.replace(**{name: value}))
    assert BASE.difference(other) == "" == other.difference(BASE)
    # But they decide whether a finished run is the one that is asked for.
    is_rule = name in ("steps", "target_psnr", "max_seconds")
    assert BASE.ends_like(other) != is_rule


def test_the_end_of_a_schedule_is():
    cosine = dataclasses.replace(BASE, config=CONFIG.replace(schedule="cosine"))
    longer = dataclasses.replace(cosine, config=cosine.config.replace(steps=7))
    assert cosine.difference(longer).startswith("steps is ")


def test_pixels_back_end_and_a_caller_s_objects_are():
    assert "other pixels" in BASE.difference(Identity("b" * 64, CONFIG))
    assert "torch" in BASE.difference(dataclasses.replace(BASE, backend="torch"))
    for part in PARTS:
        other = dataclasses.replace(BASE, parts=((part, "mine.thing"),))
        for first, second in ((BASE, other), (other, BASE)):
            difference = first.difference(second)
            assert difference.startswith(f"{part} is ") and "mine.thing" in difference
        assert other.difference(other) == ""


ARRAYS = st.lists(st.integers(0, 255), min_size=1, max_size=12).map(
    lambda values: np.array(values, np.uint8)
)


@given(ARRAYS, ARRAYS)
def test_hashes_are_equal_for_equal_arrays_alone(a, b):
    same = a.shape == b.shape and (a == b).all()
    assert (hash_arrays(a) == hash_arrays(b)) == same
    assert hash_arrays(a, b) == hash_arrays(a.copy(), b.copy())
    # Neither the cut between two arrays, nor a shape, nor a dtype is forgotten.
    assert hash_arrays(a) != hash_arrays(a[None])
    assert hash_arrays(a) != hash_arrays(a.view(np.int8))
    assert hash_arrays(np.concatenate([a, b])) != hash_arrays(a, b)


def test_a_run_is_found_as_it_was_saved_and_other_versions_are_told(tmp_path):
    """Nothing of it but the state decides what comes: identity, image and position."""
    image = as_image(np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3))
    parts = (("network", "mine.network"),)
    identity = Identity(hash_arrays(image.image), CONFIG.replace(seed=3), "jax", parts)
    with RunFolder.create(tmp_path / "run") as folder:
        recorder = RunRecorder(folder, identity, image)
        recorder.begin(None)
        begun = find(folder)
        assert begun.identity == identity and begun.tensors is None
        assert begun.position == Position() and begun.notices == []
        position = Position(step=7, seconds=1.5, best_step=5, best_mse=0.25)
        recorder.save(position, {"step": np.array(7)})
        found = find(folder)
        assert (found.identity, found.position) == (identity, position)
        assert found.tensors is not None and found.tensors["step"] == 7
        assert found.image is not None and found.notices == []
        np.testing.assert_array_equal(found.image.image, image.image)
        now = {**summaries.versions("jax"), "numpy": "99"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(summaries, "versions", lambda backend: now)
            (notice,) = find(folder).notices
    assert notice.startswith("not bit for bit the same run: numpy ")
    assert notice.endswith("is now 99")
