"""`jax-inr extrapolate`: which fields are periodic, measured and drawn."""

import numpy as np
import pytest
from conftest import draw
from PIL import Image

from jax_inr.analysis import extrapolation
from jax_inr.cli import main
from jax_inr.config import Config
from jax_inr.field import ImageField
from jax_inr.model import make_model

SMALL = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12))


def made(config=SMALL, height=12, width=17):
    model = make_model(config, height, width, 3)
    return ImageField.make(model, draw(model), (height, width, 3), config)


def saved(folder, config=SMALL, height=12, width=17, name="field.safetensors"):
    field = made(config, height, width)
    field.save(folder / name)
    return field


def test_whole_frequencies_are_periodic_and_drawn_ones_are_not(tmp_path, capsys):
    gaussian = saved(tmp_path, SMALL, name="gaussian")
    whole = SMALL.replace(encoding="periodic")
    periodic = saved(tmp_path, whole, name="periodic")
    first, second = map(extrapolation.measure, (gaussian, periodic))
    assert first.sentence.startswith("not periodic") and first.rms > 0.01
    assert second.sentence.startswith("periodic") and second.largest < 1e-4
    # The measurement itself, once more: one field, one shift.
    coords = np.random.default_rng(5).random((500, 2)).astype(np.float32)
    shift = np.asarray(gaussian(coords + np.array([0, 1], np.float32))) - gaussian(
        coords
    )
    assert np.sqrt((shift**2).mean()) == pytest.approx(first.rms, rel=0.5)
    out = tmp_path / "a.png"
    paths = [str(tmp_path / name) for name in ("gaussian", "periodic")]
    assert main.main(["extrapolate", *paths, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "gaussian: not periodic" in printed and "periodic: periodic" in printed
    assert np.asarray(Image.open(out)).shape[1] > 500
