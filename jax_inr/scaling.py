"""Configs for a wanted number of trained numbers: widths and grids that add up to it.

Framework-free: the count is in closed form, and a test holds it to the model's own.
"""

import itertools
import math
from collections.abc import Callable

from jax_inr.config import GRIDS, Config
from jax_inr.errors import ConfigError
from jax_inr.presets import PRESETS

LARGEST = 1 << 16  # of what is searched for


def level_resolutions(coarsest: int, finest: int, num_levels: int) -> tuple[int, ...]:
    """Cells per axis of each level, in geometric progression; arXiv 2201.05989."""
    growth = (finest / coarsest) ** (1 / max(num_levels - 1, 1))
    # Rounded rather than floored: the finest is reached in spite of the power.
    return tuple(round(coarsest * growth**level) for level in range(num_levels))


def pyramid_levels(
    config: Config, height: int, width: int
) -> list[tuple[tuple[int, int], int]]:
    """Cells along rows and columns of a pyramid's levels, and features; coarsest first.

    Levels of less than a cell are left out.
    """
    levels = []
    for level in range(config.num_levels):
        scale = config.finest / (max(height, width) * 2**level)
        cells = round(height * scale), round(width * scale)
        if levels and min(cells) < 1:
            break
        features = min(level + 1, config.level_features)
        levels.append(((max(cells[0], 1), max(cells[1], 1)), features))
    return levels[::-1]


def num_params(
    config: Config, height: int = 224, width: int = 224, channels: int = 3
) -> int:
    """Trained numbers of a config's model for an image."""
    tables = table_sizes(config, height, width)
    first = sum(features for _, features in tables) or num_features(config)
    widths = [first, *config.hidden_features, channels]
    taps = 9 if config.network == "cnn" else 1
    pairs = itertools.pairwise(widths)
    if config.network == "wire":  # complex but for the first kernel
        kernels = [a * b + b for a, b in pairs]
        total = kernels[0] + 2 * sum(kernels[1:])
    else:
        total = sum(taps * a * b + b for a, b in pairs)
    if config.encoding == "trainable":
        total += 2 * config.num_frequencies
    return total + sum(vertices * features for vertices, features in tables)


def num_features(config: Config) -> int:
    """Features of a coordinate, of an encoding without tables."""
    match config.encoding:
        case "none":
            return 2
        case "basic":
            return 4
        case _:
            return 2 * config.num_frequencies


def table_sizes(config: Config, height: int, width: int) -> list[tuple[int, int]]:
    """Vertices and features of each level of a grid; none for other encodings."""
    if config.encoding == "pyramid":
        levels = pyramid_levels(config, height, width)
        return [((r + 1) * (c + 1), features) for (r, c), features in levels]
    if config.encoding not in GRIDS:
        return []
    levels = level_resolutions(config.coarsest, config.finest, config.num_levels)
    sizes = [(cells + 1) ** 2 for cells in levels]
    if config.encoding == "hash_grid":
        sizes = [min(size, 2**config.log2_table_size) for size in sizes]
    return [(size, config.level_features) for size in sizes]


def with_num_params(
    config: Config, wanted: int, height: int = 224, width: int = 224, channels: int = 3
) -> Config:
    """The config with at most `wanted` trained numbers, as near as it gets.

    A dense grid or pyramid takes another finest level, a hash grid another number of
    levels, and a network without a grid other widths, all in one proportion.

    Raises:
        ConfigError: not even the smallest model of the kind has so few numbers.
    """
    if config.encoding == "pyramid":
        # A cell a pixel is the finest: a few more no longer meet the pixels, and a
        # fit of as many steps was 2.7 dB worse with 773 cells to 768 pixels.
        side = max(height, width)

        def made(size: int) -> Config:
            return config.replace(finest=min(size, side))
    elif config.encoding == "dense_grid":

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
        return num_params(made(size), height, width, channels) <= wanted

    if not fits(1):
        least = num_params(made(1), height, width, channels)
        raise ConfigError(
            f"num_params is {wanted}, and the smallest network of this kind has "
            f"{least}",
            f"use num_params={least} or more",
        )
    return made(_largest(fits))


# Fields that a scaled preset leaves to the user: they say when a fit stops, no more.
FREE = {"preset", "seed", "steps", "eval_every", "target_psnr", "max_seconds"}
SAMPLE = 224  # side of the image that the presets are made for
# `quality` for more pixels than the sample's: waves would take hours. A cell a pixel.
LARGE_STEPS = 2000
MOST_PIXELS_A_STEP = 1 << 16


def for_image(config: Config, height: int, width: int) -> Config:
    """A preset for an image larger than the sample, and any other config as it is.

    `fast` keeps its cells and samples a pixel: a fit takes as much longer as there are
    more pixels. `quality` becomes a pyramid of a cell a pixel. A config that differs
    from its preset in more than when it stops is a user's own, and stays.
    """
    base = PRESETS.get(config.preset)
    side, share = max(height, width), height * width / SAMPLE**2
    if config.preset not in ("fast", "quality") or base is None or share <= 1:
        return config
    own, usual = config.to_dict(), base.to_dict()
    if any(own[name] != usual[name] for name in own.keys() - FREE):
        return config
    fast = PRESETS["fast"]
    assert fast.batch_size is not None
    cells = fast.finest / SAMPLE if config.preset == "fast" else 1.0
    finest = round(cells * side)
    batch_size = round(fast.batch_size * share)
    # The coarsest level stays about as coarse.
    changes = {
        "finest": finest,
        "num_levels": fast.num_levels + round(math.log2(finest / fast.finest)),
    }
    if config.preset == "quality":
        free = {name: own[name] for name in FREE}
        steps = LARGE_STEPS if own["steps"] == usual["steps"] else own["steps"]
        config = fast.replace(**free | {"steps": steps, "learning_rate": 0.03})
        batch_size = min(batch_size, MOST_PIXELS_A_STEP)
    return config.replace(batch_size=batch_size, **changes)


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest whole number that fits, where all smaller ones do."""
    low, high = 1, LARGEST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
