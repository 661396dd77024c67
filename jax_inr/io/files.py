"""Files that are whole or absent: atomic writing, and one checked tensor file.

A tensor file is a safetensors file whose metadata holds one JSON text under
"jax_inr": sha256, format_version, kind and header. The sha256 is that of the whole
file with its own 64 digits as zeros, so that no bit of the file is left unguarded
(safetensors itself has no checksum). Imports neither JAX nor torch.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jax_inr.errors import CheckpointError, OutputError

FORMAT_VERSION = 1
# These hold for writing and reading alike, so that a crafted file can claim neither
# memory nor time. JSON grows up to a hundredfold when it is parsed.
MAX_HEADER_BYTES = 2**20
MAX_FILE_BYTES = 2**32
TEMP_PATTERN = ".jax_inr-*.tmp"

_KEY = "jax_inr"
_ZEROS = b"0" * 64
_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "uint32")
_FIELDS = {"sha256": str, "format_version": int, "kind": str, "header": dict}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

StrPath = str | os.PathLike[str]
Tensors = dict[str, np.ndarray]


def shown(path: StrPath) -> str:
    """The path as one line of printable text, escaped where it must be."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


@contextlib.contextmanager
def output_errors(path: StrPath) -> Iterator[None]:
    """Turns an OSError into an OutputError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        free = "free some space, or " if error.errno in _FULL else ""
        raise OutputError(
            f"cannot write {shown(path)}: {error.strerror or error}",
            f"{free}choose another folder",
        ) from error


def sync(path: StrPath) -> None:
    """Brings a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def write_atomic(path: StrPath, data: bytes | bytearray) -> None:
    """Writes a file so that at any moment its old or its new content is there.

    Raises OutputError; the old content then stays, and no temporary file does.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: StrPath) -> Iterator[BinaryIO]:
    """Opens a file to write piece by piece; it takes its name when the block is done.

    Raises OutputError. After any error in the block the old content stays, and no
    temporary file does.
    """
    path = Path(path)
    # Not made from the file's own name, which may be as long as a name can be.
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    temp = path.parent / TEMP_PATTERN.replace("*", unique)
    with output_errors(path):
        # A rename would put a file in the place of a device.
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {shown(path)}: it exists and is no file")
        try:
            with open(temp, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink()
            raise
        sync(path.parent)


@contextlib.contextmanager
def reading(path: StrPath) -> Iterator[BinaryIO]:
    """Opens a regular file; CheckpointError otherwise, without waiting for a FIFO."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"cannot read {shown(path)}: not a regular file")
            yield file
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"cannot read {shown(path)}: {reason}") from error


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def to_json(value: Any, indent: int | None = None) -> str:
    """Valid JSON: inf, -inf and nan become the strings "inf", "-inf" and "nan".

    Numpy numbers and arrays become numbers and lists; key order is kept.
    """
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        # A path that is not UTF-8 holds lone surrogates, which are not UTF-8 either.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def from_json(data: bytes) -> Any:
    """The value of UTF-8 JSON; ValueError also for duplicate keys and deep nesting."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is there twice")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


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
