"""ImageField: what a fit gives, a picture as a function of position."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_inr import derivatives
from jax_inr.config import Config
from jax_inr.coordinates import FULL, Window, check_view
from jax_inr.derivatives import Derivative, check_derivative
from jax_inr.errors import CheckpointError, ConfigError
from jax_inr.io import atomic, tensorfile, text
from jax_inr.networks import Model, Variables, make_model
from jax_inr.rendering import assemble, derivative_chunk, render_bands
from jax_inr.tensors import flatten, unflatten_like


@dataclasses.dataclass(frozen=True, eq=False)
class ImageField:
    """A fitted picture: call it on coordinates, render it at any size, save it.

    `variables` is a plain pytree of `params` (trained) and `constants` (fixed);
    `apply` is a pure function of it for your own jit, vmap and grad. Colours are in
    [0, 1], 1 is white, also where the fit divided its targets by 256.
    """

    config: Config
    height: int  # of the picture that was fitted
    width: int
    channels: int
    variables: Variables
    step: int = 0
    backend: str = "jax"

    @property
    def model(self) -> Model:
        """The network as pure functions of `variables`."""
        return make_model(self.config, self.height, self.width, self.channels)

    @property
    def params(self) -> Any:
        """The trained parameters."""
        return self.variables["params"]

    def apply(self, params: Any, coords: Float[Array, "*n 2"]) -> Float[Array, "*n c"]:
        """The colours that `params` gives at coordinates, a pure function.

        Args:
            params: a pytree like `field.params`.
            coords: positions (..., 2), `(row/height, column/width)`, the picture in
                [0, 1) on both axes; a whole grid (h, w, 2) for the CNN.

        Returns:
            (..., c) colours, 1 is white.
        """
        variables = {**self.variables, "params": params}
        return self._to_white(self.model.predict(variables, coords))

    def __call__(
        self, coords: Float[Array | np.ndarray, "*n 2"]
    ) -> Float[Array, "*n c"]:
        """The colours at coordinates (..., 2); see `apply`."""
        return self.apply(self.params, jnp.asarray(coords, jnp.float32))

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
        check_derivative(self.config, kind)
        coords = jnp.asarray(coords, jnp.float32)
        function = getattr(derivatives, kind)
        values = derivative_chunk(function, self.model, self.variables, coords)
        return self._to_white(values)

    def render(
        self,
        height: int | None = None,
        width: int | None = None,
        window: Window = FULL,
        derivative: Derivative = "none",
    ) -> Float[np.ndarray, "h w k"]:
        """The picture on a grid of pixels, in chunks: memory does not grow with it.

        Args:
            height, width: pixels; the fitted picture's own where left out.
            window: (top, left, bottom, right) of the part to draw; (0, 0, 1, 1) is
                the whole picture, and more than that extrapolates.
            derivative: what to draw instead of the colours. A unit of length is here
                a pixel of the fitted picture, so that both axes count alike.

        Returns:
            (height, width, c) float32, 1 is white; (height, width, 2) for "gradient".

        Raises:
            ConfigError: a size, window or derivative that cannot be drawn.
        """
        bands = self.render_bands(height, width, window, derivative)
        return assemble(bands, self.height if height is None else height)

    def render_bands(
        self,
        height: int | None = None,
        width: int | None = None,
        window: Window = FULL,
        derivative: Derivative = "none",
    ) -> Iterator[Float[np.ndarray, "rows w k"]]:
        """`render`'s picture from top to bottom, in bands of whole rows.

        For pictures larger than memory; what cannot be drawn is refused at once.
        """
        height = self.height if height is None else height
        width = self.width if width is None else width
        check_view(height, width, window)
        if derivative != "none":
            check_derivative(self.config, derivative)
        native = (self.height, self.width)
        model, variables = self.model, self.variables
        bands = render_bands(
            model, variables, height, width, window, derivative, native
        )
        return map(self._to_white, bands)

    def _to_white(self, colours: Any) -> Any:
        rgb_max = self.config.rgb_max
        return colours if rgb_max == 255 else colours * np.float32(rgb_max / 255)

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
            image: in [0, 1], the picture that was fitted, to compare with; the field's
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
        """What a field file says beside its tensors."""
        return {
            "config": self.config.to_dict(),
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "step": self.step,
            "backend": self.backend,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file: tensors, config, picture size. Never pickle.

        Raises:
            OutputError: the file cannot be written; an older one is left as it was.
        """
        tensors, header = flatten(self.variables), self.header()
        tensorfile.save_tensors(path, "field", tensors, header, follow=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ImageField":
        """Read a field file of either back end; its renders are bit-identical.

        Raises:
            CheckpointError: the file is damaged, foreign, or of a newer format.
        """

        def check(layout: dict[str, np.ndarray], header: dict[str, Any]) -> None:
            try:
                cls.from_tensors(layout, header)
            except (CheckpointError, ConfigError) as error:
                name = text.shown(path)
                raise CheckpointError(f"{name}: {error}", error.hint) from None

        # What the config does not ask for is not read.
        tensors, header = tensorfile.load_tensors(path, "field", check=check)
        return cls.from_tensors(tensors, header)

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, np.ndarray], header: dict[str, Any]
    ) -> "ImageField":
        """The field of a file's tensors and header.

        Raises:
            CheckpointError: a header entry or a tensor is missing or wrong.
        """
        names = ("height", "width", "channels", "step")
        sizes: list[Any] = [header.get(name) for name in names]
        if not all(type(n) is int and 0 <= n < 2**31 for n in sizes):
            raise CheckpointError(f"the header has no sound picture size: {sizes}")
        height, width, channels, step = sizes
        if not (height and width and channels in (1, 3)):
            raise CheckpointError(
                f"the header's picture is {height}x{width}x{channels}"
            )
        config = Config.from_dict(header.get("config"))
        model = make_model(config, height, width, channels)
        # Shapes alone: nothing is drawn or allocated for a file that may be foreign.
        like = jax.eval_shape(model.init, jax.random.key(0))
        variables = unflatten_like(like, tensors)
        backend = str(header.get("backend", ""))
        return cls(config, height, width, channels, variables, step, backend)
