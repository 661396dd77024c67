"""Plans: what is compiled in, which is structure alone."""

import numpy as np
import pytest
from conftest import start

from jax_inr.config import Config
from jax_inr.job import make_job
from jax_inr.tasks import reconstruct

FULL = Config(
    num_frequencies=8, sigma=2.0, hidden_features=(16, 12), learning_rate=0.5, steps=40
)
TARGET = np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("asked", "taken"), [(203, 203), (204, None), (205, None), (None, None)]
)
def test_a_batch_as_large_as_the_image_is_all_of_it(asked, taken):
    plan = start(FULL.replace(batch_size=asked), TARGET)[0]
    assert plan.batch_size == taken and plan.is_sampled == (taken is not None)


def plan_of(**fields):
    return make_job(reconstruct(TARGET), FULL.replace(**fields)).plan()


@pytest.mark.parametrize(
    ("size", "shape"),
    # Of 12 x 17: sides in the image's proportion whose product is about the size.
    [(51, (6, 8)), (23, (4, 6)), (150, (10, 15)), (1, (1, 1)), (None, (12, 17))],
)
def test_rows_and_columns_of_a_lattice_are_as_the_images(size, shape):
    assert plan_of(batch_size=size, sampling="lattice").grid_shape == shape


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 5},
        {"learning_rate": 0.1},
        {"sigma": 3.0},
        {"steps": 7},
        {"target_psnr": 30.0},
        {"max_seconds": 3.0},
        {"eval_every": 3},
        {"preset": "mine"},
        {"warmup_steps": 3},
    ],
)
def test_numbers_and_stopping_rules_make_no_other_plan(fields):
    assert plan_of(**fields) == plan_of()
    assert hash(plan_of(**fields)) == hash(plan_of())


@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.5},
        {"schedule": "cosine"},
        {"optimizer": "adam"},
        {"num_frequencies": 9},
        {"hidden_features": (16, 13)},
        {"batch_size": 5},
        {"encoding": "trainable"},
        {"matmul_precision": "bfloat16"},
        {"activation": "gelu"},
    ],
)
def test_another_structure_is_another_plan(fields):
    assert plan_of(**fields) != plan_of()
