"""The digits of scikit-learn as fields, classified from their weights alone.

A shared start against random ones: the start decides what can be learned.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import extras
from jax_inr.config import Config
from jax_inr.datasets.build import build
from jax_inr.datasets.fieldset import FieldSet
from jax_inr.experiments.weights.classifier import accuracy

# 337 parameters for 64 pixels.
CONFIG = Config(
    encoding="none",
    network="siren",
    hidden_features=(16, 16),
    omega_0=15.0,
    optimizer="adam",
    learning_rate=2e-3,
    steps=200,
    eval_every=200,
)


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8, 1) in [0, 1] and labels.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    sets = extras.load(
        "sklearn.datasets", "the digits come with scikit-learn", "digits"
    )
    images, labels = sets.load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    return images[:count], labels[:count]


def measure(
    out: Path, images: np.ndarray, labels: np.ndarray, epochs: int, seeds: int
) -> list[dict[str, Any]]:
    """A row for each start: PSNR, seconds of fitting, accuracy from the weights.

    The sets lie in `out`, and are not fitted again where they are there.
    """
    rows = []
    for init in ("shared", "random"):
        begun = time.perf_counter()
        path = out / f"{init}.zarr"
        build(path, images, CONFIG, labels=labels, init=init, lanes=64, chunk=512)
        seconds = time.perf_counter() - begun
        fields = FieldSet.open(path)
        found = [
            accuracy(fields, epochs=epochs, seed=seed)["test"] for seed in range(seeds)
        ]
        row = {
            "init": init,
            "psnr_db": float(np.mean(fields.psnr_db)),
            "seconds": seconds,
            "accuracy": float(np.mean(found)),
            "test_fields": len(fields.split("test")),
        }
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| start | mean PSNR | fitting | accuracy of test |", "|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['init']} | {row['psnr_db']:.1f} dB | {row['seconds']:.0f} s | "
            f"{100 * row['accuracy']:.1f} % of {row['test_fields']} |"
        )
    return "\n".join(lines)
