"""The notebook in PyTorch: its arithmetic, its loop, and a trainer that resumes."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from jax_inr.config import Config  # noqa: E402
from jax_inr.errors import CheckpointError, ConfigError, DeviceError  # noqa: E402
from jax_inr.presets import preset  # noqa: E402
from torch_ref import devices, encodings, fitting, networks, training  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12), steps=20)
CNN = Config(
    encoding="none", network="cnn", hidden_features=(4, 5), momentum=0.0, steps=5
)


def picture(height=6, width=9, channels=3):
    rng = np.random.default_rng(0)
    return rng.random((height, width, channels), dtype=np.float32)


def trainer_of(config, target=None):
    """On the CPU, where results are the same to the last bit."""
    return training.make_trainer(config, picture() if target is None else target, "cpu")


def assert_same(tensors, others):
    assert tensors.keys() == others.keys()
    for name, leaf in tensors.items():
        np.testing.assert_array_equal(leaf, others[name], err_msg=name)


# Coordinates and encodings


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (224, 224), (7, 100)])
def test_pixel_grid_is_the_float64_quotient_rounded_once(height, width):
    rows, columns = np.arange(height) / height, np.arange(width) / width
    expected = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    grid = encodings.pixel_grid(height, width)
    assert grid.dtype == torch.float32
    np.testing.assert_array_equal(grid.numpy(), expected.astype(np.float32))


def test_pixel_indices_put_rows_in_channel_0():
    rows, columns = np.mgrid[:4, :7]
    indices = encodings.pixel_indices(4, 7)
    assert indices.dtype == torch.float32
    np.testing.assert_array_equal(indices.numpy(), np.stack([rows, columns]))


def test_gaussian_frequencies_have_standard_deviation_sigma():
    draw = encodings.gaussian_frequencies(
        20_000, 10.0, torch.Generator().manual_seed(1)
    )
    assert draw.shape == (2, 20_000)
    # 40,000 draws: the error of the standard deviation is sigma/sqrt(80,000) = 0.035.
    assert draw.std().item() == pytest.approx(10.0, abs=0.15)
    assert draw.mean().item() == pytest.approx(0.0, abs=0.25)


def test_fourier_features_agree_with_float64():
    generator = torch.Generator().manual_seed(2)
    frequencies = encodings.gaussian_frequencies(64, 10.0, generator)
    coords = encodings.pixel_grid(23, 37)
    x, b = coords.numpy().astype(float), frequencies.numpy().astype(float)
    phases = 2 * np.pi * (x @ b)
    expected = np.concatenate([np.sin(phases), np.cos(phases)], -1)
    features = encodings.fourier_features(coords, frequencies)
    assert features.shape == (23, 37, 128) and features.dtype == torch.float32
    # Two products, a sum, a rounded 2 pi and its product: five roundings of half an
    # ulp of what is at most 2 pi (|x0 b0| + |x1 b1|); then one or two of the sine's.
    largest = 2 * np.pi * (np.abs(x) @ np.abs(b))
    tolerance = 2.0**-24 * (5 * np.concatenate([largest, largest], -1) + 2)
    assert (np.abs(features.numpy() - expected) <= tolerance).all()


def test_basic_is_one_cycle_per_axis_and_none_is_the_coordinates():
    coords = encodings.pixel_grid(5, 8)
    turn = 2 * np.pi * coords.numpy().astype(float)
    basic = encodings.encode("basic", coords).numpy()
    expected = np.concatenate([np.sin(turn), np.cos(turn)], -1)
    np.testing.assert_allclose(basic, expected, atol=2e-6)
    assert encodings.encode("none", coords) is coords
    with pytest.raises(ConfigError, match="hash"):
        encodings.encode("hash", coords)


@pytest.mark.parametrize("encoding", ["gaussian", "basic", "none"])
def test_num_features_is_what_the_encoding_gives(encoding):
    config = SMALL.replace(encoding=encoding)
    features = encodings.encode(encoding, torch.rand(3, 2), torch.rand(2, 8))
    assert encodings.num_features(config) == features.shape[-1]


@pytest.mark.parametrize("config", [SMALL, SMALL.replace(encoding="none"), CNN])
def test_features_lie_contiguous_and_channels_first(config):
    trainer = trainer_of(config)
    assert trainer.features.shape[1:] == trainer.target.shape[1:] == (6, 9)
    assert trainer.features.is_contiguous() and trainer.target.is_contiguous()
    np.testing.assert_array_equal(trainer.target.numpy(), np.moveaxis(picture(), -1, 0))


# Networks


def test_layers_are_named_and_sized_as_in_the_notebook():
    cnn = networks.make_network(preset("cnn"), 3).state_dict()
    shapes = {n: tuple(x.shape) for n, x in cnn.items() if n.endswith("weight")}
    assert shapes == {
        "conv0.weight": (64, 2, 3, 3),
        "conv1.weight": (128, 64, 3, 3),
        "conv2.weight": (512, 128, 3, 3),
        "conv4.weight": (3, 512, 3, 3),
    }
    mlp = networks.make_network(preset("optimized"), 3)
    assert isinstance(mlp, networks.PixelMLP)
    layers = [type(layer).__name__ for layer in mlp.conv_block]
    assert layers == ["Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d"]
    assert sum(p.numel() for p in mlp.parameters()) == 66_691


def test_a_1x1_convolution_is_a_matrix_product_at_every_pixel():
    network = networks.PixelMLP(5, (7, 6), 3)
    features = torch.randn(5, 4, 9, generator=torch.Generator().manual_seed(0))
    x = features.permute(1, 2, 0).double().numpy()
    leaves = [leaf.detach().double().numpy() for leaf in network.parameters()]
    for index, (weight, bias) in enumerate(zip(leaves[::2], leaves[1::2], strict=True)):
        x = x @ weight[:, :, 0, 0].T + bias
        x = np.maximum(x, 0) if index < 2 else 1 / (1 + np.exp(-x))
    pred = network(features).detach().permute(1, 2, 0).numpy()
    # Sums of at most seven products of about one.
    np.testing.assert_allclose(pred, x, atol=1e-6)


def test_the_cnn_is_a_zero_padded_cross_correlation():
    network = networks.GridCNN(2, (3, 4), 2)
    indices = encodings.pixel_indices(5, 6)
    x = indices.double().numpy()
    leaves = [leaf.detach().double().numpy() for leaf in network.parameters()]
    for index, (weight, bias) in enumerate(zip(leaves[::2], leaves[1::2], strict=True)):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        x = bias[:, None, None] + sum(
            np.einsum(
                "oi,ihw->ohw", weight[:, :, r, c], padded[:, r : r + 5, c : c + 6]
            )
            for r, c in itertools.product(range(3), repeat=2)
        )
        x = np.maximum(x, 0) if index < 2 else 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(network(indices).detach().numpy(), x, atol=2e-6)


@pytest.mark.parametrize("preset_name", ["cnn", "optimized"])
def test_initial_weights_fill_the_bound_of_torch(preset_name):
    trainer = trainer_of(preset(preset_name))
    leaves = dict(trainer.model.named_parameters())
    for name, parameter in leaves.items():
        bound = leaves[name.replace("bias", "weight")][0].numel() ** -0.5
        assert parameter.abs().max().item() <= bound
        if parameter.numel() > 1000:
            # Uniform: bound/sqrt(3), to within four errors of 1/sqrt(2n) or less.
            spread = parameter.std().item() * math.sqrt(3) / bound
            assert spread == pytest.approx(
                1.0, abs=4 / math.sqrt(2 * parameter.numel())
            )


def test_what_torch_ref_lacks_is_named():
    config = Config()
    for field in ("network", "encoding"):
        later = config.replace()
        object.__setattr__(later, field, "hash")
        with pytest.raises(ConfigError, match=f"torch_ref has no {field} hash"):
            networks.make_network(later, 3)
    for field, value in (
        ("optimizer", "adam"),
        ("activation", "gelu"),
        ("sampling", "lattice"),
        ("train_pixels", "alternate"),
        ("init", "glorot"),
    ):
        with pytest.raises(ConfigError, match=f"torch_ref has no {field} {value}"):
            trainer_of(config.replace(**{field: value}))


# Draws


def test_draws_follow_the_seed_and_leave_the_callers_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    config = SMALL.replace(batch_size=10)
    trainer = trainer_of(config)
    trainer.compile()
    trainer.advance(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = trainer_of(config)
    again.advance(7)
    assert_same(trainer.state(), again.state())
    other = trainer_of(config.replace(seed=1))
    for name, leaf in trainer_of(config).parameters().items():
        assert (leaf != other.parameters()[name]).all(), name


def test_mini_batches_hold_pixels_with_their_own_coordinates():
    target = np.arange(54, dtype=np.float32).reshape(6, 9, 1) / 54
    config = SMALL.replace(encoding="none", batch_size=10, learning_rate=1e-9)
    trainer = trainer_of(config, target)
    for step in range(3):
        features, colours = trainer.batch()
        assert features.shape == (2, 10, 1) and colours.shape == (1, 10, 1)
        assert features.is_contiguous()
        pixels = torch.round(colours[0, :, 0] * 54)
        assert pixels.tolist() == training.batch_pixels(54, 10, 0, step).tolist()
        place = torch.stack([pixels // 9 / 6, pixels % 9 / 9])
        torch.testing.assert_close(features[:, :, 0], place)
        trainer.advance(1)


def test_mini_batches_are_uniform_and_independent():
    draws = torch.stack(
        [training.batch_pixels(54, 10, 0, step) for step in range(2000)]
    )
    # 20,000 draws of 54 pixels: chi-square of 53 degrees of freedom, whose 99.9th
    # percentile is 90.6; the 0.1st is 26.8, which an even split would fall below.
    counts = torch.bincount(draws.flatten(), minlength=54)
    chi_square = ((counts - 20_000 / 54) ** 2).sum() / (20_000 / 54)
    assert len(counts) == 54 and 26.8 < chi_square < 90.6
    # With replacement, two of ten are equal in 1 - 54!/(44! 54^10) = 59 % of batches.
    repeated = sum(len(set(batch)) < 10 for batch in draws.tolist()) / 2000
    assert repeated == pytest.approx(0.588, abs=0.05)
    # Neighbouring steps and seeds share no more pixels by place than chance, 1 in 54.
    other = torch.stack(
        [training.batch_pixels(54, 10, 1, step) for step in range(2000)]
    )
    for pair in ((draws[1:], draws[:-1]), (draws, other)):
        same = (pair[0] == pair[1]).double().mean().item()
        assert same == pytest.approx(1 / 54, abs=0.005)


def test_a_batch_as_large_as_the_picture_is_the_whole_picture():
    whole, batch = trainer_of(SMALL), trainer_of(SMALL.replace(batch_size=54))
    np.testing.assert_array_equal(whole.advance(3), batch.advance(3))
    smaller = trainer_of(SMALL.replace(batch_size=53))
    assert smaller.batch()[1].shape == (3, 53, 1)


# Steps


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_learning_rate_is_optax_s(schedule, warmup):
    optax = pytest.importorskip("optax")
    config = SMALL.replace(
        learning_rate=1.7, schedule=schedule, warmup_steps=warmup, steps=40
    )
    expected = {
        ("constant", 0): lambda: optax.constant_schedule(1.7),
        ("constant", 7): lambda: optax.warmup_constant_schedule(0.0, 1.7, 7),
        ("cosine", 0): lambda: optax.cosine_decay_schedule(1.7, 40),
        ("cosine", 7): lambda: optax.warmup_cosine_decay_schedule(0.0, 1.7, 7, 40),
    }[schedule, warmup]()
    rates = [training.learning_rate(config, step) for step in range(45)]
    # optax computes in float32; near the end 1 + cos(...) cancels.
    np.testing.assert_allclose(
        rates, [float(expected(step)) for step in range(45)], rtol=1e-6, atol=1e-6
    )


def test_a_warmup_longer_than_the_fit_only_climbs():
    config = SMALL.replace(schedule="cosine", warmup_steps=30, steps=20)
    rates = [training.learning_rate(config, step) for step in range(20)]
    assert rates[0] == 0.0 and np.allclose(np.diff(rates), 1 / 30)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_the_recurrence_of_its_formula(momentum):
    config = SMALL.replace(
        momentum=momentum, learning_rate=0.5, schedule="cosine", warmup_steps=2
    )
    trainer, twin = trainer_of(config), trainer_of(config)
    params = [p.detach().double().numpy() for p in twin.model.parameters()]
    buffers = [np.zeros_like(p) for p in params]
    for step in range(6):
        # m <- momentum m + g;  p <- p - rate m: the rate multiplies after the momentum.
        with torch.no_grad():
            for mine, p in zip(twin.model.parameters(), params, strict=True):
                mine.copy_(torch.from_numpy(p))
        pred = twin.model(twin.features)
        loss = ((pred - twin.target) ** 2).mean()
        gradients = torch.autograd.grad(loss, list(twin.model.parameters()))
        rate = training.learning_rate(config, step)
        for i, g in enumerate(gradients):
            buffers[i] = momentum * buffers[i] + g.double().numpy()
            params[i] = params[i] - rate * buffers[i]
        assert trainer.advance(1) == pytest.approx([loss.item()], rel=1e-5)
    for mine, p in zip(trainer.model.parameters(), params, strict=True):
        # Six float32 steps of weights of about 0.3.
        np.testing.assert_allclose(mine.detach().numpy(), p, atol=1e-6)


def test_the_loss_is_that_of_the_parameters_before_the_step():
    trainer = trainer_of(SMALL)
    for _ in range(3):
        before = np.mean((trainer.predict().astype(float) - picture()) ** 2)
        losses = trainer.advance(1)
        assert losses.dtype == np.float32 and losses.shape == (1,)
        assert losses[0] == pytest.approx(before, rel=1e-5)
    assert trainer.advance(0).shape == (0,) and trainer.step == 3


@pytest.mark.parametrize("config", [SMALL, CNN], ids=["mlp", "cnn"])
def test_sgd_lowers_the_loss_of_a_small_picture(config):
    rows, columns = np.mgrid[:6, :9].astype(np.float32)
    target = np.stack([rows / 6, columns / 9, 0 * rows + 0.3], -1)
    trainer = trainer_of(config.replace(learning_rate=1.0), target)
    losses = trainer.advance(60)
    assert losses[-1] < 0.5 * losses[0]
    predicted = trainer.predict()
    assert predicted.shape == target.shape and predicted.dtype == np.float32
    assert predicted.min() >= 0 and predicted.max() <= 1


def test_predict_has_the_pictures_orientation():
    target = np.zeros((6, 9, 3), np.float32)
    target[1, 7] = 1.0
    trainer = trainer_of(SMALL.replace(learning_rate=2.0, sigma=5.0), target)
    trainer.advance(300)
    brightest = trainer.predict().sum(-1).argmax()
    assert np.unravel_index(brightest, (6, 9)) == (1, 7)


def test_compile_changes_nothing():
    trainer, twin = trainer_of(SMALL), trainer_of(SMALL)
    trainer.compile()
    assert_same(trainer.state(), twin.state())
    trainer.advance(2)
    trainer.compile()
    twin.advance(2)
    np.testing.assert_array_equal(trainer.advance(3), twin.advance(3))


# Resuming


RESUMED = [
    SMALL,
    SMALL.replace(batch_size=10, schedule="cosine", warmup_steps=3),
    SMALL.replace(encoding="basic", momentum=0.0),
    CNN.replace(momentum=0.9),
]


@pytest.mark.parametrize("config", RESUMED, ids=["full", "batches", "basic", "cnn"])
@pytest.mark.parametrize("at", [0, 1, 8])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(config, at):
    whole = trainer_of(config)
    losses = whole.advance(at + 9)
    first = trainer_of(config)
    first.advance(at)
    state = first.state()
    first.advance(2)  # the state must be a copy
    # Another seed's weights and frequencies, which the state must replace.
    second = trainer_of(config)
    second.load_state(trainer_of(config.replace(seed=3)).state())
    second.advance(4)
    second.load_state(state)
    assert second.step == at
    np.testing.assert_array_equal(second.advance(9), losses[at:])
    assert_same(second.state(), whole.state())


@pytest.mark.parametrize("lost", ["momentum/", "constants/", "step"])
def test_resuming_without_a_part_of_the_state_is_seen(lost):
    config = SMALL.replace(batch_size=10)
    trainer = trainer_of(config)
    trainer.advance(8)
    state = trainer.state()
    expected = trainer.advance(9)
    fresh = trainer_of(config.replace(seed=1)).state()
    kept = {
        name: x if name.startswith(lost) else state[name] for name, x in fresh.items()
    }
    resumed = trainer_of(config)
    resumed.load_state(kept)
    assert (resumed.advance(9) != expected).any()


def test_a_state_that_does_not_fit_names_the_leaf_and_changes_nothing():
    trainer = trainer_of(SMALL)
    trainer.advance(2)
    state = trainer.state()
    wide = trainer_of(SMALL.replace(hidden_features=(16, 13)))
    with pytest.raises(CheckpointError) as error:
        trainer.load_state(wide.state())
    for word in ("params/dense_1/kernel", "(16, 13)", "(16, 12)"):
        assert word in str(error.value)
    bad = [
        ("momentum/dense_0/bias", None, "none"),
        ("constants/frequencies", np.zeros((2, 9), np.float32), r"\(2, 9\).*\(2, 8\)"),
        ("params/dense_2/bias", np.zeros(3), "float64"),
        ("step", np.array(-1), "-1"),
        ("momentum/dense_3/bias", np.zeros(3, np.float32), "none"),
    ]
    for name, leaf, words in bad:
        tensors = {**trainer_of(SMALL.replace(seed=1)).state(), name: leaf}
        if leaf is None:
            del tensors[name]
        with pytest.raises(CheckpointError, match=words) as error:
            trainer.load_state(tensors)
        assert name in str(error.value)
        assert_same(trainer.state(), state)


# PSNR


class Fixed(torch.nn.Module):
    """A model whose picture does not depend on its features."""

    def __init__(self, picture):
        super().__init__()
        self.picture = picture

    def forward(self, features):
        return self.picture


def test_pooled_psnr_averages_the_errors_of_all_evaluations():
    pytest.importorskip("torchmetrics")
    pooled = fitting.make_pooled_psnr()
    target = torch.full((3, 4, 5), 0.25)
    # Errors .3, .1, .01 are 10.46, 20 and 40 dB; their pools are 10.46, 13.01, 14.77.
    true, together, mses = [], [], []
    for error in (0.3, 0.1, 0.01):
        mses.append(error**2)
        psnrs = fitting.evaluate(Fixed(target + error), pooled, target, target)
        true.append(psnrs[0])
        together.append(psnrs[1])
        assert psnrs[1] == pytest.approx(-10 * math.log10(np.mean(mses)), abs=1e-4)
    np.testing.assert_allclose(true, [10.4576, 20.0, 40.0], atol=1e-3)
    np.testing.assert_allclose(together, [10.4576, 13.0103, 14.7669], atol=1e-3)
    perfect = fitting.evaluate(Fixed(target), pooled, target, target)
    assert perfect[0] == math.inf and perfect[1] < 17


def test_fit_evaluates_after_the_first_step_of_every_interval():
    pytest.importorskip("torchmetrics")
    config = SMALL.replace(steps=11, eval_every=5)
    history = fitting.fit(trainer_of(config))
    assert [line.step for line in history] == [1, 6, 11]
    twin, mses = trainer_of(config), []
    for line in history:
        twin.advance(line.step - twin.step)
        mses.append(np.mean((twin.predict().astype(float) - picture()) ** 2))
        assert line.psnr_db == pytest.approx(-10 * math.log10(mses[-1]), abs=1e-4)
        pool = -10 * math.log10(np.mean(mses))
        assert line.pooled_psnr_db == pytest.approx(pool, abs=1e-4)


def test_without_torchmetrics_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image", None)
    with pytest.raises(ConfigError) as error:
        fitting.make_pooled_psnr()
    assert "torchmetrics" in str(error.value)
    assert "pip install -e" in error.value.hint


# Devices


def test_an_absent_gpu_is_an_error_never_a_fallback(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.find_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="GPU"):
        training.make_trainer(SMALL, picture(), "gpu")
    with pytest.raises(ConfigError, match="tpu"):
        training.make_trainer(SMALL, picture(), "tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.find_device("auto") == torch.device("cuda")
    assert devices.find_device("cpu") == torch.device("cpu")


def test_precision_is_set_for_the_fit_and_put_back_after_it():
    saved = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for mine in ("medium", "highest"):
            torch.set_float32_matmul_precision(mine)
            torch.backends.cudnn.allow_tf32 = True
            with devices.computing(torch.device("cpu"), "float32"):
                assert torch.get_float32_matmul_precision() == "highest"
                assert not torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == mine
            assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(saved[0])
        torch.backends.cudnn.allow_tf32 = saved[1]


def test_bfloat16_is_coarser_and_keeps_float32_weights():
    exact, coarse = (
        trainer_of(SMALL),
        trainer_of(SMALL.replace(matmul_precision="bfloat16")),
    )
    assert torch.equal(exact.features, coarse.features)
    difference = np.abs(exact.predict() - coarse.predict()).max()
    # Eight bits of mantissa, some layers deep.
    assert 1e-5 < difference < 2e-2
    losses = coarse.advance(20)
    assert losses[-1] < losses[0] and coarse.predict().dtype == np.float32
    assert {leaf.dtype for leaf in coarse.parameters().values()} == {
        np.dtype("float32")
    }


def test_tf32_needs_a_gpu():
    with pytest.raises(DeviceError, match="tf32"):
        trainer_of(SMALL.replace(matmul_precision="tf32"))


def test_exhausted_memory_is_one_line_and_other_errors_pass():
    cpu = torch.device("cpu")
    with pytest.raises(DeviceError, match="memory"), devices.computing(cpu, "float32"):
        torch.empty(10**14)
    with pytest.raises(RuntimeError, match="size"), devices.computing(cpu, "float32"):
        torch.add(torch.ones(2), torch.ones(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_the_gpu_takes_the_steps_of_the_cpu():
    config = SMALL.replace(batch_size=10)
    gpu, cpu = training.make_trainer(config, picture(), "gpu"), trainer_of(config)
    assert_same(gpu.state(), cpu.state())
    np.testing.assert_allclose(gpu.advance(10), cpu.advance(10), rtol=1e-4)
    np.testing.assert_allclose(gpu.predict(), cpu.predict(), atol=1e-4)
    resumed = training.make_trainer(config, picture(), "gpu")
    resumed.load_state(gpu.state())
    np.testing.assert_allclose(resumed.advance(5), gpu.advance(5), rtol=1e-4)


# Independence of JAX


def test_torch_ref_imports_neither_jax_nor_torchmetrics():
    program = """
import sys
import numpy as np
from jax_inr.config import Config
from torch_ref import convert, fitting, training
config = Config(num_frequencies=2, hidden_features=(3,))
trainer = training.make_trainer(config, np.zeros((2, 2, 3), np.float32), "cpu")
trainer.compile(); trainer.advance(1); trainer.load_state(trainer.state())
heavy = {"jax", "jaxlib", "flax", "optax", "torchmetrics"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
