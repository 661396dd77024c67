"""Programs kept as files: the same numbers, another file for whatever differs."""

import functools
import hashlib
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr import fit, kept, program
from jax_inr.config import Config

X = np.linspace(0, 1, 5, dtype=np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which programs are kept."""
    monkeypatch.setenv(kept.FOLDER, str(tmp_path))
    kept._surroundings.cache_clear()
    yield tmp_path
    kept._surroundings.cache_clear()


def traced(calls: list[int], scale: float, tree):
    """Of a pytree with a random key, another one."""
    calls.append(1)
    noise = jax.random.normal(tree["key"], tree["x"].shape)
    return {"y": (jnp.sin(tree["x"]) * scale + noise,), "key": tree["key"]}


def call(scale: float = 2.0, x=X, **options):
    """Calls the function as a new process would; gives the numbers and its tracings."""
    calls = []

    class Calls:  # equal in all processes, as a static argument is
        __slots__ = ()
        append = calls.append

    def function(scale, tree):
        return traced(Calls, scale, tree)  # pyright: ignore

    function.__qualname__ = "function"
    result = kept.Kept(function, static=(0,), **options)(
        scale, {"x": x, "key": jax.random.key(3)}
    )
    assert jax.random.key_data(result["key"]).tolist() == [0, 3]
    return np.asarray(result["y"][0]), len(calls)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_second_process_traces_nothing_and_gives_the_same_bits(folder):
    first, tracings = call()
    assert tracings == 1 and len(files(folder)) == 1
    again, tracings = call()
    assert tracings == 0 and again.tobytes() == first.tobytes()
    assert len(files(folder)) == 1


def test_nothing_is_kept_unless_asked(tmp_path, monkeypatch):
    monkeypatch.delenv(kept.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    assert call()[1] == call()[1] == 1
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 3.0},
        {"x": X[:3]},
        {"x": X.astype(np.int32)},
        {"compiler_options": kept.QUICK_COMPILE},
    ],
    ids=repr,
)
def test_other_arguments_and_options_have_another_file(folder, changes):
    call()
    expected, tracings = call(**changes)
    assert tracings == 1 and len(files(folder)) == 2
    again, tracings = call(**changes)
    assert tracings == 0 and again.tobytes() == expected.tobytes()


def _other_version(monkeypatch, module):
    monkeypatch.setattr(module, "__version__", "99.0")


SURROUNDINGS = {
    "jax": lambda m: _other_version(m, jax),
    "numpy": lambda m: _other_version(m, np),
    "flags": lambda m: m.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
    "cores": lambda m: m.setattr(kept, "allowed_cores", lambda: 99),
    "source": lambda m: m.setattr(kept, "source_digest", lambda package: "other"),
}


@pytest.mark.parametrize("what", SURROUNDINGS)
def test_another_version_flag_or_source_has_another_file(folder, monkeypatch, what):
    call()
    with monkeypatch.context() as changed:
        SURROUNDINGS[what](changed)
        kept._surroundings.cache_clear()
        assert call()[1] == 1
    assert len(files(folder)) == 2


def test_other_settings_of_the_thread_have_another_file(folder):
    call()
    with jax.default_matmul_precision("bfloat16"):
        assert call()[1] == 1
    assert len(files(folder)) == 2
    assert call()[1] == 0


def test_a_source_is_its_names_and_bytes(tmp_path):
    with pytest.raises(FileNotFoundError):
        kept.source_digest(tmp_path)
    found = set()
    for name, text in (("a", "x = 1"), ("a", "x = 2"), ("sub/b", "x = 1")):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        found.add(kept.source_digest(tmp_path))
    assert len(found) == 3
    path.rename(tmp_path / "sub/c.py")
    assert kept.source_digest(tmp_path) not in found


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-100] + bytes(100),
        lambda data: hashlib.sha256(b"no pickle").digest() + b"no pickle",
    ],
)
def test_a_damaged_file_is_replaced(folder, damage):
    expected, _ = call()
    (path,) = folder.iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    repaired, tracings = call()
    assert tracings == 1 and repaired.tobytes() == expected.tobytes()
    assert path.read_bytes() != damage(good)
    assert call()[1] == 0


def test_many_at_once_leave_one_whole_file(folder):
    expected, _ = call()
    for path in folder.iterdir():
        path.unlink()
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(call()[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.tobytes() for result in results} == {expected.tobytes()}
    assert len(results) == 4 and len(files(folder)) == 1
    assert call()[1] == 0


@pytest.mark.parametrize("place", ["absent", "file"])
def test_a_folder_that_cannot_be_written_changes_nothing(folder, monkeypatch, place):
    expected, _ = call()
    (folder / "file").write_text("")
    monkeypatch.setenv(kept.FOLDER, str(folder / place))
    for _ in range(2):
        result, tracings = call()
        assert tracings == 1 and result.tobytes() == expected.tobytes()


def test_what_jaxs_own_cache_gave_is_not_saved(folder, monkeypatch):
    """XLA forgets functions of a program that it loads and saves again."""
    hit = functools.partial(jax.monitoring.record_event, kept._HIT)

    def function(x):
        hit()
        return x + 1

    assert kept.Kept(function)(X)[0] == 1
    assert not files(folder)


def test_what_is_prepared_is_ready(folder, monkeypatch):
    calls = []

    def function(x):
        calls.append(x)
        return x + 1

    program = kept.Kept(function)
    program.prepare(X)
    assert len(calls) == 1 and len(files(folder)) == 1
    np.testing.assert_array_equal(program(X), X + 1)
    assert len(calls) == 1
    monkeypatch.delenv(kept.FOLDER)
    kept.Kept(function).prepare(X)  # jit's programs cannot be had ahead
    assert len(calls) == 1


def test_a_transform_traces_through(folder):
    program = kept.Kept(jnp.sin)
    np.testing.assert_allclose(jax.grad(program)(0.0), 1)
    np.testing.assert_allclose(jax.vmap(program)(X), np.sin(X), rtol=1e-6)
    assert not files(folder)


@pytest.mark.parametrize(
    "config",
    [
        Config(encoding="pyramid", num_levels=2, finest=8, optimizer="adam"),
        Config(num_frequencies=4, optimizer="muon", network="siren", momentum=0.9),
    ],
    ids=["pyramid", "siren"],
)
def test_a_fit_by_kept_programs_is_the_same_fit(folder, monkeypatch, image, config):
    changes = {"hidden_features": (8,), "steps": 3, "batch_size": 50}
    config = config.replace(**changes, sampling="lattice", learning_rate=1e-3)

    lowerings = []
    lower = jax.stages.Traced.lower

    def counted(self, *arguments, **keywords):
        lowerings.append(self.fun_name)
        return lower(self, *arguments, **keywords)

    monkeypatch.setattr(jax.stages.Traced, "lower", counted)

    def params():
        lowerings.clear()
        program.compile_chunk.cache_clear()
        return {name: x.tobytes() for name, x in fit(image, config).tensors.items()}

    with monkeypatch.context() as without:
        without.delenv(kept.FOLDER)
        expected = params()
    assert params() == expected
    assert "chunk" in lowerings
    names = files(folder)
    assert params() == expected
    assert files(folder) == names and not lowerings
    program.compile_chunk.cache_clear()
