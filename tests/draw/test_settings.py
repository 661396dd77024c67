"""Figures under matplotlib's own settings: what a user has set changes no image."""

import ast
import contextlib
import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from jax_inr import run_images
from jax_inr.analysis import extrapolation
from jax_inr.cli import overview
from jax_inr.config import Config
from jax_inr.draw import film, plots, settings
from jax_inr.draw.settings import Figure, FigureCanvasAgg, as_written, default_settings
from jax_inr.experiments.parity import runs as parity_runs
from jax_inr.io import images
from jax_inr.io.runs import RunFolder
from jax_inr.results import Fit

SOURCES = Path(__file__).parents[2] / "jax_inr"
ROWS = [
    {"step": s, "seconds": s / 10, "loss": 1 / s, "psnr_db": s, "pooled_psnr_db": s / 2}
    for s in (1, 101, 201, 301)
]
BACKENDS = ("jax", "same", "own")
GRADIENT = np.linspace(0, 1, 7 * 9 * 3, dtype=np.float32).reshape(7, 9, 3)
LEVELS = (255 * GRADIENT).astype(np.uint8)
# What a user may have in a matplotlibrc, or have set in a notebook's first cell.
HOSTILE: Any = {
    "image.origin": "lower",
    "image.cmap": "jet",
    "text.usetex": True,
    "text.parse_math": False,
    "axes.grid": True,
    "axes.facecolor": "black",
    "axes.unicode_minus": False,
    "figure.dpi": 37,
    "figure.facecolor": "red",
    "figure.constrained_layout.use": True,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "savefig.format": "pdf",
    "font.family": "serif",
    "font.size": 21,
    "lines.linewidth": 9,
    "xtick.bottom": False,
}
NAMES = [
    "a$b_{c$.png",
    "$x^2$.png",
    r"\alpha $\frac$ 50%.png",
    "日本 猫🐈.png",
    "über.png",
]


@contextlib.contextmanager
def hostile():
    with matplotlib.rc_context(HOSTILE):
        yield
        for name, value in HOSTILE.items():
            found = matplotlib.rcParams[name]
            assert found == ([value] if name == "font.family" else value), name


def make_film() -> bytes:
    frames = [film.Frame(step, 9.0 + step, LEVELS, LEVELS) for step in (0, 1, 9)]
    images = list(film.drawn(frames, "cat.png · default"))
    assert images[0].shape == images[-1].shape and (images[0] != images[-1]).any()
    return b"".join(image.tobytes() for image in images)


def make_extrapolation() -> bytes:
    side = extrapolation.SIDE
    drawn = np.linspace(0, 1, side * side * 3).reshape(side, side, 3)
    measured = [extrapolation.Measured("gaussian", drawn, 0.1, 0.2)]
    return plots.png(extrapolation.figure(measured), dpi=extrapolation.DPI)


def make_sweep() -> bytes:
    values = [1.0, 2.0, 30.0]
    results = [
        overview.Result(f"a$b$/{v}", "a$b$", {"sigma": v}, {"psnr_db": 20 + v})
        for v in values
    ]
    with default_settings():
        points = overview.points_of(results)
        return plots.png(overview.draw_sweep(points, {"sigma": values}))


def make_parity():
    with settings.default_settings():
        return plots.png(parity_runs.draw(dict.fromkeys(BACKENDS, ROWS)))


FIGURES = {
    "comparison": lambda: plots.png(plots.comparison(GRADIENT, GRADIENT, 9.0, "a")),
    "curves": lambda: plots.png(plots.curves(ROWS, "a")),
    "encoding": lambda: plots.png(plots.encoding(GRADIENT, ["b"] * 7, "a")),
    "film": make_film,
    "extrapolation": make_extrapolation,
    "sweep": make_sweep,
    "parity": lambda: make_parity(),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_no_setting_of_the_user_changes_an_image(name):
    usual = FIGURES[name]()
    with hostile():
        assert FIGURES[name]() == usual


def test_settings_come_back_after_an_error():
    with hostile(), pytest.raises(ZeroDivisionError), default_settings():
        assert matplotlib.rcParams["image.origin"] == "upper"
        raise ZeroDivisionError


def test_between_the_frames_of_a_film_the_settings_are_the_users():
    frames = [film.Frame(0, 9.0, LEVELS, LEVELS)] * 3
    with hostile():
        for _ in film.drawn(frames, "a"):
            assert matplotlib.rcParams["image.origin"] == "lower"


def test_every_figure_is_made_under_the_default_settings():
    """By the text: `Figure(...)` stands in decorated functions, or in those of FREE."""
    # Made inside the `with default_settings()` of whoever calls them.
    bias = SOURCES / "experiments/spectral_bias"
    free = {
        "_make_figure",
        "_side_by_side",
        "side_by_side",
        "draw_sweep",
        "draw",
        "gallery",
    } | {
        function.name
        for name in ("figures.py", "prior_figures.py")
        for function in functions(bias / name)
    }
    found = set()
    for path in SOURCES.rglob("*.py"):
        for function in functions(path):
            makes = "Figure(" in ast.unparse(function)
            decorators = {ast.unparse(each) for each in function.decorator_list}
            if makes and function.name not in free:
                found.add(function.name)
                assert "default_settings()" in decorators, f"{path}: {function.name}"
    assert {"comparison", "curves", "encoding", "figure"} <= found


def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_matplotlib_is_imported_by_the_settings_alone():
    """At the top of a file, that is: an import before theirs reads MPLBACKEND."""
    tops = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "matplotlib" in ast.unparse(node)
    }
    assert tops == {"draw/settings.py"}


@pytest.mark.parametrize(
    ("backend", "found"),
    [("bad", "None"), ("svg", "svg"), ("", "None"), (None, "None")],
)
def test_the_backend_is_nobodys_business(tmp_path, backend, found):
    """A bad MPLBACKEND matters nothing, a good one is kept for the user's figures."""
    code = (
        "import os, sys; from jax_inr.draw import plots\n"
        "from pathlib import Path\n"
        "Path('a.png').write_bytes(plots.png(plots.curves([], 'a')))\n"
        "import matplotlib\n"
        "print(matplotlib.get_backend(auto_select=False))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        f"assert os.environ.get('MPLBACKEND') == {backend!r}"
    )
    environment = {"PYTHONPATH": str(SOURCES.parent)}
    if backend is not None:
        environment["MPLBACKEND"] = backend
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**environment, "MPLCONFIGDIR": matplotlib.get_cachedir()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (found, "")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_as_it_is(tmp_path, name):
    picture = images.Image(GRADIENT, str(tmp_path / name), "0" * 64, ())
    caption = f"{run_images.name_of(picture)} · default"
    assert caption == f"{name} · default"
    with hostile():
        figures = [
            plots.comparison(GRADIENT, GRADIENT, 9.0, caption),
            plots.curves(ROWS, caption),
            plots.encoding(GRADIENT, [], caption),
        ]
        for figure in figures:
            # Drawn in one piece, so that mathtext has not been at it.
            (title,) = [text for text in figure.texts if text.get_text() == caption]
            assert not title.get_parse_math() and not title.get_usetex()
            with Image.open(io.BytesIO(plots.png(figure))) as drawn:
                drawn.load()
        frames = [film.Frame(0, 9.0, LEVELS, LEVELS)]
        assert len(list(film.drawn(frames, caption))) == 1


def test_a_dollar_is_drawn_as_a_dollar():
    """A formula is narrower than its source."""

    def width(text: str) -> float:
        with default_settings():
            figure = Figure()
            title = figure.suptitle(text)
            as_written(title)
            return title.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width

    assert width("$x$") > 2 * width("x")
    assert width("$x^2$") > width("x^2")


def test_characters_come_from_installed_fonts_and_none_is_warned_of(monkeypatch):
    # One that matplotlib brings, and one that nobody has.
    fonts = ("DejaVu Sans Mono", "No Such Font")
    monkeypatch.setattr(settings, "FALLBACK_FONTS", fonts)
    with default_settings():
        plain, title = Figure().suptitle("a.png"), Figure().suptitle("日本 猫🐈")
        as_written(plain, title)
    assert title.get_fontfamily() == ["DejaVu Sans", "DejaVu Sans Mono"]
    assert plain.get_fontfamily() == ["sans-serif"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # No font has a glyph for a private character.
        plots.png(plots.curves(ROWS, "\ue123 日本 猫🐈"))


def test_lines_and_bytes_that_are_no_text_are_shown_escaped():
    odd = ["a\nb.png", "a\x1b[31m.png", "a\udcff.png"]
    for name in odd:
        shown = run_images.name_of(images.Image(GRADIENT, name, "0" * 64, ()))
        assert shown.isprintable()
        plots.png(plots.curves(ROWS, shown))


def test_a_runs_images_are_drawn_of_any_name(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for row in ROWS:
        folder.append_metrics(row)
    picture = images.Image(GRADIENT, "a$b_{c$.png", "0" * 64, ())
    fit = Fit(
        {"preset": "default", "steps": 7, "psnr_db": 20.0},
        ROWS,
        {"constants/frequencies": np.ones((2, 3), np.float32)},
        {"config": Config().to_dict()},
        given_prediction=GRADIENT,
    )
    with hostile():
        run_images.write_figures(folder, fit, picture)
    for name in ("comparison", "curves", "encoding"):
        with Image.open(tmp_path / "run" / f"{name}.png") as drawn:
            drawn.load()
