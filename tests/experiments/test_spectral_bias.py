"""The experiments on spectral bias: their machinery, verdicts, report and command."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from conftest import run_script

from jax_inr.cli import main
from jax_inr.config import Config
from jax_inr.cost import count_params
from jax_inr.errors import ConfigError, DeviceError
from jax_inr.experiments.report import check_sections
from jax_inr.experiments.spectral_bias import (
    checks,
    fits,
    forms,
    locality,
    report,
    spectra,
    verdicts,
)
from jax_inr.model import make_model
from jax_inr.training import init_state, train_step

TINY = dataclasses.replace(
    forms.QUICK,
    size=24,
    bands=4,
    batch_size=64,
    steps=4,
    cnn_widths=(2, 2),
    cnn_steps=2,
    widths=(8, 16),
    width_steps=2,
    width_batch=32,
    ntk_side=4,
    ntk_steps=4,
    crop=16,
    crop_steps=2,
    wave_side=16,
    wave_steps=4,
)


def quiet(done: int, steps: int) -> None:
    pass


@pytest.mark.slow
def test_networks_side_by_side_train_as_each_alone(image):
    config = Config(optimizer="adam", learning_rate=1e-2, num_frequencies=3)
    plan = fits.plan_of(config.replace(hidden_features=(5,)), image.shape)
    variables = fits.draw(plan, 0, 2)
    targets = np.stack([image, image[::-1]])
    data = fits.data_of(plan, variables, targets)
    together = dict(fits.train(plan, variables, data, 0, [1, 9, 12], quiet))
    assert list(together) == [1, 9, 12]
    step = jax.jit(train_step, static_argnums=0)
    for i in range(2):
        network, own = fits.select(variables, i), fits.select(data, i)
        state, key = init_state(plan.train, network), jax.random.key(0)
        for _ in range(12):
            state, _ = step(plan.train, state, network["constants"], own, key)
        found = fits.select(together[12]["params"], i)
        for a, b in zip(
            jax.tree.leaves(found), jax.tree.leaves(state.params), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_a_cnn_that_sees_a_constant_knows_as_many_pixels_as_it_has_layers():
    noise = np.random.default_rng(0).random((24, 24, 3), np.float32)
    measured = locality.padding(TINY, noise, 0, quiet)
    layers = measured["layers"]
    assert measured["reach"] == layers == 4
    difference = measured["from_middle"]
    assert difference[layers:-layers, layers:-layers].max() < 1e-5
    assert difference[0].min() > 1e-4


def test_doublings_end_with_the_last_step():
    assert fits.doublings(1) == [1]
    assert fits.doublings(12) == [1, 2, 4, 8, 12]
    assert fits.doublings(16) == [1, 2, 4, 8, 16]


def test_an_order_is_monotone_until_something_overtakes():
    assert verdicts.is_monotone([1, 2, 2, 8, None, None])
    assert not verdicts.is_monotone([1, 4, 2])
    assert not verdicts.is_monotone([1, None, 2])


def test_rank_correlation():
    assert verdicts.rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert verdicts.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert verdicts.rank_correlation([1, 2, 3], [5, 5, 5]) == 0
    # By hand: ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    assert verdicts.rank_correlation([1, 2, 3, 4], [1, 7, 7, 9]) == pytest.approx(
        4.5 / (4.5 * 5) ** 0.5
    )


def spectrum(missing, psnr_db):
    return {
        "missing": [missing],
        "psnr_db": [psnr_db],
        "edges": [1, 2, 4, 8, 16],
        "steps": [32],
    }


@pytest.mark.parametrize(
    ("upper", "psnr_db", "verdict"),
    [
        (0.95, 14.0, verdicts.YES),  # no detail, and better than the mean colour
        (0.95, 12.0, verdicts.PARTLY),  # no detail, and no colours either
        (0.85, 14.0, verdicts.NO),  # some detail
        (0.6, 12.0, verdicts.NO),
    ],
)
def test_the_cnn_has_colours_and_no_detail(upper, psnr_db, verdict):
    cnn = spectrum([0.1, 0.2, upper - 0.05, upper + 0.05], psnr_db)
    adam = spectrum([0.0, 0.1, 0.2, 0.4], 20.0)
    kept = {
        "spectra/cnn": {"networks": {"cnn": cnn}, "mean_psnr_db": 13.0},
        "spectra/cnn-adam": {"networks": {"cnn-adam": adam}},
    }
    (found,) = verdicts.statements(kept)
    assert found.verdict == verdict
    # The upper half of the bands, of each.
    assert f"misses 10% of the lowest band and {upper:.0%} of the upper" in (
        found.evidence
    )
    assert "under Adam misses 0% and 30% at 20.0 dB" in found.evidence
    assert "part of the blur is the optimizer's" in found.evidence


@pytest.mark.slow
def test_the_next_period_lies_one_width_to_the_right(image, monkeypatch):
    """A field whose columns repeat and whose rows do not, seen by its windows."""
    windows = []

    def render(model, variables, height, width, window):
        windows.append(window)
        return np.zeros((height, width, 3), np.float32)

    monkeypatch.setattr(spectra, "render", render)
    square = np.tile(image, (2, 2, 1))[:24, :24]
    spectra.spectra("gaussian", TINY, square, 0, quiet)
    # (top, left, bottom, right): the image itself is (0, 0, 1, 1).
    assert windows == [(0, 1, 1, 2)] * len(spectra.SIGMAS)


def test_verdicts_turn_with_the_numbers():
    shared = {
        f"sharing/{grid}": {
            "networks": grid**2,
            "sigmas": [4.0, 10.0],
            "unseen_db": [20.0 - grid, 20.0 - grid],
        }
        for grid in (1, 2, 4)
    }
    assert verdicts.statements(shared)[0].verdict == verdicts.YES
    shared["sharing/4"]["unseen_db"] = [10.0, 30.0]
    assert verdicts.statements(shared)[0].verdict == verdicts.PARTLY
    shared["sharing/4"]["unseen_db"] = [30.0, 30.0]
    assert verdicts.statements(shared)[0].verdict == verdicts.NO
    waves = {
        "waves/none": {"learned_steps": [[1, 3, None]]},
        "waves/gaussian": {"learned_steps": [[1, 3, 2]]},
    }
    assert [v.verdict for v in checks.checks(waves)] == ["holds", "holds"]
    none, gaussian = waves.values()
    waves = {"waves/none": gaussian, "waves/gaussian": none}
    assert [v.verdict for v in checks.checks(waves)] == ["does not hold"] * 2
    parseval = {"checks/parseval": {"errors": {"4x4": 1e-7, "5x4": 2e-5}}}
    assert checks.checks(parseval)[0].verdict == "does not hold"


def test_what_cannot_be_done_is_refused_before_work():
    with pytest.raises(ConfigError, match="unknown section colours"):
        check_sections(["checks", "colours"], forms.SECTIONS)
    with pytest.raises(ConfigError, match="too small for 20 frequency bands"):
        forms.make_form(quick=True, size=24, num_bands=20)
    with pytest.raises(ConfigError, match="ntk_side is 65; it must lie in 4 to 64"):
        forms.make_form(quick=True, ntk_side=65)
    with pytest.raises(ConfigError, match="size is 9"):
        forms.make_form(size=9)
    needed = forms.kernel_bytes(32)
    with pytest.raises(DeviceError, match=r"sub-grid of 32x32 .* GiB") as error:
        forms.check_kernel(32, needed - 1)
    assert "--ntk-side" in error.value.hint
    forms.check_kernel(32, needed)


def test_kernel_bytes_counts_the_parameters_of_the_network():
    model = make_model(Config(), 1, 1, 1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == count_params(model)
    assert forms.kernel_bytes(2) == 8 * 4 * (2 * count + 6 * 4)


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--bands", "40"), 2, "too small for 40 frequency bands; use --bands"),
        (("--ntk-side", "1000"), 2, "ntk_side is 1000"),
        (("--sections", "colours"), 2, "unknown section colours; sections: checks"),
        (("--seed", "-1"), 2, "seed is -1"),
    ],
)
def test_errors_of_the_command_are_one_line(options, code, text, capsys):
    assert main.main(["spectral-bias", "--quick", *options]) == code
    printed = capsys.readouterr().err
    assert (
        printed.startswith("error: ") and printed.count("\n") == 1 and text in printed
    )


def test_a_kernel_too_large_for_memory_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(forms.machine, "available_bytes", lambda: 2**20)
    assert main.main(["spectral-bias", "--quick"]) == 7
    assert "needs about" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_measures_writes_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(forms, "QUICK", TINY)
    command = ["spectral-bias", "--quick", "--out", str(tmp_path), "--sections"]
    assert main.main([*command, "waves"]) == 0
    assert "[1/2] waves/none: " in capsys.readouterr().out
    before = json.loads((tmp_path / "spectral-bias.json").read_text())
    assert main.main([*command, "waves", "checks"]) == 0
    printed = capsys.readouterr().out
    assert (
        printed.count("kept from before") == 2 and "[1/4] checks/parseval: " in printed
    )
    after = json.loads((tmp_path / "spectral-bias.json").read_text())
    assert before["sections"].items() <= after["sections"].items()
    assert len(after["sections"]) == 4
    text = (tmp_path / "spectral-bias.md").read_text()
    (figure,) = re.findall(r"\(images/(.+?\.png)\)", text)
    assert (tmp_path / "images" / figure).stat().st_size > 5000
    # The text is made from the JSON alone: it follows when a number there changes.
    after["sections"]["checks/kernel"]["measured"]["error"] = 0.77
    report.write(after, tmp_path / "spectral-bias.json")
    changed = (tmp_path / "spectral-bias.md").read_text()
    assert "does not hold** | 7.7e-01" in changed and "7.7e-01" not in text
    # Other settings are not mixed in.
    assert main.main([*command, "waves", "--seed", "1"]) == 2
    assert "measured under other settings" in capsys.readouterr().err
    (tmp_path / "spectral-bias.json").write_text("[1]")
    assert main.main([*command, "waves"]) == 2
    assert "keeps no results of a report" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_report_at_a_tiny_size(tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "QUICK", TINY)
    assert main.main(["spectral-bias", "--quick", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "spectral-bias.md").read_text()
    kept = json.loads((tmp_path / "spectral-bias.json").read_text())
    found = {n: run["measured"] for n, run in kept["sections"].items()}
    assert len(verdicts.statements(found)) == 8
    assert len(checks.checks(found)) == 6
    assert not re.search(r"\b(nan|inf)\b", text)
    for section in report.SECTIONS.values():
        assert f"## {section.title}" in text


def test_the_script_has_help(tmp_path):
    done = run_script("spectral_bias.py", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--ntk-side" in done.stdout
