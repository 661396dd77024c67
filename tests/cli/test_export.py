"""`jax-inr export`: the page gets the run's image, and what cannot be is refused."""

import os
from pathlib import Path

import numpy as np
from conftest import draw
from PIL import Image

from jax_inr import fitting
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


def test_export_writes_the_page_with_the_runs_own_image(tmp_path, image, monkeypatch):
    config = SMALL.replace(steps=2)
    fitting.fit(image, config, out=tmp_path / "run")
    seen = []

    def to_html(field, path, *how):
        seen.append((path, *how))
        Path(path).touch()

    monkeypatch.setattr(ImageField, "to_html", to_html)
    out = str(tmp_path / "cat.html")
    assert main.main(["export", str(tmp_path / "run"), "--out", out]) == 0
    np.testing.assert_array_equal(seen[0][1], image)
    assert str(seen[0][0]) == out
    saved(tmp_path)
    assert main.main(["export", str(tmp_path / "field.safetensors"), "--out", out]) == 0
    assert seen[1][1] is None
    Image.fromarray(np.zeros((40, 34, 3), np.uint8)).save(tmp_path / "a.png")
    arguments = ["--image", str(tmp_path / "a.png"), "--title", "Ein Bild"]
    path = str(tmp_path / "field.safetensors")
    assert main.main(["export", path, "--out", out, *arguments]) == 0
    assert seen[2][1].shape == (12, 17, 3) and seen[2][2] == "Ein Bild"


def test_the_file_and_its_size_are_told_and_quiet_tells_nothing(
    tmp_path, capsys, monkeypatch
):
    def to_html(field, path, *how):
        Path(path).write_bytes(bytes(1_234_000))

    monkeypatch.setattr(ImageField, "to_html", to_html)
    saved(tmp_path)
    out = tmp_path / "a.html"
    words = ["export", str(tmp_path / "field.safetensors"), "--out", str(out)]
    assert main.main(words) == 0
    told = f"written to {out}, 1234 kB; open it in a browser\n"
    assert capsys.readouterr().out == told
    assert main.main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_export_refuses_another_suffix_and_the_cnn(tmp_path, capsys):
    config = Config(network="cnn", encoding="none", hidden_features=(4,))
    saved(tmp_path, config)
    path = str(tmp_path / "field.safetensors")
    assert main.main(["export", path, "--out", str(tmp_path / "a.png")]) == 2
    assert main.main(["export", path, "--out", str(tmp_path / "a.html")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert ".html" in lines[0] and "one pixel at a time" in lines[1]
    assert os.listdir(tmp_path) == ["field.safetensors"]
