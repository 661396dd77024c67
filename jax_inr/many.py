"""fit_many(): many fits in one compiled program, sharded over the devices there are.

The train chunk is a pure function, so a batch of fits is its `vmap`: over pictures of
one shape, seeds, and the numbers that are leaves of a pytree rather than of the trace.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jax_inr import cost, machine
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError, ImageError
from jax_inr.fitting import Fit, checked_picture, summarise
from jax_inr.io.images import Picture
from jax_inr.loop import (
    CHUNK_SECONDS,
    MAX_CHUNK_STEPS,
    Log,
    Position,
    Progress,
    mse_of,
    worse_notice,
)
from jax_inr.networks import make_model
from jax_inr.splits import num_trained, train_index
from jax_inr.tensors import flatten
from jax_inr.training import (
    QUICK_COMPILE,
    TrainData,
    TrainState,
    init_state,
    make_data,
    make_plan,
    train_chunk,
)

# Fields in which the fits of one program may differ.
SWEEPABLE = ("seed", "sigma", "omega_0", "scale_0", "learning_rate")
PREDICT_PIXELS = 1 << 14  # of all fits together
FITS = PartitionSpec("fits")


def fit_many(
    pictures: Sequence[Picture | np.ndarray],
    configs: Config | Sequence[Config],
    *,
    device: str = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[int, str], None] = lambda index, text: None,
) -> list[Fit]:
    """Fit many pictures of one shape, or one under many configs, all at once.

    Each result is that of a single `fit`, within float32 rounding. A fit whose loss
    is not finite keeps its last good state and says "diverged"; the others go on.

    Args:
        pictures: (h, w, 1 or 3) in [0, 1], or what `load_image` gives; one for all
            configs, or one each.
        configs: one for all pictures, or one each; they differ in `SWEEPABLE` alone.
        device: "auto", "cpu" or "gpu"; all devices of that kind share the fits.
        on_progress: told after each chunk, with the mean loss and PSNR.
        on_notice: told of a fit, by its index, what the user may not expect.

    Returns:
        A `Fit` each, in order; their seconds are those of all together.

    Raises:
        ImageError: shapes differ.
        ConfigError: configs differ elsewhere, or stop by PSNR or seconds.
        DeviceError: no such device, or not enough memory.
    """
    start = time.perf_counter()
    checked = [checked_picture(picture) for picture in pictures]
    configs = [configs] if isinstance(configs, Config) else list(configs)
    checked, configs = _paired(checked, configs)
    _check_alike(checked, configs)
    base, image = configs[0], checked[0].image
    cost.check(fits_bytes(configs, image.shape), None)
    fits = _Fits(checked, configs, machine.select(device).platform)
    fits.compile()
    compile_seconds = time.perf_counter() - start
    logs = [Log(config, Position()) for config in configs]
    seconds = _run(fits, logs, on_progress)
    predictions, variables = fits.predict(), jax.tree.map(np.asarray, fits.variables)
    results = []
    for index, (picture, config, log) in enumerate(
        zip(checked, configs, logs, strict=True)
    ):
        log.position.seconds = seconds
        if log.position.last_row != base.steps:
            error = mse_of(predictions[index][fits.trained[index]], fits.targets[index])
            log.record(base.steps, error, log.position.loss)
        if fits.good[index] and (worse := worse_notice(log.position)):
            on_notice(index, worse)
        tensors = flatten(jax.tree.map(lambda leaf, i=index: leaf[i], variables))
        summary = summarise(
            config,
            picture,
            predictions[index],
            tensors,
            backend="jax",
            device=fits.device,
            step=base.steps,
            stopped="steps" if fits.good[index] else "diverged",
            seconds={
                "compile": compile_seconds,
                "fit": seconds,
                "total": time.perf_counter() - start,
            },
        )
        height, width, channels = picture.image.shape
        header = {
            "config": config.to_dict(),
            "backend": "jax",
            "height": height,
            "width": width,
            "channels": channels,
            "step": base.steps,
        }
        results.append(Fit(summary, log.rows, predictions[index], tensors, header))
    return results


def fits_bytes(configs: list[Config], shape: tuple[int, ...]) -> int:
    """Bytes of all fits together; those of one B keep its features once."""
    height, width, channels = shape
    base = configs[0]
    one = cost.fit_bytes(base, height, width, channels)
    features = 4 * num_trained(base, height, width) * base.num_features
    if len({(config.seed, config.sigma) for config in configs}) > 1 or (
        features > cost.MAX_FEATURE_BYTES
    ):
        features = 0
    return len(configs) * (one - features) + features


def varying(config: Config) -> tuple[str, ...]:
    """The fields in which fits like this one may differ."""
    fields = set(SWEEPABLE)
    if config.encoding not in ("gaussian", "trainable"):
        fields.remove("sigma")
    return tuple(sorted(fields))


def _paired(
    pictures: list[Picture], configs: list[Config]
) -> tuple[list[Picture], list[Config]]:
    count = max(len(pictures), len(configs))
    if not pictures or not configs:
        raise ConfigError("fit_many was given no picture, or no config")
    if {len(pictures), len(configs)} - {1, count}:
        raise ConfigError(
            f"{len(pictures)} pictures do not go with {len(configs)} configs",
            "give one of either, or one each",
        )
    return pictures * (count // len(pictures)), configs * (count // len(configs))


def _check_alike(pictures: list[Picture], configs: list[Config]) -> None:
    shapes = {picture.image.shape for picture in pictures}
    if len(shapes) > 1:
        raise ImageError(
            f"pictures of {len(shapes)} shapes cannot share a program: "
            + ", ".join(sorted("x".join(map(str, shape)) for shape in shapes)),
            "group them by shape, or resize them to one",
        )
    for field in dataclasses.fields(Config):
        values = {getattr(config, field.name) for config in configs}
        if len(values) > 1 and field.name not in varying(configs[0]):
            raise ConfigError(
                f"{field.name} differs between fits of one program",
                f"only {', '.join(varying(configs[0]))} may",
            )
    base = configs[0]
    for name in ("target_psnr", "max_seconds"):
        if getattr(base, name) is not None:
            raise ConfigError(
                f"fits of one program all take their {base.steps} steps, so none "
                f"stops by {name}",
                "leave it out, or fit one by one",
            )


class _Fits:
    """States, data and compiled chunk of many fits, with a leading axis of fits.

    The axis is padded to a multiple of the devices by repeating the first fit.
    """

    def __init__(
        self, pictures: list[Picture], configs: list[Config], platform: str
    ) -> None:
        count = len(configs)
        found = jax.devices(platform)[:count]
        self.device = machine.describe(found[0])
        mesh = Mesh(np.array(found), ("fits",))
        padded = [*range(count), *[0] * (-count % len(found))]
        configs = [configs[index] for index in padded]
        base = configs[0]
        scale = np.float32(255 / base.rgb_max)
        targets = np.stack([pictures[index].image * scale for index in padded])
        self.good = np.ones(count, bool)
        self._count, self._mesh, self._platform = count, mesh, platform
        self.shape = targets.shape[1:]
        self.trained = [train_index(config, *self.shape[:2]) for config in configs]
        targets = [
            target[trained]
            for target, trained in zip(targets, self.trained, strict=True)
        ]
        self.targets = targets
        plan = make_plan(base, *self.shape, platform=platform)
        # The activations in memory at a time are those of all fits on a device.
        tile = plan.tile_pixels * len(found) // len(configs)
        tile = max(tile, cost.CPU_TILE_PIXELS)
        plan = dataclasses.replace(plan, tile_pixels=tile)
        # Features of one B serve all fits; those of many B may be too many to keep.
        self._shared = len({(config.seed, config.sigma) for config in configs}) == 1
        pixels = num_trained(base, *self.shape[:2])
        if not self._shared and (
            4 * pixels * base.num_features * len(configs) > cost.MAX_FEATURE_BYTES
        ):
            plan = dataclasses.replace(plan, keep_features=False)
        self.plan = plan
        keys = [jax.random.split(jax.random.key(config.seed)) for config in configs]
        drawn = [
            _draw(config, self.shape)(key[0])
            for config, key in zip(configs, keys, strict=True)
        ]
        variables = jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)
        self._on_fits = NamedSharding(mesh, FITS)
        put = functools.partial(jax.device_put, device=self._on_fits)
        self._constants = put(variables["constants"])
        self._keys = put(jnp.stack([key[1] for key in keys]))
        self._state = put(jax.vmap(functools.partial(init_state, plan))(variables))
        rates = np.array([config.learning_rate for config in configs], np.float32)
        self._data = self._make_data(drawn, configs, rates)

    def _make_data(
        self, drawn: list[Any], configs: list[Config], rates: np.ndarray
    ) -> TrainData:
        shared_inputs = self._shared or (
            not self.plan.keep_features and self.plan.config.train_pixels != "random"
        )
        picture = np.zeros(self.shape, np.float32)
        # Which pixels are trained may follow the seed of each.
        inputs = (
            make_data(
                dataclasses.replace(self.plan, config=config), one, picture
            ).inputs
            for config, one in zip(configs, drawn, strict=True)
        )
        if shared_inputs:
            everywhere = NamedSharding(self._mesh, PartitionSpec())
            inputs = jax.device_put(next(inputs), everywhere)
        else:
            inputs = jax.device_put(jnp.stack(list(inputs)), self._on_fits)
        inputs_axis = None if shared_inputs else 0
        self._data_axes: Any = TrainData(inputs_axis, 0, 0)  # pyright: ignore
        flat = np.stack(self.targets)
        if self.plan.model.per_pixel:
            flat = flat.reshape(len(flat), -1, flat.shape[-1])
        put = functools.partial(jax.device_put, device=self._on_fits)
        return TrainData(inputs, put(flat), put(rates))

    def compile(self) -> None:
        """Compile the chunk of all fits, and that of their predictions."""
        axes = self._data_axes
        inputs_spec = FITS if axes[0] == 0 else PartitionSpec()
        specs: Any = TrainData(inputs_spec, FITS, FITS)  # pyright: ignore
        # A CPU's caches hold one fit: they take turns there, and share the cores by
        # being on several devices. Elsewhere all step together.
        in_turn = self._platform == "cpu"

        def chunk(
            states: Any, constants: Any, data: TrainData, keys: Any, num_steps: Any
        ) -> Any:
            def one(fit: Any) -> Any:
                state, constant, key, own = fit
                inputs = data.inputs if own.inputs is None else own.inputs
                mine = own._replace(inputs=inputs)
                return train_chunk(self.plan, state, constant, mine, key, num_steps)

            own = data if axes.inputs == 0 else data._replace(inputs=None)  # pyright: ignore
            fits = states, constants, keys, own
            return jax.lax.map(one, fits) if in_turn else jax.vmap(one)(fits)

        sharded = jax.shard_map(
            chunk,
            mesh=self._mesh,
            in_specs=(FITS, FITS, specs, FITS, PartitionSpec()),
            out_specs=FITS,
            check_vma=False,
        )
        arguments = (self._state, self._constants, self._data, self._keys, 0)
        self._chunk = jax.jit(sharded).lower(*arguments).compile()
        _finite(self._state)
        self.predict()

    def advance(self, num_steps: int) -> Float[np.ndarray, "k steps"]:
        """Take steps of all fits; the loss before each. A fit gone bad stays behind."""
        before = self._state
        arguments = (before, self._constants, self._data, self._keys, num_steps)
        self._state, losses = self._chunk(*arguments)
        losses = np.asarray(losses)[:, :num_steps]
        finite = np.asarray(_finite(self._state)) & np.isfinite(losses).all(axis=1)
        self.good &= finite[: self._count]
        if not finite.all():
            self._state = _kept(jnp.asarray(finite), self._state, before)
        return losses[: self._count]

    @property
    def variables(self) -> Any:
        """Parameters and constants of all fits."""
        return {"params": self._state.params, "constants": self._constants}

    def predict(self) -> Float[np.ndarray, "k h w c"]:
        """The colours of all fits over the pictures' grid."""
        model, (height, width, channels) = self.plan.model, self.shape
        coords = pixel_grid(height, width)
        if not model.per_pixel:
            return np.asarray(_predict(model, self.variables, coords))[: self._count]
        coords = coords.reshape(-1, 2)
        size = max(PREDICT_PIXELS // len(self._keys), 1)
        parts = []
        for start in range(0, len(coords), size):
            # The last part repeats the last pixel: another shape compiles once more.
            index = np.minimum(np.arange(start, start + size), len(coords) - 1)
            parts.append(np.asarray(_predict(model, self.variables, coords[index])))
        colours = np.concatenate(parts, axis=1)[: self._count, : len(coords)]
        return colours.reshape(-1, height, width, channels)


@functools.cache
def _draw_alike(config: Config, shape: tuple[int, ...]) -> Callable[..., Any]:
    height, width, channels = shape
    init = make_model(config, height, width, channels).init
    return jax.jit(init, compiler_options=QUICK_COMPILE)


def _draw(config: Config, shape: tuple[int, ...]) -> Callable[..., Any]:
    """`Model.init`, compiled once for all seeds and rates."""
    return _draw_alike(config.replace(seed=0, learning_rate=1.0), shape)


@functools.partial(jax.jit, static_argnums=0)
def _predict(model: Any, variables: Any, coords: Array) -> Array:
    return jax.vmap(model.predict, in_axes=(0, None))(variables, coords)


@jax.jit
def _finite(state: TrainState) -> Float[Array, " k"]:
    leaves = [
        jnp.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)
        for leaf in jax.tree.leaves(state)
    ]
    return jnp.stack(leaves).all(axis=0)


@jax.jit
def _kept(finite: Array, after: TrainState, before: TrainState) -> TrainState:
    def choose(new: Array, old: Array) -> Array:
        return jnp.where(finite.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, after, before)


def _run(
    fits: _Fits, logs: list[Log], on_progress: Callable[[Progress], None]
) -> float:
    """Take all steps; fill the logs; the seconds that it took."""
    base = logs[0].config
    seconds, step, chunk_steps = 0.0, 0, 1
    if not logs[0].losses_evaluate(fits.targets[0]):
        for index, prediction in enumerate(fits.predict()[: len(logs)]):
            trained = prediction[fits.trained[index]]
            logs[index].position.first_mse = mse_of(trained, fits.targets[index])
    while step < base.steps:
        start = time.perf_counter()
        num_steps = min(chunk_steps, base.steps - step)
        if not logs[0].losses_evaluate(fits.targets[0]):
            num_steps = min(num_steps, logs[0].next_due(step) - step)
        losses = fits.advance(num_steps)
        elapsed = time.perf_counter() - start
        seconds += elapsed
        after = step + num_steps
        evaluate = logs[0].losses_evaluate(fits.targets[0])
        predictions = None
        if not evaluate and logs[0].due(after):
            predictions = fits.predict()
        for index, log in enumerate(logs):
            log.position.seconds = seconds
            log.position.loss = float(losses[index, -1])
            if evaluate:
                if step == 0:
                    log.position.first_mse = float(losses[index, 0])
                for offset, mse in enumerate(losses[index].tolist()):
                    if log.due(step + offset):
                        log.record(step + offset, mse, mse)
            elif predictions is not None:
                trained = predictions[index][fits.trained[index]]
                error = mse_of(trained, fits.targets[index])
                log.record(after, error, log.position.loss)
        step = after
        rate = num_steps / elapsed
        chunk_steps = int(min(max(rate * CHUNK_SECONDS, 1), MAX_CHUNK_STEPS))
        loss = float(np.mean(losses[:, -1]))
        psnr_db = float(np.mean([log.psnr_db for log in logs]))
        last = logs[0].position.last_row
        on_progress(Progress(step, base.steps, seconds, loss, psnr_db, last, rate))
    return seconds
