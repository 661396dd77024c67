"""The GPU's benchmark: parts that end nothing else, kept line by line."""

import json
import os
import signal
import sys
import time

import numpy as np
import pytest

from jax_inr.experiments.benchmark import gpu, gpu_parts, report
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import silent
from jax_inr.io.images import save_image

QUICK = {"quick": True}


def python(code):
    return [sys.executable, "-c", code]


def followed(code, seconds=60.0):
    found = {"lines": []}
    gpu.follow(python(code), seconds, found, lambda: None)
    return found


def test_lines_of_json_are_kept_and_the_rest_is_what_was_said():
    found = followed("print('{\"a\": 1}'); print('a warning'); print('2 passed')")
    assert found["lines"] == [{"a": 1}]
    assert (found["ended"], found["said"]) == ("done", ["2 passed"])


def test_a_part_that_fails_keeps_its_lines_and_says_why():
    found = followed("print('{\"a\": 1}', flush=True); raise OSError('no such thing')")
    assert found["lines"] == [{"a": 1}]
    assert found["ended"] == "failed"
    assert found["said"][-1] == "OSError: no such thing"


def test_a_part_that_takes_too_long_is_cut():
    found = followed("print('{}', flush=True)\nwhile True: pass", 3.0)
    assert (found["ended"], found["lines"]) == ("cut", [{}])


def test_one_part_that_fails_ends_no_other(monkeypatch):
    code = "import sys; print('{}'); sys.exit(sys.argv[1:2] == ['grids'])"
    monkeypatch.setattr(gpu, "PROGRAM", python(code))
    monkeypatch.setattr(gpu, "SUITE_COMMAND", python("print('3 passed')"))
    kept = []
    options = Options(save=lambda section, measured: kept.append(json.dumps(measured)))
    measured = gpu.measure(options, silent)
    ended = {name: found["ended"] for name, found in measured["parts"].items()}
    assert ended == {name: "done" for name in gpu.PARTS} | {"grids": "failed"}
    # After each line, and after each part.
    assert len(kept) == 2 * len(gpu.PARTS) - 1
    # What is under way would be cut, were this the last that is kept.
    assert json.loads(kept[0])["parts"] == {"steps": {"lines": [{}], "ended": "cut"}}
    assert measured["parts"]["suite"]["said"] == ["3 passed"]


def test_the_suite_is_told_by_its_last_line():
    suite = {"lines": [], "said": ["...", "3 passed in 2s"], "ended": "done"}
    text = gpu.write({"budget_seconds": 9, "parts": {"suite": suite}})
    assert "depend on the device: 3 passed in 2s\n" in text
    assert "Of 9 s: `suite` done after 0 s." in text


def test_without_time_nothing_is_begun():
    measured = gpu.measure(Options(budget_seconds=0.5), silent)
    ended = {found["ended"] for found in measured["parts"].values()}
    assert ended == {"no time was left"}
    gpu.write(measured)


def test_a_signal_ends_it_and_what_was_measured_stays(monkeypatch):
    code = "import time; print('{}', flush=True); time.sleep(60)"
    monkeypatch.setattr(gpu, "PROGRAM", python(code))
    before = signal.getsignal(signal.SIGTERM)
    options = Options(
        save=lambda section, measured: os.kill(os.getpid(), signal.SIGTERM)
    )
    start = time.monotonic()
    measured = gpu.measure(options, silent)
    assert measured["stopped"] == "SIGTERM"
    assert list(measured["parts"]) == ["steps"]
    assert measured["parts"]["steps"]["lines"] == [{}]
    assert measured["parts"]["steps"]["ended"] == "cut"
    assert time.monotonic() - start < 60
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_report_keeps_what_the_section_says_as_it_goes(tmp_path, monkeypatch):
    out = tmp_path / "gpu.md"

    def measure(options, say):
        options.save("gpu", {"budget_seconds": 3, "parts": {}})
        kept = json.loads(out.with_suffix(".json").read_text())
        assert kept["sections"]["gpu"]["measured"]["budget_seconds"] == 3
        return {"budget_seconds": 4, "parts": {}}

    monkeypatch.setitem(report.MEASURES, "gpu", measure)
    report.measure(["gpu"], Options(), out)
    assert out.read_text().startswith("# Performance\n\n")
    assert "Of 4 s" in out.read_text()


# Parts


def test_a_step_is_counted_by_its_products():
    flops, moved = gpu_parts.step_counts(10)
    kernels = [256 * 128, 128 * 256, 256 * 3]
    assert flops == 2 * 10 * (2 * kernels[0] + 3 * kernels[1] + 3 * kernels[2])
    sides = [256 + 128, 128 + 256, 256 + 3]
    arrays = [10 * side + kernel for side, kernel in zip(sides, kernels, strict=True)]
    assert moved == 4 * (2 * arrays[0] + 3 * arrays[1] + 3 * arrays[2])


@pytest.mark.slow
def test_the_steps_have_ceilings_before_them():
    lines = list(gpu_parts.steps(QUICK))
    assert lines[0]["platform"] == "cpu"
    assert [line.get("ceiling") for line in lines[1:4]] == [
        "float32",
        "bfloat16",
        "copy",
    ]
    assert [line["step"] for line in lines[4:]] == ["float32", "bfloat16"]
    assert all(line["share_of_least"] > 0 for line in lines[4:])
    text = gpu.write(measured(steps=lines))
    assert "| float32 |" in text and "a copy" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["grids", "hash", pytest.param("waves", marks=pytest.mark.slow)]
)
def test_a_recipe_fits_images_by_numbers_and_steps(recipe, tmp_path):
    image = np.random.default_rng(0).random((40, 40, 3), np.float32)
    save_image(tmp_path / "a.png", image)
    lines = list(gpu_parts.kodak(recipe, QUICK | {"images": str(tmp_path)}))
    ready, *fits = lines
    assert ready["ready_seconds"] > 0
    assert [(line["image"], line["steps"]) for line in fits] == [("a", 2), ("a", 3)]
    for line in fits:
        assert 3 < line["psnr_db"] < 30 and line["num_params"] <= 3000
    assert f"| {recipe} |" in gpu.write(measured(**{recipe: lines}))


@pytest.mark.slow
def test_many_are_counted_in_fits_a_second():
    lines = list(gpu_parts.many(QUICK))
    assert [(line["count"], line["steps"]) for line in lines] == [(2, 2)]
    assert lines[0]["psnr_db"] > 5
    lines[0]["fit_seconds"] = 0.5
    assert "| 2 | 2 | 4 |" in gpu.write(measured(many=lines))


def measured(**lines):
    parts = {
        name: {"lines": found, "ended": "done", "seconds": 1.0}
        for name, found in lines.items()
    }
    return {"budget_seconds": 480, "parts": parts}


def fit_line(image, psnr_db, seconds, recipe="grids", size=300, steps=5):
    return {
        "recipe": recipe,
        "size": size,
        "steps": steps,
        "image": image,
        "num_params": size - 1,
        "psnr_db": psnr_db,
        "fit_seconds": seconds,
    }


def test_a_goal_is_reached_by_the_mean_of_all_images():
    grids = [
        fit_line("a", 39.0, 1.0),
        fit_line("b", 43.0, 3.0),
        fit_line("a", 45.0, 9.0, steps=50),
        fit_line("b", 43.5, 11.0, steps=50),
        # Cut before the second image: its mean is of the easier one alone.
        fit_line("b", 50.0, 30.0, steps=500),
    ]
    waves = [fit_line("a", 44.0, 4.0, "waves"), fit_line("b", 44.0, 6.0, "waves")]
    text = gpu.write(measured(grids=grids, waves=waves))
    assert "| grids | 299 | 5 | 2 | 41.00 | 2.00 |" in text
    assert "| 300 | 2.00 (grids) | 5.00 (waves) | – |" in text
