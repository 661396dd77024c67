"""`jax-inr dataset`: a set of fields from images, on this machine or a cluster."""

import contextlib
import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Literal

import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse
from jax_inr.config import Config
from jax_inr.errors import ConfigError, Interrupted


@dataclasses.dataclass(frozen=True)
class Options:
    """Fit thousands of images into a set of fields; a second run does what is missing.

    Without --config the fields are SIRENs of 3 layers of 64, fitted by Adam to 30 dB
    or 500 steps.
    """

    source: tyro.conf.Positional[Path]
    """A folder of images (folders in it are classes), or .npy or .npz of (n, h, w, c);
    with --export or --verify, a set."""
    out: Path | None = None
    """The set to write, as set.zarr; of --export, the folder."""
    labels: Path | None = None
    """Labels of the images, an .npy of whole numbers."""
    config: Path | None = None
    """A config.json to take all fields of the config from."""
    changes: tuple[str, ...] = ()
    """NAME=VALUE of config fields, as target_psnr=40 hidden_features=[32,32]."""
    init: Literal["random", "shared"] = "random"
    """First weights: of each image's own seed, or the same for all."""
    start: Path | None = None
    """A field file that all fits begin with, as a learned start."""
    lanes: int | None = None
    """Fits in progress at a time in a process; left out: measured."""
    chunk: int = 256
    """Fields that are written at a time."""
    dtype: Literal["float32", "float16"] = "float32"
    """Of the stored weights."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, val and test."""
    workers: int | None = None
    """Worker processes on this machine; left out: none but this process."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers see the same files: tcp://host:8786."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute."""
    export: Literal["dwsnets", "fit-a-nef", "safetensors"] | None = None
    """Write the set in a form that others read, into the folder --out."""
    verify: bool = False
    """Check the set; with --images, measure its PSNR again."""
    images: Path | None = None
    """The images of the set, for --verify."""
    quiet: bool = False
    """Print nothing but errors and notices."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Make, check or export a set; the exit code."""
    options = parse(Options, argv, "dataset")
    check_numbers(
        ("chunk", options.chunk, 1, 10**6),
        ("lanes", options.lanes, 1, 4096),
        ("workers", options.workers, 1, 1024),
    )
    if options.verify or options.export:
        return _read(options)
    if options.out is None:
        raise ConfigError("--out is missing", "name the set, as --out set.zarr")
    if options.workers and options.scheduler:
        raise ConfigError(
            "--workers starts a cluster and --scheduler uses one",
            "leave one of them out",
        )
    process.prepare_device(options.device)
    return _build(options, options.out, _config(options))


def _config(options: Options) -> Config:
    from jax_inr.cli.options import read_config
    from jax_inr.datasets.build import USUAL

    config = USUAL if options.config is None else read_config(options.config)
    changes: dict[str, Any] = {}
    for word in options.changes:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not NAME=VALUE", "as target_psnr=40")
        try:
            changes[name.replace("-", "_")] = json.loads(text)
        except ValueError:
            changes[name.replace("-", "_")] = text
    return config.replace(**changes)


def _build(options: Options, out: Path, config: Config) -> int:
    from jax_inr import machine

    if options.workers is None and options.scheduler is None:
        machine.devices_for_cores()
    from jax_inr.cli import progress
    from jax_inr.datasets import build

    recipe = build.Recipe(
        str(options.source.absolute()),
        None if options.labels is None else str(options.labels.absolute()),
        config,
        options.init,
        None if options.start is None else str(options.start.absolute()),
        options.lanes,
        options.device,
    )
    shape = {"chunk": options.chunk, "dtype": options.dtype, "split": options.split}
    store = build.create(out, recipe, **shape)
    console = progress.console()
    begun, first = time.monotonic(), [-1]
    with (
        process.SignalGuard() as guard,
        progress.Meter(console, "field", options.quiet, keep_last=True) as meter,
    ):

        def on_progress(done: int, count: int) -> None:
            if first[0] < 0:
                first[0] = done
            seconds = max(time.monotonic() - begun, 1e-9)
            rate = (done - first[0]) / seconds
            left = (count - done) / rate if rate else None
            meter.tell(done, count, f"{rate:.2f} fields/s" if rate else "", left)

        with _client(options) as client:
            if client is None:
                build.fill(store, recipe, on_progress=on_progress, stop=guard)
            else:
                from jax_inr.datasets import cluster

                if not options.quiet:
                    console.print(
                        f"dashboard: {client.dashboard_link}",
                        highlight=False,
                        markup=False,
                    )
                cluster.run(client, store, recipe, on_progress=on_progress, stop=guard)
    if guard.received is not None:
        raise Interrupted(
            f"stopped by {guard.received.name}; the same command goes on",
            guard.received,
        )
    if not options.quiet:
        _tell(out)
    return 0


@contextlib.contextmanager
def _client(options: Options) -> Any:
    if options.workers is None and options.scheduler is None:
        yield None
        return
    from jax_inr.datasets import cluster

    if options.scheduler is not None:
        with cluster.remote_client(options.scheduler) as client:
            yield client
    else:
        assert options.workers is not None
        with cluster.local_client(options.workers, options.device) as client:
            yield client


def _tell(out: Path) -> None:
    import numpy as np

    from jax_inr.datasets.fieldset import FieldSet

    fields = FieldSet.open(out)
    psnr_db, steps = fields.psnr_db, fields.steps
    diverged = int(np.isnan(psnr_db).sum())
    text = (
        f"{len(fields)} fields of {fields.layout.size:,} parameters, "
        f"{np.nanmean(psnr_db):.2f} dB and {steps.mean():.0f} steps on average"
    )
    text += f", {diverged} diverged" if diverged else ""
    process.Output().write(f"{text}\nwritten to {out}\n")


def _read(options: Options) -> int:
    from jax_inr.datasets.fieldset import FieldSet

    fields = FieldSet.open(options.source)
    if options.export:
        from jax_inr.datasets.exports import EXPORTS

        if options.out is None:
            raise ConfigError("--out is missing", "name the folder of the export")
        EXPORTS[options.export](fields, options.out)
        if not options.quiet:
            process.Output().write(f"written to {options.out}\n")
        return 0
    wrong = fields.verify(options.images, options.labels)
    for line in wrong[:20]:
        process.say(line)
    if not options.quiet:
        process.Output().write(f"{len(fields)} fields, {len(wrong)} faults\n")
    return 4 if wrong else 0
