"""Figures of what is learned when, from what was kept; nothing is measured here.

Colours are Okabe and Ito's and the maps cividis, viridis and RdBu: all are told apart
by every kind of colour vision, and lines differ in their markers too.
"""

import base64
import io
from collections.abc import Callable, Sized
from typing import Any

import numpy as np
from PIL import Image

from jax_inr.draw.plots import BLUE, RED, show
from jax_inr.draw.settings import Figure
from jax_inr.experiments.report import Json

NETWORKS = {
    # label, colour, marker
    "cnn": ("CNN, as in the notebook", "#999999", "v"),
    "cnn-adam": ("CNN with Adam", "#000000", "^"),
    "mlp": ("MLP, no encoding", RED, "s"),
    "gaussian-1": ("Gaussian, σ = 1", "#56B4E9", "o"),
    "gaussian-10": ("Gaussian, σ = 10", BLUE, "D"),
    "gaussian-30": ("Gaussian, σ = 30", "#CC79A7", "P"),
    "siren": ("SIREN", "#009E73", "X"),
}
ENCODINGS = {"none": "no encoding", "gaussian": "Gaussian encoding"}


def heat_maps(networks: Json) -> Figure:
    """The share of each band's energy that is missing, against step and frequency."""
    figure, panels = _grid(networks, (3.2, 2.9))
    mesh: Any = None
    for axes, (name, run) in zip(panels, networks.items(), strict=False):
        steps, edges = np.array(run["steps"]), np.array(run["edges"])
        middles = np.sqrt(steps[1:] * steps[:-1])
        ratio = steps[1] / middles[0]
        sides = [steps[0] / ratio, *middles, steps[-1] * steps[-1] / middles[-1]]
        missing = np.clip(np.array(run["missing"]).T, 0.01, 1)
        mesh = axes.pcolormesh(
            sides, edges, missing, norm="log", vmin=0.01, vmax=1, cmap="cividis_r"
        )
        learned = [np.nan if s is None else s for s in run["learned_steps"]]
        centres = np.sqrt(edges[1:] * edges[:-1])
        for style in ({"color": "k", "lw": 4}, {"color": "w", "lw": 2}):
            axes.plot(learned, centres, marker="o", ms=style["lw"] + 1, **style)
        axes.set_xscale("log", base=2)
        _frequencies(axes.yaxis, edges)
        axes.set_xlim(sides[0], sides[-1])
        axes.set_title(f"{NETWORKS[name][0]}\n{run['psnr_db'][-1]:.1f} dB", fontsize=10)
    for axes in panels[:: _columns(networks)]:
        axes.set_ylabel("cycles per image")
    for axes in panels[-_columns(networks) :]:
        axes.set_xlabel("step")
    bar = figure.colorbar(mesh, ax=panels.tolist(), shrink=0.8, pad=0.01)
    bar.set_label("share of the band's energy still missing")
    bar.set_ticks([0.01, 0.1, 1], labels=["≤ 1 %", "10 %", "≥ 100 %"])
    figure.suptitle(
        "What is missing when; the white line is where a band is 90 % learned",
        fontsize=12,
    )
    return figure


def images(networks: Json) -> Figure:
    """The target, where it was kept, and every network's image at the end."""
    shown = [(run["target"], "target") for run in networks.values() if "target" in run]
    for name, run in networks.items():
        numbers = f"{run['psnr_db'][-1]:.1f} dB, {run['steps'][-1]} steps"
        shown.append((run["png"], f"{NETWORKS[name][0]}\n{numbers}"))
    figure, panels = _grid(shown, (2.6, 2.9))
    for axes, (png, title) in zip(panels, shown, strict=False):
        with Image.open(io.BytesIO(base64.b64decode(png))) as image:
            levels = np.asarray(image, np.float32) / 255
        show(axes, levels.reshape(*levels.shape[:2], -1))
        axes.set_title(title, fontsize=10)
    return figure


def learned(networks: Json) -> Figure:
    """By frequency: what is missing at the end, and the step at which it is learned."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, run in networks.items():
        label, colour, marker = NETWORKS[name]
        edges = np.array(run["edges"])
        centres = np.sqrt(edges[1:] * edges[:-1])
        style: Any = {"color": colour, "marker": marker, "ms": 5, "lw": 1.6}
        missing = np.clip(run["missing"][-1], 1e-4, None)
        left.plot(centres, missing, label=label, **style)
        steps = [np.nan if s is None else s for s in run["learned_steps"]]
        right.plot(centres, steps, **style)
        for axes in (left, right):
            _frequencies(axes.xaxis, edges)
    left.axhline(0.1, color="0.5", ls=":", lw=1)
    left.set_yscale("log")
    left.set_ylabel("share of energy missing at the end")
    # Where no network has learned a frequency, there is nothing to scale by.
    if any(step for run in networks.values() for step in run["learned_steps"]):
        right.set_yscale("log", base=2)
    right.set_ylabel("step at which 90 % are learned")
    right.set_title("no point: not learned in these steps", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("cycles per image")
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


def widths(measured: Json) -> Figure:
    """PSNR and highest learned frequency against the number of parameters."""
    plain = [run for run in measured.values() if run["hidden"] is not None]
    encoded = [run for run in measured.values() if run["hidden"] is None]
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2),
        ("psnr_db", "half_learned"),
        ("PSNR in dB", "half learned up to, in cycles per image"),
        strict=True,
    ):
        for group, name, title in (
            (plain, "mlp", "MLP, no encoding"),
            (encoded, "gaussian-10", "Gaussian encoding, σ = 10"),
        ):
            _, colour, marker = NETWORKS[name]
            counts = [run["num_params"] for run in group]
            values = [run[key] for run in group]
            axes.plot(counts, values, color=colour, marker=marker, label=title)
        for run in plain:
            axes.annotate(
                str(run["hidden"]),
                (run["num_params"], run[key]),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set_xscale("log")
        axes.set_xlabel("parameters (beside the points: width)")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0 if key == "half_learned" else None)
        axes.margins(y=0.18)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    return figure


def waves(measured: Json) -> Figure:
    """The learned amplitude of each sinusoid against the step."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(measured), sharey=True))
    for axes, (name, run) in zip(panels, measured.items(), strict=True):
        shares = np.array(run["shares"])
        for i, colour in enumerate(ordered(shares.shape[2])):
            for draw in shares[1:, :, i]:
                axes.plot(run["steps"], draw, color=colour, lw=0.7, alpha=0.6)
            label = f"{run['radii'][i]:.1f}"
            axes.plot(run["steps"], shares[0, :, i], color=colour, lw=2, label=label)
        axes.axhline(1, color="0.5", ls=":", lw=1)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        sigma = "" if run["sigma"] is None else f", σ = {run['sigma']:g}"
        axes.set_title(f"{ENCODINGS[name]}{sigma}", fontsize=11)
    panels[0].set_ylabel("learned share of the amplitude")
    panels[0].legend(title="cycles per image", fontsize=9, title_fontsize=9)
    return figure


def _columns(shown: Sized) -> int:
    return min(len(shown), 4)


def _grid(shown: Sized, panel: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """A figure with a panel for each thing shown, the rest left blank."""
    columns = _columns(shown)
    rows = -(-len(shown) // columns)
    size = (panel[0] * columns, panel[1] * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels[len(shown) :]:
        axes.axis("off")
    return figure, panels


def ordered(count: int) -> np.ndarray:
    """Colours from dark to light, in the order of what they stand for."""
    from matplotlib import colormaps

    viridis: Callable[..., np.ndarray] = colormaps["viridis"]
    return viridis(np.linspace(0, 0.92, count))


def _frequencies(axis: Any, edges: np.ndarray) -> None:
    """A logarithmic axis of frequencies with plain numbers at the powers of two."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    ticks = 2.0 ** np.arange(0, np.log2(edges[-1]) + 0.5)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(ScalarFormatter())
