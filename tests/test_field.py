"""The field: one file that gives the same picture back, and composes in JAX."""

import functools
import json
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fakes import make_field
from jax.core import Tracer

from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.errors import CheckpointError, ConfigError, OutputError
from jax_inr.field import ImageField
from jax_inr.io import tensorfile
from jax_inr.io.text import shown
from jax_inr.tensors import flatten

MLP = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12), seed=3)
BASIC = MLP.replace(encoding="basic")
CNN = Config(network="cnn", encoding="none", hidden_features=(4, 5))
CONFIGS = {"mlp": MLP, "basic": BASIC, "cnn": CNN}


@functools.cache
def field_of(config, channels=3):
    return make_field(config, 12, 17, channels, step=40, backend="jax")


def rewritten(path, change, tensors=None):
    """A field file whose header or tensors are changed, with a hash that fits."""
    field = field_of(MLP)
    header = field.header()
    change(header)
    tensorfile.save_tensors(path, "field", tensors or flatten(field.variables), header)
    return path


# Saving and loading


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_field_comes_back_to_the_bit(tmp_path, name):
    field = field_of(CONFIGS[name])
    field.save(tmp_path / "a.safetensors")
    back = ImageField.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(back.render(), field.render())
    np.testing.assert_array_equal(back.render(24, 20), field.render(24, 20))
    assert (back.config, back.header()) == (field.config, field.header())
    jax.tree.map(np.testing.assert_array_equal, back.variables, field.variables)
    back.save(tmp_path / "b.safetensors")
    first, second = (tmp_path / f"{n}.safetensors" for n in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_the_header_says_what_was_fitted():
    header = field_of(MLP).header()
    assert json.loads(json.dumps(header)) == {
        "config": MLP.to_dict(),
        "height": 12,
        "width": 17,
        "channels": 3,
        "step": 40,
        "backend": "jax",
    }


def test_the_file_holds_the_tensors_of_the_contract(tmp_path):
    field_of(MLP).save(tmp_path / "a.safetensors")
    tensors, _ = tensorfile.load_tensors(tmp_path / "a.safetensors", "field")
    layers = [
        f"params/dense_{i}/{leaf}" for i in range(3) for leaf in ("kernel", "bias")
    ]
    assert {*tensors} == {"constants/frequencies", *layers}


def test_a_wrong_shape_names_file_leaf_and_both_shapes(tmp_path):
    name = "params/dense_1/kernel"
    tensors = {**flatten(field_of(MLP).variables), name: np.zeros((12, 16), np.float32)}
    path = rewritten(tmp_path / "a\nb.safetensors", lambda header: None, tensors)
    with pytest.raises(CheckpointError) as caught:
        ImageField.load(path)
    assert str(caught.value).isprintable()  # one line, whatever the path is
    for word in (shown(path), name, "[12, 16]", "[16, 12]"):
        assert word in str(caught.value)


def test_a_missing_and_a_surplus_tensor_are_named(tmp_path):
    tensors = flatten(field_of(MLP).variables)
    short = {n: x for n, x in tensors.items() if n != "constants/frequencies"}
    path = rewritten(tmp_path / "a.safetensors", lambda header: None, short)
    with pytest.raises(CheckpointError, match="constants/frequencies is missing"):
        ImageField.load(path)
    surplus = {**tensors, "params/dense_3/bias": np.zeros(3, np.float32)}
    path = rewritten(tmp_path / "b.safetensors", lambda header: None, surplus)
    with pytest.raises(CheckpointError, match="params/dense_3/bias is not part"):
        ImageField.load(path)


HEADERS = {
    "no height": lambda h: h.pop("height"),
    "height 0": lambda h: h.update(height=0),
    "negative width": lambda h: h.update(width=-17),
    "width not whole": lambda h: h.update(width=17.0),
    "height true": lambda h: h.update(height=True),
    "size beyond 31 bits": lambda h: h.update(height=2**31),
    "two channels": lambda h: h.update(channels=2),
    "step as text": lambda h: h.update(step="40"),
    "no config": lambda h: h.pop("config"),
    "config no object": lambda h: h.update(config=[]),
    "unknown field": lambda h: h["config"].update(sigmaa=1),
    "field out of range": lambda h: h["config"].update(sigma=-1),
    "field called self": lambda h: h["config"].update(self=1),
    "other network": lambda h: h["config"].update(num_frequencies=9),
    "cnn with encoding": lambda h: h["config"].update(network="cnn"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_wrong_is_a_checkpoint_error(tmp_path, name):
    path = rewritten(tmp_path / "a.safetensors", HEADERS[name])
    with pytest.raises(CheckpointError) as caught:
        ImageField.load(path)
    assert str(path) in str(caught.value)


def test_a_hostile_header_allocates_nothing(tmp_path, monkeypatch):
    def enormous(header):
        header.update(height=2**31 - 1, width=2**31 - 1)
        header["config"].update(num_frequencies=65_536, hidden_features=[65_536] * 64)

    path = rewritten(tmp_path / "a.safetensors", enormous)
    uniform = jax.random.uniform

    def traced(key, *args):
        # JAX draws later than it is asked to, so no error would tell.
        assert isinstance(key, Tracer)
        return uniform(key, *args)

    monkeypatch.setattr(jax.random, "uniform", traced)
    tracemalloc.start()
    # A first layer of 32 GiB, if it were made.
    with pytest.raises(CheckpointError, match=r"expected float32\[\S+ 65536\]"):
        ImageField.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25


def test_a_field_that_cannot_be_written_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        field_of(MLP).save(tmp_path / "nowhere" / "a.safetensors")


# A function of position


def test_calling_and_rendering_agree():
    field = field_of(MLP)
    grid = pixel_grid(12, 17)
    np.testing.assert_allclose(field(grid), field.render(), atol=1e-6)
    np.testing.assert_allclose(field(jnp.asarray(grid)), field.render(), atol=1e-6)
    assert field(jnp.zeros(2)).shape == (3,)
    # One side keeps the aspect.
    assert field.render(width=5).shape == (4, 5, 3)
    assert field.render(height=5).shape == (5, 7, 3)


@pytest.mark.parametrize("name", CONFIGS)
def test_rgb_max_256_is_undone(name):
    plain = field_of(CONFIGS[name])
    notebook = make_field(
        plain.config.replace(rgb_max=256), 12, 17, variables=plain.variables
    )
    # A target of 255 / 256 stands for white.
    scaled = plain.render().astype(np.float64) * 256 / 255
    np.testing.assert_allclose(notebook.render(), scaled, rtol=1e-6)
    grid = pixel_grid(12, 17)
    np.testing.assert_allclose(notebook(grid), notebook.render(), atol=1e-6)


def test_apply_composes_with_jit_vmap_and_grad():
    field = field_of(MLP)
    coords = jnp.asarray(pixel_grid(12, 17).reshape(-1, 2)[:20])
    expected = field(coords)
    jitted = jax.jit(field.apply)(field.params, coords)
    np.testing.assert_allclose(jitted, expected, atol=1e-6)
    mapped = jax.jit(jax.vmap(field.apply, (None, 0)))(field.params, coords)
    np.testing.assert_allclose(mapped, expected, atol=1e-6)
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), field.params)
    both = jax.jit(jax.vmap(field.apply, (0, None)))(ensemble, coords)
    np.testing.assert_allclose(both[0], expected, atol=1e-6)
    assert np.abs(both[1] - both[0]).max() > 1e-3


def test_fields_in_a_stack_are_rendered_by_vmap_and_refused_by_render():
    field = field_of(MLP)
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), field, field)
    coords = jnp.asarray(pixel_grid(12, 17))
    both = jax.vmap(lambda field: field.apply(field.params, coords))(stack)
    np.testing.assert_allclose(both[1], field(coords), atol=1e-6)
    for draw in (stack.render, lambda: stack(coords), lambda: stack.gradient(coords)):
        with pytest.raises(ConfigError, match="2 fields in a stack") as caught:
            draw()
        assert "take one" in caught.value.hint


def test_the_picture_has_a_gradient_in_space_and_in_the_parameters():
    field, at, step = field_of(MLP), jnp.array([0.3, 0.6]), 1e-3
    slopes = jax.jit(jax.jacobian(field))(at)
    assert slopes.shape == (3, 2)
    for axis in (0, 1):
        ahead, behind = field(at.at[axis].add(step)), field(at.at[axis].add(-step))
        difference = (ahead - behind) / (2 * step)
        # Second order in the step and float32's 6e-8 over it; ReLU's kinks aside.
        np.testing.assert_allclose(slopes[:, axis], difference, atol=3e-3)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(field.apply(p, at))))(field.params)
    assert jax.tree.structure(grads) == jax.tree.structure(field.params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert np.abs(grads["dense_0"]["kernel"]).max() > 0
