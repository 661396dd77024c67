"""What holds a field where measurements do not: a prior for each kind of task.

A network and the joint total variation, penalised at random points; of noise, the
nonlocal one. docs/restoring.md says on which images the numbers were found, and what
else was tried.
"""

import dataclasses

from jax_inr import tasks
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.tasks import (
    NonlocalVariation,
    Penalty,
    Sharpened,
    Task,
    TotalVariation,
    similar_places,
)

SIDE = 256  # pixels of the longer side of the images that the numbers were found on
EPSILON = 1e-2  # change of colour from pixel to pixel below which an image is smooth
SIMILAR = 8  # places that each pixel's nonlocal variation is of

# arXiv 2006.09661. Its own smoothness fills large holes well.
SIREN = Config(
    preset="restore",
    encoding="none",
    network="siren",
    omega_0=40.0,
    hidden_features=(128, 128, 128),
    optimizer="adam",
    learning_rate=1e-3,
    schedule="cosine",
    steps=800,
    batch_size=4096,
)
# A point costs a twentieth of the SIREN's, and a step reaches all scales at once.
GRID = Config(
    preset="restore",
    encoding="dense_grid",
    num_levels=5,
    level_features=4,
    coarsest=SIDE // 16,
    finest=SIDE,
    activation="gelu",
    hidden_features=(32,),
    optimizer="adam",
    learning_rate=3e-2,
    schedule="cosine",
    steps=500,
)


@dataclasses.dataclass(frozen=True)
class Prior:
    """The settings of a kind of task.

    base: the config of a field of an image of SIDE pixels; its batch is one of
    measurements, each of which may look at many points. weight: of the total
    variation, which is one per pixel, of colours in [0, 1]. weight_of_noise: what is
    added to it for each unit of the noise's deviation. points: that it is taken at, at
    each step. nonlocal_of_noise: the weight of the nonlocal variation for each unit of
    the noise's deviation, where all pixels were measured. balance: of the `Sharpened`
    loss of blurred tiles; None where the task's own loss stays. fields: of an ensemble.
    """

    base: Config
    weight: float
    weight_of_noise: float = 0.0
    points: int = 512
    nonlocal_of_noise: float = 0.0
    balance: float | None = None
    fields: int = 2

    def config(self, height: int, width: int, steps: int | None = None) -> Config:
        """The config of a field of an image of this size.

        Frequencies and cells go with the longer side: they are the same per pixel.
        """
        side = max(height, width)
        steps = self.base.steps if steps is None else steps
        changes: dict[str, int | float] = {
            "omega_0": self.base.number("omega_0") * side / SIDE,
            "steps": steps,
            "eval_every": max(steps // 6, 1),
        }
        if self.base.encoding == "dense_grid":
            changes["coarsest"] = max(self.base.coarsest * side // SIDE, 1)
            changes["finest"] = max(self.base.finest * side // SIDE, 1)
        return self.base.replace(**changes)

    def penalised(
        self,
        task: Task,
        noise_sigma: float = 0.0,
        *,
        total_variation: float | None = None,
        weight_decay: float | None = None,
    ) -> Task:
        """The task with its penalties and loss, for measurements of this noise.

        total_variation: its weight in place of the prior's; a prior's of 0 is left out.
        weight_decay: the weight of the parameters' sum of squares, a term that priors
        do without.
        """
        height, width, _ = task.shape
        variation = TotalVariation(height, width, epsilon=EPSILON, is_joint=True)
        penalties = []
        suited = self.weight + self.weight_of_noise * noise_sigma
        if suited or total_variation is not None:
            weight = suited if total_variation is None else total_variation
            penalties.append(Penalty(variation, weight, self.points))
        if (weight := self.nonlocal_of_noise * noise_sigma) and task.is_whole_image:
            places = similar_places(task.values.reshape(task.shape), SIMILAR)
            alike = NonlocalVariation(EPSILON)
            penalties.append(Penalty(alike, weight, self.points, places))
        if weight_decay is not None:
            penalties.append(Penalty(tasks.weight_decay, weight_decay, None))
        if self.balance is not None:
            kernel = task.combine.operator.kernel  # pyright: ignore
            task = task.replace(loss=Sharpened(kernel, self.balance))
        return task.replace(penalties=tuple(penalties))


PRIORS = {
    "inpaint": Prior(SIREN, weight=1e-2),
    "upscale": Prior(SIREN.replace(batch_size=256, learning_rate=5e-4), weight=5e-3),
    "denoise": Prior(
        GRID.replace(batch_size=8192), 0.0, points=2048, nonlocal_of_noise=1.0
    ),
    "deblur": Prior(GRID.replace(batch_size=16), 4e-3, points=2048, balance=5e-3),
    "gradients": Prior(
        GRID.replace(batch_size=8192), 0.0, weight_of_noise=0.1, points=2048
    ),
    "laplacian": Prior(GRID.replace(batch_size=8192), 0.0),
    "tomography": Prior(GRID.replace(batch_size=64, steps=800), 3e-4, points=2048),
}


def prior(kind: str) -> Prior:
    """The prior of a kind of task.

    Raises:
        ConfigError: there is none of this name.
    """
    if kind not in PRIORS:
        raise ConfigError(f"unknown task {kind!r}", f"tasks: {', '.join(PRIORS)}")
    return PRIORS[kind]
