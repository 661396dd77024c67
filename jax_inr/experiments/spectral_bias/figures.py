"""The figures of the report, from what the experiments kept; nothing is measured here.

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

Json = dict[str, Any]

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
    for axes, (name, one) in zip(panels, networks.items(), strict=False):
        steps, edges = np.array(one["steps"]), np.array(one["edges"])
        middles = np.sqrt(steps[1:] * steps[:-1])
        ratio = steps[1] / middles[0]
        sides = [steps[0] / ratio, *middles, steps[-1] * steps[-1] / middles[-1]]
        missing = np.clip(np.array(one["missing"]).T, 0.01, 1)
        mesh = axes.pcolormesh(
            sides, edges, missing, norm="log", vmin=0.01, vmax=1, cmap="cividis_r"
        )
        learned = [np.nan if s is None else s for s in one["learned_steps"]]
        centres = np.sqrt(edges[1:] * edges[:-1])
        for style in ({"color": "k", "lw": 4}, {"color": "w", "lw": 2}):
            axes.plot(learned, centres, marker="o", ms=style["lw"] + 1, **style)
        axes.set_xscale("log", base=2)
        _frequencies(axes.yaxis, edges)
        axes.set_xlim(sides[0], sides[-1])
        axes.set_title(f"{NETWORKS[name][0]}\n{one['psnr_db'][-1]:.1f} dB", fontsize=10)
    for axes in panels[:: _columns(networks)]:
        axes.set_ylabel("cycles per picture")
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


def pictures(networks: Json) -> Figure:
    """The target, where it was kept, and every network's picture at the end."""
    shown = [(one["target"], "target") for one in networks.values() if "target" in one]
    for name, one in networks.items():
        numbers = f"{one['psnr_db'][-1]:.1f} dB, {one['steps'][-1]} steps"
        shown.append((one["png"], f"{NETWORKS[name][0]}\n{numbers}"))
    figure, panels = _grid(shown, (2.6, 2.9))
    for axes, (png, title) in zip(panels, shown, strict=False):
        with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
            levels = np.asarray(picture, np.float32) / 255
        show(axes, levels.reshape(*levels.shape[:2], -1))
        axes.set_title(title, fontsize=10)
    return figure


def learned(networks: Json) -> Figure:
    """By frequency: what is missing at the end, and the step at which it is learned."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, one in networks.items():
        label, colour, marker = NETWORKS[name]
        edges = np.array(one["edges"])
        centres = np.sqrt(edges[1:] * edges[:-1])
        style: Any = {"color": colour, "marker": marker, "ms": 5, "lw": 1.6}
        missing = np.clip(one["missing"][-1], 1e-4, None)
        left.plot(centres, missing, label=label, **style)
        steps = [np.nan if s is None else s for s in one["learned_steps"]]
        right.plot(centres, steps, **style)
        for axes in (left, right):
            _frequencies(axes.xaxis, edges)
    left.axhline(0.1, color="0.5", ls=":", lw=1)
    left.set_yscale("log")
    left.set_ylabel("share of energy missing at the end")
    right.set_yscale("log", base=2)
    right.set_ylabel("step at which 90 % are learned")
    right.set_title("no point: not learned in these steps", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("cycles per picture")
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


def widths(measured: Json) -> Figure:
    """PSNR and highest learned frequency against the number of parameters."""
    plain = [one for one in measured.values() if one["hidden"] is not None]
    encoded = [one for one in measured.values() if one["hidden"] is None]
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2),
        ("psnr_db", "half_learned"),
        ("PSNR in dB", "half learned up to, in cycles per picture"),
        strict=True,
    ):
        for group, name, title in (
            (plain, "mlp", "MLP, no encoding"),
            (encoded, "gaussian-10", "Gaussian encoding, σ = 10"),
        ):
            _, colour, marker = NETWORKS[name]
            counts = [one["num_params"] for one in group]
            values = [one[key] for one in group]
            axes.plot(counts, values, color=colour, marker=marker, label=title)
        for one in plain:
            axes.annotate(
                str(one["hidden"]),
                (one["num_params"], one[key]),
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


def kernels(measured: Json) -> Figure:
    """Eigenvalues, where their eigenvectors live, and the decay that they predict."""
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    panels = figure.subplots(2, 2)
    for name, key in (("none", "mlp"), ("gaussian", "gaussian-10")):
        if name not in measured:
            continue
        one, colour = measured[name], NETWORKS[key][1]
        values = np.array(one["eigenvalues"])
        index = np.arange(1, len(values) + 1)
        share = np.clip(values / values[0], 1e-12, None)
        panels[0, 0].plot(index, share, color=colour, label=ENCODINGS[name])
        near = index <= 100
        panels[0, 1].plot(
            index[near],
            np.array(one["frequencies"])[near],
            color=colour,
            marker=NETWORKS[key][2],
            ms=3,
            lw=0.8,
            label=ENCODINGS[name],
        )
    panels[0, 0].set_yscale("log")
    panels[0, 0].set_ylabel("eigenvalue over the largest")
    panels[0, 1].set_ylabel("mean frequency of the eigenvector")
    for axes in panels[0]:
        axes.set_xscale("log")
        axes.set_xlabel("number of the eigenvalue")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    for axes, (name, one) in zip(panels[1], measured.items(), strict=False):
        lost, predicted = np.array(one["lost"]), np.array(one["predicted"])
        count = lost.shape[1]
        colours = _ordered(count)
        for i in range(count):
            axes.plot(one["steps"], predicted[:, i], color=colours[i], lw=1.3)
            axes.plot(one["steps"], lost[:, i], "o", color=colours[i], ms=4)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("step of gradient descent")
        axes.set_yscale("log")
        axes.set_ylim(predicted[0].min() / 3, 2)
        axes.set_ylabel("share of the component that is gone")
        axes.set_title(
            f"{ENCODINGS[name]}: lines predicted, dots measured", fontsize=10
        )
        axes.grid(alpha=0.3)
        axes.plot([], [], color=colours[0], label="component 1")
        axes.plot([], [], color=colours[-1], label=f"component {count}")
        axes.legend(fontsize=9, loc="lower right")
    return figure


def eigenvectors(measured: Json) -> Figure:
    """The leading eigenvectors as pictures over the sub-grid."""
    count = max(len(one["eigenvectors"]) for one in measured.values())
    figure = Figure(figsize=(1.45 * count, 1.75 * len(measured) + 0.2))
    figure.subplots_adjust(0.03, 0.01, 0.995, 0.9, 0.05, 0.2)
    rows = figure.subplots(len(measured), count, squeeze=False)
    for row, (name, one) in zip(rows, measured.items(), strict=True):
        for i, axes in enumerate(row):
            picture = np.array(one["eigenvectors"][i])
            limit = np.abs(picture).max()
            axes.imshow(picture, cmap="RdBu", vmin=-limit, vmax=limit)
            axes.set_xticks([])
            axes.set_yticks([])
            share = one["eigenvalues"][i] / one["eigenvalues"][0]
            axes.set_title(f"{i + 1}: {share:.2g}", fontsize=9, pad=3)
        row[0].set_ylabel(ENCODINGS[name], fontsize=10)
    return figure


def waves(measured: Json) -> Figure:
    """The learned amplitude of each sinusoid against the step."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(measured), sharey=True))
    for axes, (name, one) in zip(panels, measured.items(), strict=True):
        shares = np.array(one["shares"])
        for i, colour in enumerate(_ordered(shares.shape[2])):
            for draw in shares[1:, :, i]:
                axes.plot(one["steps"], draw, color=colour, lw=0.7, alpha=0.6)
            label = f"{one['radii'][i]:.1f}"
            axes.plot(one["steps"], shares[0, :, i], color=colour, lw=2, label=label)
        axes.axhline(1, color="0.5", ls=":", lw=1)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        sigma = "" if one["sigma"] is None else f", σ = {one['sigma']:g}"
        axes.set_title(f"{ENCODINGS[name]}{sigma}", fontsize=11)
    panels[0].set_ylabel("learned share of the amplitude")
    panels[0].legend(title="cycles per picture", fontsize=9, title_fontsize=9)
    return figure


def locality(measured: Json) -> Figure:
    """Where translating the input does not translate the output; what padding tells."""
    maps = {
        "cnn": ("slid", "CNN: translated input\nagainst translated output"),
        "pixel": ("slid", "per-pixel network:\nthe same comparison"),
        "padding": ("apart", "CNN that sees a constant:\ndistance from the middle"),
    }
    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    panels, drawn = figure.subplots(1, len(maps)), None
    for axes, (name, (key, title)) in zip(panels, maps.items(), strict=True):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, fontsize=10)
        if name in measured:
            picture = np.clip(measured[name][key], 1e-6, 1)
            drawn = axes.imshow(picture, norm="log", vmin=1e-6, vmax=1, cmap="cividis")
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=panels.tolist(), shrink=0.85)
        bar.set_label("difference of colours (1 is white)")
        bar.set_ticks([1e-6, 1e-4, 1e-2, 1], labels=["≤ 10⁻⁶", "10⁻⁴", "10⁻²", "1"])
    return figure


def sharing(measured: Json) -> Figure:
    """PSNR on seen and unseen pixels against the number of networks."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    names = [str(one["networks"]) for one in measured.values()]
    sigmas = next(iter(measured.values()))["sigmas"]
    for axes, key, title in zip(
        panels,
        ("seen_db", "unseen_db"),
        ("pixels that were trained on", "pixels between them"),
        strict=True,
    ):
        for i, (sigma, colour, marker) in enumerate(
            zip(sigmas, ("#56B4E9", BLUE), ("o", "D"), strict=False)
        ):
            values = [one[key][i] for one in measured.values()]
            label = f"σ = {sigma:g}"
            axes.plot(names, values, color=colour, marker=marker, label=label, lw=2)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("networks that share picture and parameters")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR in dB")
    panels[1].legend(fontsize=9)
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


def _ordered(count: int) -> np.ndarray:
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
