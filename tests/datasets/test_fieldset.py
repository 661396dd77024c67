"""A stored set read back: by itself, by torch, and by numpy and zarr alone."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from sets import IMAGES, TINY

from jax_inr import CheckpointError, ConfigError, FieldSet, fit
from jax_inr.datasets.build import build
from jax_inr.datasets.exports import state_dict

SHORT = TINY.replace(steps=12)


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "set.zarr"
    build(path, IMAGES, SHORT, labels=np.arange(7) % 3, lanes=2, chunk=3)
    return FieldSet.open(path)


def test_a_stored_field_is_the_fit(fields):
    field, single = fields[4], fit(IMAGES[4], SHORT.replace(seed=4))
    assert (field.step, field.config.seed) == (12, 4)
    for a, b in zip(
        jax.tree.leaves(field.variables),
        jax.tree.leaves(single.field.variables),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert fields.psnr_db[4] == pytest.approx(single.psnr_db, abs=2e-3)


def test_many_are_drawn_as_each_alone(fields):
    drawn = fields.render([5, 0, 3])
    for image, index in zip(drawn, (5, 0, 3), strict=True):
        np.testing.assert_allclose(image, fields[index].render(), atol=1e-6)
    assert fields.render([1], 9, 4).shape == (1, 9, 4, 3)


def test_what_is_known_of_fields(fields):
    assert len(fields) == 7
    assert fields.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert fields.names == list("0123456")
    assert fields.seeds.tolist() == list(range(7))
    assert set(fields.steps) == {12}
    splits = [fields.split(name) for name in ("train", "val", "test")]
    assert sorted(np.concatenate(splits)) == list(range(7))
    assert fields.about["init"] == "random"
    assert "FieldSet(7 fields of" in repr(fields)
    with pytest.raises(IndexError, match="there are 7 fields"):
        fields[7]
    assert fields[-1].config.seed == 6


def test_a_torch_dataset_has_the_rows_and_labels(fields):
    torch = pytest.importorskip("torch")
    data = fields.torch_dataset()
    loader = torch.utils.data.DataLoader(data, batch_size=7)
    rows, labels = next(iter(loader))
    assert np.array_equal(rows.numpy(), fields.params[:])
    assert labels.tolist() == fields.labels.tolist()
    assert len(fields.torch_dataset("test")) == len(fields.split("test"))


def test_a_sound_set_has_no_fault_and_a_damaged_one_names_it(fields, tmp_path):
    assert fields.verify(IMAGES, np.arange(7) % 3) == []
    build(tmp_path / "s.zarr", IMAGES, SHORT, lanes=2, chunk=3)
    store = FieldSet.open(tmp_path / "s.zarr")
    file = tmp_path / "s.zarr" / "params" / "c" / "1" / "0"
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    assert store.verify() == ["field 3: its parameters do not match their sha256"]
    file.write_bytes(data[:7])
    (fault,) = store.verify()
    assert "fields 3 to 5 cannot be read" in fault


def test_other_images_and_other_weights_are_found_by_their_psnr(fields, tmp_path):
    faults = fields.verify(IMAGES[::-1], np.arange(7) % 3)
    assert "field 0: its image is not that of its sha256" in faults
    build(tmp_path / "s.zarr", IMAGES, SHORT, lanes=2, chunk=3)
    from jax_inr.datasets.store import Store, digest

    store = Store(tmp_path / "s.zarr")
    row = store.group["params"][2] * np.float32(1.1)
    store.group["params"][2], store.group["params_sha256"][2] = row, digest(row)
    faults = FieldSet.open(tmp_path / "s.zarr").verify(IMAGES)
    assert len(faults) == 1 and "field 2:" in faults[0] and "dB stored" in faults[0]


def test_labels_and_images_of_another_number_are_told_apart(fields):
    labels = np.arange(7) % 3
    labels[4] += 1
    assert fields.verify(IMAGES, labels) == ["field 4: its label is 1, not 2"]
    with pytest.raises(ConfigError, match="7 fields, and the source 6 images"):
        fields.verify(IMAGES[:6])


def test_half_precision_is_stored_and_read(tmp_path):
    build(tmp_path / "s.zarr", IMAGES, SHORT, lanes=2, dtype="float16")
    half = FieldSet.open(tmp_path / "s.zarr")
    assert half.params.dtype == np.float16
    assert half.verify(IMAGES) == []


# Reads a set as the docs say, in a process that has no JAX.
READER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "torch"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import numpy as np, zarr
group = zarr.open_group(sys.argv[1], mode="r")
about = group.attrs["jax_inr"]
row, tensors, start = group["params"][int(sys.argv[2])], {}, 0
for entry in about["layout"]:
    size = int(np.prod(entry["shape"]))
    tensors[entry["name"]] = row[start : start + size].reshape(entry["shape"])
    start += size
height, width = group["size"][int(sys.argv[2])]
grid = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
assert about["inputs"] == "2 x - 1"
x = (2 * np.stack(grid, -1) - 1).astype(np.float32)
omega = group["constants"]["omega_0"][...]
layers = len(about["layout"]) // 2
for layer in range(1, layers + 1):
    x = x @ tensors[f"w{layer}"] + tensors[f"b{layer}"]
    x = np.sin(omega * x) if layer < layers else (1 + x) / 2
np.save(sys.argv[3], x)
from jax_inr.datasets.fieldset import FieldSet
fields = FieldSet.open(sys.argv[1])
assert np.array_equal(fields.params[int(sys.argv[2])], row)
assert fields.verify() == [] and fields.config.network == "siren"
assert "jax" not in sys.modules
"""


def test_numpy_and_zarr_read_a_set_without_jax(fields, tmp_path):
    out = tmp_path / "image.npy"
    words = [sys.executable, "-c", READER, str(fields.path), "4", str(out)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(out), fields[4].render(), atol=1e-5)


def test_the_import_is_blocked_there():
    code = READER.split("import numpy")[0] + "import jax"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "jax is blocked" in done.stderr


def test_what_is_no_set_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="no set of fields"):
        FieldSet.open(tmp_path)


def test_state_dicts_are_transposed(fields):
    found = state_dict(fields, 2)
    assert list(found) == [f"seq.{i}.{k}" for i in range(3) for k in ("weight", "bias")]
    assert found["seq.2.weight"].shape == (3, 8)
