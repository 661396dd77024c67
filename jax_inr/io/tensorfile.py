"""One checked tensor file: named arrays and a JSON header.

It is a safetensors file whose metadata holds one JSON text under "jax_inr": sha256,
format_version, kind and header. The sha256 is that of the whole file with its own 64
digits as zeros, so that no bit of the file is left unguarded (safetensors itself has
no checksum). Imports neither JAX nor torch.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import ml_dtypes  # noqa: F401 (numpy learns bfloat16 from it)
import numpy as np
import safetensors
import safetensors.numpy
from safetensors import SafetensorError

from jax_inr.errors import CheckpointError, DeviceError, OutputError
from jax_inr.io.atomic import write_atomic
from jax_inr.io.reading import reading
from jax_inr.io.text import StrPath, from_json, shown, to_json
from jax_inr.machine import available_bytes

FORMAT_VERSION = 1
# These hold for writing and reading alike, so that a crafted file can claim neither
# memory nor time. JSON grows up to a hundredfold when it is parsed.
MAX_HEADER_BYTES = 2**20
MAX_FILE_BYTES = 2**32

_KEY = "jax_inr"
_ZEROS = b"0" * 64
_PIECE_BYTES = 2**20
# By their names in safetensors.
_DTYPES = {
    "F32": "float32",
    "F64": "float64",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "C64": "complex64",
    "BOOL": "bool",
}
_FIELDS = {"sha256": str, "format_version": int, "kind": str, "header": dict}

Tensors = dict[str, np.ndarray]


def save_tensors(
    path: StrPath,
    kind: str,
    tensors: Mapping[str, Any],
    header: dict[str, Any],
    *,
    follow: bool = False,
) -> None:
    """Writes named arrays and a JSON header as one file, as `write_atomic` does.

    The same arguments give the same bytes. Arrays are of the types of _DTYPES
    (ValueError names another). Raises OutputError.
    """
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES.values() or name == "__metadata__":
            raise ValueError(f"cannot store tensor {name!r} of dtype {array.dtype}")
    fields = (_ZEROS.decode(), FORMAT_VERSION, kind, header)
    about = dict(zip(_FIELDS, fields, strict=True))
    # One metadata key only: safetensors keeps several in no fixed order.
    data = bytearray(safetensors.numpy.save(arrays, {_KEY: to_json(about)}))
    header_bytes = int.from_bytes(data[:8], "little")
    if header_bytes > MAX_HEADER_BYTES or len(data) > MAX_FILE_BYTES:
        sizes = f"{len(data)} bytes, {header_bytes} of them header"
        raise OutputError(f"cannot write {shown(path)}: {sizes}, are too many")
    # The first zeros are those of the sha256: the metadata come first, it first there.
    start = data.index(_ZEROS)
    data[start : start + 64] = hashlib.sha256(data).hexdigest().encode()
    write_atomic(path, data, follow=follow)


def load_tensors(
    path: StrPath,
    kind: str,
    *,
    allow_nonfinite: bool = False,
    follow: bool = True,
    check: Callable[[Tensors, dict[str, Any]], object] = lambda layout, header: None,
) -> tuple[Tensors, dict[str, Any]]:
    """The (tensors, header) of a file of `save_tensors`, or a CheckpointError.

    Checked in this order: header, version, size, hash, kind, `check`, tensors, finite
    values (unless `allow_nonfinite`). The error names the file, and the tensor if it is
    one. `follow`: whether `path` may be a link.

    `check` is given the header, and arrays of the tensors' names, shapes and dtypes
    that take no memory: what it raises spares reading data that no use is known for.
    """
    name = shown(path)
    with reading(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        start, outer, about = _read_header(file, size, name)
        layout, data_bytes = _read_layout(outer, name)
        if size != len(start) + data_bytes:
            claimed = f"{len(start) + data_bytes} by its header"
            raise CheckpointError(f"{name} is damaged: {size} bytes, and {claimed}")
        digest = about["sha256"].encode(errors="replace")
        found = hashlib.sha256(start.replace(digest, _ZEROS, 1))
        while piece := file.read(_PIECE_BYTES):
            found.update(piece)
        if found.hexdigest().encode() != digest:
            raise CheckpointError(f"{name} is damaged: it does not match its sha256")
        if about["kind"] != kind:
            raise CheckpointError(
                f"{name} is a {shown(about['kind'], 40)}, not a {kind}"
            )
        check(layout, about["header"])
        # The bytes themselves, and the arrays made of them.
        if 2 * size > (left := available_bytes()):
            raise DeviceError(
                f"{name} needs {2 * size / 2**30:.2f} GiB of memory, and the machine "
                f"has {left / 2**30:.2f} GiB left"
            )
        file.seek(0)
        data = file.read(size)
    try:
        # Its own conversion to numpy knows no bfloat16.
        loaded = {
            key: np.frombuffer(each["data"], _DTYPES[each["dtype"]]).reshape(
                each["shape"]
            )
            for key, each in safetensors.deserialize(data)
        }
    except (SafetensorError, LookupError, ValueError, TypeError, OverflowError) as e:
        raise CheckpointError(f"{name} is damaged: {shown(str(e), 200)}") from e
    tensors = {key: loaded[key] for key in sorted(loaded)}
    for key, array in tensors.items():
        if not allow_nonfinite and not np.isfinite(array).all():
            raise CheckpointError(
                f"{name}: tensor '{shown(key, 200)}' holds values that are not finite"
            )
    return tensors, about["header"]


def _read_header(
    file: BinaryIO, size: int, name: str
) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """The bytes before the data, safetensors' header and, of its metadata, our part.

    Ours has the right fields, and is of a version that we know.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) == 8 and (length > MAX_HEADER_BYTES or size > MAX_FILE_BYTES):
        hint = "pickles, .pt and .npy files are never opened"
        raise CheckpointError(f"{name} is not a jax_inr file", hint)
    if size < 8 + length:
        raise CheckpointError(f"{name} is cut short: it has only {size} bytes")
    start += file.read(length)
    try:
        outer = from_json(start[8:])
        about = from_json(outer["__metadata__"][_KEY].encode())
        version = about["format_version"]
        types = {field: type(value) for field, value in about.items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{name} is not a jax_inr file") from error
    except ValueError as error:
        problem = f"is not a jax_inr file, or its header is damaged: {error}"
        raise CheckpointError(f"{name} {problem}") from error
    if type(version) is int and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{name} was made by a newer version of jax_inr "
            f"(format {version}; this one reads up to {FORMAT_VERSION})",
            "upgrade jax_inr",
        )
    if types != _FIELDS or version < 1 or len(about["sha256"]) != 64:
        raise CheckpointError(f"{name} is damaged: its header has the wrong fields")
    return start, outer, about


def _read_layout(outer: dict[str, Any], name: str) -> tuple[Tensors, int]:
    """The tensors that a header claims, without their data, and the data's bytes."""
    layout, end = {}, 0
    for key, about in outer.items():
        if key == "__metadata__":
            continue
        try:
            dtype = np.dtype(_DTYPES[about["dtype"]])
            # One zero in all places: any shape, and no memory.
            layout[key] = np.broadcast_to(np.zeros((), dtype), about["shape"])
            end = max(end, *map(int, about["data_offsets"]))
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            problem = f"its header has no sound tensor '{shown(key, 200)}'"
            raise CheckpointError(f"{name} is damaged: {problem}") from error
    return layout, end


def check_field_finite(path: StrPath, tensors: Tensors) -> None:
    """Refuse a field that is not finite; optimizers may begin with infinities."""
    for name, tensor in tensors.items():
        field = name.removeprefix("state/").startswith(("params/", "constants/"))
        # Infinity is where some optimizers begin; NaN is nobody's start.
        sound = np.isfinite(tensor) if field else ~np.isnan(tensor)
        if not sound.all():
            raise CheckpointError(
                f"{shown(path)}: tensor '{shown(name, 200)}' holds values that are "
                "not finite"
            )
