"""Many runs by one command: names, sweeps, what is kept, skipped and refused."""

import csv
import json
import os
import shutil
import signal
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jax_inr import fitting, running, trainer
from jax_inr.cli import main, overview, sweep
from jax_inr.config import Config
from jax_inr.errors import ConfigError, DeviceError
from jax_inr.io.runs import RunFolder

SMALL = ("--device", "cpu", "--hidden-features", 8, "--num-frequencies", 4)
QUICK = (*SMALL, "--steps", 3, "--batch-size", 16)
ABC = ("a.png", "b.png", "c.png")
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
    values, config = points["sigma=3,seed=1,learning_rate=0.5"]
    assert values == {"sigma": 3.0, "seed": 1, "learning_rate": 0.5}
    assert config == CONFIG.replace(**values)
    assert sweep.configs_of(CONFIG, {}) == {"": ({}, CONFIG)}


def test_numbers_that_may_be_none_are_swept_too():
    assert sweep.parse_sweep(["batch_size=8,16"], CONFIG) == {"batch_size": [8, 16]}
    assert sweep.parse_sweep(["max_seconds=1,2.5"], CONFIG) == {"max_seconds": [1, 2.5]}


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


def names(*paths, out=Path("nowhere")) -> dict[str, str]:
    """The name of each path."""
    named = sweep.name_images([Path(path) for path in paths], out)
    return {str(path): name for name, path in named.items()}


def test_a_name_follows_its_file_and_not_the_order():
    paths = ["cat.png", "dog.png", "cat.jpg", "a/x.png", "b/x.png"]
    expected = {
        "cat.png": "cat.png",
        "cat.jpg": "cat.jpg",
        "dog.png": "dog",
        "a/x.png": "a-x.png",
        "b/x.png": "b-x.png",
    }
    assert names(*paths) == names(*reversed(paths)) == expected
    assert names("cat.png", "dog.png") == {"cat.png": "cat", "dog.png": "dog"}


def test_names_are_told_apart_without_regard_to_case_and_unicode_form():
    composed, decomposed = "\u00fc.png", "u\u0308.jpg"
    assert unicodedata.normalize("NFC", decomposed[:2]) == composed[0]
    for paths in (("Cat.png", "cat.jpg"), (composed, decomposed), ("ẞ.png", "ss.jpg")):
        assert len({sweep._key(name) for name in names(*paths).values()}) == 2
    assert names(decomposed)[decomposed] == "\u00fc"


def test_an_image_given_twice_is_one_run():
    assert names("a.png", "a.png", "b.png") == {"a.png": "a", "b.png": "b"}


FILE = st.sampled_from(["cat", "Cat", "...", "summary.json", "x" * 90, "x" * 90 + "y"])


@given(
    st.lists(
        st.builds(
            lambda parent, stem, end: f"{parent}/{stem}.{end}",
            st.sampled_from(["a", "b", "c/a"]),
            FILE,
            st.sampled_from(["png", "PNG", "jpg"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_names_are_each_their_own_and_no_file_of_the_overview(paths):
    found = names(*paths)
    keys = [sweep._key(name) for name in found.values()]
    assert len({*keys}) == len({*paths})
    assert not {*keys} & {*map(sweep._key, overview.FILES)}
    for name in found.values():
        assert not name.startswith(".") and "/" not in name
        assert len(name.encode()) <= 255
    assert names(*sorted(paths)) == found


def test_an_image_keeps_the_name_that_its_run_has(tmp_path):
    """So that another one beside it makes no new run of it."""
    for folder in ("cat", "dog/sigma=3"):
        (tmp_path / folder).mkdir(parents=True)
        path = f"{folder.partition('/')[0]}.png"
        summary = {"image": {"path": path}}
        (tmp_path / folder / "summary.json").write_text(json.dumps(summary))
    paths = ["cat.jpg", "cat.png", "dog.jpg", "dog.png"]
    expected = {
        "cat.png": "cat",
        "cat.jpg": "cat.jpg",
        "dog.png": "dog",
        "dog.jpg": "dog.jpg",
    }
    assert names(*paths, out=tmp_path) == expected
    assert names(*reversed(paths), out=tmp_path) == expected


def test_points_of_a_sweep_have_names_of_their_own():
    varied: dict = {"seed": [10**6, 10**6 + 1], "sigma": [3.0, 0.1 + 0.2]}
    assert list(sweep.configs_of(CONFIG, varied)) == [
        "seed=1e+06,sigma=3",
        "seed=1e+06,sigma=0.30000000000000004",
        "seed=1000001,sigma=3",
        "seed=1000001,sigma=0.30000000000000004",
    ]


@pytest.fixture
def fit(tmp_path, monkeypatch, capfd):
    """The command in this process and folder: exit code, output, lines of errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, list[str]]:
        capfd.readouterr()
        code = main.main(["fit", *map(str, words)])
        printed = capfd.readouterr()
        return code, printed.out, printed.err.splitlines()

    return call


@pytest.fixture(scope="module")
def fitted_once(tmp_path_factory):
    """The command on three good images of two shapes and two bad ones."""
    folder = tmp_path_factory.mktemp("many")
    save(folder / "a.png")
    save(folder / "b.png", seed=1)
    save(folder / "c.png", 9, 11)
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:100])
    words = [*ABC, "bad.png", "none.png", *QUICK, "--quiet", "--out", "out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.main(["fit", *map(str, words)]) == 3
    return folder


@pytest.fixture
def fitted(fitted_once, tmp_path):
    shutil.copytree(fitted_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


def whole(folder):
    return json.loads((folder / "out" / "summary.json").read_text())


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file under a folder, but for the locks of whoever is at work."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {p: p.read_bytes() for p in paths if p.name != ".jax_inr.lock"}


def test_good_images_are_fitted_and_bad_ones_named(fitted, fit):
    """And a second run does only what is missing."""
    assert [*whole(fitted)["runs"]] == ["a", "b", "c"]
    assert [*whole(fitted)["failed"]] == ["bad", "none"]
    for name in "abc":
        run = fitted / "out" / name
        summary = json.loads((run / "summary.json").read_text())
        assert summary == whole(fitted)["runs"][name] and summary["steps"] == 3
        for file in ("config.json", "metrics.jsonl", "comparison.png"):
            assert (run / file).exists()
    before = {name: contents(fitted / "out" / name) for name in "abc"}
    code, out, errors = fit(*ABC, "bad.png", "none.png", *QUICK, "--out", "out")
    assert code == 3 and len(errors) == 2
    assert "bad.png" in errors[0] and "none.png" in errors[1]
    (fitted / "bad.png").write_bytes((fitted / "b.png").read_bytes())
    code, out, errors = fit(*ABC, "bad.png", *QUICK, "--out", "out")
    assert (code, errors) == (0, [])
    assert {name: contents(fitted / "out" / name) for name in "abc"} == before
    assert [*whole(fitted)["runs"]] == [*"abc", "bad"] and not whole(fitted)["failed"]
    for summary in whole(fitted)["runs"].values():
        assert f"{summary['psnr_db']:.2f}" in out


def test_another_image_of_the_same_stem_changes_nothing_of_the_first(fitted, fit):
    before = contents(fitted / "out" / "a")
    Image.open(fitted / "b.png").save(fitted / "a.bmp")
    code, _, errors = fit("a.bmp", *ABC, *QUICK, "--out", "out")
    assert (code, errors) == (0, [])
    assert [*whole(fitted)["runs"]] == ["a.bmp", "a", "b", "c"]
    assert contents(fitted / "out" / "a") == before


def test_several_images_leave_a_contact_sheet_and_a_table(fitted):
    out = fitted / "out"
    rows = table(out / "runs.csv")
    assert [row["run"] for row in rows] == ["a", "b", "c"]
    for row in rows:
        summary = whole(fitted)["runs"][row["run"]]
        assert float(row["psnr_db"]) == summary["psnr_db"]
        assert row["path"] == f"{row['run']}.png" and int(row["steps"]) == 3
        assert int(row["height"]) == summary["image"]["height"]
    assert not (out / "sweep.csv").exists() and not (out / "sweep.png").exists()
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.size == (2 * 200, 2 * 228)


@pytest.mark.slow
def test_another_size_in_the_same_folder_is_another_run(fitted, fit):
    before = contents(fitted / "out" / "a"), contents(fitted / "out" / "b")
    code, _, errors = fit("a.png", "b.png", *QUICK, "--size", 7, "--out", "out")
    assert code == 6 and len(errors) == 2
    assert all("other pixels" in line and "overwrite" in line for line in errors)
    assert (contents(fitted / "out" / "a"), contents(fitted / "out" / "b")) == before
    code, _, errors = fit(
        "a.png", "b.png", *QUICK, "--size", 7, "--out", "out", "--overwrite"
    )
    assert (code, errors) == (0, [])
    assert whole(fitted)["runs"]["a"]["image"]["height"] == 7


@pytest.mark.slow
def test_a_sweep_over_two_names_is_drawn_and_tabulated_over_its_seeds(fit, tmp_path):
    save(tmp_path / "a.png")
    words = ("a.png", *SMALL, "--steps", 3, "--batch-size", "None", "--size", 12)
    words = (*words, "--train-pixels", "alternate", "--sweep", "sigma=1,3", "seed=0,1")
    code, out, errors = fit(*words, "--out", "out")
    assert (code, errors) == (0, [])
    points = [f"a/sigma={sigma},seed={seed}" for sigma in (1, 3) for seed in (0, 1)]
    assert [*whole(tmp_path)["runs"]] == points
    assert whole(tmp_path)["sweep"] == {"sigma": [1.0, 3.0], "seed": [0, 1]}
    rows = table(tmp_path / "out" / "runs.csv")
    assert [(row["sigma"], row["seed"]) for row in rows] == [
        ("1.0", "0"),
        ("1.0", "1"),
        ("3.0", "0"),
        ("3.0", "1"),
    ]
    for row, pair in zip(
        table(tmp_path / "out" / "sweep.csv"), (rows[:2], rows[2:]), strict=True
    ):
        assert row["seeds"] == "2" and row["image"] == "a"
        for quality in ("psnr_db", "train_psnr_db", "heldout_psnr_db"):
            values = [float(one[quality]) for one in pair]
            mean, spread = np.mean(values), np.std(values, ddof=1)
            assert float(row[f"{quality}_mean"]) == pytest.approx(mean)
            assert float(row[f"{quality}_std"]) == pytest.approx(spread)
            if quality != "train_psnr_db":
                assert f"{mean:.2f} ± {spread:.2f}" in out
    with Image.open(tmp_path / "out" / "sweep.png") as figure:
        assert figure.size[0] > 300


def test_json_prints_the_whole_summary(fitted, fit):
    code, out, errors = fit(*ABC, *QUICK, "--json", "--out", "out")
    assert (code, errors) == (0, []) and json.loads(out) == whole(fitted)


@pytest.mark.slow
def test_a_signal_ends_the_runs_and_says_how_they_go_on(fitted, fit, monkeypatch):
    real = fitting.fit_many

    def stopped(*arguments, on_progress, **how):
        def signalled(progress):
            os.kill(os.getpid(), signal.SIGTERM)
            on_progress(progress)

        return real(*arguments, on_progress=signalled, **how)

    words = (*ABC, *QUICK, "--seed", 5, "--out", "new")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit_many", stopped)
        code, _, (line,) = fit(*words)
    assert code == 143 and "SIGTERM" in line
    assert line.endswith("the same command with --out new goes on")
    code, _, errors = fit(*words)
    assert (code, errors) == (0, [])


def test_a_run_in_the_way_is_one_failure_and_nothing_of_it_is_trained(fitted, fit):
    """A killed run goes on; foreign and locked ones stay as they are."""
    out = fitted / "out"
    for name in "def":
        shutil.copy(fitted / "a.png", fitted / f"{name}.png")
        shutil.copytree(out / "a", out / name)
        summary = json.loads((out / "a" / "summary.json").read_text())
        summary["image"]["path"] = f"{name}.png"
        (out / name / "summary.json").write_text(json.dumps(summary))
    (out / "b" / "summary.json").unlink()  # killed while it was written
    shutil.rmtree(out / "c")
    shutil.copytree(out / "a", out / "c")
    for path in contents(out / "d"):
        path.unlink()
    (out / "d" / "thesis.tex").write_text("mine")
    before = {name: contents(out / name) for name in "acdef"}
    with RunFolder.reopen(out / "e"):
        code, _, errors = fit(*(f"{n}.png" for n in "abcdef"), *QUICK, "--out", "out")
    assert code == 6 and len(errors) == 3, errors
    for name, reason in zip(
        "cde", ("other pixels", "not empty", "locked by pid"), strict=True
    ):
        (line,) = [line for line in errors if line.startswith(f"error: {name}: ")]
        assert reason in line
    assert {name: contents(out / name) for name in "acdef"} == before
    assert [*whole(fitted)["runs"]] == [*"abf"] and [*whole(fitted)["failed"]] == [
        *"cde"
    ]
    summary = json.loads((out / "b" / "summary.json").read_text())
    assert summary == whole(fitted)["runs"]["b"]


def test_a_single_runs_folder_is_no_place_for_several(fitted, fit):
    code, _, (line,) = fit(*ABC, *QUICK, "--out", "out/a", "--overwrite")
    assert code == 6 and "holds a single run" in line


def test_memory_that_ends_stops_no_other_run(fit, tmp_path, monkeypatch):
    real = running._make_trainer

    def scarce(runs, options):
        if runs[0].shape[0] == 17:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return real(runs, options)

    monkeypatch.setattr(running, "_make_trainer", scarce)
    save(tmp_path / "tall.png", 17, 12)
    save(tmp_path / "wide.png")
    code, _, (line,) = fit("tall.png", "wide.png", *QUICK, "--out", "out")
    assert code == DeviceError.exit_code and line.startswith("error: tall: ")
    assert [*whole(tmp_path)["runs"]] == ["wide"]


@pytest.mark.slow
def test_a_diverged_fit_has_failed_and_is_done_again(fit, tmp_path, monkeypatch):
    """And a worse one is told of; names may be dots, or look like markup."""
    images = ["...png", "summary.json.png", "[red].png"]
    for seed, name in enumerate(images):
        save(tmp_path / name, seed=seed)
    words = (*images, *SMALL, "--batch-size", 16, "--steps", 20, "--out", "out")
    words = (*words, "--schedule", "constant", "--warmup-steps", 0)
    words = (*words, "--sweep", "learning-rate=1e6,0.1")
    real = trainer.JaxTrainer.advance

    def poisoned(self, num_steps, active):
        """The last of all fits is one whose state is not finite."""
        losses, good = real(self, num_steps, [*active[:5], False])
        return losses, [*good[:5], False]

    with monkeypatch.context() as patch:
        patch.setattr(trainer.JaxTrainer, "advance", poisoned)
        code, out, errors = fit(*words)
    assert code == 5, errors
    bad = "[red]/learning_rate=0.1"
    assert [line for line in errors if line.startswith("error: ")] == errors[-1:]
    assert f"{bad}: the fit diverged" in errors[-1] and "0.01" in errors[-1]
    assert any("learning_rate=1e+06: the fit is worse" in line for line in errors)
    assert bad.replace("0.1", "1e+06") in out
    folder = tmp_path / "out"
    assert {path.name for path in tmp_path.iterdir()} == {*images, "out"}
    assert not (folder / bad / "summary.json").exists()
    assert len(whole(tmp_path)["runs"]) == 5 and list(whole(tmp_path)["failed"]) == [
        bad
    ]

    # What JSON cannot say is a number again, in the tables and the figure.
    kept = folder / "summary.json.png" / "learning_rate=0.1" / "summary.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "psnr_db": "inf"}))
    before = kept.read_bytes()
    code, out, errors = fit(*words)
    assert (code, errors) == (0, [])
    assert kept.read_bytes() == before and (folder / bad / "summary.json").exists()
    assert " inf " in out and bad in out


@pytest.mark.timeout(60)
def test_a_summary_that_is_a_pipe_or_a_link_is_of_no_image(tmp_path):
    (tmp_path / "run").mkdir()
    summary = tmp_path / "run" / "summary.json"
    kept = tmp_path / "kept.json"
    kept.write_text('{"image": {"path": "a.png"}}')
    summary.write_bytes(kept.read_bytes())
    assert sweep._is_of(summary.parent, Path("a.png"))
    for put in (os.mkfifo, lambda path: path.symlink_to(kept)):
        summary.unlink()
        put(summary)
        assert not sweep._is_of(summary.parent, Path("a.png"))
