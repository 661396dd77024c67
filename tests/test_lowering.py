"""Every preset's programs can be compiled for a GPU and a TPU, though none is here."""

import functools

import jax
import pytest
from conftest import start
from jax import export

from jax_inr.job import make_job
from jax_inr.presets import PRESETS
from jax_inr.rendering import colours
from jax_inr.tasks import reconstruct
from jax_inr.tensors import float32
from jax_inr.training import train_chunk

PLATFORMS = ["cuda", "tpu"]


def small(name):
    """A preset whose steps are of some pixels of a small image where they were so."""
    config = PRESETS[name]
    return config.replace(batch_size=config.batch_size and 64)


@pytest.mark.slow_cases("cnn", "fast", "quality")
@pytest.mark.parametrize("name", PRESETS)
def test_the_train_chunk_lowers_for_a_gpu_and_a_tpu(name, image):
    config = small(name)
    for platform in PLATFORMS:
        plan = make_job(reconstruct(image), config).plan(platform)
        _, *arguments = start(config, image)
        chunk = jax.jit(functools.partial(train_chunk, plan))
        with float32():
            lowered = export.export(chunk, platforms=[platform])(*arguments, 3)
        assert lowered.platforms == (platform,)
        assert "stablehlo.while" in lowered.mlir_module()


@pytest.mark.parametrize("name", PRESETS)
def test_the_render_chunk_lowers_for_a_gpu_and_a_tpu(name, image):
    model = make_job(reconstruct(image), small(name)).model
    variables = jax.eval_shape(model.init, jax.random.key(0))
    leading = (128,) if model.per_pixel else image.shape[:2]
    coords = jax.ShapeDtypeStruct((*leading, 2), "float32")
    chunk = jax.jit(functools.partial(colours, model))
    with float32():
        lowered = export.export(chunk, platforms=PLATFORMS)(variables, coords)
    assert lowered.out_avals[0].shape == (*leading, 3)
