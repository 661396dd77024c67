"""Weights between Flax and torch: exact both ways, and errors that name the layer."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from jax_inr.config import Config  # noqa: E402
from jax_inr.errors import CheckpointError, ConfigError  # noqa: E402
from jax_inr.io.tensorfile import save_tensors  # noqa: E402
from torch_ref import convert, encodings, training  # noqa: E402
from torch_ref.networks import GridCNN, PixelMLP  # noqa: E402

pytestmark = pytest.mark.torch

MLP = Config(num_frequencies=6, sigma=2.0, hidden_features=(5, 4), seed=3)
CNN = Config(encoding="none", network="cnn", hidden_features=(4, 5), momentum=0.0)

WIDTHS = st.lists(st.integers(1, 9), min_size=3, max_size=6)
KINDS = {"dense": PixelMLP, "conv": GridCNN}


def flax_params(kind, widths, seed=0):
    """Random params in Flax layout, as `jax_inr` would store them."""
    rng = np.random.default_rng(seed)
    window = {"dense": (), "conv": (3, 3)}[kind]
    params = {}
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        name = f"params/{kind}_{index}"
        params[f"{name}/kernel"] = rng.normal(size=(*window, fan_in, fan_out))
        params[f"{name}/bias"] = rng.normal(size=fan_out)
    return {name: leaf.astype(np.float32) for name, leaf in params.items()}


def network_of(kind, widths):
    return KINDS[kind](widths[0], tuple(widths[1:-1]), widths[-1])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(widths=WIDTHS, seed=st.integers(0, 99))
def test_flax_to_torch_and_back_is_exact(kind, widths, seed):
    params = flax_params(kind, widths, seed)
    network = network_of(kind, widths)
    convert.load_into(network, params)
    back = convert.to_flax(network.state_dict())
    assert list(back) == list(params)
    for name, leaf in params.items():
        assert back[name].dtype == np.float32 and back[name].flags.c_contiguous
        np.testing.assert_array_equal(back[name], leaf, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(widths=WIDTHS)
def test_torch_to_flax_and_back_is_exact(kind, widths):
    state = network_of(kind, widths).state_dict()
    back = convert.to_torch(convert.to_flax(state))
    assert list(back) == list(state)
    for name, leaf in state.items():
        assert torch.equal(back[name], leaf) and back[name].is_contiguous(), name


def test_a_dense_kernel_multiplies_from_the_right():
    params = flax_params("dense", (3, 5, 4, 2))
    network = network_of("dense", (3, 5, 4, 2))
    convert.load_into(network, params)
    features = np.random.default_rng(1).normal(size=(6, 7, 3))
    x = features
    for index in range(3):
        kernel, bias = (params[f"params/dense_{index}/{s}"] for s in ("kernel", "bias"))
        x = x @ kernel.astype(float) + bias
        x = np.maximum(x, 0) if index < 2 else 1 / (1 + np.exp(-x))
    grid = torch.tensor(features, dtype=torch.float32).permute(2, 0, 1)
    pred = network(grid).detach().permute(1, 2, 0)
    np.testing.assert_allclose(pred.numpy(), x, atol=2e-6)


def test_a_conv_kernel_slides_without_a_flip():
    params = flax_params("conv", (2, 3, 4))
    network = network_of("conv", (2, 3, 4))
    convert.load_into(network, params)
    grid = np.random.default_rng(1).normal(size=(5, 6, 2))
    x = grid
    for index in range(2):
        kernel, bias = (params[f"params/conv_{index}/{s}"] for s in ("kernel", "bias"))
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = bias + sum(
            padded[r : r + 5, c : c + 6] @ kernel[r, c].astype(float)
            for r, c in itertools.product(range(3), repeat=2)
        )
        x = np.maximum(x, 0) if index < 1 else 1 / (1 + np.exp(-x))
    pred = network(torch.tensor(grid, dtype=torch.float32).permute(2, 0, 1))
    np.testing.assert_allclose(pred.detach().permute(1, 2, 0).numpy(), x, atol=2e-6)


def test_converted_tensors_are_copies():
    params = flax_params("dense", (1, 1, 1))
    state = convert.to_torch(params)
    params["params/dense_0/bias"][:] = 7
    assert state["conv_block.0.bias"].item() != 7
    tensors = convert.to_flax(state)
    for leaf in state.values():
        leaf.fill_(9)
    assert all((leaf != 9).all() for leaf in tensors.values())


def without(tensors, name):
    return {key: leaf for key, leaf in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda p: {**p, "params/dense_1/kernel": np.zeros((5, 6), np.float32)},
            ["params/dense_1/kernel", "(5, 6)", "(5, 4)"],
        ),
        (
            lambda p: {
                **p,
                "params/dense_0/bias": p["params/dense_0/bias"].astype(float),
            },
            ["params/dense_0/bias", "float64 (5,)", "float32 (5,)"],
        ),
        (
            lambda p: without(p, "params/dense_1/bias"),
            ["params/dense_1/bias", "none", "(4,)"],
        ),
        (
            lambda p: {**p, "params/dense_3/bias": np.zeros(2, np.float32)},
            ["params/dense_3/bias", "(2,)", "none"],
        ),
        (
            lambda p: flax_params("conv", (3, 5, 4, 2)),
            ["params/dense_0/kernel", "(3, 5)", "none"],
        ),
    ],
    ids=["shape", "dtype", "missing", "surplus", "other network"],
)
def test_load_into_names_the_layer_and_both_shapes_and_loads_nothing(change, words):
    network = network_of("dense", (3, 5, 4, 2))
    before = convert.to_flax(network.state_dict())
    with pytest.raises(CheckpointError) as error:
        convert.load_into(network, change(flax_params("dense", (3, 5, 4, 2))))
    for word in words:
        assert word in str(error.value)
    for name, leaf in convert.to_flax(network.state_dict()).items():
        np.testing.assert_array_equal(leaf, before[name])


def test_to_torch_names_a_layer_that_torch_ref_lacks():
    params = flax_params("dense", (3, 5, 2))
    table = np.zeros((16, 2), np.float32)
    bad = [
        ({**params, "params/grid_0/table": table}, r"params/grid_0/table.*\(16, 2\)"),
        ({"params/grid_0/table": table}, r"params/grid_0/table.*\(16, 2\)"),
        ({**params, "other/dense_0/bias": table}, "other/dense_0/bias"),
        ({**params, "params/dense_01/bias": table}, "params/dense_01/bias"),
        ({**params, "params/conv_0/bias": table}, "params/"),
        (without(params, "params/dense_0/bias"), "params/dense_0/bias is missing"),
        ({}, "params/dense_0/bias is missing"),
    ]
    for tensors, words in bad:
        with pytest.raises(ConfigError, match=words):
            convert.to_torch(tensors)
    flat = {**params, "params/dense_1/kernel": np.zeros(10, np.float32)}
    with pytest.raises(
        CheckpointError, match=r"params/dense_1/kernel.*\(10,\).* 2 axes"
    ):
        convert.to_torch(flat)


def test_to_flax_names_a_layer_that_jax_inr_lacks():
    state = network_of("dense", (3, 5, 2)).state_dict()
    wide = {**state, "conv_block.0.weight": torch.zeros(5, 3, 3, 3)}
    with pytest.raises(ConfigError, match=r"conv_block.0.weight.*\(5, 3, 3, 3\)"):
        convert.to_flax(wide)
    linear = {**state, "conv_block.0.weight": torch.zeros(5, 3)}
    with pytest.raises(ConfigError, match=r"conv_block.0.weight.*\(5, 3\)"):
        convert.to_flax(linear)
    with pytest.raises(ConfigError, match=r"fc\.bias.*\(4,\)"):
        convert.to_flax(torch.nn.ModuleDict({"fc": torch.nn.Linear(3, 4)}).state_dict())
    with pytest.raises(ConfigError, match=r"conv_block\.2\.bias"):
        convert.to_flax(without(state, "conv_block.2.bias"))
    # The notebook's numbers skip one before the last layer; others are not its network.
    cnn = network_of("conv", (2, 3, 4)).state_dict()
    renamed = {name.replace("conv2", "conv1"): leaf for name, leaf in cnn.items()}
    with pytest.raises(ConfigError, match="conv1"):
        convert.to_flax(renamed)


# Field files


def write_field(path, fitted, target, **changes):
    trainer = training.make_trainer(fitted, target, "cpu")
    trainer.advance(2)
    height, width, channels = target.shape
    header = {
        "config": fitted.to_dict(),
        "height": height,
        "width": width,
        "channels": channels,
        **changes,
    }
    save_tensors(path, "field", trainer.parameters(), header)
    return trainer


def target_of(height=4, width=7, channels=2):
    return np.full((height, width, channels), 0.5, np.float32)


@pytest.mark.parametrize(
    "config",
    [MLP, MLP.replace(encoding="basic"), MLP.replace(encoding="none"), CNN],
    ids=["gaussian", "basic", "none", "cnn"],
)
def test_a_field_file_opens_as_a_torch_module(tmp_path, config):
    path = tmp_path / "field.safetensors"
    trainer = write_field(path, config, target_of(), step=2)
    rng = torch.get_rng_state()
    model, header = convert.model_from_field(path)
    assert torch.equal(torch.get_rng_state(), rng)
    assert header["step"] == 2 and model.config == config
    colours = model(encodings.pixel_grid(4, 7))
    assert colours.shape == (4, 7, 2)
    # The CNN's indices come from coordinates, back within one rounding.
    np.testing.assert_allclose(colours.detach().numpy(), trainer.predict(), atol=1e-6)
    # It can be trained on, and handed back.
    colours.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    tensors = convert.field_tensors(model.network, model.frequencies)
    assert tensors.keys() == trainer.parameters().keys()
    for name, leaf in trainer.parameters().items():
        np.testing.assert_array_equal(tensors[name], leaf)
        tensors[name][...] = 0  # a copy: the model keeps its own
    assert torch.equal(model(encodings.pixel_grid(4, 7)), colours)


def test_a_per_pixel_field_may_be_asked_anywhere_and_the_cnn_on_a_grid(tmp_path):
    path = tmp_path / "field.safetensors"
    write_field(path, MLP, target_of())
    model, _ = convert.model_from_field(path)
    grid = encodings.pixel_grid(4, 7)
    whole = model(grid)
    assert model(grid[2, 3]).shape == (2,)
    torch.testing.assert_close(model(grid[2, 3]), whole[2, 3])
    torch.testing.assert_close(
        model(grid.reshape(2, 2, 7, 2)), whole.reshape(2, 2, 7, 2)
    )
    write_field(path, CNN, target_of())
    model, _ = convert.model_from_field(path)
    with pytest.raises(ValueError, match=r"whole grid.*\(28, 2\)"):
        model(grid.reshape(-1, 2))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"channels": 3}, r"params/dense_2/kernel.*\(4, 2\).*\(4, 3\)"),
        ({"channels": 2**40}, r"params/dense_2/kernel"),
        ({"channels": None}, "None"),
        ({"height": 0}, "0"),
        ({"width": True}, "True"),
        ({"config": None}, "config"),
        ({"config": {"network": "hash"}}, "network.*hash"),
        ({"config": MLP.replace(num_frequencies=7).to_dict()}, r"\(2, 6\).*\(2, 7\)"),
        ({"config": CNN.to_dict()}, "constants/frequencies"),
        (
            {"config": MLP.replace(hidden_features=(65_536,) * 64).to_dict()},
            "params/dense_0/kernel",
        ),
    ],
)
def test_a_field_that_contradicts_its_header_is_refused(tmp_path, header, words):
    path = tmp_path / "odd.safetensors"
    write_field(path, MLP, target_of(), **header)
    with pytest.raises(CheckpointError, match=words) as error:
        convert.model_from_field(path)
    assert "odd.safetensors" in str(error.value)
    assert "\n" not in str(error.value)
