"""What was measured of an image, and how a field predicts one measurement of it.

A measurement is written for one item and vmapped, as a network is written for one
pixel: `predict(field, item) -> value`, where `field` maps a position (d,) to colours
(c,). Positions are those of `jax_inr.coordinates`: (row / height, column / width).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jax_inr.errors import ConfigError
from jax_inr.tasks.losses import squared

Field = Callable[[Float[Array, " d"]], Float[Array, " c"]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Penalty:
    """A term of the loss that knows the field alone, averaged over random points.

    `function(field, x)` is a scalar at one position x (d,) of the unit square; its
    mean over the square, times `weight`, is added to the loss of the measurements.
    """

    function: Callable[[Field, Array], Any] = dataclasses.field(
        metadata={"static": True}
    )
    weight: Any = 1.0  # a leaf: another weight compiles nothing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """The measurements that a fit explains.

    The fit minimises the mean over measurements and their entries of
    `weights * loss(predict(field, item), value)`, plus the penalties. A Task is a
    pytree: its arrays are leaves, its functions are compiled in. Functions that
    compare equal, as the operators of this package do, share one program.

    Attributes:
        items: pytree of arrays with leading axis n: what tells one measurement from
            another, as its position.
        values: (n, ...), what was measured.
        predict: one measurement of a field.
        points: the positions (p, d) that `predict` looks at, where it is a function
            of the colours there.
        combine: that function: `predict(field, item)` equals
            `combine(vmap(field)(points(item)), item)`, colours being (p, c).
        weights: (n,), of each measurement in the loss; None for equal ones.
        loss: `loss(prediction, value)` entry by entry.
        penalties: terms that know the field alone.
        shape: (height, width, channels) of the image sought.
    """

    items: Any
    values: Any
    predict: Callable[[Field, Any], Any] = dataclasses.field(metadata={"static": True})
    points: Callable[[Any], Any] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    combine: Callable[[Any, Any], Any] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    weights: Any = None
    loss: Callable[[Any, Any], Any] = dataclasses.field(
        default=squared, metadata={"static": True}
    )
    penalties: tuple[Penalty, ...] = ()
    shape: tuple[int, int, int] = dataclasses.field(
        kw_only=True, metadata={"static": True}
    )

    @property
    def num_measurements(self) -> int:
        """How many measurements there are, n."""
        return len(self.values)

    def replace(self, **changes: Any) -> "Task":
        """This task with some attributes changed: weights, loss, penalties, …"""
        return dataclasses.replace(self, **changes)

    def at(self, index: Any) -> "Task":
        """The task of some of the measurements: an index or a mask of axis n."""
        items, values, weights = jax.tree.map(
            lambda leaf: leaf[index], (self.items, self.values, self.weights)
        )
        return self.replace(items=items, values=values, weights=weights)


@dataclasses.dataclass(frozen=True)
class AtPoints:
    """`predict` of a measurement that is a function of the colours at known points."""

    points: Callable[[Any], Any]
    combine: Callable[[Any, Any], Any]

    def __call__(self, field: Field, item: Any) -> Any:
        return self.combine(jax.vmap(field)(self.points(item)), item)


def at_points(
    operator: Any, items: Any, values: Any, shape: tuple[int, int, int]
) -> Task:
    """The task of an operator that has `points` and `combine`.

    Args:
        operator: a hashable object with `points(item)` (p, d) and
            `combine(colours, item)`; both become objects that compare by value.
    """
    points, combine = Points(operator), Combine(operator)
    predict = AtPoints(points, combine)
    return Task(items, values, predict, points, combine, shape=shape)


# A bound method compares its object by identity, so tasks made alike would compile
# apart; these compare the operator by value.
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


def check_finite(name: str, values: np.ndarray) -> None:
    """Refuse measurements of which some are not finite.

    Raises:
        ConfigError: with how many of how many.
    """
    bad = int(np.size(values) - np.isfinite(values).sum())
    if bad:
        raise ConfigError(
            f"{bad} of the {np.size(values)} values of the {name} are not finite",
            "mend them, or leave their measurements out",
        )
