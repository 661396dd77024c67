"""The benchmark's arithmetic and report; its seconds are nobody's test."""

import json

import pytest

from jax_inr.experiments.benchmark import report


def test_flops_of_a_step_are_the_products_of_the_layers():
    # 50176 pixels, two flops a product: forward, weight gradient, input gradient of
    # all layers but the first. By hand for 256-128-256-3.
    forward = 256 * 128 + 128 * 256 + 256 * 3
    both_gradients = forward + 128 * 256 + 256 * 3
    expected = 2 * 50_176 * (forward + both_gradients) / 1e9
    assert report.step_flops("optimized") == pytest.approx(expected)
    assert report.step_flops("optimized") == pytest.approx(16.7, abs=0.05)


def test_contenders_take_turns_and_absent_ones_are_left_out(monkeypatch):
    monkeypatch.setitem(report.CONTENDERS, "absent", (None, (), 1))  # type: ignore
    times = report.alternate(["product", "absent"], 2)
    assert list(times) == ["product"]
    assert len(times["product"]) == 2 and min(times["product"]) > 0


def test_a_report_keeps_the_sections_that_were_not_run(tmp_path, monkeypatch):
    def section(name):
        measure = lambda turns, quick: {"seconds": [1.0], "turns": turns}  # noqa: E731
        return name.upper(), measure, lambda m: f"table of {name}, {m['turns']} turns"

    sections = {name: section(name) for name in ("one", "two")}
    monkeypatch.setattr(report, "SECTIONS", sections)
    out = tmp_path / "performance.md"
    report.report(["one"], 3, out)
    report.report(["two"], 5, out, quick=True)
    text = out.read_text()
    assert "table of one, 3 turns" in text and "table of two, 5 turns" in text
    assert "python scripts/bench.py two --turns 5 --quick" in text
    data = json.loads(out.with_suffix(".json").read_text())
    assert data["one"]["measured"] == {"seconds": [1.0], "turns": 3}


def run_of(rows, fit=4.0, ready=1.0):
    return {
        "rows": rows,
        "psnr_db": rows[-1][1],
        "steps": 9,
        "num_params": 5,
        "ready_seconds": ready,
        "fit_seconds": fit,
    }


def test_the_race_is_to_the_baselines_last_psnr(tmp_path):
    fast = [run_of([[0.1, 10.0], [s, 31.0]], fit=s) for s in (0.4, 0.2, 9.0)]
    measured = {
        "runs": {
            report.BASELINE: [run_of([[1.0, 20.0], [4.0, 30.0]])],
            "`fast`": fast,
            "siren-pytorch": [run_of([[1.0, 29.9]])],
        },
        "commands": {"fast": [0.5]},
    }
    text = report.write_race(measured)
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "goal is 30.00 dB" in text
    assert lines["`fast`"].endswith("| 0.4 | 10 |")
    assert "not reached" in lines["siren-pytorch"]
    assert report.MISSING in lines["`default`"]
    assert "10 times as fast as the fit" in text
    assert report.draw_race(measured).startswith(b"\x89PNG")


def test_a_contender_that_is_not_there_is_said_to_be_missing(capfd, monkeypatch):
    assert report.contender("fit", "unheard-of", {}) is None
    assert report.MISSING in capfd.readouterr().err
    monkeypatch.setattr(report, "KODAK", report.Path("nowhere"))
    assert report.measure_kodak(1, False) == {"runs": []}
    assert report.MISSING in report.write_kodak({"runs": []})
    none = {"name": "fast", "of": "pictures", "count": 8, "found": [None]}
    assert report.MISSING in report.write_many({"runs": [none]})
    empty = {"budget_seconds": 4, "runs": {"fast": None}}
    assert report.MISSING in report.write_parameters(empty)
    only = {"seconds": {"product": [0.1], "optimized, jax": [0.2]}}
    text = report.write_steps(only)
    assert report.MISSING in text and "torch is not installed" in text


def test_a_fit_with_a_budget_takes_about_that_long():
    from jax_inr.experiments.benchmark import contenders

    measured = contenders.fit_preset("fast", {"budget_seconds": 0.5})
    assert measured["steps"] >= 20 and measured["num_params"] == 45_259
    seconds = [row[0] for row in measured["rows"]]
    assert seconds == sorted(seconds)
    assert measured["fit_seconds"] == pytest.approx(seconds[-1], abs=1e-5)
