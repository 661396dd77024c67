"""The benchmark's arithmetic and report; its seconds are nobody's test."""

import json

import pytest

from jax_inr import benchmark


def test_flops_of_a_step_are_the_products_of_the_layers():
    # 50176 pixels, two flops a product: forward, weight gradient, input gradient of
    # all layers but the first. By hand for 256-128-256-3.
    forward = 256 * 128 + 128 * 256 + 256 * 3
    both_gradients = forward + 128 * 256 + 256 * 3
    expected = 2 * 50_176 * (forward + both_gradients) / 1e9
    assert benchmark.step_flops("optimized") == pytest.approx(expected)
    assert benchmark.step_flops("optimized") == pytest.approx(16.7, abs=0.05)


def test_contenders_take_turns_and_absent_ones_are_left_out(monkeypatch):
    monkeypatch.setitem(benchmark.CONTENDERS, "absent", (None, (), 1))  # type: ignore
    times = benchmark.alternate(["product", "absent"], 2)
    assert list(times) == ["product"]
    assert len(times["product"]) == 2 and min(times["product"]) > 0


def test_a_report_keeps_the_sections_that_were_not_run(tmp_path, monkeypatch):
    def section(name):
        return lambda turns: (f"table of {name}, {turns} turns", {"seconds": [1.0]})

    sections = {n: (n.upper(), section(n)) for n in ("one", "two")}
    monkeypatch.setattr(benchmark, "SECTIONS", sections)
    out = tmp_path / "performance.md"
    benchmark.report(["one"], 3, out)
    benchmark.report(["two"], 5, out)
    text = out.read_text()
    assert "table of one, 3 turns" in text and "table of two, 5 turns" in text
    assert "python scripts/bench.py two --turns 5" in text
    data = json.loads(out.with_suffix(".json").read_text())
    assert data["one"]["measured"] == {"seconds": [1.0]}
