"""A set of fields from a source and a config: its plan, and the work of one chunk."""

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.datasets.layout import Layout
from jax_inr.datasets.sources import Source, sourced
from jax_inr.datasets.store import STATUS, Meta, Store, splits_of
from jax_inr.datasets.stream import Stream, check, start_of
from jax_inr.errors import ConfigError
from jax_inr.inputs import as_config, as_image
from jax_inr.io.summaries import versions
from jax_inr.io.text import StrPath

# What the sets of the literature are: 30 dB, or 500 steps (Implicit-Zoo).
USUAL = Config(
    encoding="none",
    network="siren",
    hidden_features=(64, 64, 64),
    optimizer="adam",
    learning_rate=2e-3,
    steps=500,
    eval_every=500,
    target_psnr=30.0,
)
KEPT_SHAPES = 4  # whose lanes wait for the next chunk
CHUNK = 256  # fields of a chunk: what a worker that dies loses
DEFAULT_SPLIT = (0.8, 0.1, 0.1)
# A worker of several threads has one stream: its lanes take the chunks in turn.
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the fields of a set are made: all that a worker is told.

    images, labels: of `sourced`, paths or arrays. start: path of a field file, or None.
    """

    images: Any
    labels: Any
    config: Config
    init: str = "random"
    start: str | None = None
    lanes: int | None = None
    device: str = "auto"


def create(
    out: StrPath,
    recipe: Recipe,
    *,
    chunk: int = CHUNK,
    dtype: str = "float32",
    split: tuple[float, ...] = DEFAULT_SPLIT,
) -> Store:
    """The store of a recipe's set: a new one, or the one that is there.

    Raises:
        ConfigError: options that cannot be; a source without a known end.
        OutputError: another set is there, and is left as it is.
    """
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype is {dtype!r}; it must be float32 or float16")
    check(recipe.config, recipe.lanes, recipe.init)
    if chunk < 1:
        raise ConfigError(f"chunk is {chunk}; it must be at least 1")
    source = sourced(recipe.images, recipe.labels)
    if source.get is None or source.count is None:
        raise ConfigError(
            "an iterator's end is not known, and a set has room for each of its fields",
            "save the images as an .npy array or in a folder first",
        )
    return Store.create(out, _meta(recipe, source, chunk, dtype, split))


def _meta(
    recipe: Recipe,
    source: Source,
    chunk: int,
    dtype: str,
    split: tuple[float, ...],
) -> Meta:
    from jax_inr.job import make_job
    from jax_inr.tasks import from_config
    from jax_inr.tensors import flatten, float32
    from jax_inr.trainer import draw_variables

    assert source.get is not None and source.count is not None
    config, count = recipe.config, source.count
    entries = source.names_and_labels()
    first, digests = None, []
    for index in range(count):
        image = as_image(source.get(index).image)
        first = first or image
        digests.append(image.sha256)
    assert first is not None
    with float32():
        task = from_config(config, first.image)
        model = make_job(task, config).model
        drawn = flatten(draw_variables(model, np.uint32(config.seed))[0])
    layout = Layout.of(drawn)
    start_sha256 = None
    if recipe.start is not None:
        start = flatten({"params": start_of(recipe.start)})
        start_sha256 = hashlib.sha256(layout.pack(start).tobytes()).hexdigest()
    names, labels = entries
    told = "\n".join([*digests, *names, str(labels)])
    about = {
        "config": config.to_dict(),
        "init": "shared" if recipe.start is not None else recipe.init,
        "start_sha256": start_sha256,
        "source_sha256": hashlib.sha256(told.encode()).hexdigest(),
        "count": count,
        "channels": first.image.shape[2],
        "inputs": _inputs(model),
        "dtype": dtype,
        "chunk": min(chunk, count),
        "splits": list(split),
        "classes": list(source.classes),
        "layout": layout.to_json(),
        "versions": versions("jax"),
    }
    constants = {
        name.removeprefix("constants/"): value
        for name, value in drawn.items()
        if name.startswith("constants/")
    }
    labelled = None if labels is None else np.asarray(labels, np.int64)
    return Meta(about, constants, names, labelled, splits_of(count, split, config.seed))


def _inputs(model: Any) -> str:
    """What the first layer is given of a position x = (row/height, column/width)."""
    centred = getattr(model.encoding, "centred", None)
    if centred is None:
        return type(model.encoding).__name__
    return "2 x - 1" if centred else "x"


def fit_chunk(
    store: Store, recipe: Recipe, chunk: int, source: Source | None = None
) -> int:
    """Fit the images of a chunk and write their fields; returns how many."""
    from jax_inr.tensors import flatten

    source = sourced(recipe.images, recipe.labels) if source is None else source
    rows = store.rows(chunk)
    with _LOCK:
        stream = _stream(
            *(recipe.config, recipe.lanes, recipe.init, recipe.device),
            *(recipe.start, store.about["start_sha256"]),
        )
        try:
            fits = list(stream.run(source.part(rows.start, rows.stop), rows.start))
        except BaseException:
            # Its lanes hold images of a chunk that nobody will ask for again.
            _stream.cache_clear()
            raise
    params, columns = [], []
    for fit in fits:
        params.append(store.layout.pack(flatten({"params": fit.params})))
        columns.append(
            {
                "psnr_db": fit.psnr_db,
                "steps": fit.steps,
                "seed": fit.config.seed,
                "size": fit.shape[:2],
                "image_sha256": np.frombuffer(bytes.fromhex(fit.sha256), np.uint8),
                "status": STATUS[fit.stopped],
            }
        )
    whole = {name: np.stack([c[name] for c in columns]) for name in columns[0]}
    store.write(chunk, np.stack(params), whole)
    return len(params)


@functools.lru_cache(maxsize=1)
def _stream(
    config: Config,
    lanes: int | None,
    init: str,
    device: str,
    start: str | None,
    start_sha256: str | None,
) -> Stream:
    """The stream of a process, kept from chunk to chunk with its lanes."""
    params = None if start is None else start_of(start)
    options = {"device": device, "start": params}
    return Stream(config, lanes, init, options, keep=KEPT_SHAPES)


def build(
    out: StrPath,
    images: Any,
    config: Config | str | dict[str, Any] | None = None,
    *,
    labels: Any = None,
    init: str = "random",
    start: StrPath | None = None,
    lanes: int | None = None,
    device: str = "auto",
    chunk: int = CHUNK,
    dtype: str = "float32",
    split: tuple[float, ...] = DEFAULT_SPLIT,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
    stop: Callable[[], str] = lambda: "",
) -> Store:
    """Fit a source's images into a store, in this process; a second call goes on.

    Args:
        images, labels, config, init, lanes, device: see `fit_stream`.
        start: path of a field file that all fits begin with.
        chunk: fields that are written at a time.
        dtype: of the stored parameters, float32 or float16.
        split: shares of train, val and test.
        on_progress: given the fields done and all, after each chunk.
        stop: asked after each chunk; a signal's name ends the call.
    """
    start = None if start is None else str(start)
    recipe = Recipe(images, labels, as_config(config), init, start, lanes, device)
    store = create(out, recipe, chunk=chunk, dtype=dtype, split=split)
    fill(store, recipe, on_progress=on_progress, stop=stop)
    return store


def fill(
    store: Store,
    recipe: Recipe,
    *,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
    stop: Callable[[], str] = lambda: "",
) -> bool:
    """Do what is missing of a store, in this process; whether all is done."""
    missing = store.missing()
    done = store.count - sum(_length(store, c) for c in missing)
    on_progress(done, store.count)
    source = sourced(recipe.images, recipe.labels)
    for index in missing:
        if stop():
            return False
        done += fit_chunk(store, recipe, index, source)
        on_progress(done, store.count)
    store.finish()
    return True


def _length(store: Store, chunk: int) -> int:
    rows = store.rows(chunk)
    return rows.stop - rows.start
