"""Classification from weights, and the race against the eager loop, at tiny sizes."""

import json

import numpy as np
import pytest

from jax_inr import ConfigError
from jax_inr.experiments.weights import digits, eager, race


class Rows:
    """A set of fields whose first number tells the class, or nothing does."""

    def __init__(self, tells: bool) -> None:
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 3, 600)
        self._rows = rng.normal(size=(600, 6)).astype(np.float32)
        self._rows[:, 0] += 4.0 * self.labels * tells

    @property
    def params(self):
        return self

    @property
    def oindex(self):
        return self._rows

    def split(self, name: str) -> np.ndarray:
        ends = {"train": (0, 400), "val": (400, 500), "test": (500, 600)}
        return np.arange(*ends[name])


@pytest.mark.slow
def test_the_classifier_finds_what_is_there_and_nothing_else():
    from jax_inr.experiments.weights.classifier import accuracy

    assert accuracy(Rows(True), epochs=25)["test"] > 0.9
    assert accuracy(Rows(False), epochs=2)["test"] < 0.55


@pytest.mark.slow
def test_both_starts_are_measured_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "CONFIG", digits.CONFIG.replace(steps=3))
    rng = np.random.default_rng(0)
    images = rng.random((160, 4, 4, 1), np.float32)
    rows = digits.measure(tmp_path, images, rng.integers(0, 2, 160), 1, 1)
    assert [row["init"] for row in rows] == ["shared", "random"]
    assert (tmp_path / "shared.zarr").is_dir()
    lines = digits.table(rows).splitlines()
    assert lines[2].startswith("| shared | ") and lines[3].startswith("| random | ")


def test_digits_without_scikit_learn_are_a_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match="scikit-learn"):
        digits.digits(3)


def test_the_eager_loop_fits(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    rows, columns = np.mgrid[0:8, 0:8] / 8
    image = np.stack([rows, columns, 1 - rows], -1)
    levels = (255 * image).astype(np.uint8)
    steps = eager.fit_one(torch, levels.astype(np.float32) / 255, 200, 25.0)
    assert steps % eager.CHECK_EVERY == 0 and steps < 200
    np.save(tmp_path / "x.npy", levels[None])
    threads = torch.get_num_threads()
    try:
        cores = sorted(eager.os.sched_getaffinity(0))
        eager.main([str(tmp_path / "x.npy"), "0", "0", "1", "3", "0"])
    finally:
        eager.os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
    row = json.loads(capsys.readouterr().out)
    assert (row["fields"], row["steps"]) == (1, 3)


def test_the_table_has_a_line_for_each_contender():
    row = {"goal": "30 dB", "what": "x", "fields": 8, "mean_steps": 20.0}
    lines = race.table([row | {"seconds": 2.0, "cpu_seconds": 4.0}]).splitlines()
    assert lines[2] == "| 30 dB | x | 8 | 20 | 2.0 | 4.00 | 2.00 |"
