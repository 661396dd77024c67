"""fit(), resume() and fit_many(): what comes back, what is written, what is refused.

JAX fits where numbers matter; elsewhere a trainer in numpy, which compiles nothing.
"""

import copy
import dataclasses
import inspect
import json
import os
import signal
import sys
import warnings
from typing import Any

import jax
import numpy as np
import pytest
from fakes import NumpyTrainer, StopAt, assert_same_run, log, written

import jax_inr
from jax_inr import metrics, recording, run_images, running
from jax_inr.config import Config
from jax_inr.errors import (
    CheckpointError,
    ConfigError,
    DivergedError,
    ImageError,
    Interrupted,
    OutputError,
)
from jax_inr.field import ImageField
from jax_inr.fitting import fit, fit_many, resume
from jax_inr.io.images import Image, encode_png, load_image
from jax_inr.io.tensorfile import load_tensors, save_tensors
from jax_inr.trainer import JaxTrainer

SMALL = Config(
    num_frequencies=8,
    sigma=2.0,
    hidden_features=(16, 12),
    learning_rate=0.5,
    steps=23,
    eval_every=4,
)
CONFIGS = {"full": SMALL, "batch": SMALL.replace(batch_size=32, schedule="cosine")}


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take longer than these fits, and have tests of their own."""
    monkeypatch.setattr(run_images, "write_figures", lambda *_: None)


@pytest.fixture
def quick(monkeypatch, no_figures):
    """Fits with the trainer in numpy, and without figures."""

    def make_trainer(runs, options):
        return NumpyTrainer([run.image.image for run in runs])

    monkeypatch.setattr(running, "_make_trainer", make_trainer)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, whole_image):
    """One uninterrupted run for each config, with its folder."""
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_images, "write_figures", lambda *_: None)
        for name, config in CONFIGS.items():
            out = tmp_path_factory.mktemp("runs") / name
            runs[name] = (fit(whole_image, config, out=out), out)
    return runs


@pytest.fixture(scope="module")
def whole_image():
    return np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)


# What comes back


def test_the_result_is_the_image_its_numbers_and_its_field(finished, whole_image):
    result, _ = finished["full"]
    assert [row["step"] for row in result.rows] == [1, 5, 9, 13, 17, 21, 23]
    assert result.rows[-1]["psnr_db"] > result.rows[0]["psnr_db"]
    assert (result.steps, result.stopped) == (23, "steps")
    expected = metrics.psnr(result.prediction, whole_image)
    assert result.psnr_db == pytest.approx(expected, abs=1e-4)
    assert result.rows[-1]["psnr_db"] == pytest.approx(expected, abs=1e-4)
    # 16*16+16 + 16*12+12 + 12*3+3 numbers of 32 bits for 12*17 pixels.
    assert result.summary["num_params"] == 515
    assert result.summary["bits_per_pixel"] == pytest.approx(515 * 32 / 204)
    # The field is of the very parameters whose PSNR is reported.
    np.testing.assert_allclose(result.field.render(), result.prediction, atol=1e-6)
    assert result.field.step == 23


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, whole_image):
    monkeypatch.chdir(tmp_path)
    assert fit(whole_image, SMALL.replace(steps=2)).steps == 2
    assert not any(tmp_path.iterdir())


def test_a_fit_is_silent_and_leaves_signals_alone(whole_image, capfd):
    before = {n: signal.getsignal(n) for n in signal.valid_signals()}
    during = []

    def on_progress(progress):
        during.append({n: signal.getsignal(n) for n in signal.valid_signals()})

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit(whole_image, SMALL.replace(steps=2), on_progress=on_progress)
    assert during and all(handlers == before for handlers in during)
    assert before == {n: signal.getsignal(n) for n in signal.valid_signals()}
    assert capfd.readouterr() == ("", "") and not told


def test_progress_is_shown_where_it_is_asked_for(whole_image, capsys):
    config, told = SMALL.replace(steps=3), []
    fit(whole_image, config, progress=True, on_progress=told.append)
    assert "step 3/3  loss " in capsys.readouterr().out
    assert [each.step for each in told][-1] == 3
    fit(whole_image, config)
    assert capsys.readouterr().out == ""


def test_rgb_max_256_trains_on_darker_targets(whole_image):
    result = fit(whole_image, SMALL.replace(steps=1, rgb_max=256))
    target = whole_image * np.float32(255 / 256)
    expected = metrics.psnr(result.prediction, target)
    assert result.psnr_db == pytest.approx(expected, abs=1e-4)
    # The image that is shown, and its field, are in units of white again.
    white = result.prediction * np.float32(256 / 255)
    np.testing.assert_allclose(result.field.render(), white, atol=1e-6)
    shown = metrics.psnr_8bit(white, whole_image)
    assert result.summary["psnr_8bit_db"] == pytest.approx(shown, abs=1e-4)


def test_the_target_decides_the_end(finished, whole_image):
    # A float32 loss against a float64 one: some 1e-6 dB.
    target = finished["full"][0].rows[3]["psnr_db"] - 1e-3
    result = fit(whole_image, SMALL.replace(target_psnr=target))
    assert (result.stopped, result.steps) == ("target_psnr", result.rows[-1]["step"])
    # Every step is looked at: the one before did not have it.
    assert 9 < result.steps <= 13
    assert result.psnr_db >= target > result.rows[-2]["psnr_db"]


# What is written


def test_a_folder_holds_the_whole_run(tmp_path, whole_image):
    result = fit(whole_image, SMALL.replace(steps=6), out=tmp_path / "run")
    run = tmp_path / "run"
    names = {str(path.relative_to(run)) for path in run.rglob("*.*")}
    assert names == {
        "summary.json",
        "config.json",
        "metrics.jsonl",
        "field.safetensors",
        "reconstruction.png",
        "comparison.png",
        "curves.png",
        "encoding.png",
        "checkpoints/picture.safetensors",
        "checkpoints/step_000000006.safetensors",
    }
    assert json.loads((run / "summary.json").read_text()) == result.summary
    fields = json.loads((run / "config.json").read_text())
    assert Config.from_dict(fields) == SMALL.replace(steps=6)
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows == result.rows
    field = ImageField.load(run / "field.safetensors")
    np.testing.assert_array_equal(field.render(), result.field.render())
    # The saved image is the prediction in 8 bits, and has the PSNR that is claimed.
    saved = load_image(run / "reconstruction.png").image
    np.testing.assert_allclose(saved, result.prediction, atol=0.5001 / 255)
    expected = metrics.psnr(saved, whole_image)
    assert result.summary["psnr_8bit_db"] == pytest.approx(expected, abs=1e-3)


BAD_IMAGES = {
    "four channels": np.zeros((4, 5, 4)),
    "empty": np.zeros((0, 5, 3)),
    "four axes": np.zeros((1, 4, 5, 3)),
    "whole numbers without a white": np.full((4, 5, 3), 200),
    "above white": np.full((4, 5, 3), 1.01),
    "below black": np.full((4, 5, 3), -0.01),
    "nan": np.full((4, 5, 3), np.nan),
    "infinite": np.full((4, 5, 3), np.inf),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_what_is_no_image_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ImageError):
        fit(BAD_IMAGES[name], SMALL, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_grey_image_and_a_loaded_one_are_fitted(whole_image, quick):
    grey = fit(whole_image[..., :1], SMALL.replace(steps=1))
    assert grey.prediction.shape == (12, 17, 1)
    loaded = Image(whole_image, "here.png", "f" * 64, ())
    image = fit(loaded, SMALL.replace(steps=1)).summary["image"]
    assert (image["path"], image["sha256"]) == ("here.png", "f" * 64)
    assert (image["height"], image["width"]) == (12, 17)


# One call that begins, goes on, or gives back what is done


def test_a_finished_run_is_given_back_untouched(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    first = fit(whole_image, SMALL, out=run)
    before, calls = written(run), []
    again = fit(whole_image, SMALL, out=run, on_progress=calls.append)
    assert written(run) == before and not calls
    assert again.summary == first.summary and again.rows == first.rows
    assert again.header == first.header
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)


def test_a_label_and_watching_change_no_identity(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    fit(whole_image, SMALL, out=run)
    before = written(run)
    for fields in ({"preset": "mine"}, {"eval_every": 2}):
        assert fit(whole_image, SMALL.replace(**fields), out=run).steps == 23
    assert written(run) == before


OTHERS = {
    name: value
    for name, value in {
        **{"sigma": 3.0, "seed": 1, "batch_size": 32, "learning_rate": 1.0},
        **{"momentum": 0.5, "schedule": "cosine", "rgb_max": 256, "warmup_steps": 2},
        **{"train_pixels": "random", "train_fraction": 0.25, "hidden_features": (16,)},
        **{"num_frequencies": 4, "encoding": "basic", "activation": "gelu"},
        **{"matmul_precision": "bfloat16", "optimizer": "adam", "init": "glorot"},
    }.items()
}


def test_another_identity_is_refused_with_what_differs(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    fit(whole_image, SMALL, out=run)
    before = written(run)
    for name, value in OTHERS.items():
        with pytest.raises(
            OutputError, match=rf"another run: {name} is .*{value}"
        ) as e:
            fit(whole_image, SMALL.replace(**{name: value}), out=run)
        assert "overwrite=True" in e.value.hint
    for image in (1 - whole_image, whole_image[:6], whole_image[..., :1]):
        with pytest.raises(OutputError, match=r"another run: .*image"):
            fit(image, SMALL, out=run)
    with pytest.raises(OutputError, match=r"another run: backend is jax .*torch here"):
        fit(whole_image, SMALL, out=run, backend="torch")

    def absolute(a, b):
        return abs(a - b)

    with pytest.raises(
        OutputError, match=r"another run: loss is .*absolute \[\w{12}\] here"
    ):
        fit(whole_image, SMALL, out=run, loss=absolute)
    assert written(run) == before
    again = fit(whole_image, SMALL.replace(seed=1), out=run, overwrite=True)
    assert json.loads((run / "summary.json").read_text()) == again.summary


def test_a_folder_of_something_else_is_never_touched(tmp_path, whole_image, quick):
    for name in ("thesis.tex", "config.json", "metrics.jsonl", "checkpoints/other.bin"):
        folder = tmp_path / name.replace("/", "-")
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        with pytest.raises(OutputError, match="not empty"):
            fit(whole_image, SMALL, out=folder)
        assert written(folder) == {name: b"mine"}


def test_more_steps_are_as_if_asked_for_at_once(tmp_path, whole_image, quick):
    whole = tmp_path / "whole"
    fit(whole_image, SMALL, out=whole)
    ways = {
        "resume": lambda run: resume(run, steps=23),
        "same call": lambda run: fit(whole_image, SMALL, out=run),
    }
    for name, go_on in ways.items():
        run = tmp_path / name
        fit(whole_image, SMALL.replace(steps=10), out=run)
        result = go_on(run)
        assert_same_run(run, whole)
        # The rows are those of both sessions.
        assert [row["step"] for row in result.rows] == [row["step"] for row in log(run)]
        before = written(run)
        with pytest.raises(CheckpointError, match="23 steps, more than the 10"):
            fit(whole_image, SMALL.replace(steps=10), out=run)
        assert written(run) == before


def test_a_higher_target_or_more_seconds_go_on(tmp_path, whole_image, quick):
    whole, run = tmp_path / "whole", tmp_path / "run"
    reference = fit(whole_image, SMALL, out=whole)
    low = reference.rows[2]["psnr_db"] - 1e-6
    first = fit(whole_image, SMALL.replace(target_psnr=low), out=run)
    assert first.stopped == "target_psnr" and first.steps < 23
    same = fit(whole_image, SMALL.replace(target_psnr=low), out=run)
    assert same.steps == first.steps
    assert resume(run, target_psnr=900.0).stopped == "steps"
    assert (run / "field.safetensors").exists()
    assert resume(run).steps == 23


def test_a_target_is_taken_back_by_none(tmp_path, whole_image, quick):
    rows = fit(whole_image, SMALL).rows
    config = SMALL.replace(target_psnr=rows[2]["psnr_db"] - 1e-6)
    assert fit(whole_image, config, out=tmp_path).stopped == "target_psnr"
    result = resume(tmp_path, target_psnr=None)
    assert result.stopped == "steps" and result.steps == 23


def test_a_run_with_a_schedule_ends_where_it_was_to(tmp_path, finished):
    run, before = finished["batch"][1], written(finished["batch"][1])
    # The schedule's end is part of the rate of every step before.
    with pytest.raises(ConfigError, match=r"^steps was 23 and cannot become 40"):
        resume(run, steps=40)
    with pytest.raises(TypeError, match="sigma"):
        resume(run, sigma=3.0)  # pyright: ignore[reportCallIssue]
    with pytest.raises(CheckpointError, match="cannot go on with torch"):
        resume(run, backend="torch")
    assert written(run) == before


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Config)])
def test_every_field_is_either_identity_or_resumable(name):
    """Another value of a field is another fit, or one that the run goes on with."""
    config, other = Config(), copy.copy(Config())
    value = getattr(config, name)
    changed = f"{value}x" if isinstance(value, str) else (value or 1) * 2
    object.__setattr__(other, name, changed)  # whatever else it may conflict with
    there, here = (recording.Identity("0", c) for c in (config, other))
    resumable = {"steps", "eval_every", "target_psnr", "max_seconds"}
    if name in resumable:
        assert there.difference(here) == ""
        assert name in inspect.signature(resume).parameters
    elif name != "preset":  # a name alone
        assert there.difference(here) == f"{name} is {value} there, and {changed} here"


# Interrupts


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_that_goes_on_is_the_uninterrupted_one_bit_for_bit(
    tmp_path, finished, whole_image, no_figures, monkeypatch, name
):
    whole, reference = finished[name]
    run = tmp_path / "run"
    # Other chunks than those of the uninterrupted run.
    monkeypatch.setattr(JaxTrainer, "max_chunk_steps", 5)
    with pytest.raises(Interrupted, match=r"SIGTERM.* to be resumed from") as caught:
        fit(whole_image, CONFIGS[name], out=run, **StopAt(6).keywords)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert isinstance(caught.value, KeyboardInterrupt)
    assert not (run / "summary.json").exists()
    # What a kill leaves in the log.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9999, "psnr_db": 1.0}\n{"torn')
    resumed = fit(whole_image, CONFIGS[name], out=run)
    assert_same_run(run, reference)
    np.testing.assert_array_equal(resumed.prediction, whole.prediction)
    # Seconds add up over the sessions.
    seconds = [row["seconds"] for row in resumed.rows]
    assert seconds == sorted(seconds) and len(seconds) == len(log(run))


def test_an_interrupted_fit_without_a_folder_comes_with_the_exception(
    whole_image, quick
):
    def press(progress):
        if progress.step >= 9:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumpyTrainer, "max_chunk_steps", 4)
        with pytest.raises(Interrupted) as caught:
            fit(whole_image, SMALL, on_progress=press)
    partial = caught.value.fit
    assert caught.value.exit_code == 130 and partial.stopped == "SIGINT"
    assert 0 < partial.steps < 23 and partial.prediction.shape == whole_image.shape
    reference = fit(whole_image, SMALL.replace(steps=partial.steps))
    np.testing.assert_array_equal(partial.prediction, reference.prediction)
    assert partial.psnr_db == reference.psnr_db


def test_many_interruptions_do_not_show(tmp_path, whole_image, quick, monkeypatch):
    monkeypatch.setattr(NumpyTrainer, "max_chunk_steps", 3)
    whole, run = tmp_path / "whole", tmp_path / "run"
    fit(whole_image, SMALL, out=whole)
    with pytest.raises(Interrupted):
        fit(whole_image, SMALL, out=run, stop=lambda: "SIGTERM")
    for step in (1, 2, 9, 13):
        with pytest.raises(Interrupted):
            resume(run, **StopAt(step, "SIGINT").keywords)
    resume(run)
    assert_same_run(run, whole)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def kill_at(monkeypatch, number, torn):
    """Ends the process, as it were, before its n-th write or, `torn`, amid it."""
    real, count = os.replace, []

    def replace(*arguments, **kwargs):
        count.append(0)
        if len(count) == number and not torn:
            raise Killed
        real(*arguments, **kwargs)
        if len(count) == number:
            raise Killed

    monkeypatch.setattr(os, "replace", replace)
    return count


@pytest.mark.slow_cases("after")
@pytest.mark.parametrize("torn", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_file_goes_on_by_the_same_call(
    tmp_path, whole_image, quick, monkeypatch, torn
):
    """From the first file to the last, the first checkpoint among them."""
    monkeypatch.setattr(NumpyTrainer, "max_chunk_steps", 6)
    whole = tmp_path / "whole"
    with pytest.MonkeyPatch.context() as patch:
        files = kill_at(patch, 10**9, torn)
        fit(whole_image, SMALL, out=whole, save_every_seconds=0.0)
    assert len(files) > 8
    for number in range(1, len(files) + 1):
        run = tmp_path / f"run {number}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, number, torn)
            fit(whole_image, SMALL, out=run, save_every_seconds=0.0)
        fit(whole_image, SMALL, out=run, save_every_seconds=0.0)
        assert_same_run(run, whole)


def test_another_image_in_the_folder_is_refused(tmp_path, whole_image, quick):
    run, other = tmp_path / "run", tmp_path / "other"
    fit(whole_image, SMALL.replace(steps=1), out=run)
    fit(1 - whole_image, SMALL.replace(steps=1), out=other)
    name = "checkpoints/picture.safetensors"
    (run / name).write_bytes((other / name).read_bytes())
    with pytest.raises(CheckpointError, match="not the one"):
        resume(run, steps=2)


def test_other_versions_and_damaged_checkpoints_are_told(
    tmp_path, whole_image, quick, monkeypatch
):
    run = tmp_path / "run"
    monkeypatch.setattr(NumpyTrainer, "max_chunk_steps", 6)
    with pytest.raises(Interrupted):
        words: Any = StopAt(9).keywords
        fit(whole_image, SMALL, out=run, save_every_seconds=0.0, **words)
    newest = sorted((run / "checkpoints").glob("step_*"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    now = recording.summaries.versions("jax")
    monkeypatch.setattr(
        recording.summaries, "versions", lambda backend: {**now, "jax": "9.9.9"}
    )
    # Whoever gives no function is warned.
    with pytest.warns(UserWarning) as told:
        assert resume(run).steps == 23
    first, second = (str(one.message) for one in told)
    assert newest.name in first and "damaged" in first
    assert f"jax {now['jax']} is now 9.9.9" in second


def test_a_signal_as_the_fit_ends_is_not_lost(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    with pytest.raises(Interrupted) as caught:
        fit(whole_image, SMALL, out=run, **StopAt(23, "SIGINT").keywords)
    assert "resumed" not in str(caught.value)
    assert json.loads((run / "summary.json").read_text())["stopped"] == "steps"


# Divergence


def test_a_diverged_run_keeps_its_last_good_state(tmp_path, whole_image, quick):
    advance = NumpyTrainer.advance

    def diverge(self, num_steps, active):
        losses, good = advance(self, num_steps, active)
        if self.steps[0] > 12:
            self.rollback(0)
            return losses, good & False
        return losses, good

    run, config = tmp_path / "run", SMALL.replace(batch_size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumpyTrainer, "advance", diverge)
        with pytest.raises(DivergedError, match="step 9 is kept") as caught:
            fit(whole_image, config, out=run)
    assert caught.value.exit_code == 5
    assert "learning_rate=0.01" in caught.value.hint and "--" not in caught.value.hint
    assert not (run / "summary.json").exists()
    # From there a trainer that is right goes on.
    fit(whole_image, config, out=tmp_path / "whole")
    resume(run)
    assert_same_run(run, tmp_path / "whole")


def test_an_image_of_nan_reaches_no_target(whole_image, quick, monkeypatch):
    """Finite parameters, and a prediction that is not: a divergence, not inf dB."""
    real = NumpyTrainer.evaluate

    def evaluate(self, lane):
        return real(self, lane) if self.steps[lane] < 7 else float("nan")

    monkeypatch.setattr(NumpyTrainer, "evaluate", evaluate)
    with pytest.raises(DivergedError):
        fit(whole_image, SMALL.replace(batch_size=32, target_psnr=60.0))


def test_a_fit_that_ends_worse_than_it_began_is_told(whole_image, quick, monkeypatch):
    def away(self, num_steps, active):
        self._keep()
        self.colours[0] = self.colours[0] + np.float32(num_steps)
        self.steps[0] += num_steps
        return np.ones((1, num_steps), np.float32), np.array([True])

    # It starts from black, which is nearer to a dark image than white is.
    told, dark = [], whole_image / 4
    fit(dark, SMALL.replace(batch_size=32), on_notice=told.append)
    assert not told
    monkeypatch.setattr(NumpyTrainer, "advance", away)
    with pytest.warns(UserWarning, match="worse than at the start"):
        fit(dark, SMALL.replace(batch_size=32))
    # The same notice on the way of many, with the name of the fit.
    fit_many([dark], SMALL.replace(batch_size=32), names=["a"], on_notice=told.append)
    assert len(told) == 1 and told[0].startswith(
        "a: the fit is worse than at the start"
    )


def test_the_torch_back_end_without_torch_is_one_line(monkeypatch, whole_image):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        fit(whole_image, SMALL, backend="torch")
    assert "pip install" in caught.value.hint


# Keywords


@pytest.mark.parametrize("function", [fit, fit_many, resume])
def test_a_keyword_that_does_not_exist_is_refused_with_the_nearest(function):
    with pytest.raises(TypeError, match="did you mean device"):
        function("x", devize="cpu")
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        function("x", mask=1)


def test_the_package_exports_them():
    assert jax_inr.fit is fit and jax_inr.fit_many is fit_many
    assert jax_inr.resume is resume


# Many


MANY = SMALL.replace(steps=12)


def test_many_runs_go_on_after_any_kill(tmp_path, quick, monkeypatch):
    """Three fits, killed at every one of their files: byte for byte as without."""
    monkeypatch.setattr(NumpyTrainer, "max_chunk_steps", 6)
    images = np.random.default_rng(1).random((3, 5, 6, 3), dtype=np.float32)
    names = ["a", "b", "c"]

    def call(out):
        return fit_many(images, MANY, out=out, names=names, save_every_seconds=0.0)

    whole = tmp_path / "whole"
    with pytest.MonkeyPatch.context() as patch:
        files = kill_at(patch, 10**9, False)
        call(whole)
    for number in range(1, len(files) + 1, 3):
        out = tmp_path / f"run {number}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, number, number % 2 == 0)
            call(out)
        assert not call(out).failures
        for name in names:
            assert_same_run(out / name, whole / name)


INTERRUPTS = ("stop", "keyboard")


@pytest.fixture(scope="module")
def eight():
    images = np.random.default_rng(2).random((8, 6, 7, 3), dtype=np.float32)
    return images, SMALL.replace(batch_size=16, schedule="cosine")


def drop_momentum(folder):
    """The negative control: checkpoints without the optimizer's memory."""
    for path in folder.glob("*/checkpoints/step_*"):
        tensors, header = load_tensors(path, "checkpoint", allow_nonfinite=True)
        trace = [name for name in tensors if "trace" in name]
        assert trace
        tensors |= {name: np.zeros_like(tensors[name]) for name in trace}
        save_tensors(path, "checkpoint", tensors, header)


@pytest.mark.slow_cases("keyboard")
@pytest.mark.parametrize("how", INTERRUPTS)
def test_a_batch_of_8_goes_on_byte_for_byte(
    tmp_path, eight, no_figures, monkeypatch, how
):
    images, config = eight
    whole, out, control = tmp_path / "whole", tmp_path / "out", tmp_path / "control"
    fit_many(images, config, out=whole)
    monkeypatch.setattr(JaxTrainer, "max_chunk_steps", 5)

    def press(progress):
        if progress.step >= 9:
            raise KeyboardInterrupt

    for folder in (out, control):
        words: Any = StopAt(9).keywords if how == "stop" else {"on_progress": press}
        with pytest.raises(Interrupted) as caught:
            fit_many(images, config, out=folder, **words)
        assert len(caught.value.fits) == 8
        assert all(0 < one.steps < 23 for one in caught.value.fits)
    drop_momentum(control)
    assert not fit_many(images, config, out=out).failures
    fit_many(images, config, out=control)
    for name in map(str, range(8)):
        assert_same_run(out / name, whole / name)
        field = (control / name / "field.safetensors").read_bytes()
        assert field != (whole / name / "field.safetensors").read_bytes()


def test_each_of_many_has_its_own_end(quick, whole_image):
    reference = fit(whole_image, SMALL)
    target = reference.rows[3]["psnr_db"] - 1e-6
    configs = [
        *(SMALL, SMALL.replace(target_psnr=target), SMALL.replace(steps=7)),
        SMALL.replace(max_seconds=1e-3, eval_every=1),
    ]
    fits = fit_many(whole_image, configs)
    assert [one.stopped for one in fits][:3] == ["steps", "target_psnr", "steps"]
    assert fits[0].steps == 23 and fits[2].steps == 7
    assert fits[1].psnr_db >= target
    assert fits[3].stopped in ("steps", "max_seconds")


def test_what_goes_wrong_with_one_of_many_is_that_run_s_failure(
    tmp_path, quick, whole_image, monkeypatch
):
    """Another run in its folder, a full disk, a bug in a figure: the others go on."""
    out, names = tmp_path / "out", list("abcd")
    fit(whole_image, MANY.replace(seed=5), out=out / "a")

    def figures(folder, *_):
        if folder.path.name == "c":
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(run_images, "write_figures", figures)
    real = recording.RunRecorder.row

    def row(self, row):
        if self.folder.path.name == "b" and row["step"] > 4:
            raise OutputError("No space left on device")
        real(self, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording.RunRecorder, "row", row)
        fits = fit_many([whole_image] * 4, MANY, out=out, names=names)
    assert {name: type(error) for name, error in fits.failures.items()} == {
        "a": OutputError,
        "b": OutputError,
        "c": ZeroDivisionError,
    }
    assert [*fits.done] == ["d"] and fits[3].steps == 12
    with pytest.raises(OutputError, match="No space left"):
        fits[1]
    # The same call does what is missing.
    monkeypatch.setattr(run_images, "write_figures", lambda *_: None)
    fits = fit_many([whole_image] * 4, MANY, out=out, names=names)
    assert [*fits.failures] == ["a"] and [*fits.done] == ["b", "c", "d"]


def test_a_fit_that_diverges_keeps_its_last_good_state_and_stops_no_other(whole_image):
    linear = SMALL.replace(network="siren", encoding="none", steps=60)
    configs = [linear.replace(learning_rate=rate) for rate in (1e-3, 1e6)]
    fits = fit_many(whole_image, configs, names=["good", "bad"])
    assert fits[0].stopped == "steps"
    assert isinstance(fits.failures["bad"], DivergedError)
    assert [*fits.failures] == ["bad"]
    assert all(np.isfinite(tensor).all() for tensor in fits[1].tensors.values())


def test_one_image_in_any_form_is_not_taken_for_several(
    tmp_path, whole_image, quick, monkeypatch
):
    """A path is a sequence of letters, an array one of rows, an Image a tuple."""
    monkeypatch.chdir(tmp_path)
    levels = (255 * whole_image).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(levels / np.float32(255)))
    loaded, configs = load_image("a.png"), [MANY, MANY.replace(steps=3)]
    grey = whole_image[..., 0]
    for one in ("a.png", tmp_path / "a.png", loaded, levels, whole_image, grey):
        fits = fit_many(one, configs)
        assert len(fits) == 2 and fits[0].prediction.shape[:2] == (12, 17)
    for several in ([grey, grey], whole_image[None], ["a.png"], [loaded, loaded]):
        fits = fit_many(several, MANY)
        assert len(fits) == len(several)
        assert fits[0].prediction.shape[:2] == (12, 17)


def test_images_and_configs_that_do_not_go_together_are_refused(whole_image):
    with pytest.raises(ConfigError, match="2 images do not go with 3 configs"):
        fit_many([whole_image] * 2, [SMALL] * 3)
    with pytest.raises(ConfigError, match="no image"):
        fit_many([], SMALL)
    with pytest.raises(ConfigError, match="2 names, 1 different"):
        fit_many([whole_image] * 2, SMALL, names=["a", "a"])


# Every optimizer goes on from its start and from the middle


OPTIMIZERS = Config.__dataclass_fields__["optimizer"].type.__args__
QUICKEST = ("sgd", "adam")


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(o, marks=() if o in QUICKEST else pytest.mark.slow)
        for o in OPTIMIZERS
    ],
)
def test_every_optimizer_goes_on_from_step_0_and_from_the_middle(
    tmp_path, whole_image, no_figures, monkeypatch, optimizer
):
    monkeypatch.setattr(JaxTrainer, "max_chunk_steps", 3)
    config = SMALL.replace(optimizer=optimizer, learning_rate=1e-3, steps=8)
    fit(whole_image[:4, :5], config, out=tmp_path / "whole")
    for name, words in {
        "start": {"stop": lambda: "SIGTERM"},
        "middle": StopAt(4).keywords,
    }.items():
        with pytest.raises(Interrupted) as caught:
            fit(whole_image[:4, :5], config, out=tmp_path / name, **words)
        assert (caught.value.fit.steps == 0) == (name == "start")
        fit(whole_image[:4, :5], config, out=tmp_path / name)
        assert_same_run(tmp_path / name, tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "value"), [("jax_disable_jit", True), ("jax_transfer_guard", "disallow")]
)
def test_the_callers_settings_of_jax_change_no_fit(name, value, image, tmp_path):
    expected = fit(image, SMALL)
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        fitted = fit(image, SMALL, out=tmp_path / "a")
        np.testing.assert_array_equal(fitted.prediction, expected.prediction)
        many = fit_many(image, [SMALL, SMALL.replace(seed=1)])
        assert many[0].steps == SMALL.steps
        ImageField.load(tmp_path / "a" / "field.safetensors").render(5, 5)
    finally:
        jax.config.update(name, before)
