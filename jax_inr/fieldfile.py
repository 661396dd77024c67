"""The field file: its header, and the model that its tensors belong to."""

import os
from typing import Any

import numpy as np

from jax_inr.adapters import as_encoding, as_network, foreign_parts
from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError
from jax_inr.io import tensorfile, text
from jax_inr.model import Model, make_model
from jax_inr.tensors import float32, unflatten_like


def header_of(
    config: Config,
    model: Model,
    shape: tuple[int, int, int],
    step: int,
    backend: str,
) -> dict[str, Any]:
    """The header of a field file; the image's shape is (h, w, c)."""
    height, width, channels = shape
    return {
        "config": config.to_dict(),
        "height": height,
        "width": width,
        "channels": channels,
        "step": step,
        "backend": backend,
        **foreign_parts(encoding=model.encoding, network=model.network),
    }


def read(
    path: str | os.PathLike[str], *, encoding: Any = None, network: Any = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and header of a field file, whose layout `parse` accepts.

    Raises:
        CheckpointError: the file is damaged, foreign, or of a newer format.
    """

    def check(layout: dict[str, np.ndarray], header: dict[str, Any]) -> None:
        try:
            parse(layout, header, encoding=encoding, network=network)
        except (CheckpointError, ConfigError) as error:
            name = text.shown(path)
            raise CheckpointError(f"{name}: {error}", error.hint) from None

    # What the config does not ask for is not read.
    return tensorfile.load_tensors(path, "field", check=check)


def parse(
    tensors: dict[str, np.ndarray],
    header: dict[str, Any],
    *,
    encoding: Any = None,
    network: Any = None,
) -> dict[str, Any]:
    """The keywords of `ImageField.make` that tensors and header stand for.

    Raises:
        CheckpointError: a header entry or a tensor is missing or wrong.
    """
    names = ("height", "width", "channels", "step")
    sizes: list[Any] = [header.get(name) for name in names]
    if not all(type(n) is int and 0 <= n < 2**31 for n in sizes):
        raise CheckpointError(f"the header has no sound image size: {sizes}")
    height, width, channels, step = sizes
    if not (height and width and channels in (1, 3)):
        raise CheckpointError(f"the header's image is {height}x{width}x{channels}")
    config = Config.from_dict(header.get("config"))
    for part, given in (("encoding", encoding), ("network", network)):
        if part in header and given is None:
            raise CheckpointError(
                f"the field has {part} {str(header[part])[:200]}, which is not "
                "one of ours",
                f"give that object, as {part}=…",
            )
    with float32():
        own = foreign_parts(
            encoding=None if encoding is None else as_encoding(encoding),
            network=None if network is None else as_network(network, 0),
        )
    for part, name in own.items():
        there = str(header.get(part, "the config's own"))
        if text.is_other(there, name):
            raise CheckpointError(
                f"the field has {part} {text.shown(there, 500)}, and {name} was given",
                "give the object that the field was fitted with",
            )
    shape = (height, width, channels)
    with float32():
        model = make_model(config, *shape, encoding=encoding, network=network)
        # Shapes alone: nothing is drawn or allocated for a file that may be foreign.
        like = model.shapes()
        variables = unflatten_like(like, tensors)
    return {
        "model": model,
        "variables": variables,
        "shape": shape,
        "config": config,
        "step": step,
        "backend": str(header.get("backend", "")),
    }
