"""fit() and resume(): what comes back, what is written, what is refused.

JAX fits where numbers matter; elsewhere a trainer in numpy, which compiles nothing.
"""

import dataclasses
import json
import os
import signal
import sys

import numpy as np
import pytest

from jax_inr import fitting, loop, metrics
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
from jax_inr.fitting import fit, resume
from jax_inr.io.images import Picture, load_image

SMALL = Config(
    num_frequencies=8,
    sigma=2.0,
    hidden_features=(16, 12),
    learning_rate=0.5,
    steps=23,
    eval_every=4,
)
CONFIGS = {"full": SMALL, "batch": SMALL.replace(batch_size=32, schedule="cosine")}


class NumpyTrainer:
    """Fits one colour to the whole picture, by gradient steps."""

    device = "numpy"

    def __init__(self, config, target):
        self.step, self._config, self._target = 0, config, target
        self.colour = np.zeros(target.shape[-1], np.float32)

    def compile(self):
        pass

    def advance(self, num_steps):
        losses = []
        for _ in range(num_steps):
            error = self.colour - self._target
            losses.append(np.mean(error**2))
            self.colour = self.colour - np.float32(0.1) * error.mean((0, 1))
            self.step += 1
        return np.array(losses, np.float32)

    def learning_rate(self, step):
        return 0.1

    def predict(self):
        return np.broadcast_to(self.colour, self._target.shape)

    def parameters(self):
        return {"params/colour": self.colour.copy()}

    def state(self):
        return {**self.parameters(), "step": np.array(self.step)}

    def load_state(self, tensors):
        self.colour, self.step = tensors["params/colour"].copy(), int(tensors["step"])


def interrupt_at(step, number=signal.SIGTERM):
    """Sends a signal to this process once the fit has taken so many steps."""
    sent = []

    def on_progress(progress):
        if progress.step >= step and not sent:
            sent.append(os.kill(os.getpid(), number))

    return on_progress


def log(run):
    """The rows of metrics.jsonl without what a clock measured."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{**row, "seconds": None} for row in rows]


def written(run):
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*.*")}


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take longer than these fits, and have tests of their own."""
    monkeypatch.setattr(fitting.run_images, "write_figures", lambda *_: None)


@pytest.fixture
def quick(monkeypatch, no_figures):
    """Fits with the trainer in numpy, and without figures."""

    def make_trainer(backend, config, target, device):
        return NumpyTrainer(config, target)

    monkeypatch.setattr(fitting, "make_trainer", make_trainer)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, whole_image):
    """One uninterrupted run for each config, with its folder."""
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.run_images, "write_figures", lambda *_: None)
        for name, config in CONFIGS.items():
            out = tmp_path_factory.mktemp("runs") / name
            runs[name] = (fit(whole_image, config, out=out), out)
    return runs


@pytest.fixture(scope="module")
def whole_image():
    return np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)


# What comes back


def test_the_result_is_the_picture_its_numbers_and_its_field(finished, whole_image):
    result, _ = finished["full"]
    assert [row["step"] for row in result.rows] == [1, 5, 9, 13, 17, 21, 23]
    assert result.rows[-1]["psnr_db"] > result.rows[0]["psnr_db"]
    summary = result.summary
    assert (summary["steps"], summary["stopped"]) == (23, "steps")
    expected = metrics.psnr(result.prediction, whole_image)
    assert summary["psnr_db"] == pytest.approx(expected, abs=1e-4)
    assert result.rows[-1]["psnr_db"] == pytest.approx(expected, abs=1e-4)
    # 16*16+16 + 16*12+12 + 12*3+3 numbers of 32 bits for 12*17 pixels.
    assert summary["num_params"] == 515
    assert summary["bits_per_pixel"] == pytest.approx(515 * 32 / 204)
    # The field is of the very parameters whose PSNR is reported.
    np.testing.assert_allclose(result.field.render(), result.prediction, atol=1e-6)
    assert result.field.step == 23


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, whole_image):
    monkeypatch.chdir(tmp_path)
    result = fit(whole_image, SMALL.replace(steps=2))
    assert result.summary["steps"] == 2 and not any(tmp_path.iterdir())


def test_rgb_max_256_trains_on_darker_targets(whole_image):
    result = fit(whole_image, SMALL.replace(steps=1, rgb_max=256))
    target = whole_image * np.float32(255 / 256)
    expected = metrics.psnr(result.prediction, target)
    assert result.summary["psnr_db"] == pytest.approx(expected, abs=1e-4)
    # The picture that is shown, and its field, are in units of white again.
    white = result.prediction * np.float32(256 / 255)
    np.testing.assert_allclose(result.field.render(), white, atol=1e-6)
    shown = metrics.psnr_8bit(white, whole_image)
    assert result.summary["psnr_8bit_db"] == pytest.approx(shown, abs=1e-4)


def test_the_target_decides_the_end(finished, whole_image):
    # A float32 loss against a float64 one: some 1e-6 dB.
    target = finished["full"][0].rows[3]["psnr_db"] - 1e-3
    result = fit(whole_image, SMALL.replace(target_psnr=target))
    assert (result.summary["stopped"], result.summary["steps"]) == ("target_psnr", 13)
    assert result.summary["psnr_db"] >= target


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
    # The saved picture is the prediction in 8 bits, and has the PSNR that is claimed.
    saved = load_image(run / "reconstruction.png").image
    np.testing.assert_allclose(saved, result.prediction, atol=0.5001 / 255)
    expected = metrics.psnr(saved, whole_image)
    assert result.summary["psnr_8bit_db"] == pytest.approx(expected, abs=1e-3)


def test_a_run_is_not_overwritten_unasked(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    fit(whole_image, SMALL, out=run)
    before = written(run)
    with pytest.raises(OutputError, match="not empty"):
        fit(whole_image, SMALL, out=run)
    assert written(run) == before
    again = fit(whole_image, SMALL.replace(seed=1), out=run, overwrite=True)
    assert json.loads((run / "summary.json").read_text()) == again.summary


# Pictures


BAD_PICTURES = {
    "flat": np.zeros((4, 5)),
    "four channels": np.zeros((4, 5, 4)),
    "empty": np.zeros((0, 5, 3)),
    "8-bit levels": np.full((4, 5, 3), 200, np.uint8),
    "above white": np.full((4, 5, 3), 1.01),
    "below black": np.full((4, 5, 3), -0.01),
    "nan": np.full((4, 5, 3), np.nan),
    "infinite": np.full((4, 5, 3), np.inf),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_what_is_no_picture_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ImageError):
        fit(BAD_PICTURES[name], SMALL, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_grey_picture_and_a_loaded_one_are_fitted(whole_image, quick):
    grey = fit(whole_image[..., :1], SMALL.replace(steps=1))
    assert grey.prediction.shape == (12, 17, 1)
    picture = Picture(whole_image, "here.png", "f" * 64, ())
    image = fit(picture, SMALL.replace(steps=1)).summary["image"]
    expected = {"path": "here.png", "sha256": "f" * 64, "height": 12, "width": 17}
    assert image == expected


# Signals and resuming


@pytest.mark.parametrize("name", CONFIGS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    tmp_path, finished, whole_image, no_figures, monkeypatch, name
):
    whole, reference = finished[name]
    run = tmp_path / "run"
    # Other chunks than those of the uninterrupted run.
    monkeypatch.setattr(loop, "MAX_CHUNK_STEPS", 5)
    with pytest.raises(Interrupted, match=r"SIGTERM.*--resume") as caught:
        fit(whole_image, CONFIGS[name], out=run, on_progress=interrupt_at(6))
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert isinstance(caught.value, KeyboardInterrupt)
    assert not (run / "summary.json").exists()
    # What a kill leaves in the log.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9999, "psnr_db": 1.0}\n{"torn')
    resumed = resume(run)
    assert resumed.summary["steps"] == 23
    assert log(run) == log(reference)
    for file in ("field.safetensors", "reconstruction.png", "config.json"):
        assert (run / file).read_bytes() == (reference / file).read_bytes(), file
    np.testing.assert_array_equal(resumed.prediction, whole.prediction)
    # Seconds add up over the sessions.
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_many_interruptions_do_not_show(tmp_path, whole_image, quick, monkeypatch):
    monkeypatch.setattr(loop, "MAX_CHUNK_STEPS", 3)
    whole, run = tmp_path / "whole", tmp_path / "run"
    fit(whole_image, SMALL, out=whole)
    with pytest.raises(Interrupted):
        fit(whole_image, SMALL, out=run, on_progress=interrupt_at(1))
    for step in (2, 9, 13, 22):
        with pytest.raises(Interrupted):
            resume(run, on_progress=interrupt_at(step, signal.SIGINT))
    resume(run)
    assert log(run) == log(whole)
    field = (run / "field.safetensors").read_bytes()
    assert field == (whole / "field.safetensors").read_bytes()


def test_more_steps_are_as_if_asked_for_at_once(tmp_path, whole_image, quick):
    whole, run = tmp_path / "whole", tmp_path / "run"
    fit(whole_image, SMALL, out=whole)
    fit(whole_image, SMALL.replace(steps=10), out=run)
    resume(run, changes={"steps": 23})
    assert log(run) == log(whole)
    for name in ("field.safetensors", "config.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_resuming_a_finished_run_leaves_it_as_it_is(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    fit(whole_image, SMALL, out=run)
    before = written(run)
    resume(run)
    after = written(run)
    assert {name for name in before if before[name] != after[name]} <= {
        "summary.json",  # how long it took
    }
    assert before.keys() == after.keys()


def test_fields_that_decided_earlier_steps_cannot_change(tmp_path, finished):
    run, before = finished["batch"][1], written(finished["batch"][1])
    changes = {"sigma": 3.0, "seed": 1, "batch_size": None, "learning_rate": 1.0}
    for name, value in changes.items():
        with pytest.raises(ConfigError, match=f"^{name} was .* cannot become"):
            resume(run, changes={name: value})
    # The schedule's end is part of the rate of every step before.
    with pytest.raises(ConfigError, match=r"^steps was 23 and cannot become 40"):
        resume(run, changes={"steps": 40})
    with pytest.raises(ConfigError, match="unknown config field"):
        resume(run, changes={"sigmaa": 3.0})
    assert written(run) == before


def test_every_field_is_either_refused_or_resumable():
    assert set(fitting.RESUMABLE_FIELDS) < {f.name for f in dataclasses.fields(Config)}
    assert set(fitting.RESUMABLE_FIELDS) == {
        "steps",
        "eval_every",
        "target_psnr",
        "max_seconds",
    }


def test_another_picture_in_the_folder_is_refused(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    fit(whole_image, SMALL.replace(steps=1), out=run)
    other = tmp_path / "other"
    fit(1 - whole_image, SMALL.replace(steps=1), out=other)
    picture = "checkpoints/picture.safetensors"
    (run / picture).write_bytes((other / picture).read_bytes())
    with pytest.raises(CheckpointError, match="not the one"):
        resume(run)


def test_other_versions_and_damaged_checkpoints_are_told(
    tmp_path, whole_image, quick, monkeypatch
):
    run, notices = tmp_path / "run", []
    fit(whole_image, SMALL, out=run, save_every_seconds=0.0)
    newest = sorted((run / "checkpoints").glob("step_*"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    now = fitting.summaries.versions("jax")
    monkeypatch.setattr(
        fitting.summaries, "versions", lambda backend: {**now, "jax": "9.9.9"}
    )
    result = resume(run, on_notice=notices.append)
    assert result.summary["steps"] == 23
    assert len(notices) == 2
    assert newest.name in notices[0] and "damaged" in notices[0]
    assert f"jax {now['jax']} is now 9.9.9" in notices[1]


def test_a_signal_as_the_fit_ends_is_not_lost(tmp_path, whole_image, quick):
    run = tmp_path / "run"
    with pytest.raises(Interrupted) as caught:
        fit(whole_image, SMALL, out=run, on_progress=interrupt_at(23, signal.SIGINT))
    assert "--resume" not in str(caught.value)
    assert json.loads((run / "summary.json").read_text())["stopped"] == "steps"


def test_a_diverged_run_keeps_its_last_good_state(tmp_path, whole_image, quick):
    advance = NumpyTrainer.advance

    def diverge(self, num_steps):
        losses = advance(self, num_steps)
        return np.where(np.arange(num_steps) + self.step > 12, np.nan, losses)

    run, config = tmp_path / "run", SMALL.replace(batch_size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumpyTrainer, "advance", diverge)
        with pytest.raises(DivergedError) as caught:
            fit(whole_image, config, out=run)
    assert caught.value.exit_code == 5
    assert not (run / "summary.json").exists()
    # From there a trainer that is right goes on.
    whole = fit(whole_image, config, out=tmp_path / "whole")
    assert resume(run).summary["psnr_db"] == whole.summary["psnr_db"]
    assert log(run) == log(tmp_path / "whole")


def test_a_fit_that_ends_worse_than_it_began_is_told(whole_image, quick, monkeypatch):
    def away(self, num_steps):
        self.colour, self.step = self.colour + num_steps, self.step + num_steps
        return np.ones(num_steps, np.float32)

    # It starts from black, which is nearer to a dark picture than white is.
    told, dark = [], whole_image / 4
    fit(dark, SMALL.replace(batch_size=32), on_notice=told.append)
    assert not told
    monkeypatch.setattr(NumpyTrainer, "advance", away)
    fit(dark, SMALL.replace(batch_size=32), on_notice=told.append)
    assert len(told) == 1 and "worse than at the start" in told[0]


def test_the_torch_back_end_without_torch_is_one_line(monkeypatch, whole_image):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        fit(whole_image, SMALL, backend="torch")
    assert "pip install" in caught.value.hint


def test_rows_are_of_colours_clipped_as_they_are_saved():
    """A network without bounds: the loss of a step is no evaluation of it."""
    image = np.random.default_rng(0).integers(0, 2, (12, 17, 3)).astype(np.float32)
    config = Config(
        network="siren", encoding="none", hidden_features=(8,), optimizer="adam",
        learning_rate=0.2, schedule="constant", warmup_steps=0, steps=1, eval_every=1,
    )  # fmt: skip
    once = fit(image, config)
    assert np.abs(once.prediction - np.clip(once.prediction, 0, 1)).max() > 0.05
    psnr_db = float(metrics.psnr(once.prediction, image))
    first, *_ = fit(image, config.replace(steps=3)).rows
    assert first["psnr_db"] == pytest.approx(psnr_db, abs=1e-3)
