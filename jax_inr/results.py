"""Fit and FitMany: the results of fits, with numbers, histories and fields."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jax_inr.io.runs import RunFolder
from jax_inr.io.tensorfile import load_tensors

if TYPE_CHECKING:
    import jax_inr.field


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """The result of `fit`.

    summary: as in summary.json. rows: the evaluations, with step, seconds, loss,
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
    def field(self) -> "jax_inr.field.ImageField":
        """The fitted ImageField; the torch back end's as its equivalent in JAX."""
        from jax_inr.field import ImageField

        if self.model is None:
            return ImageField.from_tensors(self.tensors, self.header)
        encoding, network = self.model.encoding, self.model.network
        return ImageField.from_tensors(
            self.tensors, self.header, encoding=encoding, network=network
        )

    @property
    def psnr_db(self) -> Any:
        """PSNR of the prediction, in dB with peak 1; None where nothing is known."""
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
        from jax_inr.io.summaries import to_image

        rgb_max = self.header["config"]["rgb_max"]
        return encode_png(to_image(self.prediction, rgb_max))

    @classmethod
    def load(cls, folder: RunFolder, model: Any = None) -> "Fit":
        """The fit of a finished run's folder.

        Raises:
            CheckpointError: a file there is damaged.
        """
        tensors, header = load_tensors(folder.path / "field.safetensors", "field")
        return cls(folder.read_summary(), folder.read_metrics(), tensors, header, model)


class FitMany(Sequence[Fit]):
    """The result of `fit_many`: a sequence of Fits, in order.

    failures: exceptions by the name of the fit; asking for that fit raises its own.
    """

    def __init__(self, runs: Sequence[Any]) -> None:
        self._runs = list(runs)
        self.names = [run.name for run in runs]
        self.failures = {run.name: run.error for run in runs if run.error is not None}

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Fit: ...

    @overload
    def __getitem__(self, index: slice) -> list[Fit]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [run.kept() for run in self._runs[index]]
        return self._runs[index].kept()

    def __iter__(self) -> Iterator[Fit]:
        return (run.kept() for run in self._runs)

    def __repr__(self) -> str:
        return f"FitMany({len(self)} fits, {len(self.failures)} failures)"

    @property
    def done(self) -> dict[str, Fit]:
        """The fits that have not failed, by name."""
        return {
            run.name: run.fit
            for run in self._runs
            if run.fit is not None and run.error is None
        }

    @property
    def stacked(self) -> "jax_inr.field.ImageField":
        """All fields as one ImageField whose variables have a leading axis of fits.

        `jax.vmap(lambda field: field.apply(field.params, coords))(fits.stacked)`.
        Raises ValueError where the fits differ in structure.
        """
        import jax
        import jax.numpy as jnp

        fields = [fit.field for fit in self]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *fields)
