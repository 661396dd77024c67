"""ImageField: a fitted image as a function of position."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_inr import derivatives, fieldfile
from jax_inr.config import Config
from jax_inr.coordinates import FULL, Window, check_view, view_size
from jax_inr.derivatives import Derivative, check_derivative
from jax_inr.io import atomic, tensorfile
from jax_inr.model import Model, Variables
from jax_inr.rendering import assemble, colours, render_strips, values
from jax_inr.tensors import flatten, structure


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """The provenance of a field, which is no part of the pytree's structure."""

    config: Config = Config()
    step: int = 0
    backend: str = "jax"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables"],
    meta_fields=["model", "height", "width", "channels", "rgb_max", "origin"],
)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageField:
    """A fitted image: call it on coordinates, render it at any size, save it.

    `variables` is a plain pytree of `params` (trained) and `constants` (fixed);
    `apply` is a pure function of it for your own jit, vmap and grad. The field itself
    is a pytree with the variables as leaves: pass it through jit, stack several with
    `jax.tree.map` and vmap over them. Colours are in [0, 1], 1 is white, also where
    the fit divided its targets by 256.
    """

    model: Model  # its numbers are in the variables
    variables: Variables
    height: int  # of the image that was fitted
    width: int
    channels: int
    rgb_max: int = 255
    origin: Origin = Origin()

    @classmethod
    def make(
        cls,
        model: Model,
        variables: Variables,
        shape: tuple[int, int, int],
        config: Config | None = None,
        **origin: Any,
    ) -> "ImageField":
        """The field of a model's variables for an image of a shape (h, w, c)."""
        config = Config() if config is None else config
        about = Origin(config, **origin)
        return cls(structure(model), variables, *shape, config.rgb_max, about)

    @property
    def config(self) -> Config:
        """The config of the fit."""
        return self.origin.config

    @property
    def step(self) -> int:
        """The optimizer steps of the fit."""
        return self.origin.step

    @property
    def params(self) -> Any:
        """The trained parameters."""
        return self.variables["params"]

    def __repr__(self) -> str:
        size = f"{self.height}x{self.width}x{self.channels}"
        leaves = jax.tree.leaves(self.variables.get("params", {}))
        count = sum(np.size(leaf) for leaf in leaves)
        return f"ImageField({size}, {count:,} parameters, step {self.step})"

    def _repr_png_(self) -> bytes:
        from jax_inr.io.images import encode_png

        return encode_png(self.render())

    def apply(self, params: Any, coords: Float[Array, "*n 2"]) -> Float[Array, "*n c"]:
        """The colours that `params` gives at coordinates, a pure function.

        Args:
            params: a pytree like `field.params`.
            coords: positions (..., 2), `(row/height, column/width)`, the image in
                [0, 1) on both axes; a whole grid (h, w, 2) for the CNN.

        Returns:
            (..., c) colours, 1 is white.
        """
        variables = {**self.variables, "params": params}
        return self._to_image(self.model.predict(variables, coords))

    def __call__(
        self, coords: Float[Array | np.ndarray, "*n 2"]
    ) -> Float[Array, "*n c"]:
        """The colours at coordinates (..., 2), compiled; see `apply`."""
        coords = jnp.asarray(coords, jnp.float32)
        return self._to_image(values(colours, self.model, self.variables, coords))

    def jacobian(
        self, coords: Float[Array | np.ndarray, "*n 2"]
    ) -> Float[Array, "*n c 2"]:
        """The slope (..., c, 2) of every channel, per height and per width.

        Exact, for coordinates (..., 2); compose it with jit and vmap. The CNN has no
        derivatives (ConfigError).
        """
        return self._derivative("jacobian", coords)

    def gradient(
        self, coords: Float[Array | np.ndarray, "*n 2"]
    ) -> Float[Array, "*n 2"]:
        """The gradient (..., 2) of the brightness (Rec. 709 luma); see `jacobian`."""
        return self._derivative("gradient", coords)

    def laplacian(
        self, coords: Float[Array | np.ndarray, "*n 2"]
    ) -> Float[Array, "*n c"]:
        """The Laplacian (..., c) of every channel in the unit square; see `jacobian`.

        Raises:
            ConfigError: the curvature of the network lies in kinks, as a ReLU's does,
                and the Laplacian would be zero almost everywhere but for the encoding.
        """
        return self._derivative("laplacian", coords)

    def _derivative(self, kind: str, coords: Any) -> Any:
        check_derivative(self.model, kind)
        coords = jnp.asarray(coords, jnp.float32)
        function = getattr(derivatives, kind)
        return self._to_image(values(function, self.model, self.variables, coords))

    def render(
        self,
        height: int | None = None,
        width: int | None = None,
        window: Window = FULL,
        derivative: Derivative = "none",
    ) -> Float[np.ndarray, "h w k"]:
        """The image on a grid of pixels, in chunks: memory does not grow with it.

        Args:
            height, width: pixels; of one left out, what keeps the window's aspect; of
                both, the fitted image's own.
            window: (top, left, bottom, right) of the part to draw; (0, 0, 1, 1) is
                the whole image, and more than that extrapolates.
            derivative: what to draw instead of the colours. A unit of length is here
                a pixel of the fitted image, so that both axes count alike.

        Returns:
            (height, width, c) float32, 1 is white; (height, width, 2) for "gradient".

        Raises:
            ConfigError: a size, window or derivative that cannot be drawn.
        """
        height, width = view_size(height, width, window, (self.height, self.width))
        return assemble(self.render_strips(height, width, window, derivative), height)

    def render_strips(
        self,
        height: int | None = None,
        width: int | None = None,
        window: Window = FULL,
        derivative: Derivative = "none",
    ) -> Iterator[Float[np.ndarray, "rows w k"]]:
        """`render`'s image from top to bottom, in strips of whole rows.

        For images larger than memory; what cannot be drawn is refused at once.
        """
        height, width = view_size(height, width, window, (self.height, self.width))
        check_view(height, width, window)
        per_pixel = 1 / np.array((self.height, self.width), np.float32)
        function, finish = colours, self._to_image
        if derivative != "none":
            check_derivative(self.model, derivative)
        if derivative == "gradient":
            function = derivatives.gradient
            finish = lambda strip: self._to_image(strip * per_pixel)  # noqa: E731
        elif derivative == "laplacian":
            function = derivatives.curvature
            finish = lambda strip: self._to_image(strip @ per_pixel**2)  # noqa: E731
        model, variables = self.model, self.variables
        return map(
            finish, render_strips(model, variables, height, width, window, function)
        )

    def _to_image(self, colours: Any) -> Any:
        if self.rgb_max == 255:
            return colours
        return colours * np.float32(self.rgb_max / 255)

    def to_html(
        self,
        path: str | os.PathLike[str],
        image: Float[np.ndarray, "h w c"] | None = None,
        title: str | None = None,
    ) -> None:
        """Write one web page in which the browser evaluates the field, at any zoom.

        It needs no server and no network, only WebGL 2.

        Args:
            path: the file to write.
            image: in [0, 1], the image that was fitted, to compare with; the field's
                own pixels where left out.
            title: of the page; the file's name where left out.

        Raises:
            ConfigError: the page cannot evaluate this network; the message says why.
            OutputError: the file cannot be written; an older one is left as it was.
        """
        # Imported late: who only renders does without Pillow.
        from jax_inr.draw.page import to_html

        title = os.path.splitext(os.path.basename(path))[0] if title is None else title
        page = to_html(self, title, image).encode("utf-8", "backslashreplace")
        atomic.write_atomic(path, page, follow=True)

    def header(self) -> dict[str, Any]:
        """The header of a field file."""
        return fieldfile.header_of(
            self.config,
            self.model,
            (self.height, self.width, self.channels),
            self.step,
            self.origin.backend,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file: tensors, config, image size. Never pickle.

        Raises:
            OutputError: the file cannot be written; an older one is left as it was.
        """
        tensors, header = flatten(self.variables), self.header()
        tensorfile.save_tensors(path, "field", tensors, header, follow=True)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, encoding: Any = None, network: Any = None
    ) -> "ImageField":
        """Read a field file of either back end; its renders are bit-identical.

        Args:
            encoding, network: the objects that the field was fitted with, where they
                were the caller's own.

        Raises:
            CheckpointError: the file is damaged, foreign, or of a newer format.
        """
        tensors, header = fieldfile.read(path, encoding=encoding, network=network)
        return cls.from_tensors(tensors, header, encoding=encoding, network=network)

    @classmethod
    def from_tensors(
        cls,
        tensors: dict[str, np.ndarray],
        header: dict[str, Any],
        *,
        encoding: Any = None,
        network: Any = None,
    ) -> "ImageField":
        """The field of a file's tensors and header; see `load`.

        Raises:
            CheckpointError: a header entry or a tensor is missing or wrong.
        """
        parts = fieldfile.parse(tensors, header, encoding=encoding, network=network)
        return cls.make(**parts)
