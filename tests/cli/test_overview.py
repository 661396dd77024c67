"""What many runs come to: means over seeds, the figure's curves, the contact sheet."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jax_inr.cli import overview
from jax_inr.cli.overview import Result
from jax_inr.io.images import save_image

SIDES = {"height": 6, "width": 9}


def result(image, psnr_db, **point):
    values = ",".join(f"{name}={value}" for name, value in point.items())
    name = "/".join(filter(None, (image, values)))
    summary = {"psnr_db": psnr_db, "ssim": None, "image": {"path": image, **SIDES}}
    return Result(name, image, point, summary)


RESULTS = [
    result(image, 10 * sigma + seed, sigma=sigma, octaves=octaves, seed=seed)
    for image in ("a$b", "_c")
    for sigma in (1, 2, 9)
    for octaves in (3, 4)
    for seed in (0, 4)
]
VARIED = {"sigma": [1, 2, 9], "octaves": [3, 4], "seed": [0, 4]}


def drawn(results, varied):
    """The lines of the figure: label, x, y and half the length of the error bars."""
    (axes,) = overview.draw_sweep(overview.points_of(results), varied).axes
    lines = {}
    for bars in axes.containers:
        line, _, columns = bars.lines
        x, y = line.get_data()
        ends = [[s[1][1] for s in c.get_segments()] for c in columns]
        lines[bars.get_label()] = (list(x), list(y), ends[0] if ends else None)
    return axes, lines


def test_the_mean_and_spread_are_those_over_the_seeds():
    points = overview.points_of(RESULTS)
    assert len(points) == 12 and all(len(point.results) == 2 for point in points)
    assert points[0].point == {"sigma": 1, "octaves": 3} and points[0].image == "a$b"
    assert points[0].mean("psnr_db") == 12
    assert points[0].spread("psnr_db") == pytest.approx(np.std([10, 14], ddof=1))
    assert math.isnan(points[0].mean("ssim")) and math.isnan(points[0].spread("ssim"))


def test_a_sweep_over_several_names_has_a_curve_for_each_combination():
    axes, lines = drawn(RESULTS, VARIED)
    assert axes.get_xlabel() == "sigma" and axes.get_xscale() == "log"
    assert {*lines} == {
        f"all pixels, {image}, octaves={octaves}"
        for image in ("a$b", "_c")
        for octaves in (3, 4)
    }
    for x, y, tops in lines.values():
        assert x == [1, 2, 9] and y == [12, 22, 92]
        assert tops == pytest.approx([mean + math.sqrt(8) for mean in y])
    assert len(axes.get_legend().get_texts()) == 4


def test_seeds_alone_are_an_axis():
    results = [result("a", 30 + seed, seed=seed) for seed in (0, 1, 2)]
    axes, lines = drawn(results, {"seed": [0, 1, 2]})
    assert axes.get_xlabel() == "seed"
    assert lines == {"all pixels, a": ([0, 1, 2], [30, 31, 32], None)}


def test_one_seed_has_no_spread_in_the_table():
    results = [result("a", 30.0, sigma=1), result("a", math.inf, sigma=2)]
    stream = io.StringIO()
    table = overview.results_table(results, {"sigma": [1, 2]})
    Console(file=stream, width=80).print(table)
    text = stream.getvalue()
    assert "30.00" in text and "inf" in text and "±" not in text and "nan" not in text


def test_the_contact_sheet_shows_every_reconstruction(tmp_path):
    """Three colours in their places; one image is gone, and its place stays white."""
    colours = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 0)]
    results = [result(f"日本{i}", 30.0, sigma=i) for i in range(4)]
    for one, colour in zip(results[:3], colours, strict=False):
        (tmp_path / one.name).mkdir(parents=True)
        image = np.full((6, 9, 3), colour, np.float32)
        save_image(tmp_path / one.name / "reconstruction.png", image)
    data = overview.contact_sheet(tmp_path, results)
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    assert sheet.shape == (2 * 228, 2 * 200, 3)
    for number, colour in enumerate(colours):
        top, left = number // 2 * 228, number % 2 * 200
        middle = sheet[top + 190, left + 100]  # images stand at the tile's foot
        expected = (255, 255, 255) if number == 3 else [255 * c for c in colour]
        np.testing.assert_array_equal(middle, expected)
        below = sheet[top + 197 : top + 228, left : left + 200]  # its name and PSNR
        assert (below.min() < 100) == (number < 3)
