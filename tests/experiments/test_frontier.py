"""The frontier: decibels for numbers and seconds."""

import json

import pytest

from jax_inr.experiments.benchmark import frontier
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import silent
from jax_inr.io.images import sample_image, save_image


def run_of(recipe, image, psnr_db, budget=10, size=300_000):
    return {
        "recipe": recipe,
        "size": size,
        "image": image,
        "pixels": 200_000,
        "budget": budget,
        "steps": 40,
        "num_params": size - 2000,
        "psnr_db": psnr_db,
        "fit_seconds": 0.25,
    }


def test_lines_are_means_over_the_images_with_numbers_a_pixel():
    runs = [
        run_of("pyramid", "a", 40.0),
        run_of("pyramid", "b", 43.0),
        run_of("pyramid", "a", 47.0, budget=60),
        run_of("cosines", "a", 45.0, budget=0),
    ]
    text = frontier.write({"folder": "x", "runs": runs})
    assert "| pyramid | 10 | 298,000 | 1.49 | 40 | 2 | 41.50 | 40.00 | 43.00 |" in text
    assert "| pyramid | 60 | 298,000 | 1.49 | 40 | 1 | 47.00 |" in text
    assert "| cosines | 0.2 |" in text
    assert "No images in `x`" in frontier.write({"folder": "x", "runs": []})


def test_every_line_of_the_plan_is_kept_at_once(monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    asked, kept = [], []

    def measured_by(kind, recipe, told, say, program):
        asked.append((recipe, told["sizes"], told["seconds"]))
        return {"runs": [len(asked)]} if len(asked) != 2 else None

    monkeypatch.setattr(frontier, "measured_by", measured_by)
    options = Options(
        images=tmp_path, save=lambda name, m: kept.append(json.dumps(m["runs"]))
    )
    measured = frontier.measure(options, silent)
    assert asked == list(frontier.PLAN)
    assert measured["runs"] == [1, 3, 4, 5, 6]
    assert kept[:3] == ["[1]", "[1]", "[1, 3]"]


@pytest.mark.slow_cases("pyramid")
@pytest.mark.parametrize("recipe", ["pyramid", "cosines"])
def test_a_recipe_has_at_most_the_numbers_asked_for(recipe, tmp_path):
    save_image(tmp_path / "cat.png", sample_image(size=64).image)
    told = {"images": [str(tmp_path / "cat.png")], "quick": True}
    told |= {"sizes": [4000], "seconds": 0.01}
    (found,) = frontier.fit_all(recipe, told)["runs"]
    assert found["image"] == "cat" and found["pixels"] == 48 * 64
    assert 3000 < found["num_params"] <= 4000
    assert found["psnr_db"] > (30 if recipe == "cosines" else 5)
