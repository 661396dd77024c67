"""`jax-inr render`: what is drawn, what is refused, and what a signal leaves."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from conftest import ROOT, draw, run_script, said
from PIL import Image

from jax_inr import fitting
from jax_inr.cli import main
from jax_inr.cli import render as viewing
from jax_inr.config import Config
from jax_inr.coordinates import check_view
from jax_inr.errors import ConfigError
from jax_inr.field import ImageField
from jax_inr.model import make_model

SMALL = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12))
GELU = SMALL.replace(activation="gelu")


def made(config=SMALL, height=12, width=17):
    model = make_model(config, height, width, 3)
    return ImageField.make(model, draw(model), (height, width, 3), config)


def saved(folder, config=SMALL, height=12, width=17, name="field.safetensors"):
    field = made(config, height, width)
    field.save(folder / name)
    return field


def render_py(*arguments, cwd, **how):
    return run_script("render.py", *arguments, cwd=cwd, **how)


def render(folder, *arguments):
    """The command in this process: the errors of a real one are asked for once."""
    path = str(folder / "field.safetensors")
    return main.main(["render", path, *map(str, arguments)])


def test_the_native_render_is_the_reconstruction_bit_for_bit(tmp_path, image):
    config = SMALL.replace(steps=3, batch_size=16)
    fit = fitting.fit(image, config, out=tmp_path / "run")
    result = render_py("run", "--out", "a.npy", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), fit.prediction)
    assert (
        main.main(["render", str(tmp_path / "run"), "--out", str(tmp_path / "a.png")])
        == 0
    )
    pictures = [tmp_path / "a.png", tmp_path / "run" / "reconstruction.png"]
    first, second = (np.asarray(Image.open(path)) for path in pictures)
    np.testing.assert_array_equal(first, second)


def test_twice_as_large_and_windows_are_the_same_function(tmp_path):
    field = saved(tmp_path)
    native, out = field.render(), tmp_path / "a.npy"
    assert render(tmp_path, "--out", out, "--scale", 2) == 0
    twice = np.load(out)
    assert twice.shape == (24, 34, 3)
    np.testing.assert_allclose(twice[::2, ::2], native, rtol=0, atol=1e-6)
    window = ",".join(str(x) for x in (3 / 12, 5 / 17, 9 / 12, 6 / 17))
    assert render(tmp_path, "--out", out, "--window", window) == 0
    np.testing.assert_allclose(np.load(out), native[3:9, 5:6], rtol=0, atol=1e-6)
    # Negative numbers are no options.
    arguments = ("--out", out, "--window", "-1,-0.5,2,1.5", "--size", "9x8")
    assert render(tmp_path, *arguments) == 0
    beyond = field.render(9, 8, (-1, -0.5, 2, 1.5))
    np.testing.assert_array_equal(np.load(out), beyond)


def test_strips_are_the_render_bit_for_bit():
    field = made()
    for size in ((200, 300), (3, 20_000), (1, 1)):
        strips = list(field.render_strips(*size))
        np.testing.assert_array_equal(np.concatenate(strips), field.render(*size))
        assert max(len(strip) for strip in strips) * size[1] <= 2 * max(size[1], 16_384)


def test_derivatives_are_drawn_and_kept(tmp_path, capsys):
    field = saved(tmp_path, GELU)
    out = tmp_path / "a.tif"
    assert render(tmp_path, "--out", out, "--derivative", "laplacian") == 0
    np.testing.assert_array_equal(
        tifffile.imread(out), field.render(derivative="laplacian")
    )
    assert render(tmp_path, "--out", out, "--derivative", "gradient") == 0
    gradient = field.render(derivative="gradient")
    np.testing.assert_array_equal(tifffile.imread(out), gradient)
    out = tmp_path / "a.png"
    assert render(tmp_path, "--out", out, "--derivative", "gradient") == 0
    assert "white is" in capsys.readouterr().out
    drawn, length = np.asarray(Image.open(out)), np.linalg.norm(gradient, axis=-1)
    assert drawn.shape == (12, 17)
    # Brighter where steeper, from black to white.
    order = np.argsort(length.ravel())
    assert (np.diff(drawn.ravel()[order].astype(int)) >= 0).all()
    assert drawn.max() == 255 and drawn.min() < 60


def test_the_file_and_its_size_are_told_and_quiet_tells_nothing(tmp_path, capsys):
    saved(tmp_path)
    out = tmp_path / "a.npy"
    assert render(tmp_path, "--out", out, "--size", "2x3") == 0
    assert capsys.readouterr().out.endswith(f"written to {out}, 2 x 3 pixels\n")
    assert render(tmp_path, "--out", out, "--size", "2x3", "--quiet") == 0
    assert capsys.readouterr().out == ""


def test_a_link_in_a_runs_folder_is_not_followed(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    saved(tmp_path, name="other")
    (tmp_path / "run" / "field.safetensors").symlink_to(tmp_path / "other")
    words = ["render", str(tmp_path / "run"), "--out", str(tmp_path / "a.npy")]
    assert main.main(words) == 4
    assert "field.safetensors is a link" in capsys.readouterr().err
    assert not (tmp_path / "a.npy").exists()


REFUSED = {
    "suffix": (["--out", "a.jpg"], "unknown suffix"),
    "size zero": (["--out", "a.png", "--size", "0"], "1 to 65535"),
    "size absurd": (["--out", "a.png", "--size", "1x99999999"], "1 to 65535"),
    "scale absurd": (["--out", "a.png", "--scale", "60000"], "65535"),
    "scale nan": (["--out", "a.png", "--scale", "nan"], "scale"),
    "both": (["--out", "a.png", "--scale", "2", "--size", "3"], "leave one out"),
    "upside down": (["--out", "a.png", "--window", "1,0,0,1"], "less than bottom"),
    "mirrored": (["--out", "a.png", "--window", "0,1,1,0.5"], "less than right"),
    "empty": (["--out", "a.png", "--window", "0,0,0,1"], "less than"),
    "not four": (["--out", "a.png", "--window", "0,0,1"], "top,left,bottom,right"),
    "nan": (["--out", "a.png", "--window", "0,0,nan,1"], "must lie in"),
    "far": (["--out", "a.png", "--window", "0,0,1,1e9"], "must lie in"),
    "relu": (["--out", "a.png", "--derivative", "laplacian"], "zero almost everywhere"),
    "no folder": (["--out", "nowhere/a.npy"], "nowhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_one_line_and_no_file(
    tmp_path, name, capsys, monkeypatch
):
    saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments, word = REFUSED[name]
    code = render(tmp_path, *arguments)
    assert code == (6 if name == "no folder" else 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and word in line
    assert os.listdir(tmp_path) == ["field.safetensors"]


def test_fields_that_are_damaged_or_absent_are_one_line(tmp_path):
    saved(tmp_path)
    data = (tmp_path / "field.safetensors").read_bytes()
    (tmp_path / "field.safetensors").write_bytes(data[:-3])
    result = render_py("field.safetensors", "--out", "a.png", cwd=tmp_path)
    assert "field.safetensors" in said(result, 4)
    assert "nope" in said(render_py("nope", "--out", "a.png", cwd=tmp_path), 4)
    assert os.listdir(tmp_path) == ["field.safetensors"]


def test_the_cnn_renders_whole_pictures_of_a_size_it_can(tmp_path, capsys):
    config = Config(network="cnn", encoding="none", hidden_features=(4, 5))
    field = saved(tmp_path, config)
    out = tmp_path / "a.npy"
    assert render(tmp_path, "--out", out) == 0
    np.testing.assert_array_equal(np.load(out), field.render())
    assert render(tmp_path, "--out", out, "--window", "0,0,0.5,1") == 2
    assert render(tmp_path, "--out", out, "--size", 60_000) == 7
    lines = capsys.readouterr().err.splitlines()
    assert "edge" in lines[0] and "GiB of memory" in lines[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_partial_file(tmp_path, number):
    saved(tmp_path)
    script = [sys.executable, str(ROOT / "scripts" / "render.py"), "field.safetensors"]
    arguments = ["--out", "a.npy", "--size", "30000", "--device", "cpu"]
    process = subprocess.Popen(
        script + arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 10**5 for path in tmp_path.glob(".jax_inr-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert errors.splitlines() == [
        f"error: stopped by {number.name}; nothing was written"
    ]
    assert os.listdir(tmp_path) == ["field.safetensors"]


MEASURE = """
import resource, sys
from jax_inr.cli import main as cli
code = cli.main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


def peak_mib(folder, *arguments):
    command = [sys.executable, "-c", MEASURE, "render", "field.safetensors"]
    result = subprocess.run(
        [*command, *map(str, arguments), "--device", "cpu"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout.split()[-1]), result.stdout


@pytest.mark.slow_cases("a.npy")
@pytest.mark.parametrize("name", ["a.png", "a.npy"])
def test_memory_does_not_grow_with_the_picture(tmp_path, name):
    saved(tmp_path, SMALL.replace(encoding="none", hidden_features=(2,)))
    small = peak_mib(tmp_path, "--out", name, "--size", "8x16384")[0]
    large = peak_mib(tmp_path, "--out", name, "--size", "512x16384")[0]
    # As floats the large one is 96 MiB.
    assert large - small < 48


@pytest.mark.slow
def test_a_render_of_16384_stays_below_2_gb_and_shows_progress(tmp_path):
    saved(tmp_path, SMALL.replace(encoding="none", hidden_features=(2,)))
    peak, printed = peak_mib(tmp_path, "--out", "a.npy", "--size", 16_384)
    assert peak < 2000 and "row " in printed and " s left" in printed
    assert np.load(tmp_path / "a.npy", mmap_mode="r").shape == (16_384, 16_384, 3)


# Sizes and windows, in Python


@pytest.mark.parametrize(
    "view", [(0, 5), (5, -1), (65_536, 1), (4, 4, (0.5, 0, 0.5, 1))]
)
def test_the_field_refuses_a_view_that_cannot_be_drawn(view):
    field = made()
    with pytest.raises(ConfigError):
        check_view(*view)
    with pytest.raises(ConfigError):
        field.render(*view)


def test_a_view_has_the_images_pixels_unless_asked_otherwise():
    field = made()
    assert viewing.view_size(field, None, None, (0, 0, 1, 1)) == (12, 17)
    assert viewing.view_size(field, None, 4, (0, 0, 1, 1)) == (48, 68)
    assert viewing.view_size(field, None, 2, (-1, 0, 1, 0.5)) == (48, 17)
    assert viewing.view_size(field, 7, None, (0, 0, 1, 1)) == (7, 7)
    assert viewing.view_size(field, None, None, (0, 0, 1e-6, 1)) == (1, 17)
