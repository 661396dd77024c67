"""Fields beyond their images: is the encoding periodic, and is the field?

A field of Fourier features has the periods of its frequencies. Whole frequencies give
period one on both axes; drawn ones (Gaussian) have no common period.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jax_inr.coordinates import Window
from jax_inr.draw.plots import show
from jax_inr.draw.settings import Figure, default_settings

if TYPE_CHECKING:
    from jax_inr.field import ImageField

WINDOW: Window = (-1.0, -1.0, 2.0, 2.0)
SIDE = 240  # pixels of a drawn field
MEASURED = 32_768  # positions at which the period is measured
DPI = 72
# Float32 phases of some tens of turns are off by this much, in colours.
ROUNDING = 1e-3


class Measured(NamedTuple):
    """A field over WINDOW, and how far it is from period one.

    The differences are those of `field(x) - field(x + 1)` over the unit square, the 1
    being added to the row, the column or both: the root of their mean square, and the
    largest.
    """

    name: str
    image: np.ndarray  # (SIDE, SIDE, c)
    rms: float
    largest: float

    @property
    def sentence(self) -> str:
        """The measurement in words."""
        verdict = "periodic" if self.largest < ROUNDING else "not periodic"
        return (
            f"{verdict}: field(x) - field(x + 1) is {self.rms:.2g} "
            f"(root mean square), at most {self.largest:.2g}"
        )


def measure(field: "ImageField") -> Measured:
    """Draw a field over WINDOW and compare it with itself, one image further on."""
    rng = np.random.default_rng(0)
    coords = rng.random((MEASURED, 2), np.float32)
    here = np.asarray(field(coords))
    differences = np.stack(
        [
            np.asarray(field(coords + np.array(shift, np.float32))) - here
            for shift in ((0, 1), (1, 0), (1, 1))
        ]
    )
    rms = float(np.sqrt(np.mean(differences.astype(np.float64) ** 2)))
    image = field.render(SIDE, SIDE, WINDOW)
    name = field.config.encoding
    return Measured(name, image, rms, float(np.abs(differences).max()))


@default_settings()
def figure(measured: list[Measured]) -> Figure:
    """The fields side by side over WINDOW, with the image's own square framed."""
    from matplotlib.patches import Rectangle

    made = Figure(figsize=(3.5 * len(measured), 4.1), layout="constrained")
    axes = np.atleast_1d(made.subplots(1, len(measured)))
    for panel, found in zip(axes, measured, strict=True):
        show(panel, found.image)
        third = SIDE / 3
        frame = Rectangle((third - 0.5, third - 0.5), third, third)
        frame.set(fill=False, edgecolor="white", linewidth=1.5)
        panel.add_patch(frame)
        panel.set_title(
            f"{found.name} encoding\n|field(x) - field(x + 1)|: rms {found.rms:.2g}, "
            f"max {found.largest:.2g}",
            fontsize=9.5,
        )
    return made
