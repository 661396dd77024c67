"""Configs for a wanted number of trained numbers: widths and grids that add up to it.

Framework-free: the count is in closed form, and a test holds it to the model's own.
"""

import itertools
from collections.abc import Callable

from jax_inr.config import GRIDS, Config
from jax_inr.errors import ConfigError

LARGEST = 1 << 16  # of what is searched for


def level_resolutions(coarsest: int, finest: int, num_levels: int) -> tuple[int, ...]:
    """Cells per axis of each level, in geometric progression; arXiv 2201.05989."""
    growth = (finest / coarsest) ** (1 / max(num_levels - 1, 1))
    # Rounded rather than floored: the finest is reached in spite of the power.
    return tuple(round(coarsest * growth**level) for level in range(num_levels))


def num_params(config: Config, channels: int = 3) -> int:
    """Trained numbers of a config's model."""
    widths = [num_features(config), *config.hidden_features, channels]
    taps = 9 if config.network == "cnn" else 1
    pairs = itertools.pairwise(widths)
    if config.network == "wire":  # complex but for the first kernel
        kernels = [a * b + b for a, b in pairs]
        total = kernels[0] + 2 * sum(kernels[1:])
    else:
        total = sum(taps * a * b + b for a, b in pairs)
    if config.encoding == "trainable":
        total += 2 * config.num_frequencies
    if config.encoding in GRIDS:
        total += sum(level_sizes(config)) * config.level_features
    return total


def num_features(config: Config) -> int:
    """Features of a coordinate."""
    match config.encoding:
        case "none":
            return 2
        case "basic":
            return 4
        case "dense_grid" | "hash_grid":
            return config.num_levels * config.level_features
        case _:
            return 2 * config.num_frequencies


def level_sizes(config: Config) -> list[int]:
    """Vertices of each level of a grid."""
    entries = 2**config.log2_table_size if config.encoding == "hash_grid" else None
    levels = level_resolutions(config.coarsest, config.finest, config.num_levels)
    sizes = [(cells + 1) ** 2 for cells in levels]
    return [min(size, entries) if entries else size for size in sizes]


def with_num_params(config: Config, wanted: int, channels: int = 3) -> Config:
    """The config with at most `wanted` trained numbers, as near as it gets.

    A dense grid takes another finest level, a hash grid another number of levels, and
    a network without a grid other widths, all in one proportion.

    Raises:
        ConfigError: not even the smallest model of the kind has so few numbers.
    """
    if config.encoding == "dense_grid":

        def made(size: int) -> Config:
            return config.replace(finest=size, coarsest=min(config.coarsest, size))
    elif config.encoding == "hash_grid":

        def made(size: int) -> Config:
            return config.replace(num_levels=min(size, 32))
    else:
        largest = max(config.hidden_features)

        def made(size: int) -> Config:
            widths = (max(round(w * size / largest), 1) for w in config.hidden_features)
            return config.replace(hidden_features=tuple(widths))

    def fits(size: int) -> bool:
        return num_params(made(size), channels) <= wanted

    if not fits(1):
        least = num_params(made(1), channels)
        raise ConfigError(
            f"num_params is {wanted}, and the smallest network of this kind has "
            f"{least}",
            f"use num_params={least} or more",
        )
    return made(_largest(fits))


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest whole number that fits, where all smaller ones do."""
    low, high = 1, LARGEST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
