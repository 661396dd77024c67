"""Learned starts: weights from which the fields of like images are few steps away.

MAML (arXiv 1703.03400; for coordinate networks arXiv 2012.02189) differentiates the
loss after a few steps by the weights before them, through `train_scan`. Reptile (arXiv
1803.02999) moves the weights towards those after the steps, and takes any optimizer.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from jax_inr import tasks
from jax_inr.config import Config
from jax_inr.errors import ConfigError, DivergedError
from jax_inr.field import ImageField
from jax_inr.inputs import as_config, as_image
from jax_inr.job import make_job
from jax_inr.plan import TrainData, TrainPlan, make_data
from jax_inr.tensors import float32
from jax_inr.trainer import draw_variables
from jax_inr.training import init_state, train_scan


def learn_start(
    images: Any,
    config: Config | str | dict[str, Any] | None = None,
    *,
    method: Literal["reptile", "maml"] = "reptile",
    outer_steps: int = 400,
    inner_steps: int = 8,
    images_a_step: int = 8,
    outer_rate: float = 2e-3,
    start: ImageField | None = None,
    on_progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> ImageField:
    """A start learned from images, all of one shape; save it, and give it as `start`.

    Each outer step fits a few images, drawn at random, for `inner_steps` steps of the
    config's optimizer from the start so far, and moves the start by Adam: along the
    gradient of the loss after them (maml), or towards the mean of the weights after
    them (reptile). Frequencies and batches are those of the config's seed.

    Args:
        images: an array (n, h, w, c), or a sequence of what `fit` takes. Where there
            are none, `noise_images` are of some use.
        config: what `fit` takes; its steps and target do not count.
        images_a_step: fitted in an outer step.
        outer_rate: of Adam over the outer steps; it falls to zero along half a cosine.
        start: to go on from; left out, the weights of the config's seed.
        on_progress: given the outer step, all of them, and the mean loss after the
            inner steps.

    Raises:
        ConfigError: no image, images of several shapes, numbers below 1.
        DivergedError: the loss is not finite.
    """
    config = as_config(config)
    counts = {"outer_steps": outer_steps, "inner_steps": inner_steps}
    for name, count in (counts | {"images_a_step": images_a_step}).items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1")
    if method not in ("reptile", "maml"):
        raise ConfigError(f"method is {method!r}", "use reptile or maml")
    loaded = [as_image(image).image for image in images]
    shapes = {image.shape for image in loaded}
    if len(shapes) != 1:
        raise ConfigError(
            f"the images have {len(shapes)} shapes; a start is learned from one",
            "crop them alike" if shapes else "give some images",
        )
    task = tasks.from_config(config, loaded[0])
    with float32():
        job = make_job(task, config)
        plan = job.plan()
        variables, key = draw_variables(job.model, np.uint32(config.seed))
        params = variables["params"] if start is None else start.params
        data = make_data(plan, task, variables, job.rates)
        values = np.stack(
            [np.asarray(tasks.from_config(config, image).values) for image in loaded]
        ).reshape(len(loaded), *data.values.shape)
        how = plan, method, inner_steps, outer_steps
        opt_state = jax.jit(_outer(outer_rate, outer_steps).init)(params)
        rng = np.random.default_rng(config.seed)
        for step in range(outer_steps):
            chosen = rng.integers(0, len(loaded), images_a_step)
            params, opt_state, loss = _outer_step(
                how, params, opt_state, variables["constants"], data, values[chosen],
                key, outer_rate, step,
            )  # fmt: skip
            if not np.isfinite(loss := float(loss)):
                raise DivergedError(
                    f"the loss is {loss} at outer step {step}",
                    "use a smaller learning_rate or outer_rate",
                )
            on_progress(step + 1, outer_steps, loss)
    learned = {**variables, "params": params}
    return ImageField.make(job.model, learned, loaded[0].shape, config)


def _outer(rate: Any, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


@functools.partial(jax.jit, static_argnums=0)
def _outer_step(
    how: tuple[TrainPlan, str, int, int],
    params: Any,
    opt_state: Any,
    constants: Any,
    data: TrainData,
    values: Any,
    key: Any,
    outer_rate: Any,
    step: Any,
) -> tuple[Any, Any, Any]:
    plan, method, inner_steps, outer_steps = how
    key = jax.random.fold_in(key, step)
    gradient, loss = outer_gradient(
        plan, method, inner_steps, params, constants, data, values, key
    )
    outer = _outer(outer_rate, outer_steps)
    updates, opt_state = outer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def outer_gradient(
    plan: TrainPlan,
    method: str,
    inner_steps: int,
    params: Any,
    constants: Any,
    data: TrainData,
    values: Any,
    key: Any,
) -> tuple[Any, Any]:
    """What the outer optimizer descends, and the loss after the inner steps."""

    def fitted(params: Any, own: Any) -> tuple[Any, Any]:
        state = init_state(plan, {"params": params, "constants": constants})
        own_data = data._replace(values=own)
        # One step more than is kept: its loss is that of the weights before it.
        state, losses = train_scan(
            plan, state, constants, own_data, key, inner_steps + 1
        )
        return losses[-1], state.params

    def one(own: Any) -> tuple[Any, Any]:
        if method == "maml":
            (loss, _), gradient = jax.value_and_grad(fitted, has_aux=True)(params, own)
            return gradient, loss
        loss, after = fitted(params, own)
        return jax.tree.map(jnp.subtract, params, after), loss

    # In turn: the activations of one image stay in a CPU's cache.
    gradients, losses = jax.lax.map(one, values)
    return jax.tree.map(lambda leaf: leaf.mean(0), gradients), losses.mean()


def noise_images(
    count: int, height: int, width: int, channels: int = 3, seed: int = 0
) -> Float[np.ndarray, "n h w c"]:
    """Images of coloured noise in [0, 1], whose spectrum falls as natural images' does.

    Amplitudes fall as 1/f (Field 1987); channels share two thirds of their noise.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    white = rng.standard_normal((count, height, width, channels + 1))
    white = 0.8 * white[..., :1] + 0.6 * white[..., 1:]
    spectrum = np.fft.fft2(white, axes=(1, 2)) * amplitude[..., None]
    noise = np.fft.ifft2(spectrum, axes=(1, 2)).real
    noise -= noise.mean((1, 2, 3), keepdims=True)
    noise /= noise.std((1, 2, 3), keepdims=True)
    contrast = rng.uniform(0.05, 0.3, (count, 1, 1, 1))
    brightness = rng.uniform(0.2, 0.8, (count, 1, 1, 1))
    return np.clip(brightness + contrast * noise, 0, 1).astype(np.float32)
