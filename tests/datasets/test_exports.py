"""Exports, read back by the libraries that others read them with."""

import json
import resource

import numpy as np
import pytest
from sets import IMAGES, TINY

from jax_inr import Config, ConfigError, FieldSet, OutputError
from jax_inr.coordinates import pixel_grid
from jax_inr.datasets.build import build
from jax_inr.datasets.exports import to_dwsnets, to_fit_a_nef, to_safetensors


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "set.zarr"
    config = TINY.replace(steps=12)
    build(path, IMAGES, config, labels=np.arange(7) % 3, lanes=2, split=(0.6, 0.2, 0.2))
    return FieldSet.open(path)


def test_torch_draws_the_state_dicts_of_dwsnets(fields, tmp_path):
    torch = pytest.importorskip("torch")
    to_dwsnets(fields, tmp_path)
    splits = json.loads((tmp_path / "splits.json").read_text())
    assert sum(len(splits[s]["path"]) for s in ("train", "val", "test")) == 7
    coords = torch.from_numpy(2 * pixel_grid(6, 6) - 1)
    for split, listed in splits.items():
        for path, label, index in zip(
            listed["path"], listed["label"], fields.split(split), strict=True
        ):
            weights = torch.load(tmp_path / path, weights_only=True)
            x = coords
            for layer in range(3):
                weight, bias = (weights[f"seq.{layer}.{k}"] for k in ("weight", "bias"))
                x = torch.nn.functional.linear(x, weight, bias)
                x = torch.sin(30 * x) if layer < 2 else (1 + x) / 2
            np.testing.assert_allclose(
                x.numpy(), fields[int(index)].render(), atol=1e-5
            )
            assert label == index % 3
    statistics = torch.load(tmp_path / "statistics.pth", weights_only=True)
    rows = fields.params.oindex[fields.split("train"), :]
    kernels = fields.layout.unpack(rows)["params/dense_1/kernel"]
    for name, wanted in (("mean", kernels.mean(0)), ("std", kernels.std(0))):
        found = statistics[name]["weights"][1].numpy()
        np.testing.assert_allclose(found, wanted.T, atol=1e-6)


def test_hdf5_has_the_arrays_of_fit_a_nef(fields, tmp_path):
    h5py = pytest.importorskip("h5py")
    to_fit_a_nef(fields, tmp_path)
    with h5py.File(tmp_path / "nefs_0-7.hdf5") as file:
        assert np.array_equal(file["params"][:], fields.params[:])
        assert file["labels"][:].tolist() == fields.labels.tolist()
        config = json.loads(file["param_config"][()])
    assert config[:2] == [["dense_0.kernel", [2, 8]], ["dense_0.bias", [8]]]
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert metadata["train"]["indices"] == fields.split("train").tolist()
    assert len(metadata["train"]["mean"]) == fields.layout.size


def test_shards_are_the_set(fields, tmp_path):
    from safetensors.numpy import load_file

    to_safetensors(fields, tmp_path, shard_fields=4)
    index = json.loads((tmp_path / "index.json").read_text())
    parts = [load_file(tmp_path / shard["file"]) for shard in index["shards"]]
    assert [len(part["params"]) for part in parts] == [4, 3]
    joined = np.concatenate([part["params"] for part in parts])
    assert np.array_equal(joined, fields.params[:])
    assert index["layout"] == fields.layout.to_json()
    assert index["constants"] == {"omega_0": 30.0}


@pytest.mark.parametrize("export", [to_dwsnets, to_fit_a_nef, to_safetensors])
def test_a_folder_with_files_is_left_alone(fields, tmp_path, export):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        export(fields, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow
def test_grids_have_no_state_dict(tmp_path):
    grid = Config(
        encoding="dense_grid", num_levels=1, coarsest=3, finest=3, steps=2,
        hidden_features=(4,), batch_size=None,
    )  # fmt: skip
    build(tmp_path / "s.zarr", IMAGES[:2], grid, lanes=1)
    with pytest.raises(ConfigError, match="dense layers"):
        to_dwsnets(FieldSet.open(tmp_path / "s.zarr"), tmp_path / "out")


@pytest.mark.parametrize(
    ("export", "extra"), [(to_dwsnets, "torch"), (to_fit_a_nef, "h5py")]
)
def test_a_disk_that_fills_up_is_told_with_the_file(fields, tmp_path, export, extra):
    pytest.importorskip(extra)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large") as caught:
            export(fields, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
