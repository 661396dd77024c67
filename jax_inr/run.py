"""A run: one fit, from the caller's arguments to its result."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jax_inr import cost, machine
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.inputs import as_image
from jax_inr.io.images import Image
from jax_inr.io.runs import RunFolder
from jax_inr.lanes import Rules
from jax_inr.recording import PARTS, Found, Identity, hash_arrays
from jax_inr.results import Fit
from jax_inr.scaling import for_image
from jax_inr.values import AUTO, AUTOS

MOST_AT_ONCE = 64  # fits of one program


@dataclasses.dataclass
class Run:
    """One fit: its identity, its folder and its outcome."""

    name: str
    image: Image | None
    shape: tuple[int, int, int]
    identity: Identity
    rules: Rules
    job: Any = None  # a Job, of the JAX back end
    out: Path | None = None
    folder: RunFolder | None = None
    found: Found | None = None  # where the run goes on
    fit: Fit | None = None
    error: Exception | None = None
    notices: tuple[str, ...] = ()  # on what the config left to the run

    @property
    def config(self) -> Config:
        """The config of the fit."""
        return self.identity.config

    @property
    def backend(self) -> str:
        """The back end that computes."""
        return self.identity.backend

    def kept(self) -> Fit:
        """The fit as far as it got; raises its error if there is none."""
        if self.fit is None:
            assert self.error is not None
            raise self.error
        return self.fit

    def result(self) -> Fit:
        """The fit; raises its error if it has failed."""
        if self.error is not None:
            raise self.error
        return self.kept()


def make_run(
    image: Any,
    config: Config,
    *,
    encoding: Any = None,
    network: Any = None,
    optimizer: Any = None,
    loss: Any = None,
    backend: str = "jax",
    out: Any = None,
    name: str = "",
    device: str = "auto",
) -> Run:
    """Make a run of the caller's arguments.

    Raises:
        ConfigError, ImageError, DeviceError: as their names say.
    """
    given = {"encoding": encoding, "network": network, "optimizer": optimizer}
    given["loss"] = loss
    is_task = (
        hasattr(image, "values")
        and hasattr(image, "items")
        and not (isinstance(image, dict))
    )
    given["task"] = image if is_task else None
    given = {part: thing for part, thing in given.items() if thing is not None}
    out = None if out is None else Path(out).expanduser()
    if backend == "torch":
        if given:
            raise ConfigError(
                f"the torch back end fits the notebook's networks, not your {[*given]}",
                "leave them out, or use the jax back end",
            )
        image = as_image(image)
        config, notices = _resolved(config, image, given)
        identity = Identity(hash_arrays(image.image), config, backend)
        whole = _is_whole(config.batch_size, image.image[..., 0].size)
        rules = _rules(config, whole)
        shape = image.image.shape
        return Run(name, image, shape, identity, rules, out=out, notices=notices)  # pyright: ignore
    if backend != "jax":
        raise ConfigError(f"unknown back end {backend!r}", "use jax or torch")
    # A device that is absent is one line, before JAX looks for one by itself.
    machine.select(device)
    return _make_jax_run(image, config, given, out, name)


def _make_jax_run(
    image: Any, config: Config, given: dict[str, Any], out: Path | None, name: str
) -> Run:
    # Imported late: the torch back end does without JAX.
    from jax_inr import tasks
    from jax_inr.adapters import identify
    from jax_inr.job import make_job
    from jax_inr.tensors import float32

    notices: tuple[str, ...] = ()
    if "task" in given:
        config.number("sigma")
        config.number("omega_0")
        task, image = image, None
        if given.get("loss") is not None:
            task = task.replace(loss=given["loss"])
        if task.image is not None:
            image = as_image(task.image)
        digest = tasks.described(task)
    else:
        image = as_image(image)
        if not given:
            config = for_image(config, *image.image.shape[:2])
        config, notices = _resolved(config, image, given)
        task = tasks.from_config(config, image.image, given.get("loss"))
        digest = hash_arrays(image.image)
    with float32():
        job = make_job(
            task,
            config,
            encoding=given.get("encoding"),
            network=given.get("network"),
            optimizer=given.get("optimizer"),
        )
    parts = tuple(
        (
            part,
            identify(given[part] if part != "task" else task.predict or task.combine),
        )
        for part in sorted(PARTS)
        if part in given
    )
    whole = _is_whole(config.batch_size, len(task.values))
    is_mse = task.loss is tasks.squared and task.weights is None and not task.penalties
    evaluates = whole and is_mse and task.pixels is not None and job.model.is_bounded
    identity = Identity(digest, config, "jax", parts)
    rules = _rules(config, evaluates and task.held_out is None)
    if task.held_out is not None:
        rules = dataclasses.replace(rules, patience_steps=task.held_out.patience_steps)
    return Run(name, image, task.shape, identity, rules, job, out, notices=notices)


def _resolved(
    config: Config, image: Image, given: dict[str, Any]
) -> tuple[Config, tuple[str, ...]]:
    """The config with numbers for `auto`, and a line on each."""
    autos = [name for name in AUTOS if getattr(config, name) == AUTO]
    if not autos:
        return config, ()
    if own := [part for part in ("encoding", "network") if part in given]:
        raise ConfigError(
            f"{autos[0]} is auto, which is found for the config's own networks, not "
            f"your {own[0]}",
            f"leave {autos[0]} out",
        )
    # Imported late: it draws fields, and JAX takes a second.
    from jax_inr.spectrum import resolved

    return resolved(config, image.image)


def _is_whole(batch_size: int | None, count: int) -> bool:
    return not batch_size or batch_size >= count


def _rules(config: Config, losses_evaluate: bool) -> Rules:
    # A target is checked against the very parameters that are kept.
    return Rules(
        config.steps,
        config.eval_every,
        config.target_psnr,
        config.max_seconds,
        losses_evaluate and config.target_psnr is None,
    )


def grouped(
    runs: Iterable[Run], max_memory_bytes: int | None = None
) -> Iterator[list[Run]]:
    """Groups of runs that share a program, each small enough for memory.

    Runs that are done already count too, so that a second call makes the same groups
    and the same programs, and what goes on is bit for bit the same.
    """
    alike: dict[Any, list[Run]] = {}
    for run in runs:
        assert run.job is not None
        alike.setdefault((run.job.alike, run.job.precision), []).append(run)
    for several in alike.values():
        job = several[0].job
        assert job is not None
        left = cost.memory_left(max_memory_bytes)
        most = left // (2 * max(cost.job_bytes(job), 1))
        most = min(max(most, 1), MOST_AT_ONCE)
        for start in range(0, len(several), most):
            yield several[start : start + most]
