"""Fields of a set evaluated together, in JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_inr.coordinates import pixel_grid
from jax_inr.datasets.sources import sourced
from jax_inr.datasets.store import DIVERGED
from jax_inr.errors import ConfigError
from jax_inr.field import ImageField
from jax_inr.inputs import as_image
from jax_inr.metrics import psnr
from jax_inr.tensors import float32, unflatten_like

# Fields that are evaluated at a time, times pixels.
BATCH_PIXELS = 1 << 20
# Decibels between a stored PSNR and the same measured again: sums in another order; the
# rounding of the stored weights.
TOLERANCE_DB = {"float32": 0.02, "float16": 3.0}


def draw(
    field: ImageField, tensors: dict[str, np.ndarray], height: int, width: int
) -> Float[np.ndarray, "k h w c"]:
    """The images of fields like `field` with parameters (k, …), vmapped."""
    with float32():
        coords = jnp.asarray(pixel_grid(height, width))
        params: Any = unflatten_like(
            {
                "params": jax.tree.map(
                    lambda leaf: jax.ShapeDtypeStruct(
                        (len(next(iter(tensors.values()))), *leaf.shape), leaf.dtype
                    ),
                    field.params,
                )
            },
            tensors,
        )["params"]
        size = max(BATCH_PIXELS // (height * width), 1)
        count = len(jax.tree.leaves(params)[0])
        images = []
        for start in range(0, count, size):
            part = jax.tree.map(
                lambda leaf, start=start: leaf[start : start + size], params
            )
            images.append(np.asarray(_draw(field, part, coords)))
    return np.concatenate(images)


@jax.jit
def _draw(field: ImageField, params: Any, coords: Array) -> Array:
    return jax.vmap(lambda params: field.apply(params, coords))(params)


def verify_images(fields: Any, images: Any, labels: Any) -> list[str]:
    """What of a set does not go with its images: hashes, labels, PSNR; a line each."""
    source = sourced(images, labels)
    if source.count != len(fields) or source.get is None:
        raise ConfigError(
            f"the set has {len(fields)} fields, and the source {source.count} images",
            "give the images that it was made of",
        )
    digests, status = fields.column("image_sha256"), fields.status
    stored, own_labels = fields.psnr_db, fields.labels
    config, tolerance = fields.config, TOLERANCE_DB[fields.about["dtype"]]
    wrong = []
    for index in range(len(fields)):
        if not status[index]:
            continue
        entry = source.get(index)
        image = as_image(entry.image)
        if bytes(digests[index]).hex() != image.sha256:
            wrong.append(f"field {index}: its image is not that of its sha256")
            continue
        if own_labels is not None and entry.label not in (None, own_labels[index]):
            wrong.append(
                f"field {index}: its label is {own_labels[index]}, not {entry.label}"
            )
        if status[index] == DIVERGED or config.train_pixels != "all":
            continue
        drawn = fields.render([index])[0] / np.float32(config.rgb_max / 255)
        target = image.image * np.float32(255 / config.rgb_max)
        found = float(psnr(drawn, target))
        if not abs(found - stored[index]) <= tolerance:
            wrong.append(
                f"field {index}: {found:.3f} dB from its parameters, and "
                f"{stored[index]:.3f} dB stored"
            )
    return wrong
