"""The library's arguments from a command's options: keywords, images, a folder."""

import os
from pathlib import Path
from typing import Any

from jax_inr.cli import process
from jax_inr.cli.options import RunOptions
from jax_inr.cli.parsing import parse_size
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.presets import PRESETS


def keywords_of(
    options: RunOptions, display: Any, guard: process.SignalGuard
) -> dict[str, Any]:
    """The keywords that `fit`, `resume` and `fit_many` of the library share."""
    return {
        "device": options.device,
        "on_progress": display,
        "on_notice": process.notice,
        "save_every_seconds": options.checkpoint_seconds,
        "film": options.film,
        "max_memory_bytes": options.max_memory and int(options.max_memory * 2**30),
        "stop": guard,
    }


def read_image(path: Path | None, options: RunOptions, config: Config) -> Any:
    """An image, None being the sample, checked against an explicit batch size."""
    from jax_inr.io.images import load_image, sample_image
    from jax_inr.splits import num_trained

    size = parse_size(options.size)
    if path is None:
        image = sample_image(size=224 if size is None else size)
    else:
        image = load_image(path, size=size, max_pixels=options.max_pixels)
    for text in image.notices:
        process.notice(f"{image.path}: {text}")
    pixels = num_trained(config, *image.image.shape[:2])
    asked, usual = config.batch_size, preset_batch(options.preset)
    if asked is not None and asked != usual and asked > pixels:
        whose = "image has" if config.train_pixels == "all" else "fit is trained on"
        raise ConfigError(
            f"batch_size is {asked}, but the {whose} {pixels} pixels",
            "leave --batch-size out, or use None for all pixels",
        )
    return image


def sized(config: Config, options: RunOptions, image: Any) -> Config:
    """The config with the numbers asked for, for an image; else as it is."""
    if options.num_params is None:
        return config
    from jax_inr.scaling import for_image, with_num_params

    shape = image.image.shape
    return with_num_params(for_image(config, *shape[:2]), options.num_params, *shape)


def preset_batch(name: str) -> int | None:
    """The batch size of a preset, None for a config of one's own."""
    return PRESETS[name].batch_size if name in PRESETS else None


def free_folder(path: str | os.PathLike[str], name: str) -> Path:
    """A folder under runs/ that no run has yet: IMAGE-PRESET, then -2, -3, …"""
    stem = "sample" if path == "skimage.data.chelsea" else Path(path).stem
    # A name has at most 255 bytes, and a config's own preset may be any text.
    base = Path("runs") / f"{stem[:60]}-{name if name in PRESETS else 'custom'}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
