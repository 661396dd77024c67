"""A field file of a stranger: its claims make no work, its words are one line."""

import os
import tracemalloc

import jax
import numpy as np
import pytest
from PIL import Image

from jax_inr.cli.main import main
from jax_inr.cli.render import view_size
from jax_inr.config import Config
from jax_inr.errors import CheckpointError
from jax_inr.field import ImageField
from jax_inr.io.tensorfile import save_tensors
from jax_inr.model import make_model
from jax_inr.tensors import flatten

CONFIG = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12))


@pytest.fixture(scope="module")
def field():
    shape = (12, 17, 3)
    model = make_model(CONFIG, *shape)
    return ImageField.make(model, model.init(jax.random.key(0)), shape, CONFIG)


def written(path, field, tensors=None, **changes):
    """A sound file but for additional tensors, and changes of the header."""
    header = {**field.header(), **changes}
    save_tensors(path, "field", {**flatten(field.variables), **(tensors or {})}, header)
    return path


def test_a_header_that_claims_millions_of_pixels_makes_no_work(
    tmp_path, capsys, monkeypatch, field
):
    """A file of 2 kB whose image would take 5 GB."""
    big = written(tmp_path / "big", field, height=20_000, width=20_000)
    assert big.stat().st_size < 10_000
    for name in ("render", "render_strips"):
        monkeypatch.setattr(ImageField, name, lambda *_: pytest.fail("drawn"))
    Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
    page = ["export", str(big), "--out", str(tmp_path / "a.html")]
    for argv, word in (
        (["render", str(big), "--out", str(tmp_path / "a.png")], "--size"),
        (page, "16777216 pixels"),
        ([*page, "--image", str(tmp_path / "small.png")], "16777216 pixels"),
    ):
        assert main(argv) == 2
        line = capsys.readouterr().err
        assert "20000 x 20000" in line and word in line and line.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["big", "small.png"]
    loaded = ImageField.load(big)
    assert view_size(loaded, 7, None, (0, 0, 1, 1)) == (7, 7)
    assert view_size(loaded, None, 0.01, (0, 0, 1, 1)) == (200, 200)
    assert view_size(loaded, None, None, (0, 0, 0.1, 0.1)) == (2000, 2000)


def test_data_that_the_config_does_not_ask_for_are_not_read(tmp_path, field):
    """A sparse file takes no room on a disk, and would take all of the memory."""
    count = 2**26
    path = written(tmp_path / "a", field, {"x": np.zeros(count, np.uint8)})
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="tensor x is not part"):
        ImageField.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count / 4


@pytest.mark.parametrize("name", ["x\x1b[31m\ny", "x" * 10**5, "\u202e"])
def test_whatever_a_file_says_comes_as_one_line(tmp_path, capsys, field, name):
    config = CONFIG.to_dict()
    cases = (
        {"tensors": {name: np.zeros(1, np.float32)}},
        {"tensors": {name: np.full(1, np.nan, np.float32)}},
        {"config": {**config, name: 1}},
        {"config": {**config, "preset": name}},
        {"config": {**config, "network": name}},
        {"config": {**config, "hidden_features": [name]}},
        {"height": name},
        {"encoding": name},
    )
    for case in cases:
        path = written(tmp_path / "a", field, **case)
        with pytest.raises(CheckpointError) as caught:
            ImageField.load(path)
        text = f"{caught.value}; {caught.value.hint}"
        assert text.isprintable() and len(text) < 4100
        assert main(["render", str(path), "--out", str(tmp_path / "a.png")]) == 4
        line = capsys.readouterr().err.removesuffix("\n")
        assert line.isprintable() and line.startswith("error: ")


def test_the_target_of_a_link_is_written(tmp_path, field):
    path = written(tmp_path / "a", field)
    (tmp_path / "real").mkdir()
    for name in ("a.png", "a.npy", "a.tif", "a.html"):
        (tmp_path / name).symlink_to(tmp_path / "real" / name)
        command = "export" if name.endswith("html") else "render"
        argv = [command, str(path), "--quiet", "--out", str(tmp_path / name)]
        assert main(argv) == 0
        assert (tmp_path / name).is_symlink()
    field.save(tmp_path / "a.png")
    assert ImageField.load(tmp_path / "real" / "a.png").height == 12
    assert len(os.listdir(tmp_path / "real")) == 4
