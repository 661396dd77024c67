"""Fit: what a fit gives, its numbers, its history and its field."""

import dataclasses
import functools
from typing import Any

import numpy as np

from jax_inr.io.runs import RunFolder
from jax_inr.io.tensorfile import load_tensors


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """What `fit` gives.

    summary: what summary.json says. rows: the evaluations, with step, seconds, loss,
    psnr_db, pooled_psnr_db. tensors: parameters and constants, by name. header: of the
    field file. model: of the JAX back end.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    tensors: dict[str, np.ndarray]
    header: dict[str, Any]
    model: Any = None
    given_prediction: np.ndarray | None = None

    @functools.cached_property
    def prediction(self) -> np.ndarray:
        """The network's own output (h, w, c); 1 is the task's `rgb_max`."""
        if self.given_prediction is not None:
            return self.given_prediction
        from jax_inr.rendering import render

        field = self.field
        return render(field.model, field.variables, field.height, field.width)

    @functools.cached_property
    def field(self) -> Any:
        """The fitted ImageField; with the torch back end, JAX's twin."""
        from jax_inr.field import ImageField

        if self.model is None:
            return ImageField.from_tensors(self.tensors, self.header)
        encoding, network = self.model.encoding, self.model.network
        return ImageField.from_tensors(
            self.tensors, self.header, encoding=encoding, network=network
        )

    @property
    def psnr_db(self) -> float:
        """PSNR of the prediction, in dB with peak 1."""
        return self.summary["psnr_db"]

    @property
    def ssim(self) -> float | None:
        """Structural similarity; None below 11 pixels."""
        return self.summary["ssim"]

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return self.summary["steps"]

    @property
    def stopped(self) -> str:
        """Why the fit ended."""
        return self.summary["stopped"]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of `compile`, `fit` and in `total`."""
        return self.summary["seconds"]

    def __repr__(self) -> str:
        header, psnr_db = self.header, self.psnr_db
        size = f"{header['height']}x{header['width']}x{header['channels']}"
        quality = "" if psnr_db is None else f"{psnr_db:.2f} dB, "
        return f"Fit({size}, {quality}{self.steps} steps, ended by {self.stopped})"

    def _repr_png_(self) -> bytes:
        from jax_inr.io.images import encode_png
        from jax_inr.io.summaries import to_white

        rgb_max = self.header["config"]["rgb_max"]
        return encode_png(to_white(self.prediction, rgb_max))

    @classmethod
    def load(cls, folder: RunFolder, model: Any = None) -> "Fit":
        """The fit of a finished run's folder.

        Raises:
            CheckpointError: a file there is damaged.
        """
        tensors, header = load_tensors(folder.path / "field.safetensors", "field")
        return cls(folder.read_summary(), folder.read_metrics(), tensors, header, model)
