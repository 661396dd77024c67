"""`jax-inr compare FOLDER --task NAME`: the files, the words, and what is refused."""

import json

import numpy as np
import pytest

from jax_inr.cli.main import main
from jax_inr.io.images import save_image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(2):
        image = np.random.default_rng(k).random((40, 36, 3)).astype(np.float32)
        save_image(tmp_path / "images" / f"image{k}.png", image)
    return tmp_path


def compare(folder, *words: str) -> int:
    asked = ["compare", str(folder / "images"), "--task", "upscale-2", "--crop", "32"]
    return main([*asked, "--rows", "bicubic", "--out", str(folder / "out"), *words])


def test_the_asked_rows_are_judged_and_the_report_names_the_command(folder, capsys):
    assert compare(folder, "--seed", "3") == 0
    kept = json.loads((folder / "out" / "tasks-upscale-2.json").read_text())
    assert [*kept["summary"]["rows"]] == ["bicubic"]
    (record, *_) = kept["summary"]["rows"]["bicubic"]["records"]
    assert record["image"] == "image1" and np.isfinite(record["psnr_db"])
    report = folder / "out" / "tasks.md"
    assert "--task upscale-2 --crop 32 --rows bicubic" in report.read_text()
    said = capsys.readouterr().out
    assert "bicubic" in said and said.endswith(f"written to {report}\n")
    assert compare(folder, "--seed", "3", "--quiet") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--crop", "15"), "crop is 15"),
        (("--seed", "-1"), "seed is -1"),
        (("--max-pixels", "0"), "max_pixels is 0"),
        (("--task", "blur"), "blur"),
        (("--rows", "cubic"), "cubic"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(folder, capsys, words, said):
    assert compare(folder, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line
    assert not (folder / "out").exists()
