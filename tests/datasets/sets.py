"""Tiny images and a tiny config for sets of fields."""

import numpy as np

from jax_inr import Config

# A SIREN of two layers of 8, for the images below.
TINY = Config(
    encoding="none",
    network="siren",
    hidden_features=(8, 8),
    optimizer="adam",
    learning_rate=5e-3,
    steps=40,
    eval_every=20,
)


def _waves() -> np.ndarray:
    rows, columns = np.mgrid[0:6, 0:6] / 6
    waves = [
        0.5 + 0.1 * (1 + i) / 2 * np.sin((1 + i) * rows + i * columns) for i in range(7)
    ]
    waves[5] = np.random.default_rng(5).random((6, 6))
    shades = np.array([1.0, 0.8, 0.6])
    return (np.stack(waves)[..., None] * shades).astype(np.float32).clip(0, 1)


# Seven images (6, 6, 3) of unlike difficulty: waves from slow to fast, and noise.
IMAGES = _waves()
