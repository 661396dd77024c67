"""Sets of fields in the forms that others read.

DWSNets and NFN: a .pth state dict a field, splits.json, statistics. fit-a-nef: HDF5
with `params`, `param_config` and `labels`. Hubs: safetensors shards with a JSON index.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import extras
from jax_inr.datasets.store import SPLITS
from jax_inr.errors import ConfigError, OutputError
from jax_inr.io.atomic import atomic_file, output_errors, write_atomic
from jax_inr.io.text import StrPath, shown, to_json

SHARD_FIELDS = 4096


def _folder(out: StrPath) -> Path:
    """A new folder; nothing is overwritten."""
    path = Path(out).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise OutputError(f"{shown(path)} is not empty", "name a new folder")
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {shown(path)}: {error.strerror}") from error
    return path


def _write_json(path: Path, value: Any) -> None:
    write_atomic(path, (to_json(value, indent=1) + "\n").encode())


def _dense_layers(fields: Any) -> int:
    """Dense layers of the network; refuses another network."""
    layers = len(fields.layout.tensors) // 2
    wanted = [f"{kind}{i + 1}" for i in range(layers) for kind in "wb"]
    if [t.name for t in fields.layout.tensors] != wanted or not layers:
        raise ConfigError(
            "the state dicts of DWSNets and NFN are of dense layers, and the set has "
            f"{', '.join(t.name for t in fields.layout.tensors[:4])}"
        )
    return layers


def state_dict(fields: Any, index: int) -> dict[str, np.ndarray]:
    """A field as DWSNets' names: seq.0.weight (outputs, inputs), seq.0.bias, ….

    A SIREN of this package takes 2 (row/height, column/width) - 1, and gives
    (1 + y) / 2 of its last layer's y, where theirs give y + 1/2.
    """
    layers, tensors = _dense_layers(fields), fields.tensors(index)
    found = {}
    for layer in range(layers):
        dense = f"params/dense_{layer}"
        found[f"seq.{layer}.weight"] = np.ascontiguousarray(
            tensors[f"{dense}/kernel"].T
        )
        found[f"seq.{layer}.bias"] = tensors[f"{dense}/bias"]
    return found


def to_dwsnets(fields: Any, out: StrPath) -> None:
    """Write a .pth state dict a field, splits.json and statistics.pth.

    splits.json: {split: {"path": […], "label": […]}}. statistics.pth: {"mean": …,
    "std": …}, each with "weights" and "biases", over the fields of the train split.

    Raises:
        ConfigError: torch is not installed, or the network has no dense layers alone.
        OutputError: the folder is not empty, or a file cannot be written.
    """
    torch = extras.load("torch", "the .pth files need torch", "torch")
    layers = _dense_layers(fields)
    folder = _folder(out)
    labels = fields.labels
    splits: dict[str, dict[str, list[Any]]] = {}
    for split in SPLITS:
        paths, chosen = [], fields.split(split)
        for index in chosen:
            path = folder / "fields" / f"{index:08d}.pth"
            path.parent.mkdir(exist_ok=True)
            arrays = state_dict(fields, int(index))
            tensors = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
            _write_torch(path, tensors)
            paths.append(path.relative_to(folder).as_posix())
        numbers = [-1 if labels is None else int(labels[i]) for i in chosen]
        splits[split] = {"path": paths, "label": numbers}
    _write_json(folder / "splits.json", splits)
    _write_torch(folder / "statistics.pth", _torch_statistics(fields, layers))


def _write_torch(path: Path, tensors: dict[str, Any]) -> None:
    import torch

    # On a full disk torch.save itself names neither the file nor the reason.
    data = io.BytesIO()
    torch.save(tensors, data)
    with output_errors(path):
        path.write_bytes(data.getvalue())


def _torch_statistics(fields: Any, layers: int) -> dict[str, Any]:
    import torch

    rows = np.asarray(fields.params.oindex[fields.split("train"), :], np.float64)
    if not len(rows):
        raise ConfigError("no field of the train split is done")
    statistics = {}
    for name, value in (("mean", rows.mean(0)), ("std", rows.std(0))):
        tensors = fields.layout.unpack(value)
        weights = [tensors[f"params/dense_{i}/kernel"].T.copy() for i in range(layers)]
        biases = [tensors[f"params/dense_{i}/bias"] for i in range(layers)]
        statistics[name] = {
            "weights": tuple(torch.from_numpy(w) for w in weights),
            "biases": tuple(torch.from_numpy(b.copy()) for b in biases),
        }
    return statistics


def to_fit_a_nef(fields: Any, out: StrPath) -> None:
    """Write nefs_0-N.hdf5 (`params`, `param_config`, `labels`) and its JSON files.

    metadata.json holds the mean and deviation of each split, cfg.json the config.

    Raises:
        ConfigError: h5py is not installed.
        OutputError: the folder is not empty, or a file cannot be written.
    """
    h5py = extras.load("h5py", "HDF5 files need h5py", "sets")
    folder = _folder(out)
    # Their names are those of Flax's tree, with dots.
    named = [
        (t.tensor.removeprefix("params/").replace("/", "."), list(t.shape))
        for t in fields.layout.tensors
    ]
    count = len(fields)
    path = folder / f"nefs_0-{count}.hdf5"
    # HDF5 itself would only say that it "can't decrement id ref count" on a full disk.
    with atomic_file(path) as opened, h5py.File(opened, "w") as file:
        params = file.create_dataset("params", (count, fields.layout.size), "f4")
        step = max((1 << 24) // fields.layout.size, 1)
        for start in range(0, count, step):
            params[start : start + step] = fields.params[start : start + step]
        file["param_config"] = json.dumps(named)
        labels = fields.labels
        file["labels"] = np.full(count, -1) if labels is None else labels
    metadata = {}
    for split in SPLITS:
        rows = np.asarray(fields.params.oindex[fields.split(split), :], np.float64)
        if len(rows):
            about = {"mean": rows.mean(0).tolist(), "std": rows.std(0).tolist()}
            metadata[split] = about | {"indices": fields.split(split).tolist()}
    _write_json(folder / "metadata.json", metadata)
    _write_json(folder / "cfg.json", fields.about["config"])


def to_safetensors(
    fields: Any, out: StrPath, *, shard_fields: int = SHARD_FIELDS
) -> None:
    """Write shards of `params` (k, P) with their columns, and index.json for a hub.

    Raises:
        OutputError: the folder is not empty, or a file cannot be written.
    """
    import safetensors.numpy

    folder, count = _folder(out), len(fields)
    names = ["psnr_db", "steps", "seed", "split", "status", "size"]
    names += ["label"] if fields.labels is not None else []
    columns = {name: fields.column(name) for name in names}
    total = -(-count // shard_fields)
    shards = []
    for shard in range(total):
        rows = slice(shard * shard_fields, min((shard + 1) * shard_fields, count))
        name = f"fields-{shard + 1:05d}-of-{total:05d}.safetensors"
        arrays = {"params": fields.params[rows]}
        arrays |= {key: np.ascontiguousarray(c[rows]) for key, c in columns.items()}
        write_atomic(folder / name, safetensors.numpy.save(arrays))
        shards.append({"file": name, "start": rows.start, "stop": rows.stop})
    constants = {k: np.asarray(v).tolist() for k, v in fields.constants.items()}
    about = fields.about | {"shards": shards, "constants": constants}
    _write_json(folder / "index.json", about)


EXPORTS = {
    "dwsnets": to_dwsnets,
    "fit-a-nef": to_fit_a_nef,
    "safetensors": to_safetensors,
}
