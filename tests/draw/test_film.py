"""The film: frames at doubling steps that change no number, kept over a resume."""

import base64
import io
import json
import math
import os
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jax_inr import fitting
from jax_inr.config import Config
from jax_inr.draw import film
from jax_inr.errors import ConfigError, Interrupted
from jax_inr.loop import Progress

TINY = Config(
    num_frequencies=4, sigma=2.0, hidden_features=(8,), steps=37, batch_size=32,
    eval_every=10,
)  # fmt: skip


def frame_steps(folder):
    return [int(path.stem[5:]) for path in sorted((folder / "frames").iterdir())]


def opened(path):
    with Image.open(path) as picture:
        frames = []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
        picture.load()
        return frames


def test_steps_double_and_never_stand_still():
    steps = [0]
    while steps[-1] < 10**9:
        steps.append(film.next_frame(steps[-1]))
    assert steps[:6] == [0, 1, 2, 3, 4, 5]
    ratios = np.array(steps[12:]) / steps[11:-1]
    assert ratios.min() > 1.1 and ratios.max() < 1.3
    assert len(steps) < 4 * 31 + 2
    # From any step, one that no frame has, the next frame is the same.
    assert {film.next_frame(step) for step in range(steps[20], steps[21])} == {
        steps[21]
    }


def test_a_frame_comes_back(image):
    shown = np.clip(image + 0.05, 0, 1)
    data = film.encode_frame(64, shown, image)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (2 * 17, 12)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_kept_frame_is_fit_error_and_psnr(tmp_path, image, channels):
    image = image[..., :channels]
    shown = np.clip(image - 0.02, 0, 1)
    path = tmp_path / "step_000000064.png"
    path.write_bytes(film.encode_frame(64, shown, image))
    frame = film.read_frame(path)
    assert frame is not None and frame.step == 64
    mse = np.mean((shown - image).astype(np.float64) ** 2)
    assert frame.psnr_db == pytest.approx(-10 * math.log10(mse), abs=1e-3)
    np.testing.assert_allclose(frame.fit / 255, shown, atol=0.51 / 255)
    error = 5 * np.abs(shown - image).mean(-1)
    for channel in np.moveaxis(frame.error, -1, 0):
        np.testing.assert_allclose(channel / 255, error, atol=0.51 / 255)
    path.write_bytes(path.read_bytes()[:-30])
    assert film.read_frame(path) is None


def test_large_pictures_are_kept_small(tmp_path):
    large = np.full((700, 300, 3), 0.25, np.float32)
    path = tmp_path / "a.png"
    path.write_bytes(film.encode_frame(1, large, large))
    frame = film.read_frame(path)
    assert frame is not None and frame.fit.shape == (234, 100, 3)
    assert frame.psnr_db == math.inf


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_film_changes_no_number(tmp_path, image, batch_size):
    config = TINY.replace(batch_size=batch_size)
    with_film = fitting.fit(image, config, out=tmp_path / "a", film=True)
    without = fitting.fit(image, config, out=tmp_path / "b")
    for name, leaf in without.tensors.items():
        np.testing.assert_array_equal(with_film.tensors[name], leaf)
    rows = [[(r["step"], r["psnr_db"]) for r in f.rows] for f in (with_film, without)]
    assert rows[0] == rows[1]
    steps = frame_steps(tmp_path / "a")
    assert steps == [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 37]
    frames = opened(tmp_path / "a" / "film.webp")
    assert len(frames) == len(steps)
    # The fit's panel moves from a grey start; lossy, so by more than a little.
    assert np.abs(frames[-1] - frames[0]).mean() > 2
    assert not (tmp_path / "b" / "frames").exists()
    last = film.read_frame(tmp_path / "a" / "frames" / "step_000000037.png")
    assert last is not None
    assert last.psnr_db == pytest.approx(with_film.summary["psnr_db"], abs=1e-4)


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_film(tmp_path, image, monkeypatch):
    whole = fitting.fit(image, TINY, out=tmp_path / "whole", film=True)

    def stop(progress: Progress):
        if progress.step >= 16:
            import signal

            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        fitting.fit(image, TINY, out=tmp_path / "run", film=True, on_progress=stop)
    assert not (tmp_path / "run" / "film.webp").exists()
    assert 0 < len(frame_steps(tmp_path / "run")) < 15
    resumed = fitting.resume(tmp_path / "run")
    np.testing.assert_array_equal(resumed.prediction, whole.prediction)
    for path in (tmp_path / "whole" / "frames").iterdir():
        again = tmp_path / "run" / "frames" / path.name
        assert again.read_bytes() == path.read_bytes()
    first, second = (tmp_path / n / "film.webp" for n in ("run", "whole"))
    assert first.read_bytes() == second.read_bytes()


def film_figure(height: int, width: int, steps: tuple[int, ...]):
    """The figure of frames (height, width) at some steps."""
    grey = np.full((height, width, 1), 128, np.uint8)
    frames = [film.Frame(step, 10.0 + step, grey, grey) for step in steps]
    return film._make_figure(frames, "a").canvas.figure


@pytest.mark.parametrize(
    ("last", "ticks"), [(64, [0, 1, 8, 64]), (63, [0, 1, 8]), (0, [0])]
)
def test_the_powers_of_8_up_to_the_last_step_are_marked(last, ticks):
    curve = film_figure(4, 4, (0, last)).axes[2]
    assert curve.get_xticks().tolist() == ticks
    assert curve.get_xlim()[1] > last


def test_a_figure_is_as_tall_as_its_image_within_bounds():
    sizes = {
        ratio: film_figure(round(100 * ratio), 100, (0, 1)).get_size_inches()
        for ratio in (0.1, 0.4, 1, 1.6, 9)
    }
    assert len({width for width, _ in sizes.values()}) == 1
    tall = {ratio: height for ratio, (_, height) in sizes.items()}
    assert tall[0.1] == tall[0.4] < tall[1] < tall[1.6] == tall[9]


GREYS = [np.full((42, 64, 3), level, np.uint8) for level in (30, 90, 150, 210)]


def test_a_webp_shows_each_frame_a_while_and_the_last_longer():
    """By the container's own description: RIFF chunks, and ANMF's 24-bit fields."""
    for count in (1, 2, 4):
        data = film.to_webp(iter(GREYS[:count]), count)
        chunks = list(riff_chunks(data))
        if count == 1:  # a still image, which has no durations
            assert [kind for kind, _ in chunks] == [b"VP8 "]
            continue
        frames = [body for kind, body in chunks if kind == b"ANMF"]
        durations = [int.from_bytes(body[12:15], "little") for body in frames]
        assert durations == [140] * (count - 1) + [2500]
        (header,) = [body for kind, body in chunks if kind == b"VP8X"]
        sides = [1 + int.from_bytes(header[i : i + 3], "little") for i in (4, 7)]
        assert sides == [64, 42]
        # Forever.
        (loop,) = [body[4:6] for kind, body in chunks if kind == b"ANIM"]
        assert loop == b"\0\0"


def riff_chunks(data: bytes):
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    at = 12
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


DECODE = """async ([data, index]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
  const decoder = new ImageDecoder({ data: bytes, type: "image/webp" });
  await decoder.completed;
  const { image } = await decoder.decode({ frameIndex: index });
  const canvas = new OffscreenCanvas(image.displayWidth, image.displayHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [decoder.tracks.selectedTrack.frameCount, canvas.width, canvas.height,
          ...context.getImageData(20, 20, 1, 1).data];
}"""
PLAY = """async ([data, seconds]) => {
  const video = document.createElement("video");
  video.muted = true; video.src = "data:video/mp4;base64," + data;
  const loaded = new Promise((done, fail) => {
    video.onloadeddata = done; video.onerror = fail;
  });
  await loaded;
  await new Promise(done => { video.onseeked = done; video.currentTime = seconds; });
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [video.duration, canvas.width, canvas.height,
          ...context.getImageData(20, 20, 1, 1).data];
}"""


def test_a_browser_shows_both_films(tmp_path, browser):
    (tmp_path / "empty.html").write_text("<!doctype html>")
    page = browser.new_page()
    page.goto((tmp_path / "empty.html").as_uri())
    webp = base64.b64encode(film.to_webp(iter(GREYS), 4)).decode()
    for index, grey in enumerate((30, 90, 150, 210)):
        count, width, height, red, *_ = page.evaluate(DECODE, [webp, index])
        assert (count, width, height) == (4, 64, 42)
        assert abs(red - grey) < 6
    if film.has_mp4():
        mp4 = base64.b64encode(film.to_mp4(iter(GREYS))).decode()
        for seconds, grey in ((0.07, 30), (0.35, 150), (0.5, 210), (2.9, 210)):
            duration, width, height, red, *_ = page.evaluate(PLAY, [mp4, seconds])
            assert duration == pytest.approx(22 * 0.14, abs=0.15)
            assert (width, height) == (64, 42)
            assert abs(red - grey) < 8
    page.close()


def test_overwriting_a_run_removes_its_film(tmp_path, image):
    short = TINY.replace(steps=3)
    fitting.fit(image, short, out=tmp_path / "a", film=True)
    assert (tmp_path / "a" / "film.webp").exists()
    fitting.fit(image, short, out=tmp_path / "a", overwrite=True)
    assert not (tmp_path / "a" / "film.webp").exists()
    assert not list((tmp_path / "a").glob("frames/*"))


def test_a_film_needs_a_folder(image):
    with pytest.raises(ConfigError, match="folder"):
        fitting.fit(image, TINY, film=True)


def test_mp4_where_imageio_ffmpeg_is_installed(tmp_path, image):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="no imageio-ffmpeg")
    fitting.fit(image, TINY.replace(steps=4), out=tmp_path / "a", film=True)
    count, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "a" / "film.mp4"))
    # Steps 0 to 4, and the last for some seconds.
    assert count == 5 + 18  # 2.5 seconds of 0.14 each
    assert seconds == pytest.approx(count * 0.14, rel=0.05)


def test_without_imageio_ffmpeg_there_is_a_webp_alone(tmp_path, image, monkeypatch):
    monkeypatch.setattr(film, "has_mp4", lambda: False)
    fitting.fit(image, TINY.replace(steps=2), out=tmp_path / "a", film=True)
    assert (tmp_path / "a" / "film.webp").exists()
    assert not (tmp_path / "a" / "film.mp4").exists()
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["steps"] == 2
    shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize("side", [1000, 11_000, 20_000])
def test_a_frame_larger_than_ours_is_not_decoded(tmp_path, side, monkeypatch):
    buffer = io.BytesIO()
    about = PngInfo()
    about.add_text("step", "1")
    about.add_text("psnr_db", "1.0")
    Image.new("L", (1000, 8)).save(buffer, "PNG", pnginfo=about)
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setattr(np, "asarray", lambda picture: pytest.fail("decoded"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert film.read_frame(tmp_path / "a.png") is None
    assert told == []


def put_pipe(path, kept):
    os.mkfifo(path)


def put_folder(path, kept):
    path.mkdir()


def put_link(path, kept):
    path.symlink_to(kept)


def put_rest(path, kept):
    path.write_bytes(kept.read_bytes() + bytes(film.MAX_FRAME_BYTES))


@pytest.mark.parametrize("put", [put_pipe, put_folder, put_link, put_rest])
@pytest.mark.timeout(60)
def test_a_frame_is_a_small_regular_file(tmp_path, image, put):
    kept = tmp_path / "kept.png"
    kept.write_bytes(film.encode_frame(1, image, image))
    assert film.read_frame(kept) is not None
    put(tmp_path / "a.png", kept)
    assert film.read_frame(tmp_path / "a.png") is None


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_pipe_among_the_frames_does_not_stop_a_resume(tmp_path, image):
    fitting.fit(image, TINY, out=tmp_path, film=True)
    (frame, *_) = sorted((tmp_path / "frames").iterdir())
    frame.unlink()
    os.mkfifo(frame)
    fitting.resume(tmp_path, steps=38)
    assert (tmp_path / "film.webp").exists()
