"""The image that a run was begun with, beside its checkpoints: its file may change.

Imports neither JAX nor torch.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.errors import CheckpointError
from jax_inr.io.images import MAX_PATH, Image
from jax_inr.io.tensorfile import Tensors, load_tensors, save_tensors
from jax_inr.io.text import shown

MOST_NOTICES = 20


def save_original(path: Path, image: Image | None, about: dict[str, Any]) -> None:
    """Write the image, where there is one, and what else a run is made of."""
    header: dict[str, Any] = {"about": about}
    tensors = {}
    if image is not None:
        header |= image._asdict()
        tensors["image"] = header.pop("image")
    save_tensors(path, "picture", tensors, header)


def load_original(path: Path) -> tuple[Image | None, dict[str, Any]]:
    """What `save_original` wrote, its texts bounded and printable; else a
    CheckpointError. No link is followed."""

    def check(layout: Tensors, header: dict[str, Any]) -> None:
        kinds = {name: type(value) for name, value in {**header, **layout}.items()}
        fields: dict[str, type] = {"about": dict}
        if layout:
            fields |= dict(image=np.ndarray, path=str, sha256=str, notices=list)
        if kinds != fields or (layout and layout["image"].dtype != np.float32):
            raise CheckpointError(f"{shown(path)} has the wrong fields")

    tensors, header = load_tensors(path, "picture", follow=False, check=check)
    if not tensors:
        return None, header["about"]
    notices = tuple(shown(str(each)) for each in header["notices"][:MOST_NOTICES])
    name, sha256 = shown(header["path"], MAX_PATH), shown(header["sha256"])
    return Image(tensors["image"], name, sha256, notices), header["about"]
