"""Sets by many processes: Dask Distributed, on one machine or a cluster.

A task is a chunk of images. A worker keeps JAX and its compiled program over all its
tasks; where one dies, another does its chunk again.
"""

import contextlib
import functools
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from jax_inr import extras, machine
from jax_inr.datasets.build import Recipe, fit_chunk
from jax_inr.datasets.sources import Source, sourced
from jax_inr.datasets.store import Store
from jax_inr.errors import DeviceError, JaxInrError
from jax_inr.io import summaries

# A chunk whose workers have died so often is at fault itself.
ALLOWED_DEATHS = 10
ANSWER_SECONDS = 10
POLL_SECONDS = 0.5


def distributed() -> Any:
    """The distributed module; ConfigError where it is not installed."""
    return extras.load(
        "distributed", "several workers need Dask Distributed", "cluster"
    )


class Share:
    """A plugin of a local cluster's workers: the cores, or the GPU, of each.

    It runs before the worker imports JAX. Worker i takes cores i k to i k + k - 1 and
    makes a device of each.
    """

    name = "jax-inr-share"

    def __init__(self, workers: int, device: str) -> None:
        self.workers, self.device = workers, device

    def setup(self, worker: Any) -> None:
        """Called in each worker when it starts, and when it starts again."""
        number = int(worker.name)
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        if self.device == "gpu":
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(number))
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            share = max(len(cores) // self.workers, 1)
            start = number * share % len(cores)
            os.sched_setaffinity(0, cores[start : start + share])
        machine.devices_for_cores()


@contextlib.contextmanager
def local_client(workers: int, device: str = "auto") -> Iterator[Any]:
    """A client of worker processes on this machine, which end with it."""
    library = distributed()
    import dask.config

    with dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_DEATHS}):
        cluster = library.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            # A worker's memory is what its lanes need; Dask's own limit would kill it.
            memory_limit=0,
        )
        with cluster, library.Client(cluster) as client:
            client.register_plugin(_as_plugin(Share(workers, device)))
            yield client


def _as_plugin(share: Share) -> Any:
    """The share as a WorkerPlugin, whose class exists where distributed does."""
    plugin = distributed().WorkerPlugin
    return type("SharePlugin", (Share, plugin), {})(share.workers, share.device)


@contextlib.contextmanager
def remote_client(address: str) -> Iterator[Any]:
    """A client of a scheduler that runs somewhere.

    Raises:
        DeviceError: it does not answer.
    """
    library = distributed()
    try:
        client = library.Client(address, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise DeviceError(
            f"the scheduler {address} does not answer within {ANSWER_SECONDS} s",
            "check the address: dask scheduler prints it as it starts",
        ) from error
    with client:
        yield client


def work(path: str, recipe: Recipe, chunk: int, versions: dict[str, str]) -> int:
    """A worker's task: fit and write a chunk; returns its number of fields.

    Raises:
        DeviceError: the worker has other packages than the command; both are named.
    """
    machine.keep_freed_memory()
    own = summaries.versions("jax")
    for name, wanted in versions.items():
        if own[name] != wanted:
            raise DeviceError(
                f"worker {_address()} has {name} {own[name]}, and the command "
                f"{wanted}: their fields would differ",
                "give the workers the same environment",
            )
    store = Store(path)
    if chunk not in store.missing():
        # Dask asks again for what a dead worker had done: the store has it.
        return 0
    return fit_chunk(store, recipe, chunk, _source(recipe.images, recipe.labels))


@functools.lru_cache(maxsize=2)
def _source(images: Any, labels: Any) -> Source:
    return sourced(images, labels)


def _address() -> str:
    with contextlib.suppress(ValueError):
        return distributed().get_worker().address
    return "here"


def run(
    client: Any,
    store: Store,
    recipe: Recipe,
    *,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
    stop: Callable[[], str] = lambda: "",
) -> bool:
    """Have a client's workers do what is missing of a store; whether all is done.

    Raises:
        DeviceError: a chunk's workers died again and again, or have other versions.
    """
    library = distributed()
    path, missing = str(store.path.absolute()), store.missing()
    sizes = {c: store.rows(c).stop - store.rows(c).start for c in missing}
    done = store.count - sum(sizes.values())
    on_progress(done, store.count)
    versions = summaries.versions("jax")
    # Under a name of its own: a run before this one may have been cancelled.
    name = f"{path}-{uuid.uuid4().hex}"
    futures = {
        client.submit(work, path, recipe, chunk, versions, key=f"{name}-{chunk}"): chunk
        for chunk in missing
    }
    pending = set(futures)
    while pending:
        if stop():
            client.cancel(list(pending))
            return False
        try:
            library.wait(
                list(pending), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED"
            )
        except TimeoutError:
            continue
        except library.client.FuturesCancelledError as error:
            raise DeviceError(
                "the scheduler has lost the work",
                "the same command goes on, once the scheduler is there",
            ) from error
        for future in [future for future in pending if future.done()]:
            pending.discard(future)
            _raise_for(future, futures[future], library)
            future.release()
            done += sizes[futures[future]]
            on_progress(done, store.count)
    store.finish()
    return True


def _raise_for(future: Any, chunk: int, library: Any) -> None:
    error = future.exception()
    if error is None:
        return
    if isinstance(error, library.scheduler.KilledWorker):
        raise DeviceError(
            f"chunk {chunk}: its workers died {ALLOWED_DEATHS} times",
            "give them more memory, or take a smaller --chunk or --lanes",
        ) from error
    if isinstance(error, JaxInrError):
        raise error
    raise DeviceError(f"chunk {chunk}: {type(error).__name__}: {error}") from error
