"""Figures of a fit: comparison, curves, encoding. They return figures, never show.

Axes and titles are placed by hand: layout engines, and titles that look for free room,
measure every tick's label several times, which took most of a figure's time.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_inr.draw.settings import Figure, LogFormatter, as_written, default_settings

# Okabe and Ito's blue and vermilion: told apart by every kind of colour vision.
BLUE, RED = "#0072B2", "#D55E00"


class PlainLogFormatter(LogFormatter):
    """Labels the ticks that matplotlib labels, without mathtext, which takes long."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:.4g}" if super().__call__(x, pos) else ""


@default_settings()
def comparison(
    target: np.ndarray, fit: np.ndarray, psnr_db: float, caption: str = ""
) -> Figure:
    """Target, fit and error (five times enlarged) of (h, w, c) images in [0, 1]."""
    height, width = target.shape[:2]
    panel = 4.0
    tall = panel * min(max(height / width, 0.2), 3.0) + 0.6
    figure = Figure(figsize=(3 * panel, tall))
    figure.subplots_adjust(0.005, 0.05 / tall, 0.995, 1 - 0.6 / tall, 0.02)
    error = np.abs(np.clip(fit, 0, 1) - target).mean(axis=-1, keepdims=True)
    panels = (
        ("target", target),
        (f"fit, {psnr_db:.2f} dB", fit),
        ("absolute error, 5 times enlarged", 5 * error),
    )
    for axes, (title, image) in zip(figure.subplots(1, 3), panels, strict=True):
        show(axes, image)
        axes.set_title(title, fontsize=11, y=1)
    if caption:
        as_written(figure.suptitle(caption, fontsize=12, y=1 - 0.08 / tall))
    return figure


@default_settings()
def curves(rows: Sequence[dict[str, Any]], caption: str = "") -> Figure:
    """Loss and PSNR of a run's evaluations, against the step and the second."""
    figure = Figure(figsize=(10, 6.4))
    figure.subplots_adjust(0.09, 0.08, 0.985, 0.94, 0.03, 0.05)
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    marker = "o" if len(rows) < 3 else None
    for column, (name, label) in enumerate(
        (("step", "step"), ("seconds", "seconds of fitting"))
    ):
        x = [row[name] for row in rows]
        loss, psnr_db, pooled = (
            [row[key] for row in rows] for key in ("loss", "psnr_db", "pooled_psnr_db")
        )
        top, bottom = axes[0, column], axes[1, column]
        if all(value > 0 for value in loss):
            top.set_yscale("log")
            for formats in (
                top.yaxis.set_major_formatter,
                top.yaxis.set_minor_formatter,
            ):
                formats(PlainLogFormatter(minor_thresholds=(2, 0.4)))
        top.plot(x, loss, color=BLUE, marker=marker)
        bottom.plot(x, psnr_db, color=BLUE, marker=marker, label="PSNR")
        bottom.plot(x, pooled, color=RED, ls="--", marker=marker, label="pooled PSNR")
        bottom.set_xlabel(label)
        for each in (top, bottom):
            each.grid(alpha=0.3)
    axes[0, 0].set_ylabel("loss (mean squared error)")
    axes[1, 0].set_ylabel("dB")
    axes[1, 0].legend(loc="lower right")
    if caption:
        as_written(figure.suptitle(caption, fontsize=12))
    return figure


@default_settings()
def encoding(
    channels: np.ndarray, titles: Sequence[str], caption: str = "", columns: int = 8
) -> Figure:
    """Channels (k, h, w) of an encoding, as the notebook plots them: RdBu, -1 to 1."""
    num_rows = -(-len(channels) // columns)
    width, height = 1.5 * columns, 1.7 * num_rows + 0.4
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.7 / height, 0.05, 0.18)
    axes = np.atleast_1d(figure.subplots(num_rows, columns)).ravel()
    for each in axes:
        each.axis("off")
    for each, channel, title in zip(axes, channels, titles, strict=False):
        each.imshow(channel, cmap="RdBu", vmin=-1, vmax=1)
        each.set_title(title, fontsize=9, pad=3, y=1)
    if caption:
        as_written(figure.suptitle(caption, fontsize=12, y=1 - 0.12 / height))
    return figure


def show(axes: Any, image: np.ndarray) -> None:
    """Draw an (h, w, 1 or 3) image in [0, 1] on axes, without ticks."""
    image = np.clip(image, 0, 1)
    if image.shape[-1] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(image)
    axes.axis("off")


@default_settings()
def png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as the bytes of a PNG file, equal for equal figures."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
