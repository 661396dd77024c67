"""Our rows: SIRENs restore the image by a blind rule, one alone and as an ensemble.

What a row tries is chosen on the images to tune by, as every other row's parameter.
"""

from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.experiments.tasks import problems
from jax_inr.experiments.tasks.classical import Method
from jax_inr.experiments.tasks.problems import Measured

SEEDS = (0, 1, 2, 3)
# Measurements a step; each looks at one point, or at many.
BATCHES = {"inpaint": 4096, "denoise": 4096, "upscale": 512, "deblur": 8}
BATCHES |= {"gradients": 2048, "laplacian": 16, "tomography": 32}
TRIED = tuple((omega_0, steps) for omega_0 in (20.0, 30.0) for steps in (400, 800))


def config(kind: str, omega_0: float, steps: int) -> Config:
    """The config of a kind of problem: a SIREN of 3 x 128 (arXiv 2006.09661)."""
    return Config(
        preset="restore",
        encoding="none",
        network="siren",
        omega_0=omega_0,
        hidden_features=(128, 128, 128),
        optimizer="adam",
        learning_rate=5e-4,
        schedule="cosine",
        steps=steps,
        batch_size=BATCHES[kind.split("-")[0]],
        eval_every=max(steps // 8, 1),
    )


def methods(kind: str) -> tuple[Method, ...]:
    """A field alone, and an ensemble of fields of other seeds."""

    def way(seeds: tuple[int, ...]) -> Any:
        def restored(seen: Measured, parameter: Any) -> np.ndarray:
            # Imported late: JAX takes a second, and the other rows do without.
            from jax_inr.restoring import Settings, restore

            settings = Settings(config=config(kind, *parameter))
            task = problems.task(kind, seen)
            return restore(task, settings, seeds, on_notice=lambda text: None).image

        return restored

    return (
        Method("field", way(SEEDS[:1]), TRIED),
        Method("ensemble", way(SEEDS), TRIED),
    )
