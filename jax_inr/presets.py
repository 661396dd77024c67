"""Named configs: the notebook's systems, then ours."""

import difflib

from jax_inr.config import Config
from jax_inr.errors import ConfigError

PRESETS: dict[str, Config] = {
    # The notebook's first attempt: 3x3 convolutions over raw pixel indices. It shows
    # spectral bias: colours and no detail, about 17.7 dB on the sample image.
    "cnn": Config(
        preset="cnn",
        rgb_max=256,
        encoding="none",
        network="cnn",
        hidden_features=(64, 128, 512),
        learning_rate=0.01,
        momentum=0.0,
        steps=1000,
        eval_every=50,
    ),
    # The notebook's Fourier network: about 32.6 dB on the sample image.
    "fourier": Config(
        preset="fourier",
        rgb_max=256,
        learning_rate=2.0,
        steps=1000,
        eval_every=10,
    ),
    # The notebook's optimised implementation: about 32.9 dB on the sample image.
    "optimized": Config(
        preset="optimized",
        rgb_max=256,
        learning_rate=1.0,
        steps=2000,
        eval_every=100,
    ),
    # The same network and encoding, trained by SGD with momentum on mini-batches:
    # past `optimized`'s PSNR in a fraction of its seconds.
    "default": Config(
        preset="default",
        learning_rate=16.0,
        schedule="cosine",
        warmup_steps=100,
        steps=2000,
        batch_size=1024,
        eval_every=250,
    ),
    # The fewest seconds to the notebook's PSNR: a trained pyramid, a small network and
    # Adam with row-column sampling; no more parameters than the notebook's network.
    "fast": Config(
        preset="fast",
        encoding="pyramid",
        num_levels=5,
        level_features=3,
        finest=192,
        hidden_features=(64,),
        optimizer="adam",
        beta2=0.95,
        learning_rate=0.06,
        schedule="cosine",
        warmup_steps=10,
        steps=100,
        batch_size=3136,
        sampling="lattice",
        eval_every=100,
    ),
    # The best PSNR that the notebook's number of parameters gave in about 40 seconds
    # of two cores: the same frequencies and widths, periodic activations instead of
    # ReLU, and Muon.
    "quality": Config(
        preset="quality",
        network="siren",
        optimizer="muon",
        learning_rate=6e-4,
        momentum=0.95,
        beta2=0.95,
        schedule="cosine",
        warmup_steps=50,
        steps=1600,
        batch_size=6272,
        sampling="lattice",
        eval_every=250,
    ),
}


def preset(name: str) -> Config:
    """The config called `name`; raises ConfigError that lists the names."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"unknown preset {name!r}", f"{hint}presets: {', '.join(PRESETS)}"
        )
    return PRESETS[name]
