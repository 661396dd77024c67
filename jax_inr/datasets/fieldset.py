"""FieldSet: a stored set of fields, read lazily.

Opening one and reading its arrays needs numpy and zarr; JAX is imported where a field
is evaluated, torch where its data set is asked for.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.datasets.layout import Layout
from jax_inr.datasets.store import DIVERGED, SPLITS, Store, digest
from jax_inr.errors import CheckpointError, ConfigError
from jax_inr.io.text import StrPath, shown


class FieldSet:
    """A set of fields on disk.

    `len(fields)`, `fields[i]` is an ImageField, `fields.render(indices)` many images at
    once, `fields.params` the lazy (n, P) matrix, in the order of `fields.layout`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._group = store.group

    @classmethod
    def open(cls, path: StrPath) -> "FieldSet":
        """Open a set, for reading alone.

        Raises:
            CheckpointError: it is none, is damaged, or is of a newer format.
        """
        return cls(Store(path, read_only=True))

    def __len__(self) -> int:
        return self._store.count

    def __repr__(self) -> str:
        done = int((self.status != 0).sum())
        size = self.layout.size
        return f"FieldSet({len(self)} fields of {size:,} parameters, {done} done)"

    @property
    def path(self) -> Any:
        """Where it is."""
        return self._store.path

    @property
    def about(self) -> dict[str, Any]:
        """All that was recorded: config, init, splits, versions, statistics."""
        return self._store.about

    @property
    def config(self) -> Config:
        """The config of the fits; each has a seed of its own, in `seeds`."""
        return Config.from_dict(self.about["config"])

    @property
    def layout(self) -> Layout:
        """The tensors in a row of `params`: names, shapes, order."""
        return self._store.layout

    @property
    def params(self) -> Any:
        """The parameters (n, P), a zarr array: slices are read when they are taken."""
        return self._group["params"]

    @property
    def labels(self) -> np.ndarray | None:
        """The label of each field, or None."""
        return self._group["label"][:] if "label" in self._group else None

    @property
    def names(self) -> list[str]:
        """The source name of each image."""
        return [bytes(row).rstrip(b"\0").decode() for row in self._group["name"][:]]

    @property
    def psnr_db(self) -> np.ndarray:
        """PSNR of each field against its image, in dB."""
        return self._group["psnr_db"][:]

    @property
    def steps(self) -> np.ndarray:
        """Optimizer steps of each field."""
        return self._group["steps"][:]

    @property
    def seeds(self) -> np.ndarray:
        """The seed of each field."""
        return self._group["seed"][:]

    @property
    def status(self) -> np.ndarray:
        """0: not done; 1: by steps; 2: by the target; 3: diverged."""
        return self._group["status"][:]

    def split(self, name: str) -> np.ndarray:
        """The indices of the fields of a split that are done and sound.

        Raises:
            ConfigError: there is no such split.
        """
        if name not in SPLITS:
            raise ConfigError(f"split is {name!r}; it must be one of {SPLITS}")
        status, split = self.status, self._group["split"][:]
        is_sound = (status != 0) & (status != DIVERGED)
        return np.flatnonzero((split == SPLITS.index(name)) & is_sound)

    @functools.cached_property
    def constants(self) -> dict[str, np.ndarray]:
        """The fixed numbers that all fields share, by name."""
        constants = self._group["constants"]
        return {n.replace(".", "/"): np.asarray(constants[n][...]) for n in constants}

    def tensors(self, index: int) -> dict[str, np.ndarray]:
        """The tensors of a field, by their names in a field file."""
        own = self.layout.unpack(self.params[self._checked(index)])
        return own | {f"constants/{k}": v for k, v in self.constants.items()}

    def __getitem__(self, index: int) -> Any:
        from jax_inr.field import ImageField

        index = self._checked(index)
        height, width = (int(side) for side in self._group["size"][index])
        header = {
            "config": self.about["config"] | {"seed": int(self._group["seed"][index])},
            "height": height,
            "width": width,
            "channels": self.about["channels"],
            "step": int(self._group["steps"][index]),
            "backend": "jax",
        }
        return ImageField.from_tensors(self.tensors(index), header)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} fields, and no field {index}")
        index %= len(self)
        if not self._group["status"][index]:
            raise IndexError(
                f"field {index} is not done yet: the same command again does the rest"
            )
        return index

    def render(
        self,
        indices: Sequence[int] | np.ndarray,
        height: int | None = None,
        width: int | None = None,
    ) -> np.ndarray:
        """The images (k, height, width, c) of some fields, drawn together.

        Args:
            height, width: left out, those of the first field's image.
        """
        from jax_inr.datasets.drawing import draw

        indices = [self._checked(int(i)) for i in indices]
        if not indices:
            raise ConfigError("there is no field to render", "name some indices")
        own = (int(side) for side in self._group["size"][indices[0]])
        size = tuple(
            b if a is None else a for a, b in zip((height, width), own, strict=True)
        )
        params = self.params.oindex[np.array(indices), :]
        return draw(self[indices[0]], self.layout.unpack(params), *size)

    def torch_dataset(self, split: str | None = None) -> Any:
        """A torch `Dataset` of (parameters (P,), label or -1), read as they are taken.

        Raises:
            ConfigError: torch is not installed.
        """
        from jax_inr.datasets.torch_data import dataset

        chosen = np.arange(len(self)) if split is None else self.split(split)
        return dataset(self, chosen)

    def verify(self, images: Any = None, labels: Any = None) -> list[str]:
        """What is wrong with the set, a line each; an empty list is a sound set.

        Every row of parameters is held to its sha256. With the images, theirs are
        compared too, and the PSNR of every field is measured again from its stored
        weights.
        """
        wrong = []
        for chunk in range(self._store.num_chunks):
            rows = self._store.rows(chunk)
            wrong += self._verify_rows(rows)
        if images is not None:
            from jax_inr.datasets.drawing import verify_images

            wrong += verify_images(self, images, labels)
        return wrong

    def _verify_rows(self, rows: slice) -> list[str]:
        try:
            params, digests = self.params[rows], self._group["params_sha256"][rows]
        except Exception as error:  # zarr raises what the codec or the file does
            reason = shown(f"{type(error).__name__}: {error}", 200)
            return [f"fields {rows.start} to {rows.stop - 1} cannot be read: {reason}"]
        wrong = []
        for offset, status in enumerate(self.status[rows]):
            index = rows.start + offset
            if not status:
                wrong.append(f"field {index} is not done")
            elif not np.array_equal(digest(params[offset]), digests[offset]):
                wrong.append(f"field {index}: its parameters do not match their sha256")
        return wrong

    def column(self, name: str) -> np.ndarray:
        """An array of the store with an entry for each field, by name.

        Raises:
            CheckpointError: there is none.
        """
        if name not in self._group:
            raise CheckpointError(f"{shown(self.path)} has no {name}")
        return self._group[name][:]
