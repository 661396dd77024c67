"""Tasks: what was measured of an image, and how a field predicts one measurement.

A field maps a position (d,) to colours (c,). `predict(field, item)` is written for one
measurement and vmapped. Where a prediction is a function of colours at known points,
`points` and `combine` say which and how, and the points' features are kept over a fit.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from jax_inr.adapters import describe
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError, ImageError
from jax_inr.fingerprint import fingerprint
from jax_inr.splits import train_mask
from jax_inr.tasks.checks import check_finite, checked, checked_mask
from jax_inr.tasks.losses import squared

Field = Callable[[Float[Array, " d"]], Float[Array, " c"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Penalty:
    """A term of the loss: the mean of `function(field, x)` at random points, weighted.

    weight: a number; fits that differ in it alone share a program. points: drawn at
    each step, uniformly in the unit square; None where the function is one of the
    parameters, `function(params)`. items: a pytree of arrays (n, …) of which rows are
    drawn in place of points of the square; the function then is of a field and a row.

    Raises:
        ConfigError: the weight is negative or not finite, or there is no point, or no
            item.
    """

    function: Callable[..., Any]
    weight: float
    points: int | None = 256
    items: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ConfigError(
                f"a penalty's weight is {self.weight}; it must be 0 or more"
            )
        if self.points is not None and self.points < 1:
            raise ConfigError(
                f"a penalty is asked for at {self.points} points; it needs 1 at least"
            )
        if any(not len(leaf) for leaf in jax.tree.leaves(self.items)):
            raise ConfigError("a penalty has 0 items to draw from")


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Measurements that a fit is evaluated by, in place of those it is trained on.

    patience_steps: the fit ends where for so many steps no evaluation was better.
    """

    task: "Task"
    patience_steps: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What was measured, and how a field predicts it.

    items: a pytree of arrays with a leading axis of n measurements. values: (n, …).
    predict: of a field and one item, one value. points, combine: of one item, the
    positions (p, d), and of their colours (p, c) and the item, the value; then
    `predict` is left out. weights: (n,), of each measurement in the loss. loss: of one
    prediction and value, a number or an array; its mean is minimised. shape: height,
    width and channels of the image sought. rgb_max: colours are divided by this / 255.
    pixels: (h, w), which pixels of the image were measured, where items are pixels in
    reading order. image: (h, w, c), what is known to be true, to compare with at the
    end; nothing that steers a fit looks at it. held_out: measurements that a fit is
    evaluated by, and not trained on.

    Raises:
        ConfigError: items, values and weights disagree in length; the message names
            both.
    """

    items: Any
    values: Any
    shape: tuple[int, int, int]
    predict: Callable[[Field, Any], Any] | None = None
    points: Callable[[Any], Any] | None = None
    combine: Callable[[Any, Any], Any] | None = None
    weights: Any = None
    loss: Callable[[Any, Any], Any] = squared
    penalties: tuple[Penalty, ...] = ()
    rgb_max: int = 255
    pixels: Any = None
    image: Any = None
    held_out: "HeldOut | None" = None

    def __post_init__(self) -> None:
        sides = self.shape if isinstance(self.shape, tuple) else ()
        if len(sides) != 3 or not all(isinstance(n, int) and n > 0 for n in sides):
            raise ConfigError(
                f"task: shape is {self.shape}", "give (height, width, channels)"
            )
        if not isinstance(self.values, jax.Array):
            object.__setattr__(self, "values", np.asarray(self.values))
        if not self.values.ndim:
            raise ConfigError("task: values is one number", "give an array (n, …)")
        if not jnp.issubdtype(self.values.dtype, jnp.number):
            raise ConfigError(f"task: values are {self.values.dtype}, not numbers")
        if jnp.issubdtype(self.values.dtype, jnp.complexfloating):
            raise ConfigError(
                "task: values are complex", "give their real and imaginary parts"
            )
        if not isinstance(self.values, Tracer):
            check_finite("task", np.asarray(self.values))
        count = len(self.values)
        for name in ("items", "weights"):
            for leaf in jax.tree.leaves(getattr(self, name)):
                if not getattr(leaf, "ndim", 0):
                    raise ConfigError(
                        f"task: {name} hold {type(leaf).__name__}, not arrays (n, …)",
                        "make arrays of them, as numpy.asarray does",
                    )
                if not len(leaf) == count:
                    raise ConfigError(
                        f"task: {name} have shape {leaf.shape}, and values have shape "
                        f"{self.values.shape}: their first axes are the measurements "
                        f"and differ, {len(leaf)} and {count}"
                    )
        if not count:
            raise ConfigError("task: there is no measurement", "measure something")
        if (self.predict is None) == (self.points is None or self.combine is None):
            raise ConfigError(
                "task: it needs either predict, or points and combine",
                "leave the other out",
            )

    @property
    def is_whole_image(self) -> bool:
        """Whether the measurements are all pixels of the image."""
        return self.pixels is not None and bool(self.pixels.all())

    def replace(self, **changes: Any) -> "Task":
        """The task with some fields changed."""
        return dataclasses.replace(self, **changes)

    def some(self, mask: Bool[np.ndarray, " n"]) -> "Task":
        """The task of the measurements where `mask` is true."""
        pixels = self.pixels
        if pixels is not None:
            pixels = np.zeros(pixels.shape, bool)
            pixels.flat[np.flatnonzero(self.pixels)[mask]] = True
        items, values, weights = jax.tree.map(
            lambda leaf: leaf[mask], (self.items, self.values, self.weights)
        )
        return self.replace(items=items, values=values, weights=weights, pixels=pixels)


def pixel_points(item: Float[Array, " d"]) -> Float[Array, "1 d"]:
    """The position of a pixel is its only point."""
    return item[None]


def pixel_colour(colours: Float[Array, "1 c"], item: Any) -> Float[Array, " c"]:
    """The colour of a pixel is its value."""
    return colours[0]


def inpaint(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    rgb_max: int = 255,
    loss: Callable[[Any, Any], Any] = squared,
) -> Task:
    """The task of the pixels (h, w) where `mask` is true; None measures all of them.

    Pixels outside the mask are not read: they may hold anything, NaN too.

    Args:
        mask: (h, w) of booleans, or of 0 and 1.

    Raises:
        ImageError: the image is not (height, width, channels); the mask has another
            shape, measures nothing, or keeps a value that is not finite.
    """
    image = checked(image)
    height, width, _ = image.shape
    # Outside a mask the image is not known.
    truth = image if mask is None else None
    mask = checked_mask(np.ones((height, width)) if mask is None else mask, image)
    if not mask.any():
        raise ImageError(f"the mask measures 0 of the {mask.size} pixels")
    check_finite("image", image[mask])
    target = image * np.float32(255 / rgb_max)
    index = ... if mask.all() else np.flatnonzero(mask)
    return Task(
        items=pixel_grid(height, width).reshape(-1, 2)[index],
        values=target.reshape(height * width, -1)[index],
        shape=image.shape,
        points=pixel_points,
        combine=pixel_colour,
        loss=loss,
        rgb_max=rgb_max,
        pixels=mask,
        image=truth,
    )


def reconstruct(image: ArrayLike, **options: Any) -> Task:
    """The task of all pixels of an image; see `inpaint`."""
    return inpaint(image, None, **options)


def from_config(
    config: Config, image: Float[np.ndarray, "h w c"], loss: Any = None
) -> Task:
    """Make the task that a config names: the pixels that are trained on."""
    if loss is not None and not callable(loss):
        raise ConfigError(
            f"loss {describe(loss)} is no function",
            "give a function of a prediction (c,) and a value (c,)",
        )
    mask = None
    if config.train_pixels != "all":
        mask = train_mask(config, *image.shape[:2])
    loss = squared if loss is None else loss
    task = inpaint(image, mask, rgb_max=config.rgb_max, loss=loss)
    return task.replace(image=image)


def predict_item(task: Task, field: Field, item: Any) -> Any:
    """One measurement of a field."""
    if task.predict is not None:
        return task.predict(field, item)
    assert task.points is not None and task.combine is not None
    return task.combine(jax.vmap(field)(jnp.asarray(task.points(item))), item)


def at_points(
    operator: Any, items: Any, values: Any, shape: tuple[int, int, int]
) -> Task:
    """The task of an operator: an object that hashes, with `points` and `combine`.

    Both become functions that compare by value, where bound methods compare their
    objects by identity: tasks made alike share a program.
    """
    return Task(
        items=items,
        values=values,
        shape=shape,
        points=Points(operator),
        combine=Combine(operator),
    )


@dataclasses.dataclass(frozen=True)
class Points:
    """`operator.points` as a function that compares by value."""

    operator: Any

    def __call__(self, item: Any) -> Any:
        return self.operator.points(item)


@dataclasses.dataclass(frozen=True)
class Combine:
    """`operator.combine` as a function that compares by value."""

    operator: Any

    def __call__(self, colours: Any, item: Any) -> Any:
        return self.operator.combine(colours, item)


def described(task: Task) -> str:
    """What tells a task from others: its measurements, operator, loss and penalties."""
    apart = task.held_out and described(task.held_out.task)
    terms = [(p.function, p.points, float(p.weight), p.items) for p in task.penalties]
    operator = [task.predict, task.points, task.combine, task.loss, terms]
    numbers = [task.items, task.values, task.weights, task.shape, task.rgb_max]
    return fingerprint([*operator, *numbers, apart])
