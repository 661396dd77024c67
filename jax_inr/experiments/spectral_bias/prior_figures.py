"""Figures of what networks are before training, and of what they take for granted.

The kernel's eigenvalues and eigenvectors; place, neighbours and sharing.
"""

import numpy as np

from jax_inr.draw.plots import BLUE
from jax_inr.draw.settings import Figure
from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.figures import ENCODINGS, NETWORKS, ordered


def kernels(measured: Json) -> Figure:
    """Eigenvalues, where their eigenvectors live, and the decay that they predict."""
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    panels = figure.subplots(2, 2)
    for name, key in (("none", "mlp"), ("gaussian", "gaussian-10")):
        if name not in measured:
            continue
        run, colour = measured[name], NETWORKS[key][1]
        values = np.array(run["eigenvalues"])
        index = np.arange(1, len(values) + 1)
        share = np.clip(values / values[0], 1e-12, None)
        panels[0, 0].plot(index, share, color=colour, label=ENCODINGS[name])
        near = index <= 100
        panels[0, 1].plot(
            index[near],
            np.array(run["frequencies"])[near],
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
    for axes, (name, run) in zip(panels[1], measured.items(), strict=False):
        lost, predicted = np.array(run["lost"]), np.array(run["predicted"])
        count = lost.shape[1]
        colours = ordered(count)
        for i in range(count):
            axes.plot(run["steps"], predicted[:, i], color=colours[i], lw=1.3)
            axes.plot(run["steps"], lost[:, i], "o", color=colours[i], ms=4)
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
    """The leading eigenvectors as images over the sub-grid."""
    count = max(len(run["eigenvectors"]) for run in measured.values())
    figure = Figure(figsize=(1.45 * count, 1.75 * len(measured) + 0.2))
    figure.subplots_adjust(0.03, 0.01, 0.995, 0.9, 0.05, 0.2)
    rows = figure.subplots(len(measured), count, squeeze=False)
    for row, (name, run) in zip(rows, measured.items(), strict=True):
        for i, axes in enumerate(row):
            image = np.array(run["eigenvectors"][i])
            limit = np.abs(image).max()
            axes.imshow(image, cmap="RdBu", vmin=-limit, vmax=limit)
            axes.set_xticks([])
            axes.set_yticks([])
            share = run["eigenvalues"][i] / run["eigenvalues"][0]
            axes.set_title(f"{i + 1}: {share:.2g}", fontsize=9, pad=3)
        row[0].set_ylabel(ENCODINGS[name], fontsize=10)
    return figure


def locality(measured: Json) -> Figure:
    """Where translating the input does not translate the output; what padding tells."""
    maps = {
        "cnn": ("translated", "CNN: translated input\nagainst translated output"),
        "pixel": ("translated", "per-pixel network:\nthe same comparison"),
        "padding": (
            "from_middle",
            "CNN that sees a constant:\ndistance from the middle",
        ),
    }
    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    panels, drawn = figure.subplots(1, len(maps)), None
    for axes, (name, (key, title)) in zip(panels, maps.items(), strict=True):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, fontsize=10)
        if name in measured:
            image = np.clip(measured[name][key], 1e-6, 1)
            drawn = axes.imshow(image, norm="log", vmin=1e-6, vmax=1, cmap="cividis")
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=panels.tolist(), shrink=0.85)
        bar.set_label("difference of colours (1 is white)")
        bar.set_ticks([1e-6, 1e-4, 1e-2, 1], labels=["≤ 10⁻⁶", "10⁻⁴", "10⁻²", "1"])
    return figure


def sharing(measured: Json) -> Figure:
    """PSNR on seen and unseen pixels against the number of networks."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    names = [str(run["networks"]) for run in measured.values()]
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
            values = [run[key][i] for run in measured.values()]
            label = f"σ = {sigma:g}"
            axes.plot(names, values, color=colour, marker=marker, label=label, lw=2)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("networks that share image and parameters")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR in dB")
    panels[1].legend(fontsize=9)
    return figure
