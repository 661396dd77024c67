"""The channels of a run's encoding over the image, as numbers to be drawn."""

from typing import Any

import numpy as np

from jax_inr.config import GRIDS, Config
from jax_inr.coordinates import pixel_grid


def encoding_channels(
    config: Config,
    tensors: dict[str, np.ndarray],
    height: int,
    width: int,
    max_frequencies: int = 20,
    max_side: int = 224,
) -> tuple[np.ndarray, list[str]]:
    """The first channels (k, h, w) of a run's encoding, in [-1, 1], and their titles.

    Sines first, then cosines, as the notebook has them; a grid shows its levels, each
    scaled to its largest number; an encoding without frequencies its two coordinates.
    """
    coords = pixel_grid(min(height, max_side), min(width, max_side))
    if config.encoding == "none":
        return np.moveaxis(2 * coords - 1, -1, 0), ["row", "column"]
    if config.encoding in GRIDS:
        return _grid_channels(config, tensors, coords, 2 * max_frequencies)
    frequencies = _frequencies(config, tensors)[:, :max_frequencies]
    phases = 2 * np.pi * (coords @ frequencies)
    channels = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    count = frequencies.shape[1]
    titles = [f"{wave}(freq {i})" for wave in ("sin", "cos") for i in range(count)]
    return np.moveaxis(channels, -1, 0), titles


def _frequencies(config: Config, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The matrix B (2, m) of a run's Fourier encoding."""
    match config.encoding:
        case "basic":
            return np.eye(2, dtype=np.float32)
        case "positional":
            # Imported late: torch_ref does without JAX, and without this encoding.
            from jax_inr.encodings import positional_frequencies

            return np.asarray(
                positional_frequencies(config.num_frequencies, config.octaves)
            )
        case "trainable":
            return tensors["params/frequencies"]
    return tensors["constants/frequencies"]


def _grid_channels(
    config: Config, tensors: dict[str, np.ndarray], coords: np.ndarray, count: int
) -> tuple[np.ndarray, list[str]]:
    import jax

    from jax_inr.grids import grid_features

    tables = [
        jax.numpy.asarray(tensors[f"params/grid_{i}"]) for i in range(config.num_levels)
    ]

    def of_a_row(row: Any) -> Any:
        return jax.vmap(lambda one: grid_features(config, tables, one))(row)

    features = np.asarray(jax.jit(lambda grid: jax.lax.map(of_a_row, grid))(coords))
    channels = np.moveaxis(features[..., :count], -1, 0)
    largest = np.abs(channels).max(axis=(1, 2), keepdims=True)
    titles = [
        f"{cells} cells ({i})"
        for cells in config.level_cells
        for i in range(config.level_features)
    ]
    return channels / np.maximum(largest, 1e-30), titles[:count]
