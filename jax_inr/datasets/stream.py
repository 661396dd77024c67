"""fit_stream(): any number of images through a few lanes of one compiled program."""

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from jax_inr import cost, machine
from jax_inr.config import Config
from jax_inr.datasets.sources import Source, sourced
from jax_inr.errors import ConfigError, DeviceError, ImageError
from jax_inr.inputs import as_config, as_image
from jax_inr.io.images import Image
from jax_inr.keywords import suggests
from jax_inr.metrics import psnr_from_mse

WINDOW = 4  # images read ahead of the oldest in progress, in lanes


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StreamFit:
    """A field of a stream.

    index: of its image. name, label: of the source, where it has them. psnr_db: of the
    fitted pixels, clipped; NaN of a fit that diverged. stopped: "steps", "target_psnr"
    or "diverged". variables: parameters and constants, numpy arrays. sha256: of the
    image.
    """

    index: int
    name: str
    label: int | None
    sha256: str
    shape: tuple[int, int, int]
    psnr_db: float
    steps: int
    stopped: str
    variables: dict[str, Any]
    model: Any
    config: Config

    @property
    def params(self) -> Any:
        """The trained parameters."""
        return self.variables["params"]

    @property
    def field(self) -> Any:
        """The ImageField."""
        from jax_inr.field import ImageField

        return ImageField.make(
            self.model, self.variables, self.shape, self.config, step=self.steps
        )

    def __repr__(self) -> str:
        return (
            f"StreamFit({self.index}, {self.psnr_db:.2f} dB, {self.steps} steps, "
            f"ended by {self.stopped})"
        )


@suggests
def fit_stream(
    images: Any,
    config: Config | str | dict[str, Any] | None = None,
    *,
    lanes: int | None = None,
    init: str = "random",
    start: Any = None,
    labels: Any = None,
    first_index: int = 0,
    device: str = "auto",
    encoding: Any = None,
    network: Any = None,
    optimizer: Any = None,
) -> Iterator[StreamFit]:
    """Fit any number of images; their fields come in the images' order.

    A few lanes of one compiled program take the images in turn: a lane whose field has
    reached `target_psnr` or its steps takes the next image at once. Memory is that of
    the lanes. How lanes are filled changes no field: on a CPU not a bit, on a GPU no
    more than float32 rounding does. On CPUs `machine.devices_for_cores()`, called
    before JAX computes anything, makes a device of each core, which is the fastest way.

    Args:
        images: an array (n, h, w, c), a folder, an .npy or .npz file of such an array
            and `labels`, or an iterable of what `fit` takes. Each shape gets lanes of
            its own, of those in progress.
        config: what `fit` takes.
        lanes: fits in progress; left out, found by a short measurement.
        init: "random": image i begins with the weights of seed + i; "shared": all begin
            with those of the seed. Fixed frequencies are the seed's in either case.
        start: an ImageField or the path of a field file that all fits begin with.
        labels: whole numbers, one an image.
        first_index: the index of the first image, for a part of a larger set.
        device: "auto", "cpu" or "gpu"; all devices of that kind share the lanes.
        encoding, network, optimizer: see `fit`.

    Raises:
        ConfigError: what cannot be; `max_seconds`, which no fit of many can promise.
        ImageError: an image is none; its index is named, those before it were fitted.
    """
    config = as_config(config)
    check(config, lanes, init)
    machine.select(device)
    given = {"encoding": encoding, "network": network, "optimizer": optimizer}
    parts = {name: part for name, part in given.items() if part is not None}
    params = None if start is None else start_of(start)
    source = sourced(images, labels)
    options = {"device": device, "start": params, **parts}
    return Stream(config, lanes, init, options).run(source, first_index)


def check(config: Config, lanes: int | None, init: str) -> None:
    """Refuse what no stream can do.

    Raises:
        ConfigError: names it.
    """
    if init not in ("shared", "random"):
        raise ConfigError(f"init is {init!r}", "use shared or random")
    if config.max_seconds is not None:
        raise ConfigError(
            "max_seconds is no rule for a stream: its lanes share the time",
            "use steps or target_psnr",
        )
    if config.steps < 1:
        raise ConfigError("steps is 0; a stream takes at least one step")
    if lanes is not None and lanes < 1:
        raise ConfigError(f"lanes is {lanes}; it must be at least 1")


def start_of(start: Any) -> Any:
    """The parameters of a start: an ImageField's, or a field file's."""
    from jax_inr.field import ImageField

    if isinstance(start, str | os.PathLike):
        start = ImageField.load(start)
    if not isinstance(start, ImageField):
        raise ConfigError(
            f"a {type(start).__name__} is no start", "give an ImageField, or its file"
        )
    return start.params


class Stream:
    """Pools of lanes for a config, for one source after another.

    Args:
        keep: pools of shapes that are over, kept for the next source.
    """

    def __init__(
        self,
        config: Config,
        lanes: int | None,
        init: str,
        options: dict[str, Any],
        keep: int = 0,
    ) -> None:
        self._config, self._lanes, self._init = config, lanes, init
        self._options, self._keep = options, keep
        self._pools: dict[tuple[int, ...], Any] = {}
        self._waiting: dict[tuple[int, ...], list[Any]] = {}
        self._done: dict[int, StreamFit] = {}
        self._channels: int | None = None
        self._count: int | None = None

    def run(self, source: Source, first_index: int = 0) -> Iterator[StreamFit]:
        """The fields of a source; see `fit_stream`."""
        entries = enumerate(iter(source), first_index)
        oldest, pulled, is_open = first_index, first_index, True
        self._count = source.count
        while is_open or oldest < pulled:
            window = WINDOW * max(sum(p.count for p in self._pools.values()), 1)
            ahead = itertools.islice(entries, max(oldest + window - pulled, 0))
            for index, entry in ahead:
                self._queue(index, entry)
                pulled = index + 1
            if pulled < oldest + window:
                is_open = False
            for shape in list(self._waiting):
                self._advance(shape)
            while oldest in self._done:
                yield self._done.pop(oldest)
                oldest += 1

    def _queue(self, index: int, entry: Any) -> None:
        image = self._checked(index, entry)
        shape = image.image.shape
        if shape not in self._pools:
            self._pools[shape] = self._make_pool(shape)
        self._waiting.setdefault(shape, []).append((index, entry, image))

    def _checked(self, index: int, entry: Any) -> Image:
        try:
            image = as_image(entry.image)
        except ImageError as error:
            raise ImageError(f"image {index}: {error}", error.hint) from error
        channels = image.image.shape[2]
        self._channels = self._channels or channels
        if channels != self._channels:
            raise ImageError(
                f"image {index} has {channels} channels, and those before it "
                f"{self._channels}: fields of a set have one layout",
                "convert them all to grey or all to colour",
            )
        return image

    def _make_pool(self, shape: tuple[int, ...]) -> Any:
        from jax_inr.datasets.pool import Pool
        from jax_inr.datasets.trial import measured_lanes

        config = self._config
        lanes = self._lanes
        if lanes is None:
            lanes = measured_lanes(shape, config, **self._options)
            if self._count is not None:
                lanes = max(min(lanes, self._count), 1)
        check_memory(shape, config, lanes, self._options)
        return Pool(shape, config, lanes, **self._options)

    def _advance(self, shape: tuple[int, ...]) -> None:
        from jax_inr.datasets.lanes import DIVERGED, STOPPED

        pool, waiting = self._pools[shape], self._waiting[shape]
        for lane in pool.free[: len(waiting)]:
            index, entry, image = waiting.pop(0)
            seed = self._config.seed + (index if self._init == "random" else 0)
            seed %= 2**32
            pool.give(lane, (index, entry, image.sha256, seed), seed, image.image)
        pool.advance()
        for (index, entry, digest, seed), *end in pool.collect():
            status, steps, mse, params = end
            mse = np.nan if status == DIVERGED else mse
            self._done[index] = StreamFit(
                index=index,
                name=entry.name,
                label=entry.label,
                sha256=digest,
                shape=shape,  # pyright: ignore[reportArgumentType]
                psnr_db=float(psnr_from_mse(np.float64(mse))),
                steps=steps,
                stopped=STOPPED[status],
                variables={"params": params, "constants": pool.constants},
                model=pool.model,
                config=self._config.replace(seed=seed),
            )
        if not waiting and len(pool.free) == pool.count:
            # A shape that is over gives its memory back; its program is kept.
            del self._waiting[shape]
            if len(self._pools) > self._keep:
                del self._pools[shape]


def check_memory(
    shape: tuple[int, ...], config: Config, lanes: int, options: dict[str, Any]
) -> None:
    """Refuse lanes that need more memory than there is.

    Raises:
        DeviceError: with the bytes of both.
    """
    from jax_inr import tasks
    from jax_inr.job import make_job

    parts = {k: v for k, v in options.items() if k not in ("device", "start")}
    task = tasks.from_config(config, np.zeros(shape, np.float32))
    needed = lanes * cost.job_bytes(make_job(task, config, **parts))
    left = cost.memory_left(None)
    if needed > left:
        raise DeviceError(
            f"{lanes} lanes need about {needed / 2**30:.2f} GiB, and the machine has "
            f"{left / 2**30:.2f} GiB left",
            f"use lanes={max(int(left * lanes / needed), 1)}",
        )
