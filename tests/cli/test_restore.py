"""`jax-inr restore`: a run's folder, scores of a truth, and one line for a mistake."""

import json

import numpy as np
import pytest

from jax_inr.cli.main import main
from jax_inr.field import ImageField
from jax_inr.io.images import load_image, save_image
from jax_inr.priors import prior


@pytest.fixture
def files(tmp_path):
    rows, columns = np.mgrid[:16, :16] / 16
    image = np.stack([0.5 + 0.4 * np.sin(5 * rows + 3 * columns)] * 3, axis=-1)
    mask = np.random.default_rng(0).random((16, 16)) < 0.5
    save_image(tmp_path / "image.png", image.astype(np.float32))
    save_image(tmp_path / "mask.png", mask[..., None].astype(np.float32))
    save_image(tmp_path / "small.png", mask[:8, :, None].astype(np.float32))
    return tmp_path


def test_a_run_has_its_images_field_and_summary(files, capsys):
    out = files / "run"
    words = ["restore", str(files / "image.png"), "--inpaint", str(files / "mask.png")]
    words += ["--truth", str(files / "image.png"), "--out", str(out)]
    words += ["--steps", "30", "--fields", "2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rule"] == "last" and summary["step"] == 30
    assert f"{summary['psnr_db']:.2f} dB" in said and "within 1 deviation" in said
    assert said.endswith(f"\nwritten to {out}\n")
    restored = load_image(out / "restored.png").image
    truth = load_image(files / "image.png").image
    psnr_db = -10 * np.log10(np.mean((restored - truth) ** 2))
    np.testing.assert_allclose(psnr_db, summary["psnr_db"], atol=0.05)
    assert ImageField.load(out / "field.safetensors").height == 16
    assert (out / "comparison.png").exists()
    # The same call again fits nothing anew.
    before = (out / "restored.png").read_bytes()
    assert main(words) == 0
    assert (out / "restored.png").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "0 of --inpaint, --upscale, --denoise, --deblur"),
        (("--upscale", "2", "--denoise", "25"), "2 of --inpaint"),
        (("--inpaint", "small.png"), "(8, 16), and the image (16, 16)"),
        (("--deblur", "-1"), "sigma is -1"),
        (("--deblur", "9"), "73x73, but the image 16x16"),
        (("--upscale", "2", "--truth", "image.png"), "(32, 32, 3)"),
        (("--denoise", "much"), "denoise is 'much'"),
        (("--denoise", "300"), "denoise is 300"),
        (("--upscale", "2", "--rule", "discrepancy"), "discrepancy principle needs"),
        (("--upscale", "2", "--sweep", "sigma=1,2"), "'sigma' is no weight"),
        (("--upscale", "2", "--sweep", "weight_decay=a"), "'a' are no numbers"),
        (("--upscale", "2", "--sweep", "weight_decay=-1"), "weight_decay is -1"),
    ],
)
def test_a_mistake_is_one_line(files, capsys, monkeypatch, words, said):
    monkeypatch.chdir(files)
    assert main(["restore", "image.png", *words]) != 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0]


@pytest.mark.slow
def test_a_sweep_has_a_folder_for_each_point_and_its_weights_in_the_summary(
    files, capsys
):
    out = files / "run"
    words = ["restore", str(files / "image.png"), "--denoise", "auto", "--quiet"]
    words += ["--out", str(out), "--steps", "4", "--fields", "1"]
    words += ["--sweep", "total-variation=0,0.1", "weight_decay=0.001"]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    for weight in ("0", "0.1"):
        folder = out / f"total_variation={weight},weight_decay=0.001"
        summary = json.loads((folder / "summary.json").read_text())
        found = summary["penalties"]
        assert found.pop("NonlocalVariation") > 0
        assert found == {"TotalVariation": float(weight), "weight_decay": 0.001}
        assert summary["rule"] == "last" and summary["step"] == 4


@pytest.mark.slow
def test_without_a_weight_the_tasks_own_is_taken_and_the_rule_is_told(files):
    out = files / "run"
    words = ["restore", str(files / "image.png"), "--denoise", "25", "--quiet"]
    words += ["--out", str(out), "--steps", "40", "--fields", "1"]
    assert main([*words, "--rule", "discrepancy"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    suited = prior("denoise")
    weight = summary["penalties"].pop("NonlocalVariation")
    np.testing.assert_allclose(weight, suited.nonlocal_of_noise * 25 / 255)
    assert summary["penalties"] == {}
    assert summary["rule"] == "discrepancy"
