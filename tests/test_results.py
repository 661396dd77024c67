"""Fit and its field: pytrees, one line each, float32 whatever JAX's switches say."""

import io
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jax_inr import program
from jax_inr.config import Config
from jax_inr.field import ImageField
from jax_inr.fitting import fit
from jax_inr.io.tensorfile import load_tensors
from jax_inr.presets import PRESETS, preset
from jax_inr.results import Fit, FitMany

TINY: dict[str, Any] = {"hidden_features": (8, 6), "steps": 3}
SMALL = Config(num_frequencies=8, sigma=2.0, **TINY)
COORDS = jnp.asarray(np.random.default_rng(0).random((5, 2)), jnp.float32)


def tiny(name):
    """A preset at a size that fits in no time."""
    config = preset(name).replace(num_frequencies=8, **TINY)
    return config.replace(finest=16) if name == "fast" else config


@pytest.fixture
def fields(image):
    """Fields of other seeds and sigmas."""
    configs = [SMALL, SMALL.replace(seed=1, sigma=3.0)]
    return [fit(image, config).field for config in configs]


@pytest.mark.slow
def test_a_field_goes_through_jit(fields):
    values: Any = jax.jit(lambda field, coords: field.apply(field.params, coords))
    for field in fields:
        np.testing.assert_allclose(values(field, COORDS), field(COORDS), atol=1e-6)
    # The second is another argument of the same program.
    assert values._cache_size() == 1


def test_fields_of_other_seeds_and_sigmas_stack(fields):
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *fields)
    assert isinstance(stacked, ImageField)
    apply = jax.vmap(lambda field: field.apply(field.params, COORDS))
    for found, field in zip(apply(stacked), fields, strict=True):
        np.testing.assert_allclose(found, field(COORDS), atol=1e-6)
    assert np.abs(apply(stacked)[0] - apply(stacked)[1]).max() > 1e-3


def test_a_fit_and_a_field_say_what_they_are_in_one_line(image):
    result = fit(image, SMALL)
    assert (
        repr(result)
        == f"Fit(12x17x3, {result.psnr_db:.2f} dB, 3 steps, ended by steps)"
    )
    # 16*8 + 8 + 8*6 + 6 + 6*3 + 3 weights and biases.
    assert repr(result.field) == "ImageField(12x17x3, 211 parameters, step 3)"


@pytest.mark.slow_cases("fast", "cnn", "quality", "fourier")
@pytest.mark.parametrize("name", PRESETS)
def test_a_fit_is_the_same_under_x64(name, image, tmp_path):
    expected = fit(image, tiny(name))
    program.compile_chunk.cache_clear()
    with jax.enable_x64(True):
        result = fit(image, tiny(name))
        result.field.save(tmp_path / "field.safetensors")
        rendered = ImageField.load(tmp_path / "field.safetensors").render()
    tensors, _ = load_tensors(tmp_path / "field.safetensors", "field")
    assert {tensor.dtype.name for tensor in tensors.values()} == {"float32"}
    for tensor_name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(tensors[tensor_name], tensor)
    assert rendered.dtype == np.float32
    again = ImageField.load(tmp_path / "field.safetensors").render()
    np.testing.assert_array_equal(rendered, again)


@pytest.mark.slow_cases("hash_grid", "basic", "positional")
@pytest.mark.parametrize("encoding", ["basic", "positional", "periodic", "hash_grid"])
def test_a_field_under_x64_gives_float32(encoding, image):
    field = fit(image, SMALL.replace(encoding=encoding, finest=16)).field
    with jax.enable_x64(True):
        assert field(COORDS).dtype == jnp.float32
        assert field.apply(field.params, COORDS).dtype == jnp.float32


@pytest.fixture
def strict():
    """Strict dtype promotion, in all threads: nothing is promoted by accident."""
    before = jax.config.jax_numpy_dtype_promotion  # pyright: ignore
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    program.compile_chunk.cache_clear()
    yield
    jax.config.update("jax_numpy_dtype_promotion", before)


@pytest.mark.slow_cases("fast", "cnn", "fourier")
@pytest.mark.parametrize("name", PRESETS)
def test_no_type_is_promoted_by_accident(name, image, strict):
    with pytest.raises(Exception, match="promotion"):
        jnp.add(jnp.float32(1), jnp.int32(1))
    config = tiny(name)
    if config.optimizer in ("adam", "muon"):
        # optax itself promotes the count of steps in these.
        config = config.replace(optimizer="sgd")
    assert np.isfinite(fit(image, config).psnr_db)


@pytest.mark.slow_cases("positional", "hash_grid", "none")
@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "trainable", "optimizer": "lion", "learning_rate": 1e-3},
        {"encoding": "hash_grid", "finest": 16, "log2_table_size": 4},
        {"encoding": "none", "network": "wire", "matmul_precision": "bfloat16"},
        {"encoding": "periodic", "network": "gauss", "batch_size": 9},
        {"encoding": "positional", "train_pixels": "random", "optimizer": "lbfgs"},
        {"encoding": "basic", "network": "finer", "schedule": "cosine"},
    ],
    ids=lambda fields: fields["encoding"],
)
def test_no_type_of_other_parts_is_promoted_by_accident(fields, image, strict):
    config = SMALL.replace(**{"learning_rate": 1e-2, **fields})
    assert np.isfinite(fit(image, config).psnr_db)


HEADER = {"config": Config().to_dict(), "height": 4, "width": 5, "channels": 3}


def made(**summary):
    about = {"psnr_db": 31.256, "ssim": None, "steps": 7, "stopped": "steps", **summary}
    tensors = {"params/a": np.zeros((1000, 100), np.float32)}
    return Fit(about, [], tensors, HEADER, None, np.zeros((4, 5, 3), np.float32))


def run(name, fit=None, error=None):
    def kept():
        if fit is None:
            assert error is not None
            raise error
        return fit

    return types.SimpleNamespace(name=name, fit=fit, error=error, kept=kept)


def test_a_fit_is_told_in_one_short_line():
    assert repr(made()) == "Fit(4x5x3, 31.26 dB, 7 steps, ended by steps)"
    assert repr(made(psnr_db=None)) == "Fit(4x5x3, 7 steps, ended by steps)"


def test_typed_results_are_those_of_the_summary():
    fit = made(seconds={"fit": 1.5})
    assert (fit.psnr_db, fit.ssim, fit.steps, fit.stopped) == (31.256, None, 7, "steps")
    assert fit.seconds == {"fit": 1.5}


def test_a_notebook_shows_the_image():
    with Image.open(io.BytesIO(made()._repr_png_())) as shown:
        assert (shown.format, shown.size) == ("PNG", (5, 4))


def test_many_are_a_sequence_whose_failures_are_raised_where_they_are_asked_for():
    good, partial, error = made(), made(), ZeroDivisionError("a bug")
    fits = FitMany(
        [run("a", good), run("b", None, error), run("c", partial, OSError("disk"))]
    )
    assert len(fits) == 3 and fits.names == ["a", "b", "c"]
    assert fits[0] is good and fits[-1] is partial and fits[:1] == [good]
    with pytest.raises(ZeroDivisionError):
        fits[1]
    with pytest.raises(IndexError):
        fits[3]
    assert {*fits.failures} == {"b", "c"} and fits.failures["b"] is error
    assert fits.done == {"a": good}
    assert repr(fits) == "FitMany(3 fits, 2 failures)"
