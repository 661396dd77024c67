"""The section on sigma: what is fitted, what is kept, and what is written of it."""

import pytest

from jax_inr import machine
from jax_inr.experiments.benchmark import sigma
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import silent
from jax_inr.io.images import save_image


def test_a_line_says_how_far_auto_is_below_the_best():
    sweep = [[1.0, 20.0], [5.0, 30.0], [10.0, 25.0]]
    runs = [
        {"image": "a", "sweep": sweep, "auto": [4.2, 29.75]},
        {"image": "b", "sweep": sweep, "auto": [6.0, 30.05]},
    ]
    text = sigma.write({"folder": "x", "images": runs})
    assert "| a | 20.00 | 30.00 | 25.00 | 4.2 | 29.75 | 0.25 |" in text
    assert "| b | 20.00 | 30.00 | 25.00 | 6 | 30.05 | -0.05 |" in text
    assert "0.25 dB below the best of the sweep at most, 0.10 dB in the mean" in text
    assert "missing here" in sigma.write({"folder": "x", "images": []})


def test_images_are_the_sample_text_and_the_first_of_the_folder(monkeypatch, tmp_path):
    for name in "edcba":
        (tmp_path / f"{name}.png").write_bytes(b"")
    asked, kept = [], []

    def measured_by(kind, name, told, say, program):
        asked.append(name)
        return {"image": name} if name != "text" else None

    monkeypatch.setattr(sigma, "measured_by", measured_by)
    options = Options(images=tmp_path, save=lambda name, m: kept.append(str(m)))
    measured = sigma.measure(options, silent)
    assert asked == ["cat", "text", *(str(tmp_path / f"{n}.png") for n in "abcd")]
    assert [run["image"] for run in measured["images"]] == asked[:1] + asked[2:]
    assert len(set(kept)) == 5
    sigma.measure(Options(images=tmp_path, quick=True), silent)
    assert asked[6:] == ["cat"]


def test_squares_are_of_the_centre_and_of_the_text():
    assert sigma.image_of("cat").shape == (224, 224, 3)
    text = sigma.image_of("text")
    assert text.shape == (128, 128, 1) and 0 <= text.min() < text.max() <= 1


@pytest.mark.slow
def test_a_finished_fit_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "devices_for_cores", lambda: None)
    image = sigma.image_of("cat")[:48, :64]
    save_image(tmp_path / "a.png", image)
    told = {"quick": True, "kept": str(tmp_path / "kept")}
    found = sigma.fit_all(str(tmp_path / "a.png"), told)
    assert found["image"] == "a" and found["shape"] == [32, 48, 3]
    assert [number for number, _ in found["sweep"]] == [2.0, 5.0]
    number, psnr_db = found["auto"]
    assert 0.1 < number < 16 and 5 < psnr_db < 40
    assert len(list((tmp_path / "kept").iterdir())) == 3
    # Nothing is left to fit.
    monkeypatch.setattr("jax_inr.fitting.fit_many", pytest.fail)
    assert sigma.fit_all(str(tmp_path / "a.png"), told) == found
