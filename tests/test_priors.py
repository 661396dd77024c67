"""Priors: frequencies and penalties per pixel, whatever the image's size."""

import numpy as np
import pytest

from jax_inr.errors import ConfigError
from jax_inr.priors import PRIORS, SIDE, SIMILAR, prior
from jax_inr.tasks import (
    NonlocalVariation,
    Sharpened,
    deblur,
    denoise,
    inpaint,
    reconstruct,
    similar_places,
    weight_decay,
)

TASK = reconstruct(np.full((8, 16, 3), 0.5, np.float32))


@pytest.mark.parametrize("kind", PRIORS)
def test_a_prior_has_the_same_frequencies_per_pixel_at_every_size(kind):
    """Frequencies and cells go with the longer side; the penalty is one per pixel."""
    found = prior(kind)
    whole, half = found.config(SIDE, SIDE // 4), found.config(SIDE // 2, 8)
    assert whole == found.base.replace(eval_every=whole.eval_every)
    omegas = [config.number("omega_0") for config in (half, whole)]
    assert omegas[0] == pytest.approx(omegas[1] / 2)
    if whole.encoding == "dense_grid":
        assert (half.finest, half.coarsest) == (whole.finest // 2, whole.coarsest // 2)
    task = TASK
    if found.balance is not None:
        task = deblur(np.full((8, 16, 3), 0.5, np.float32), np.ones((3, 5)))
    penalties = found.penalised(task).penalties
    assert len(penalties) == bool(found.weight)
    for penalty in penalties:
        assert (penalty.function.height, penalty.function.width) == (8, 16)
        assert penalty.function.is_joint and penalty.weight == found.weight


def test_a_weight_grows_with_the_noise_unless_it_is_given():
    found = prior("gradients")
    assert found.penalised(TASK, 0.0).penalties == ()
    (penalty,) = found.penalised(TASK, 0.1).penalties
    np.testing.assert_allclose(penalty.weight, 0.1 * found.weight_of_noise)
    first, second = found.penalised(
        TASK, 0.1, total_variation=0.5, weight_decay=0.25
    ).penalties
    assert first.weight == 0.5
    assert (second.function, second.weight, second.points) == (weight_decay, 0.25, None)


def test_noise_draws_a_pixel_to_what_looks_like_it():
    """Of the whole image's pixels; inpainted ones are not known to be alike."""
    image = np.random.default_rng(0).random((8, 16, 3)).astype(np.float32)
    found = prior("denoise")
    (penalty,) = found.penalised(denoise(image), 0.1).penalties
    assert isinstance(penalty.function, NonlocalVariation)
    np.testing.assert_allclose(penalty.weight, 0.1 * found.nonlocal_of_noise)
    np.testing.assert_array_equal(penalty.items, similar_places(image, SIMILAR))
    mask = np.arange(128).reshape(8, 16) != 5
    assert found.penalised(inpaint(image, mask), 0.1).penalties == ()


def test_steps_can_be_asked_for_and_an_unknown_task_is_refused():
    short = prior("deblur").config(8, 8, 12)
    assert (short.steps, short.eval_every) == (12, 2)
    assert prior("deblur").config(8, 8, 3).eval_every == 1
    assert prior("deblur").config(8, 8).steps == prior("deblur").base.steps
    with pytest.raises(ConfigError, match="unknown task 'sharpen'"):
        prior("sharpen")


def test_the_loss_of_blurred_tiles_knows_their_kernel():
    image = np.full((8, 16, 3), 0.5, np.float32)
    found = prior("deblur").penalised(deblur(image, np.ones((3, 5)))).loss
    assert isinstance(found, Sharpened)
    np.testing.assert_allclose(found.kernel, np.full((3, 5), 1 / 15))
