"""What was measured of an image: tasks, losses and penalties."""

from jax_inr.tasks.gradients import from_gradients, from_laplacian, poisson_edit
from jax_inr.tasks.losses import (
    Charbonnier,
    Huber,
    Sharpened,
    absolute,
    poisson,
    squared,
)
from jax_inr.tasks.penalties import (
    NonlocalVariation,
    SquaredGradient,
    TotalVariation,
    weight_decay,
)
from jax_inr.tasks.restoration import deblur, denoise, superresolve
from jax_inr.tasks.similar import similar_places
from jax_inr.tasks.task import (
    Field,
    HeldOut,
    Penalty,
    Task,
    described,
    from_config,
    inpaint,
    pixel_colour,
    pixel_points,
    predict_item,
    reconstruct,
)
from jax_inr.tasks.tomography import tomography

__all__ = [
    "Charbonnier",
    "Field",
    "HeldOut",
    "Huber",
    "NonlocalVariation",
    "Penalty",
    "Sharpened",
    "SquaredGradient",
    "Task",
    "TotalVariation",
    "absolute",
    "deblur",
    "denoise",
    "described",
    "from_config",
    "from_gradients",
    "from_laplacian",
    "inpaint",
    "pixel_colour",
    "pixel_points",
    "poisson",
    "poisson_edit",
    "predict_item",
    "reconstruct",
    "similar_places",
    "squared",
    "superresolve",
    "tomography",
    "weight_decay",
]
