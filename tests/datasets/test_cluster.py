"""Sets by several workers: the same bytes, and a line for what cannot be."""

import numpy as np
import pytest
from sets import IMAGES, TINY

from jax_inr import DeviceError, ImageError
from jax_inr.datasets import cluster
from jax_inr.datasets.build import Recipe, build, create
from jax_inr.io.summaries import versions

distributed = pytest.importorskip("distributed")
SHORT = TINY.replace(steps=6)


@pytest.fixture(scope="module")
def client():
    """Two workers that are threads of this process: quick to begin."""
    local = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,  # pyright: ignore[reportArgumentType]
    )
    with local, distributed.Client(local) as client:
        yield client


@pytest.fixture
def recipe(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", np.arange(7))
    files = str(tmp_path / "images.npy"), str(tmp_path / "labels.npy")
    return Recipe(*files, SHORT, lanes=2)


def test_workers_write_the_bytes_of_one_process(client, recipe, tmp_path):
    store = create(tmp_path / "a.zarr", recipe, chunk=2)
    told = []
    assert cluster.run(client, store, recipe, on_progress=lambda *d: told.append(d))
    assert told[0] == (0, 7) and told[-1] == (7, 7)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    alone = build(
        tmp_path / "b.zarr", recipe.images, SHORT, labels=recipe.labels, lanes=2
    )
    for name in ("params", "psnr_db", "label", "mean", "status"):
        one, other = store.group[name][...], alone.group[name][...]
        assert one.tobytes() == other.tobytes(), name


def test_a_signal_leaves_the_rest_to_the_next_run(client, recipe, tmp_path):
    store = create(tmp_path / "a.zarr", recipe, chunk=2)
    assert not cluster.run(client, store, recipe, stop=lambda: "SIGTERM")
    assert "mean" not in store.group
    assert cluster.run(client, store, recipe)
    assert store.missing() == []


def test_an_error_of_a_worker_is_the_commands(client, recipe, tmp_path):
    images = [*IMAGES]
    np.savez(tmp_path / "other.npz", images=np.stack(images) + np.float32(9))
    store = create(tmp_path / "a.zarr", recipe, chunk=2)
    broken = Recipe(str(tmp_path / "other.npz"), recipe.labels, SHORT, lanes=2)
    with pytest.raises(ImageError, match="image"):
        cluster.run(client, store, broken)


def test_a_worker_of_other_versions_is_named(recipe, tmp_path):
    store = create(tmp_path / "a.zarr", recipe, chunk=2)
    other = versions("jax") | {"optax": "0.0.1"}
    with pytest.raises(DeviceError, match=r"worker here has optax .*0\.0\.1") as caught:
        cluster.work(str(store.path), recipe, 0, other)
    assert caught.value.hint and store.missing() == [0, 1, 2, 3]


def test_a_chunk_that_is_there_is_not_fitted_again(recipe, tmp_path, monkeypatch):
    store = create(tmp_path / "a.zarr", recipe, chunk=4)
    own = versions("jax")
    assert cluster.work(str(store.path), recipe, 0, own) == 4
    monkeypatch.setattr(cluster, "fit_chunk", lambda *_: pytest.fail("fitted again"))
    assert cluster.work(str(store.path), recipe, 0, own) == 0


def test_a_worker_keeps_the_memory_that_it_frees(recipe, tmp_path, monkeypatch):
    store, called = create(tmp_path / "a.zarr", recipe, chunk=4), []
    monkeypatch.setattr(cluster.machine, "keep_freed_memory", lambda: called.append(1))
    monkeypatch.setattr(cluster, "fit_chunk", lambda *_: len(called))
    assert cluster.work(str(store.path), recipe, 0, versions("jax")) == 1


def test_a_scheduler_that_does_not_answer_is_a_line(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.3)
    with (
        pytest.raises(DeviceError, match=r"tcp://127\.0\.0\.1:9 does not answer"),
        cluster.remote_client("tcp://127.0.0.1:9"),
    ):
        pass


def test_workers_share_the_cores(monkeypatch):
    taken = []
    monkeypatch.setattr(cluster.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(
        cluster.os, "sched_setaffinity", lambda pid, cores: taken.append(list(cores))
    )
    monkeypatch.setattr(cluster.machine, "devices_for_cores", lambda: None)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    for name in (0, 1, 2):
        cluster.Share(3, "cpu").setup(type("Worker", (), {"name": name}))
    assert taken == [[0, 1], [2, 3], [4, 5]]
