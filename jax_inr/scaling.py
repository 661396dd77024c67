"""Configs for a wanted number of trained numbers: widths and grids that add up to it.

Imports no JAX but where numbers are counted.
"""

import math
from collections.abc import Callable

from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.presets import PRESETS

LARGEST = 1 << 16  # of what is searched for


def with_num_params(
    config: Config, wanted: int, height: int = 224, width: int = 224, channels: int = 3
) -> Config:
    """The config with at most `wanted` trained numbers, as near as it gets.

    A dense grid or pyramid takes another finest level, a hash grid another number of
    levels, and a network without a grid other widths, all in one proportion.

    Raises:
        ConfigError: not even the smallest model of the kind has so few numbers.
    """
    from jax_inr.cost import count_params
    from jax_inr.model import make_model

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

    def count(size: int) -> int:
        return count_params(make_model(made(size), height, width, channels))

    if (least := count(1)) > wanted:
        raise ConfigError(
            f"num_params is {wanted}, and the smallest network of this kind has "
            f"{least}",
            f"use num_params={least} or more",
        )
    return made(_largest(lambda size: count(size) <= wanted))


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
