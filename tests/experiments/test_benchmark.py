"""The benchmark's arithmetic and tables; its seconds are nobody's test."""

import json
import statistics
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from jax_inr.config import Config, Network, Optimizer
from jax_inr.experiments.benchmark import (
    choosing,
    contenders,
    kodak,
    many,
    parameters,
    race,
    report,
    steps,
)
from jax_inr.experiments.benchmark.contenders import MISSING, within_budget
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Section, silent


def cells(text, first):
    """The cells of the table's line that begins with a title."""
    (line,) = (x for x in text.splitlines() if x.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(text, title, first):
    """The cell of a line, by the title of its column."""
    head = next(line for line in text.splitlines() if line.startswith("|"))
    titles = [cell.strip() for cell in head.strip("|").split("|")]
    return cells(text, first)[titles.index(title)]


# Steps


def test_flops_of_a_step_are_the_products_of_the_layers():
    # 50176 pixels, two flops a product: forward, weight gradient, input gradient of
    # all layers but the first. By hand for 256-128-256-3.
    forward = 256 * 128 + 128 * 256 + 256 * 3
    both_gradients = forward + 128 * 256 + 256 * 3
    expected = 2 * 50_176 * (forward + both_gradients) / 1e9
    assert steps.step_flops("optimized") == pytest.approx(expected)
    assert steps.step_flops("optimized") == pytest.approx(16.7, abs=0.05)


def test_flops_of_a_product_are_its_multiplications_and_additions():
    # Two by two: four numbers, each of two products and, from zero, two sums.
    assert contenders.product_gflop(2) == 16e-9


def test_a_turn_of_the_product_is_in_seconds_a_gflop(monkeypatch):
    monkeypatch.setattr(contenders, "PRODUCT_SIDE", 64)
    run = contenders.product()
    clock = iter([10.0, 13.0])
    monkeypatch.setattr(contenders.time, "perf_counter", lambda: next(clock))
    # Three seconds for two products of 2 * 64^3 flops.
    assert run(2) == pytest.approx(1.5 / (2 * 64**3 / 1e9))


@pytest.mark.slow
def test_contenders_take_turns_and_absent_ones_are_left_out(monkeypatch):
    monkeypatch.setitem(contenders.CONTENDERS, "absent", (None, (), 1))  # type: ignore
    times = contenders.alternate(["product", "absent"], 2)
    assert list(times) == ["product"]
    assert len(times["product"]) == 2 and min(times["product"]) > 0


def test_steps_are_told_in_seconds_gflop_and_shares_of_the_product():
    # The machine is twice as slow in the second turn, and ten times in the third.
    product = [0.005, 0.01, 0.05]
    jax, torch = [0.1, 0.2, 1.0], [0.3, 0.8, 1.0]
    times = {"product": product, "optimized, jax": jax, "optimized, torch": torch}
    text = steps.write({"asked": [*times, "cnn, jax"], "seconds": times})
    gflop = steps.step_flops("optimized")
    # A product of so many GFLOP would take as long, or a share of that.
    shares = [gflop * p / s for p, s in zip(product, jax, strict=True)]
    assert shares == pytest.approx([shares[0]] * 3)
    found = cells(text, "optimized, jax")
    assert found[1:3] == ["0.2000", "0.1000–1.0000"]
    assert found[3:] == [f"{gflop / 0.2:.0f}", f"{shares[0]:.0%}"]
    theirs = statistics.median(
        gflop * p / s for p, s in zip(product, torch, strict=True)
    )
    assert cells(text, "optimized, torch")[4] == f"{theirs:.0%}"
    assert cells(text, "2048³ float32 matrix product (XLA)")[3:] == ["100", "100%"]
    assert MISSING in cells(text, "cnn, jax")
    # Turn by turn: torch took 3, 4 and 1 times as long.
    assert "`optimized`: a step of JAX is 3.00 times as fast as one of torch" in text
    assert "`cnn`: torch is not installed" in text


def test_the_quick_form_asks_few_contenders_for_two_turns(monkeypatch):
    asked = []
    monkeypatch.setattr(
        steps, "alternate", lambda *arguments: asked.append(arguments) or {}
    )
    assert steps.measure(Options(9, True), silent)["asked"] == steps.QUICK
    assert steps.measure(Options(9), silent)["asked"] == tuple(contenders.CONTENDERS)
    assert [turns for _, turns in asked] == [2, 9]


# The race


def run_of(rows, fit=4.0, ready=1.0):
    return {
        "rows": rows,
        "psnr_db": rows[-1][1],
        "steps": 9,
        "num_params": 5_000,
        "ready_seconds": ready,
        "fit_seconds": fit,
    }


def test_the_race_is_to_the_baselines_last_psnr():
    fast = [run_of([[0.1, 10.0], [s, 31.0]], fit=s) for s in (0.4, 0.2, 9.0)]
    measured = {
        "runs": {
            # Better once on the way: where it ends is what counts.
            race.BASELINE: [run_of([[1.0, 20.0], [2.0, 40.0], [4.0, 30.0]])],
            "`fast`": fast,
            "siren-pytorch": [run_of([[1.0, 29.9]], fit=1.0, ready=3.5)],
        },
        "commands": {"fast": [0.5, 0.1, 2.5]},
    }
    text = race.write(measured)
    assert "goal is 30.00 dB" in text
    # Half a second is the median of 0.4, 0.2 and 9, and 4 s over 0.4 s is 10.
    assert cells(text, "`fast`")[1:] == [
        *("9", "5,000", "31.00", "1.00", "0.40", "0.4", "10"),
    ]
    assert column(text, "s to 30.00 dB", race.BASELINE) == "2"
    assert column(text, "times as fast", race.BASELINE) == "2"
    assert column(text, "ready s", "siren-pytorch") == "3.50"
    assert column(text, "fit s", "siren-pytorch") == "1.00"
    assert column(text, "s to 30.00 dB", "siren-pytorch") == "not reached"
    assert MISSING in cells(text, "`default`")
    # Fit and start of the first line, over the median command.
    assert "0.5 s (median of 3), 10 times as fast as the fit" in text
    figure = race.draw(measured)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == ["torch_ref optimized", "fast", "siren-pytorch"]
    assert lines["fast"].get_xydata().tolist() == [[0.1, 10.0], [9.0, 31.0]]


def test_seconds_to_a_goal_are_those_of_the_first_evaluation_that_has_it():
    run = run_of([[1.0, 20.0], [2.0, 31.0], [3.0, 29.0], [4.0, 35.0]])
    assert race.seconds_to(run, 31.0) == 2.0
    assert race.seconds_to(run, 32.0) == 4.0
    assert race.seconds_to(run, 36.0) is None


def test_without_torch_the_goal_is_that_of_jax():
    runs = {"`optimized`": [run_of([[4.0, 28.0]])]}
    text = race.write({"runs": runs, "commands": {"fast": [1.0]}})
    assert "goal is 28.00 dB" in text
    assert "no goal" in race.write({"runs": {}, "commands": {}})


# Parameters, Kodak, many


def test_parameters_are_told_by_the_last_evaluation_within_the_seconds():
    rows = [[0.5, 20.0], [0.9, 25.0], [1.9, 24.0], [3.0, 23.0], [5.5, 30.0]]
    runs = {"fast": run_of(rows), "quality": run_of([[3.0, 33.0]]), "default": None}
    text = parameters.write({"budget_seconds": 5, "runs": runs})
    # Not the best on the way, and nothing from beyond.
    assert cells(text, "`fast`")[1:] == [
        *("5,000", "9", "25.00", "24.00", "23.00", "30.00"),
    ]
    assert cells(text, "`quality`")[3:6] == ["–", "–", "33.00"]
    assert MISSING in cells(text, "`default`")
    assert "after 5 s of fitting" in text and "10 s" not in text


def test_kodak_images_have_a_mean_and_their_own_columns():
    runs = [
        run_of([[9.0, psnr_db]])
        | {"image": image, "budget": budget, "steps": count, "num_params": 7_000}
        for image, budget, psnr_db, count in (
            ("kodim01", 10, 30.0, 100),
            ("kodim02", 10, 36.0, 300),
            ("kodim03", 10, 45.0, 200),
            ("kodim01", 60, 40.0, 900),
        )
    ]
    text = kodak.write({"changes": {"grid_features": 4}, "runs": runs})
    # The mean of the images, not their best; the median of the steps.
    assert cells(text, "10")[1:] == ["200", "37.00", "30.00", "36.00", "45.00"]
    assert cells(text, "60")[1:] == ["900", "40.00", "40.00", "–", "–"]
    assert column(text, "kodim02", "10") == "36.00"
    assert "7,000 parameters, where an image has 1,179,648 numbers" in text


def test_kodak_asks_every_image_for_each_budget(monkeypatch, tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(b"")
    asked = []

    def measured_by(kind, name, options, say):
        asked.append((Path(options["image"]).stem, options["budget_seconds"]))
        return {"psnr_db": 1.0}

    monkeypatch.setattr(kodak, "measured_by", measured_by)
    options = Options(images=tmp_path)
    runs = kodak.measure(options, silent)["runs"]
    assert asked == [("a", 10), ("b", 10), ("a", 60), ("b", 60), ("a", 600)]
    assert [(run["image"], run["budget"]) for run in runs] == asked
    absent = options._replace(images=tmp_path / "absent")
    found = kodak.measure(absent, silent)
    assert found["runs"] == []
    assert "absent`, so this section is missing" in kodak.write(found)


def batch_run(together, single, total=1.0, difference=0.0):
    return {
        "together": {"fit": together, "total": together + total},
        "single": {"fit": single, "total": single + 2 * total},
        "largest_difference": difference,
    }


def test_many_at_once_are_as_many_times_as_fast_as_they_take_less():
    found = [batch_run(1.0, 5.0), None, batch_run(4.0, 8.0, 2.0, 3e-7)]
    found.append(batch_run(2.0, 8.0, 1.0))
    runs = [
        {"name": "fast", "of": "images", "count": 8, "found": found},
        {"name": "default", "of": "seeds", "count": 4, "found": [None]},
    ]
    text = many.write({"runs": runs})
    # Medians of 8/1, 8/4 and 8/2; of 8/5, 8/8 and 8/8; of 5, 2 and 4; and with
    # compiling of 7/2, 12/6 and 10/3.
    assert cells(text, "8 images, `fast`")[1:] == [
        *("4.00", "1.00", "4.00", "3.33", "3e-07"),
    ]
    assert column(text, "one after the other", "8 images, `fast`") == "1.00"
    assert MISSING in cells(text, "4 seeds, `default`")


# Choosing


def test_choosing_tells_the_rate_and_the_end_or_the_reason():
    runs = [
        {"field": "optimizer", "name": "adam", "learning_rate": 0.01, "psnr_db": 43.8},
        {"field": "optimizer", "name": "sgd", "learning_rate": 16.0, "psnr_db": None},
        {"field": "optimizer", "name": "lbfgs", "refused": "not so: use another"},
        {"field": "network", "name": "wire", "learning_rate": 0.02, "psnr_db": 31.0},
    ]
    text = choosing.write({"size": 96, "steps": 500, "runs": runs})
    assert cells(text, "`adam`")[1:] == ["0.01", "43.80"]
    assert cells(text, "`sgd`")[1:] == ["16", "diverged"]
    assert cells(text, "`lbfgs`")[1:] == ["–", "refused: not so: use another"]
    optimizers, networks = text.split("| `--network` |")
    assert "`wire`" in networks and "`wire`" not in optimizers
    assert cells(text, "`wire`")[1:] == ["0.02", "31.00"]


def test_choosing_asks_for_every_optimizer_and_network_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(choosing, "ended", lambda x: asked.append(x) or {})
    for options, number in ((Options(), 500), (Options(quick=True), 20)):
        asked.clear()
        runs = choosing.measure(options, silent)["runs"]
        names = [*get_args(Optimizer), *get_args(Network)]
        assert [run["name"] for run in runs] == names
        assert all(len(x) == 2 and x["steps"] == number for x in asked)
        assert [x[r["field"]] for x, r in zip(asked, runs, strict=True)] == names


def test_a_report_of_choosing_has_its_own_title_and_command(tmp_path, monkeypatch):
    measured = {"size": 8, "steps": 3, "runs": []}
    monkeypatch.setitem(report.MEASURES, "choosing", lambda options, say: measured)
    out = tmp_path / "choosing.md"
    report.measure(["choosing"], Options(5), out)
    text = out.read_text()
    assert text.startswith("# Choosing an optimizer and a network\n")
    assert f"`python scripts/bench.py choosing --out {out}` on " in text


def test_choosing_is_measured_where_it_is_named_alone(tmp_path, monkeypatch):
    measured = []
    for name in report.MEASURES:
        monkeypatch.setitem(
            report.MEASURES, name, lambda options, say, n=name: measured.append(n) or {}
        )
        monkeypatch.setitem(report.SECTIONS, name, Section(name, lambda found: ""))
    report.measure([], Options(), tmp_path / "performance.md")
    assert measured == list(report.SPEED)
    assert (tmp_path / "performance.md").read_text().startswith("# Performance\n")


# Contenders of whole fits


TRIAL = [{"step": 1, "seconds": 0.5}, {"step": 60, "seconds": 6.4}]
CONFIG = Config(batch_size=64, steps=1000, warmup_steps=100)


@pytest.mark.parametrize("budget", [10.0, 40.0, 600.0])
@pytest.mark.parametrize("evaluations", [1, 20])
def test_a_fit_with_a_budget_takes_about_that_long(budget, evaluations):
    """At a tenth of a second a step, and half a second an evaluation."""
    found = within_budget(CONFIG, TRIAL, budget, evaluations)
    spent = 0.1 * found.steps
    if 0.5 * evaluations < 0.4 * budget:  # else evaluations take half of it at most
        spent += 0.5 * evaluations
        assert 0.9 * budget < spent <= budget
    else:
        assert 0.45 * budget < spent <= budget
    assert evaluations <= found.steps / found.eval_every < 2 * evaluations
    assert found.warmup_steps <= found.steps / 10


def test_a_budget_leaves_a_fit_some_steps():
    found = within_budget(CONFIG, TRIAL, 0.01, 20)
    assert (found.steps, found.warmup_steps, found.eval_every) == (20, 2, 1)
    long = within_budget(CONFIG, TRIAL, 10**6, 20)
    assert long.warmup_steps == CONFIG.warmup_steps


@pytest.mark.slow
def test_a_fit_says_what_its_budget_came_to():
    options = {"budget_seconds": 0.2, "changes": {"num_levels": 2}}
    measured = contenders.fit_preset("fast", options)
    assert measured["steps"] >= 20
    seconds = [row[0] for row in measured["rows"]]
    assert seconds == sorted(seconds)
    assert measured["fit_seconds"] == pytest.approx(seconds[-1], abs=1e-5)
    assert measured["psnr_db"] == pytest.approx(measured["rows"][-1][1], abs=1e-3)
    assert json.loads(json.dumps(measured)) == measured


def test_a_contender_that_is_not_there_is_said_to_be_missing():
    said = []
    assert contenders.measured_by("fit", "unheard-of", {}, said.append) is None
    (text,) = said
    assert text.startswith("fit unheard-of is missing here: ") and "\n" not in text


def test_what_a_contender_measures_is_the_last_line_it_prints(monkeypatch):
    def run(words, **options):
        assert words[-3:] == ["fit", "fast", '{"a": 1}']
        return subprocess.CompletedProcess(words, 0, 'a notice\n{"psnr_db": 3}\n', "")

    monkeypatch.setattr(contenders.subprocess, "run", run)
    found = contenders.measured_by("fit", "fast", {"a": 1}, silent)
    assert found == {"psnr_db": 3}


def test_the_report_has_each_section_measured_and_written():
    assert report.MEASURES.keys() == report.SECTIONS.keys()
    assert list(report.SECTIONS) == [
        *report.SPEED,
        "choosing",
        "frontier",
        "peers",
        "gpu",
        "sigma",
        "sizes",
    ]


def test_the_report_keeps_the_command_that_made_a_section(tmp_path, monkeypatch):
    measured = {"budget_seconds": 4, "runs": {"fast": run_of([[1.0, 20.0]])}}
    monkeypatch.setitem(report.MEASURES, "parameters", lambda options, say: measured)
    out = tmp_path / "performance.md"
    report.measure(["parameters"], Options(5, True), out)
    text = out.read_text()
    assert "`python scripts/bench.py parameters --turns 5 --quick` on " in text
    assert "| `fast` | 5,000 | 9 | 20.00 |" in text
