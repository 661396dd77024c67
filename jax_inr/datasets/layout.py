"""The layout of a field's parameters in one row of a matrix: w1, b1, w2, b2, …

Needs numpy alone.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_inr.errors import CheckpointError

_DENSE = re.compile(r"params/dense_(\d+)/(kernel|bias)")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor's place in a row. name: w1, b1, … of dense layers, else its own.

    tensor: its name in a field file. A dense kernel is (inputs, outputs).
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        """The end of its place."""
        return self.start + math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The tensors of a row, in order."""

    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray]) -> "Layout":
        """The layout of a field's tensors: all that begin with `params/`."""
        names = [name for name in tensors if name.startswith("params/")]
        placed, start = [], 0
        for tensor in sorted(names, key=_rank):
            shape = tuple(np.shape(tensors[tensor]))
            placed.append(Tensor(_short(tensor), tensor, shape, start))
            start = placed[-1].stop
        return cls(tuple(placed))

    @classmethod
    def from_json(cls, entries: Any) -> "Layout":
        """The layout of `to_json`.

        Raises:
            CheckpointError: it is none.
        """
        placed, start = [], 0
        try:
            for entry in entries:
                shape = tuple(int(side) for side in entry["shape"])
                placed.append(Tensor(entry["name"], entry["tensor"], shape, start))
                start = placed[-1].stop
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the layout of the set is damaged: {error}"
            ) from None
        return cls(tuple(placed))

    def to_json(self) -> list[dict[str, Any]]:
        """The layout as JSON types."""
        return [
            {"name": t.name, "tensor": t.tensor, "shape": list(t.shape)}
            for t in self.tensors
        ]

    @property
    def size(self) -> int:
        """Numbers of a row."""
        return self.tensors[-1].stop if self.tensors else 0

    def pack(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """A field's tensors as one row (P,) of float32."""
        return np.concatenate(
            [np.asarray(tensors[t.tensor], np.float32).ravel() for t in self.tensors]
        )

    def unpack(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Rows (…, P) as tensors (…, *shape), by the names of a field file."""
        rows = np.asarray(rows, np.float32)
        leading = rows.shape[:-1]
        return {
            t.tensor: rows[..., t.start : t.stop].reshape(*leading, *t.shape)
            for t in self.tensors
        }

    def statistics(self, mean: np.ndarray, square: np.ndarray) -> dict[str, Any]:
        """The mean and deviation of each tensor, of those (P,) of its numbers."""
        found = {}
        for t in self.tensors:
            own, squares = (
                mean[t.start : t.stop].mean(),
                square[t.start : t.stop].mean(),
            )
            deviation = math.sqrt(max(squares - own**2, 0.0))
            found[t.name] = {"mean": float(own), "deviation": deviation}
        return found


def _rank(tensor: str) -> tuple[Any, ...]:
    """Dense layers last, by number, each kernel before its bias; others by name."""
    if found := _DENSE.fullmatch(tensor):
        return 1, int(found[1]), found[2] == "bias", ""
    return 0, 0, False, tensor


def _short(tensor: str) -> str:
    if found := _DENSE.fullmatch(tensor):
        return f"{'w' if found[2] == 'kernel' else 'b'}{int(found[1]) + 1}"
    return tensor.removeprefix("params/")
