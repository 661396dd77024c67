"""The section on presets by the size of the image."""

import pytest

from jax_inr.experiments.benchmark import sizes
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import silent


def run_of(**changes):
    return {
        "preset": "fast",
        "image": "cat",
        "height": 100,
        "width": 50,
        "num_params": 10_000,
        "steps": 100,
        "all_steps": 100,
        "fit_seconds": 1.234,
        "psnr_db": 31.0,
    } | changes


def test_a_line_says_numbers_a_pixel_and_where_the_seconds_ended_a_fit():
    runs = [run_of(), run_of(preset="quality", steps=70, all_steps=2000)]
    text = sizes.write({"seconds": 60.0, "runs": runs})
    assert "| cat | 100x50 | `fast` | 10,000 | 2.00 | 100 | 1.23 | 31.00 |" in text
    assert "| `quality` | 10,000 | 2.00 | 70 of 2000 |" in text
    assert "missing here" in sizes.write({"seconds": 60.0, "runs": []})


def test_images_are_two_samples_a_png_and_a_large_jpeg(monkeypatch, tmp_path):
    for name in ("b.png", "a.png", "large.jpg"):
        (tmp_path / name).write_bytes(b"")
    asked, kept = [], []

    def measured_by(kind, name, told, say, program):
        asked.append((told["image"], name))
        return {"image": told["image"]} if len(asked) > 1 else None

    monkeypatch.setattr(sizes, "measured_by", measured_by)
    options = Options(images=tmp_path, save=lambda name, m: kept.append(str(m)))
    measured = sizes.measure(options, silent)
    images = ["64", "224", str(tmp_path / "a.png"), str(tmp_path / "large.jpg")]
    assert asked == [(image, name) for image in images for name in sizes.PRESETS]
    assert len(measured["runs"]) == 7 and len(set(kept)) == 8
    assert sizes.measure(Options(quick=True), silent)["seconds"] < 60
    assert [image for image, _ in asked[8:]] == ["64", "64", "224", "224"]


@pytest.mark.parametrize("seconds, steps", [(1e-6, 1), (1e6, 3)])
def test_a_fit_takes_its_steps_or_those_that_fit(seconds, steps, monkeypatch):
    short = sizes.preset("fast").replace(steps=3)
    monkeypatch.setattr(sizes, "preset", lambda name: short)
    found = sizes.fit_one("fast", {"image": "24", "seconds": seconds})
    assert (found["height"], found["width"], found["image"]) == (24, 24, "cat")
    assert found["steps"] == steps and found["all_steps"] == 3
    assert 5 < found["psnr_db"] < 60
