"""Which pixels a fit is trained on, and which are held out to measure it by.

Framework-free. No number that steers a fit (loss, evaluations, `target_psnr`) looks at
a held-out pixel.
"""

import numpy as np
from jaxtyping import Bool

from jax_inr.config import Config

PURPOSE = 0x5EED5  # tells this use of the config's seed from any other


def num_trained(config: Config, height: int, width: int) -> int:
    """How many pixels `train_mask` takes; one at least."""
    match config.train_pixels:
        case "alternate":
            return -(-height // 2) * -(-width // 2)
        case "random":
            return max(round(config.train_fraction * height * width), 1)
    return height * width


def train_mask(config: Config, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """True at the pixels that are trained on.

    alternate: even rows and even columns, the split of arXiv 2006.10739's image
    table. random: exactly `num_trained` pixels, drawn without replacement from the
    seed alone.
    """
    if config.train_pixels == "all":
        return np.ones((height, width), bool)
    mask = np.zeros((height, width), bool)
    if config.train_pixels == "alternate":
        mask[::2, ::2] = True
    else:
        random = np.random.default_rng((config.seed, PURPOSE))
        count = num_trained(config, height, width)
        mask.flat[random.choice(mask.size, count, replace=False)] = True
    return mask
