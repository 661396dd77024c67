"""Many runs by one command: what is shared, kept, skipped and refused."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, run_script
from PIL import Image

from jax_inr import many
from jax_inr.cli import sweep
from jax_inr.config import Config
from jax_inr.errors import ConfigError, DeviceError, OutputError
from jax_inr.io.images import load_image

SMALL = ("--device", "cpu", "--hidden-features", 8, "--num-frequencies", 4)
QUICK = (*SMALL, "--steps", 3, "--batch-size", 16)
CONFIG = Config(steps=3, hidden_features=(8,), num_frequencies=4)


def save(path, height=12, width=17, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def test_a_sweep_is_the_grid_of_its_values():
    varied = sweep.parse_sweep(
        ["sigma=1,3,10", "seed=0,1", "learning-rate=0.5"], CONFIG
    )
    assert varied == {"sigma": [1.0, 3.0, 10.0], "seed": [0, 1], "learning_rate": [0.5]}
    points = sweep.configs_of(CONFIG, varied)
    assert len(points) == 6
    assert points["sigma=3,seed=1,learning_rate=0.5"] == CONFIG.replace(
        sigma=3.0, seed=1, learning_rate=0.5
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["network=mlp,siren"], "network is none"),
        (["hidden_features=8"], "hidden_features is none"),
        (["sigmo=1"], "unknown config field 'sigmo'"),
        (["sigma"], "not NAME=VALUE"),
        (["sigma=1,x"], "no number"),
        (["seed=1.5"], "no whole number"),
        (["sigma=-1"], "sigma is -1"),
        (["seed=1", "seed=2"], "names seed twice"),
        (
            [
                "seed=" + ",".join(map(str, range(200))),
                "sigma=" + ",".join(map(str, range(1, 99))),
            ],
            "more than 10000",
        ),
    ],
)
def test_a_sweep_that_is_none_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        sweep.parse_sweep(words, CONFIG)


def test_names_of_equal_files_are_told_apart():
    assert sweep.name_pictures(["a/x.png", "b/x.jpg", "y.png", "x-2.png"]) == [
        "x",
        "x-2",
        "y",
        "x-2-2",
    ]


def test_no_name_is_another_folder_or_a_file_of_the_overview():
    paths = ["...png", "..png", "summary.json.png", "sweep.png.jpg", "config.json.png"]
    names = sweep.name_pictures([*paths, "a/.jax_inr.lock.png"])
    assert not {*names} & {"summary.json", "sweep.png", "config.json", ".", ".."}
    assert len({*names}) == len(names) and not any(n.startswith(".") for n in names)


def test_points_of_a_sweep_have_names_of_their_own():
    varied: dict = {"seed": [10**6, 10**6 + 1], "sigma": [3.0, 0.1 + 0.2]}
    assert list(sweep.configs_of(CONFIG, varied)) == [
        "seed=1e+06,sigma=3",
        "seed=1e+06,sigma=0.30000000000000004",
        "seed=1000001,sigma=3",
        "seed=1000001,sigma=0.30000000000000004",
    ]


def test_a_finished_run_of_another_picture_is_not_this_one(tmp_path):
    folder = tmp_path / "out" / "a"
    folder.mkdir(parents=True)
    old, new = (load_image(save(tmp_path / f"{i}.png", seed=i)) for i in (0, 1))
    summary = {"psnr_db": 20.0, "image": {"sha256": old.sha256}}
    (folder / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    (folder / "summary.json").write_text(json.dumps(summary))
    files, found = sweep.open_run(folder, sweep.Run("a", old, CONFIG), False)
    files.close()
    assert found == summary
    with pytest.raises(OutputError, match="is of another picture"):
        sweep.open_run(folder, sweep.Run("a", new, CONFIG), False)


def test_memory_that_ends_stops_no_other_group(tmp_path, monkeypatch):
    real = many.fit_many

    def scarce(pictures, configs, **how):
        if len(pictures[0].image) == 17:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return real(pictures, configs, **how)

    monkeypatch.setattr(many, "fit_many", scarce)
    paths = (save(tmp_path / "tall.png", 17, 12), save(tmp_path / "wide.png"))
    runs = [
        sweep.Run(path.stem, load_image(path), CONFIG.replace(steps=2))
        for path in paths
    ]
    summaries, (failure,) = sweep.fit_all(runs, tmp_path / "out")
    assert list(summaries) == ["wide"]
    assert failure.name == "tall" and isinstance(failure.error, DeviceError)


def test_runs_share_a_program_by_shape_and_by_what_may_vary(tmp_path):
    wide = load_image(save(tmp_path / "wide.png"))
    tall = load_image(save(tmp_path / "tall.png", 17, 12))
    configs = [CONFIG.replace(sigma=s, seed=s) for s in (1, 2)]
    configs += [CONFIG.replace(num_frequencies=6)]
    runs = [
        sweep.Run(f"{i}", picture, config)
        for i, (picture, config) in enumerate(
            (p, c) for p in (wide, tall, wide) for c in configs
        )
    ]
    found = sorted(sorted(run.name for run in group) for group in sweep.groups(runs))
    assert found == [["0", "1", "6", "7"], ["2", "8"], ["3", "4"], ["5"]]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The command on three good pictures of two shapes and a bad one."""
    folder = tmp_path_factory.mktemp("many")
    names = [save(folder / "a.png"), save(folder / "b.png", seed=1)]
    names += [save(folder / "c.png", 9, 11), folder / "bad.png", folder / "none.png"]
    (folder / "bad.png").write_bytes(names[0].read_bytes()[:100])
    words = [name.name for name in names]
    return (
        folder,
        words,
        run_script("fit.py", *words, *QUICK, "--out", "out", cwd=folder),
    )


def test_good_pictures_are_fitted_and_bad_ones_named(fitted):
    folder, _, result = fitted
    lines = result.stderr.splitlines()
    assert result.returncode == 3
    assert len(lines) == 2 and "bad.png" in lines[0] and "none.png" in lines[1]
    whole = json.loads((folder / "out" / "summary.json").read_text())
    assert list(whole["runs"]) == ["a", "b", "c"] and list(whole["failed"]) == [
        "bad",
        "none",
    ]
    for name in "abc":
        run = folder / "out" / name
        summary = json.loads((run / "summary.json").read_text())
        assert summary == whole["runs"][name] and summary["steps"] == 3
        for file in (
            "config.json",
            "metrics.jsonl",
            "comparison.png",
            "field.safetensors",
        ):
            assert (run / file).exists()
        assert f"{summary['psnr_db']:.2f}" in result.stdout


def test_finished_runs_are_not_done_again(fitted):
    folder, words, _ = fitted
    (folder / "bad.png").write_bytes((folder / "b.png").read_bytes())
    stamps = {
        n: (folder / "out" / n / "summary.json").stat().st_mtime_ns for n in "abc"
    }
    again = run_script("fit.py", *words[:4], *QUICK, "--out", "out", cwd=folder)
    assert again.returncode == 0, again.stderr
    for name, stamp in stamps.items():
        assert (folder / "out" / name / "summary.json").stat().st_mtime_ns == stamp
    whole = json.loads((folder / "out" / "summary.json").read_text())
    assert list(whole["runs"]) == ["a", "b", "c", "bad"] and not whole["failed"]


def test_a_sweep_by_command_draws_trained_and_held_out_pixels(fit_py, tmp_path):
    save(tmp_path / "a.png")
    words = ("a.png", *SMALL, "--steps", 3, "--batch-size", "None", "--size", 12)
    words = (*words, "--train-pixels", "alternate", "--sweep", "sigma=1,3")
    result = fit_py(*words, "--out", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    whole = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(whole["runs"]) == ["a/sigma=1", "a/sigma=3"]
    assert whole["sweep"] == {"sigma": [1.0, 3.0]}
    assert "heldout_psnr_db" in whole["runs"]["a/sigma=1"]
    with Image.open(tmp_path / "out" / "sweep.png") as figure:
        assert figure.size[0] > 300


def test_what_goes_with_one_fit_alone_is_refused(fit_py, tmp_path):
    for extra, word in ((("--backend", "torch"), "torch"), (("--film",), "--film")):
        result = fit_py(*QUICK, "--sweep", "seed=0,1", *extra, cwd=tmp_path)
        assert result.returncode == 2
        assert word in result.stderr and len(result.stderr.splitlines()) == 1


def contents(folder):
    """Every file under a folder, but for the locks of whoever is at work."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {p: p.read_bytes() for p in paths if p.name != ".jax_inr.lock"}


def test_a_run_in_the_way_is_one_failure_and_nothing_of_it_is_trained(
    fitted, fit_py, tmp_path
):
    """A killed run is done again; foreign, damaged, locked ones stay as they are."""
    from jax_inr.io.runs import RunFolder

    shutil.copytree(fitted[0] / "out", tmp_path / "out")
    for name in "abcdef":
        source = "a" if name in "def" else name
        shutil.copy(fitted[0] / f"{source}.png", tmp_path / f"{name}.png")
        if source != name:
            shutil.copytree(tmp_path / "out" / "a", tmp_path / "out" / name)
    words = [f"{name}.png" for name in "abcdef"]
    out = tmp_path / "out"
    (out / "b" / "summary.json").unlink()  # killed while it was written
    (out / "b" / "metrics.jsonl").write_bytes(b"")
    (out / "c" / "config.json").write_text("{")
    for path in contents(out / "d"):
        path.unlink()
    (out / "d" / "thesis.tex").write_text("mine")
    (out / "f" / "summary.json").unlink()  # one that could be resumed
    (out / "f" / "checkpoints").mkdir()
    before = {name: contents(out / name) for name in "acdef"}
    with RunFolder.reopen(out / "e"):
        again = fit_py(*words, *QUICK, "--out", "out", cwd=tmp_path)
    lines = again.stderr.splitlines()
    assert again.returncode == 4 and len(lines) == 4, again.stderr
    for name, reason in zip(
        "cdef", ("config.json", "not empty", "locked by pid", "not empty"), strict=True
    ):
        (line,) = [line for line in lines if line.startswith(f"error: {name}: ")]
        assert reason in line
    assert {name: contents(out / name) for name in "acdef"} == before
    whole = json.loads((out / "summary.json").read_text())
    assert list(whole["runs"]) == ["a", "b"] and [*whole["failed"]] == [*"cdef"]
    assert json.loads((out / "b" / "summary.json").read_text()) == whole["runs"]["b"]
    assert (out / "b" / "metrics.jsonl").read_bytes()


# The last of all fits is one whose state is not finite.
POISON = """
import sys
from jax_inr import many
from jax_inr.cli import main as cli
finite = many._finite
many._finite = lambda state: finite(state).at[5].set(False)
sys.exit(cli.main(["fit", *sys.argv[1:]]))
"""


def test_a_diverged_fit_has_failed_and_is_done_again(fit_py, tmp_path):
    """And a worse one is told of; names may be dots, or look like markup."""
    pictures = ["...png", "summary.json.png", "[red].png"]
    for seed, name in enumerate(pictures):
        save(tmp_path / name, seed=seed)
    words = (*pictures, *SMALL, "--batch-size", 16, "--steps", 20, "--out", "out")
    words = (*words, "--schedule", "constant", "--warmup-steps", 0)
    words = (*words, "--sweep", "learning-rate=1e6,0.1")
    result = subprocess.run(
        [sys.executable, "-c", POISON, *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stderr.splitlines()
    assert result.returncode == 5, result.stderr
    bad = "[red]/learning_rate=0.1"
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert f"{bad}: the fit diverged" in lines[-1] and "0.01" in lines[-1]
    assert any("learning_rate=1e+06: the fit is worse" in line for line in lines)
    assert bad.replace("0.1", "1e+06") in result.stdout
    out = tmp_path / "out"
    assert {path.name for path in tmp_path.iterdir()} == {*pictures, "out"}
    assert not (out / bad / "summary.json").exists()
    whole = json.loads((out / "summary.json").read_text())
    assert len(whole["runs"]) == 5 and list(whole["failed"]) == [bad]

    # What JSON cannot say is a number again, in the table and the figure.
    kept = out / "summary.json-2" / "learning_rate=0.1" / "summary.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "psnr_db": "inf"}))
    before = kept.read_bytes()
    again = fit_py(*words, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert kept.read_bytes() == before and (out / bad / "summary.json").exists()
    assert " inf " in again.stdout and bad in again.stdout
