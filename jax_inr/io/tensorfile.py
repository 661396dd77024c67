"""One checked tensor file: named arrays and a JSON header.

It is a safetensors file whose metadata holds one JSON text under "jax_inr": sha256,
format_version, kind and header. The sha256 is that of the whole file with its own 64
digits as zeros, so that no bit of the file is left unguarded (safetensors itself has
no checksum). Imports neither JAX nor torch.
"""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io.atomic import write_atomic
from jax_inr.io.reading import reading
from jax_inr.io.text import StrPath, from_json, shown, to_json

FORMAT_VERSION = 1
# These hold for writing and reading alike, so that a crafted file can claim neither
# memory nor time. JSON grows up to a hundredfold when it is parsed.
MAX_HEADER_BYTES = 2**20
MAX_FILE_BYTES = 2**32

_KEY = "jax_inr"
_ZEROS = b"0" * 64
_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "uint32")
_FIELDS = {"sha256": str, "format_version": int, "kind": str, "header": dict}

Tensors = dict[str, np.ndarray]


def save_tensors(
    path: StrPath, kind: str, tensors: Mapping[str, Any], header: dict[str, Any]
) -> None:
    """Writes named arrays and a JSON header as one file, atomically.

    The same arguments give the same bytes. Arrays are float32, float64, int32, int64,
    uint8 or uint32 (ValueError names another). Raises OutputError.
    """
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES or name == "__metadata__":
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
    at = data.index(_ZEROS)
    data[at : at + 64] = hashlib.sha256(data).hexdigest().encode()
    write_atomic(path, data)


def load_tensors(
    path: StrPath, kind: str, *, allow_nonfinite: bool = False
) -> tuple[Tensors, dict[str, Any]]:
    """The (tensors, header) of a file of `save_tensors`, or a CheckpointError.

    Checked in this order: size, header, version, hash, kind, tensors, finite values
    (unless `allow_nonfinite`). The error names the file, and the tensor if it is one.
    """
    name = shown(path)
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        about = _read_about(file, size, name)
        file.seek(0)
        data = file.read(size)
    digest = about["sha256"].encode(errors="replace")
    zeroed = data.replace(digest, _ZEROS, 1)
    if hashlib.sha256(zeroed).hexdigest().encode() != digest:
        raise CheckpointError(f"{name} is damaged: it does not match its sha256")
    if about["kind"] != kind:
        raise CheckpointError(f"{name} is a {shown(about['kind'])}, not a {kind}")
    try:
        loaded = safetensors.numpy.load(data)
    except (SafetensorError, LookupError, ValueError, TypeError, OverflowError) as e:
        raise CheckpointError(f"{name} is damaged: {shown(str(e))[:200]}") from e
    tensors = {key: loaded[key] for key in sorted(loaded)}
    for key, array in tensors.items():
        if not allow_nonfinite and not np.isfinite(array).all():
            raise CheckpointError(
                f"{name}: tensor {key!r} holds values that are not finite"
            )
    return tensors, about["header"]


def _read_about(file: BinaryIO, size: int, name: str) -> dict[str, Any]:
    """Our part of the metadata: the right fields, of a version that we know."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) == 8 and (length > MAX_HEADER_BYTES or size > MAX_FILE_BYTES):
        hint = "pickles, .pt and .npy files are never opened"
        raise CheckpointError(f"{name} is not a jax_inr file", hint)
    if size < 8 + length:
        raise CheckpointError(f"{name} is cut short: it has only {size} bytes")
    try:
        outer = from_json(file.read(length))
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
    return about
