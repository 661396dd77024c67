"""Parity: jax_inr and torch_ref agree from the encoding's bits to the final PSNR.

All is float32. What both start from is the same: B, weights, picture; only the tests
of distributions and of comparable PSNR draw independently. The quick tests come first.
"""

import functools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from scipy import stats  # noqa: E402

from jax_inr import coordinates, fitting, metrics, tasks  # noqa: E402
from jax_inr import encodings as jax_encodings  # noqa: E402
from jax_inr.config import Config  # noqa: E402
from jax_inr.errors import CheckpointError, ConfigError  # noqa: E402
from jax_inr.experiments.parity import numbers  # noqa: E402
from jax_inr.field import ImageField  # noqa: E402
from jax_inr.io.images import sample_image, to_uint8  # noqa: E402
from jax_inr.io.tensorfile import save_tensors  # noqa: E402
from jax_inr.job import make_job  # noqa: E402
from jax_inr.model import make_model  # noqa: E402
from jax_inr.plan import make_data  # noqa: E402
from jax_inr.presets import preset  # noqa: E402
from jax_inr.tensors import flatten  # noqa: E402
from jax_inr.training import init_state, train_chunk  # noqa: E402
from torch_ref import convert, devices, encodings, training  # noqa: E402
from torch_ref import fitting as torch_fitting  # noqa: E402

pytestmark = pytest.mark.torch

# The notebook's networks, narrower. A picture of more pixels than a tile, and not
# square; the CNN has each of the three forms that its convolution takes in JAX.
CONFIGS = {
    "mlp": preset("optimized").replace(
        num_frequencies=32, hidden_features=(32, 64), matmul_precision="float32"
    ),
    "cnn": preset("cnn").replace(hidden_features=(16, 18), matmul_precision="float32"),
}
SIZE = (40, 56)
ROUNDING = 2.0**-24  # the largest relative error of one float32 rounding


@pytest.fixture(autouse=True)
def coarse_defaults():
    """Ask both frameworks for coarse products wherever ours do not pin their own.

    A CPU ignores this; a GPU would round to TF32 or bfloat16, and the tolerances would
    not hold.
    """
    saved = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True
    with jax.default_matmul_precision("bfloat16"):
        yield
    torch.set_float32_matmul_precision(saved[0])
    torch.backends.cudnn.allow_tf32 = saved[1]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    """Torch's threads would spin for those of JAX, and the pictures are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def levels():
    """The sample cat as the notebook reads it: 8-bit, (h, w, 3)."""
    return to_uint8(sample_image(SIZE).image)


@pytest.fixture(scope="module")
def target(levels):
    """What the notebook makes of it."""
    return (torch.from_numpy(levels) / 256).numpy()


def by(size):
    return f"{size[0]}x{size[1]}"


# Coordinates and encodings


@pytest.mark.parametrize(
    "size", [(1, 1), (224, 224), (40, 56), (301, 7), (3, 1000)], ids=by
)
def test_the_pixel_grid_is_bit_equal(size):
    theirs = encodings.pixel_grid(*size).numpy()
    np.testing.assert_array_equal(coordinates.pixel_grid(*size), theirs)


@pytest.mark.parametrize("size", [(1, 1), (224, 224), (40, 57), (300, 11)], ids=by)
def test_the_cnn_sees_raw_pixel_indices(size):
    config, black = CONFIGS["cnn"], np.zeros((*size, 3), np.float32)
    task = tasks.from_config(config, black)
    job = make_job(task, config)
    ours = make_data(job.plan(), task, {"params": {}}, job.rates).inputs
    theirs = encodings.pixel_indices(*size).permute(1, 2, 0).numpy()
    # JAX multiplies the coordinates by the size again: two roundings.
    np.testing.assert_allclose(ours, theirs, rtol=2 * ROUNDING)
    np.testing.assert_array_equal(np.rint(ours), theirs)


@pytest.mark.parametrize("size", [(224, 224), (40, 56), (301, 7), (1, 90)], ids=by)
def test_encodings_of_the_same_frequencies_agree(size):
    frequencies = 10 * np.random.default_rng(0).standard_normal((2, 64), np.float32)
    grid = coordinates.pixel_grid(*size)
    ours = jax.jit(jax_encodings.fourier_features)(grid, frequencies)
    theirs = encodings.fourier_features(
        encodings.pixel_grid(*size), torch.from_numpy(frequencies)
    )
    # On each side: two products, a sum, 2 pi and its product, five roundings of at
    # most 2 pi (|x0 b0| + |x1 b1|), fused or not; then one or two of the sine's.
    largest = 2 * np.pi * (grid.astype(float) @ np.abs(frequencies).astype(float))
    tolerance = 2 * ROUNDING * (5 * np.concatenate([largest, largest], -1) + 2)
    assert theirs.shape == (*size, 128)
    assert (
        np.abs(np.asarray(ours, float) - theirs.double().numpy()) <= tolerance
    ).all()


def test_the_basic_encoding_agrees():
    grid = coordinates.pixel_grid(*SIZE)
    identity = jax_encodings.basic_frequencies()
    ours = jax.jit(jax_encodings.fourier_features)(grid, identity)
    theirs = encodings.encode("basic", encodings.pixel_grid(*SIZE))
    # As above, with phases below 2 pi.
    np.testing.assert_allclose(
        ours, theirs.numpy(), atol=2 * ROUNDING * (5 * 2 * np.pi + 2)
    )


# Initial distributions

DRAWS = 200


def jax_draws(config):
    """Every leaf of DRAWS independent draws, along a new first axis."""
    init = jax.jit(make_model(config, 4, 5, 3).init)
    draws = [flatten(init(jax.random.key(seed))) for seed in range(DRAWS)]
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}


def torch_draws(config):
    target = np.zeros((4, 5, 3), np.float32)
    trainers = [
        training.make_trainer(config.replace(seed=seed), target, "cpu")
        for seed in range(DRAWS)
    ]
    draws = [trainer.parameters() for trainer in trainers]
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}


@pytest.mark.parametrize("network", CONFIGS)
@pytest.mark.parametrize("draws", [jax_draws, torch_draws], ids=["jax", "torch"])
def test_every_layer_starts_uniform_within_the_bound(network, draws):
    config = CONFIGS[network].replace(hidden_features=(12, 17), num_frequencies=8)
    leaves = draws(config)
    params = {name: leaf for name, leaf in leaves.items() if name.startswith("params")}
    assert len(params) == 6
    for name, leaf in params.items():
        kernel = params[name.replace("bias", "kernel")]
        bound = math.prod(kernel.shape[1:-1]) ** -0.5
        spread, count = np.abs(leaf).max() / bound, leaf.size
        # The largest of n uniform numbers falls below 1 - 10/n once in e^10.
        assert 1 - 10 / count < spread <= 1 + 2 * ROUNDING, name
        # The variance of n uniform numbers is off by sqrt(0.8/n): five times that.
        assert 3 * leaf.var() / bound**2 == pytest.approx(
            1, abs=5 * math.sqrt(0.8 / count)
        ), name
        # 12 leaves meet this by chance: one false alarm for 80 sets of seeds.
        uniform = stats.uniform(-bound, 2 * bound)
        assert stats.kstest(leaf.ravel(), uniform.cdf).pvalue > 1e-3, name
    if network == "mlp":
        drawn = leaves["constants/frequencies"].ravel()
        assert stats.kstest(drawn, stats.norm(0, config.sigma).cdf).pvalue > 1e-3


# Targets and PSNR


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_fit_is_held_to_the_notebooks_target(backend, levels, target):
    config = CONFIGS["mlp"].replace(steps=1, hidden_features=(8,))
    fit = fitting.fit(levels / np.float32(255), config, backend=backend)
    psnr = torch_fitting.make_pooled_psnr()
    psnr.update(torch.from_numpy(fit.prediction), torch.from_numpy(target))
    # Both round in float32; dividing by 255 would shift it by more than 0.01 dB.
    assert fit.rows[-1]["psnr_db"] == pytest.approx(psnr.compute().item(), abs=1e-4)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_fits_pooled_psnr_is_that_of_the_notebooks_loop(backend, levels, target):
    config = CONFIGS["mlp"].replace(steps=7, eval_every=3)
    rows = fitting.fit(levels / np.float32(255), config, backend=backend).rows
    assert [row["step"] for row in rows] == [1, 4, 7]
    if backend == "torch":
        trainer = training.make_trainer(config, target)
        expected = [line.pooled_psnr_db for line in torch_fitting.fit(trainer)]
    else:
        trainer = numbers.make_jax_trainer(config, target, "auto")
        trainer.compile()
        pooled, expected = torch_fitting.make_pooled_psnr(), []
        for row in rows:
            trainer.advance(row["step"] - trainer.steps[0], [True])
            prediction = torch.from_numpy(trainer.predict(0))
            pooled.update(prediction, torch.from_numpy(target))
            expected.append(pooled.compute().item())
    assert [row["pooled_psnr_db"] for row in rows] == pytest.approx(expected, abs=1e-4)


# Converted weights


# Largest differences over the largest magnitude of the leaf.
TOLERANCES = {
    # Phases reach about 400, where five roundings on each side are 2.4e-4.
    "encoding": 3e-4,
    # Features that far apart are rare, and sums of up to 162 products round 2e-7 off;
    # the sigmoid's slope is at most 1/4.
    "prediction": 1e-5,
    # A mean of 6720 squares of the above.
    "loss": 1e-5,
    # A hidden unit within rounding of zero may be on in one back end only: one of 2240
    # pixels, 4.5e-4 of a gradient, and more where the others cancel. Torch comes up to
    # 1.7e-3 from itself when its weights are moved by one rounding.
    "gradient": 5e-3,
}


def assert_close(ours, theirs):
    apart = {
        name: deviation.relative
        for name, deviation in numbers.deviations(ours, theirs).items()
        if not deviation.relative <= TOLERANCES[name.partition("/")[0]]  # NaN too
    }
    assert not apart


@pytest.mark.parametrize("network", CONFIGS)
def test_outputs_loss_and_every_gradient_agree(network, target):
    config = CONFIGS[network]
    tensors = training.make_trainer(config, target).parameters()
    ours = numbers.jax_numbers(config, tensors, target)
    theirs = numbers.torch_numbers(config, tensors, target)
    assert len(ours) == 3 + 2 * (len(config.hidden_features) + 1)
    assert_close(ours, theirs)


def test_a_transposed_square_kernel_would_be_seen(target):
    """The comparison tells a fault from rounding also where shapes still match."""
    config = CONFIGS["mlp"].replace(hidden_features=(64, 64))
    tensors = training.make_trainer(config, target).parameters()
    ours = numbers.jax_numbers(config, tensors, target)
    kernel = tensors["params/dense_1/kernel"]
    tensors["params/dense_1/kernel"] = np.ascontiguousarray(kernel.T)
    with pytest.raises(AssertionError, match="gradient/dense_0/bias"):
        assert_close(ours, numbers.torch_numbers(config, tensors, target))


# Steps


STEPS = {
    "mlp": CONFIGS["mlp"].replace(momentum=0.0),
    "mlp with momentum": CONFIGS["mlp"].replace(momentum=0.9),
    "mlp with a schedule": CONFIGS["mlp"].replace(
        schedule="cosine", warmup_steps=4, steps=100
    ),
    "cnn": CONFIGS["cnn"].replace(momentum=0.0),
    "cnn with momentum": CONFIGS["cnn"].replace(momentum=0.9),
}


@pytest.mark.slow_cases("cnn", "cnn with momentum")
@pytest.mark.parametrize("case", STEPS)
def test_steps_of_sgd_agree(case, target):
    trainers = numbers.paired_trainers(STEPS[case], target)
    start = trainers[0].parameters(0)
    # Of the way a leaf has come: at the first step as the gradients, and then the two
    # ways part. Torch with moved weights comes to 1.7e-3, 1.6e-3, 6.5e-3 from itself.
    tolerances = {1: 5e-3, 10: 1e-2, 100: 5e-2}
    found = [numbers.after_steps(trainer, list(tolerances)) for trainer in trainers]
    for (steps, tolerance), ours, theirs in zip(
        tolerances.items(), *found, strict=True
    ):
        assert ours["losses"].shape == (steps,)
        # Torch with moved weights comes to 2e-5.
        np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-4)
        for name, (difference, _) in numbers.deviations(ours, theirs).items():
            if name != "losses":
                way = np.abs(ours[name] - start[name]).max()
                # And two roundings a step of the parameter itself, which add up as a
                # random walk.
                rounding = 4 * ROUNDING * math.sqrt(steps) * np.abs(ours[name]).max()
                assert difference <= tolerance * way + rounding, (steps, name)


# Independent draws


SMALL = Config(num_frequencies=256, sigma=2.0, hidden_features=(128,), steps=100)
SMALL = SMALL.replace(learning_rate=0.2, matmul_precision="float32")
BATCHES = SMALL.replace(batch_size=256, schedule="cosine", warmup_steps=20)


def jax_fit(config, picture):
    """A whole fit as one function of a key, compiled once for all seeds."""
    task = tasks.from_config(config, picture)
    job = make_job(task, config)
    plan = job.plan()
    steps = jnp.int32(config.steps)

    @jax.jit
    def fit(key):
        weights_key, batches_key = jax.random.split(key)
        variables = job.model.init(weights_key)
        constants = variables["constants"]
        data = make_data(plan, task, variables, job.rates)
        start = init_state(plan, variables)
        state, _ = train_chunk(plan, start, constants, data, batches_key, steps)
        variables = {"params": state.params, "constants": constants}
        return plan.model.predict(
            variables, jnp.asarray(coordinates.pixel_grid(32, 32))
        )

    return lambda seed: np.asarray(fit(jax.random.key(seed)))


def torch_fit(config, picture):
    def fit(seed):
        trainer = training.make_trainer(config.replace(seed=seed), picture)
        trainer.advance(config.steps)
        return trainer.predict()

    return fit


@functools.cache
def mean_psnr(make_fit, config):
    """The mean PSNR of fits of a small picture from five seeds."""
    picture = sample_image(32).image
    fit = make_fit(config, picture)
    return np.mean([metrics.psnr(fit(seed), picture) for seed in range(5)])


def comparable(ours, theirs):
    """Whether two means of five are within 0.3 dB.

    A single fit's standard deviation is about 0.1 dB here, so 0.06 dB that of the
    difference of two means: 0.3 dB are five of them.
    """
    return abs(ours - theirs) <= 0.3


@pytest.mark.slow_cases("whole")
@pytest.mark.parametrize("config", [SMALL, BATCHES], ids=["whole", "batches"])
def test_independent_draws_end_at_a_comparable_psnr(config):
    assert comparable(mean_psnr(jax_fit, config), mean_psnr(torch_fit, config))


@pytest.mark.slow_cases("sigma")
@pytest.mark.parametrize(
    "change", [{"sigma": 2.5}, {"momentum": 0.0}], ids=["sigma", "momentum"]
)
def test_another_system_is_called_different(change):
    other = mean_psnr(torch_fit, SMALL.replace(**change))
    assert not comparable(mean_psnr(jax_fit, SMALL), other)


# Field files


@pytest.mark.slow_cases("jax-cnn")
@pytest.mark.parametrize("network", CONFIGS)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_field_file_of_either_opens_in_both(tmp_path, levels, backend, network):
    config = CONFIGS[network].replace(steps=3, hidden_features=(4, 5))
    fit = fitting.fit(levels / np.float32(255), config, backend=backend)
    path = tmp_path / "field.safetensors"
    save_tensors(path, "field", fit.tensors, fit.header)
    field, (model, header) = ImageField.load(path), convert.model_from_field(path)
    assert field.origin.backend == header["backend"] == backend
    assert field.config == model.config == config and field.step == header["step"] == 3
    for height, width in (SIZE, (53, 31)):
        with torch.no_grad(), devices.computing(torch.device("cpu"), "float32"):
            theirs = model(encodings.pixel_grid(height, width)).numpy()
        # A field's colours have 1 as white, a network's 1 stands for rgb_max.
        ours = field.render(height, width) * np.float32(255 / 256)
        # As the predictions above.
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCES["prediction"])
        if (height, width) == SIZE:
            np.testing.assert_allclose(theirs, fit.prediction, atol=1e-5)


def test_shapes_that_differ_are_named_on_both_sides(target):
    config = CONFIGS["mlp"]
    wide = config.replace(hidden_features=(32, 65))
    header = {"config": config.to_dict(), "height": SIZE[0], "width": SIZE[1]}
    header |= {"channels": 3, "step": 0}
    tensors = training.make_trainer(wide, target, "cpu").parameters()
    for load in (
        lambda: numbers.start_from(tensors, config, target, "cpu"),
        lambda: ImageField.from_tensors(tensors, header),
    ):
        with pytest.raises(CheckpointError) as error:
            load()
        for word in ("params/dense_1/", "65", "64"):
            assert word in str(error.value)


def test_a_network_that_the_other_side_lacks_is_named(target):
    mlp = training.make_trainer(CONFIGS["mlp"], target, "cpu").parameters()
    cnn = training.make_trainer(CONFIGS["cnn"], target, "cpu").parameters()
    cnn[convert.FREQUENCIES] = mlp[convert.FREQUENCIES]
    with pytest.raises(CheckpointError, match=r"params/conv_0/.*16\).* none"):
        numbers.start_from(cnn, CONFIGS["mlp"], target, "cpu")
    table = {"params/grid_0/table": np.zeros((16, 2), np.float32)}
    with pytest.raises(ConfigError, match=r"params/grid_0/table float32 \(16, 2\)"):
        convert.to_torch(mlp | table)
    header = {"config": CONFIGS["mlp"].to_dict(), "height": SIZE[0], "width": SIZE[1]}
    header |= {"channels": 3, "step": 0}
    with pytest.raises(CheckpointError, match="params/conv_0"):
        ImageField.from_tensors(mlp | cnn, header)
    with pytest.raises(CheckpointError, match="params/grid_0/table"):
        ImageField.from_tensors(mlp | table, header)
