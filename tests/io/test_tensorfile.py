"""io.tensorfile: what is written is what is read; a wrong file is never data."""

import hashlib
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, DeviceError, OutputError
from jax_inr.io import tensorfile
from jax_inr.io.tensorfile import load_tensors, save_tensors
from jax_inr.io.text import shown

ROOT = Path(__file__).parents[2]
TENSORS = {
    "params/dense_0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "params/dense_0/bias": np.array([-1.5, 0.0, 1e-30], np.float32),
    "key": np.array([0, 2**32 - 1], np.uint32),
}
HEADER = {"height": 3, "note": "ü", "rate": 1e-05, "list": [1, {"a": None}]}


def child(code, *arguments, **options):
    """Run Python code in a process of its own, with the repository importable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, **options
    )


def seal(outer, body=b"", about=None, hashed=True):
    """A tensor file by the format's description, independent of the writer.

    `outer`: the tensors' part of the header, or the whole header as bytes with the
    64 digits of the hash as zeros; `about`: changes to our metadata.
    """
    if isinstance(outer, dict):
        ours = {"sha256": "0" * 64, "format_version": 1, "kind": "field", "header": {}}
        text = json.dumps({**ours, **(about or {})})
        outer = json.dumps({"__metadata__": {"jax_inr": text}, **outer}).encode()
    data = struct.pack("<Q", len(outer)) + outer + body
    digest = hashlib.sha256(data).hexdigest().encode()
    return data.replace(b"0" * 64, digest, 1) if hashed else data


def f32(start, stop, shape=None):
    shape = [(stop - start) // 4] if shape is None else shape
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


def refusal(path, data=None, kind="field"):
    """The message with which a file (of `data`) is refused; it names the file."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        load_tensors(path, kind)
    message = str(caught.value)
    assert shown(path) in message
    assert message.isprintable() and len(message) < 1000
    return message


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.safetensors"
    save_tensors(path, "field", TENSORS, HEADER)
    return path.read_bytes()


# What is written is what is read.


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3.5),
        np.zeros((0, 3), np.float32),
        np.arange(12, dtype=np.float32).reshape(3, 4).T[::2],
        np.arange(3, dtype=">i4"),
        np.array([-(2**63), 2**63 - 1]),
        np.array([0, 255], np.uint8),
        np.array([0, 2**32 - 1], np.uint32),
        np.array([1e-310, -0.0, 1e308]),
    ],
    ids=lambda array: f"{np.asarray(array).dtype}{np.shape(array)}",
)
def test_arrays_come_back_bit_for_bit_and_writable(tmp_path, array):
    path = tmp_path / "a"
    save_tensors(path, "field", {"x": array}, HEADER)
    tensors, header = load_tensors(path, "field")
    assert list(tensors) == ["x"]
    assert tensors["x"].shape == np.shape(array)
    assert tensors["x"].dtype == np.asarray(array).dtype.newbyteorder("=")
    native = np.asarray(array, tensors["x"].dtype)
    assert tensors["x"].tobytes() == native.tobytes()
    assert tensors["x"].flags.writeable
    assert header == HEADER


def test_any_safetensors_reader_reads_the_file(tmp_path):
    save_tensors(tmp_path / "a", "field", TENSORS, HEADER)
    plain = safetensors.numpy.load_file(tmp_path / "a")
    assert plain.keys() == TENSORS.keys()
    assert list(load_tensors(tmp_path / "a", "field")[0]) == sorted(TENSORS)
    for name in TENSORS:
        np.testing.assert_array_equal(plain[name], TENSORS[name])


def test_same_arguments_give_the_same_bytes(tmp_path, good):
    save_tensors(tmp_path / "b", "field", dict(reversed(TENSORS.items())), HEADER)
    assert (tmp_path / "b").read_bytes() == good
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_tensorfile import *;"
        "save_tensors(sys.argv[1], 'field', TENSORS, HEADER)"
    )
    for seed in ("1", "2"):
        process = child(
            code, tmp_path / "c", ROOT / "tests" / "io", env={"PYTHONHASHSEED": seed}
        )
        assert process.communicate() and process.returncode == 0
        assert (tmp_path / "c").read_bytes() == good


def test_other_arguments_give_another_hash(tmp_path, good):
    renamed = {("x" if k == "key" else k): v for k, v in TENSORS.items()}
    for kind, tensors, header in [
        ("checkpoint", TENSORS, HEADER),
        ("field", renamed, HEADER),
        ("field", {**TENSORS, "key": TENSORS["key"].astype(np.int64)}, HEADER),
        ("field", {**TENSORS, "key": TENSORS["key"][:, None]}, HEADER),
        ("field", TENSORS, {**HEADER, "height": 4}),
    ]:
        save_tensors(tmp_path / "b", kind, tensors, header)
        assert sha256_inside((tmp_path / "b").read_bytes()) != sha256_inside(good)


def sha256_inside(data):
    (length,) = struct.unpack("<Q", data[:8])
    about = json.loads(data[8 : 8 + length])["__metadata__"]["jax_inr"]
    return json.loads(about)["sha256"]


def test_hash_is_the_one_that_the_format_describes(good):
    digest = sha256_inside(good)
    zeroed = good.replace(digest.encode(), b"0" * 64)
    assert hashlib.sha256(zeroed).hexdigest() == digest


def test_file_made_by_the_description_loads(tmp_path):
    body = np.array([1.5, -2.0], np.float32).tobytes()
    (tmp_path / "a").write_bytes(seal({"x": f32(0, 8)}, body, {"header": {"h": 1}}))
    tensors, header = load_tensors(tmp_path / "a", "field")
    np.testing.assert_array_equal(tensors["x"], np.array([1.5, -2.0], np.float32))
    assert header == {"h": 1}


def test_field_file_of_format_1_still_loads():
    """A file kept from the first release: never made anew, whatever the code becomes.

    Its tensors count in sixteenths: element i of the n-th tensor (by name) is n + i/16.
    """
    path = Path(__file__).parents[1] / "data" / "field_v1.safetensors"
    tensors, header = load_tensors(path, "field")
    shapes = {
        "constants/frequencies": (2, 2),
        "params/dense_0/bias": (4,),
        "params/dense_0/kernel": (4, 4),
        "params/dense_1/bias": (5,),
        "params/dense_1/kernel": (4, 5),
        "params/dense_2/bias": (3,),
        "params/dense_2/kernel": (5, 3),
    }
    assert {name: array.shape for name, array in tensors.items()} == shapes
    for n, name in enumerate(sorted(shapes)):
        expected = n + np.arange(np.prod(shapes[name]), dtype=np.float32) / 16
        np.testing.assert_array_equal(tensors[name].ravel(), expected)
        assert tensors[name].dtype == np.float32
    assert (header["height"], header["width"], header["channels"]) == (4, 3, 3)
    assert (header["step"], header["backend"]) == (7, "jax")
    assert header["versions"] == {"jax": "0.10.1", "flax": "0.12.8"}
    config = Config.from_dict(header["config"])
    assert (config.num_frequencies, config.hidden_features) == (2, (4, 5))


# Damage.


def test_every_flipped_bit_is_refused(tmp_path, good):
    path = tmp_path / "flipped"
    path.write_bytes(good)
    with open(path, "r+b", buffering=0) as file:
        for position, byte in enumerate(good):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                refusal(path)
            os.pwrite(file.fileno(), bytes([byte]), position)
    load_tensors(path, "field")


def test_every_truncation_is_refused(tmp_path, good):
    for length in range(len(good)):
        refusal(tmp_path / "cut", good[:length])
    assert "cut short" in refusal(tmp_path / "cut", b"")
    assert "cut short" in refusal(tmp_path / "cut", good[:-1][:100])
    refusal(tmp_path / "longer", good + b"\0")


PAIR = {"a": f32(0, 8), "b": f32(8, 16)}
BODY = np.arange(4, dtype=np.float32).tobytes()
ABOUT = json.dumps(
    json.dumps({"sha256": "0" * 64, "format_version": 1, "kind": "field"})
)
CRAFTED = {
    "length 2^63": struct.pack("<Q", 2**63) + b"{}",
    "length 2^64-1": struct.pack("<Q", 2**64 - 1) + b"{}",
    "length over the file": struct.pack("<Q", 1000) + b"{}",
    "empty header": struct.pack("<Q", 0),
    "header no object": seal(b"[]"),
    "header of 1 MiB of brackets": seal(b"[" * (2**20 - 8), hashed=False),
    "header of 1 MiB of lists": seal(b"[" + b"[]," * 349_000 + b"[]]", hashed=False),
    "header of 1 MiB of objects": seal(
        b'{"a":[' + b'{"a":0},' * 130_000 + b"0]}", hashed=False
    ),
    "brackets in ours": seal(
        b'{"__metadata__":{"jax_inr":"' + b"[" * 10**6 + b'"}}', hashed=False
    ),
    "number of a million digits": seal(b'{"a":' + b"1" * 10**6 + b"}"),
    "not UTF-8": seal(b'{"__metadata__":{"jax_inr":"\xff"}}'),
    "byte order mark": seal(b"\xef\xbb\xbf{}"),
    "UTF-16": seal("{}".encode("utf-16")),
    "NaN in the header": seal(b'{"__metadata__":{"jax_inr":NaN}}'),
    "no metadata": seal(b'{"a":{}}'),
    "metadata of others": seal(b'{"__metadata__":{"format":"pt"}}'),
    "ours is no text": seal(b'{"__metadata__":{"jax_inr":{"format_version":1}}}'),
    "ours is a lone surrogate": seal(b'{"__metadata__":{"jax_inr":"\\ud800"}}'),
    "ours is a list": seal(b'{"__metadata__":{"jax_inr":"[1]"}}'),
    "ours without a header": seal(
        b'{"__metadata__":{"jax_inr":' + ABOUT.encode() + b"}}"
    ),
    "hash of surrogates": seal({}, about={"sha256": "\ud800" * 64}),
    "empty hash": seal({}, about={"sha256": ""}),
    "hash no text": seal({}, about={"sha256": 0}),
    "header is a list": seal({}, about={"header": []}),
    "additional field": seal({}, about={"extra": 1}),
    "overlapping": seal({"a": f32(0, 8), "b": f32(4, 12)}, BODY[:12]),
    "same bytes twice": seal({"a": f32(0, 8), "b": f32(0, 8)}, BODY[:8]),
    "out of range": seal({"a": f32(0, 8), "b": f32(8, 2**40)}, BODY),
    "offset 2^64": seal({"a": f32(0, 2**64)}, BODY),
    "negative offset": seal({"a": f32(-16, 0)}, BODY),
    "reversed offsets": seal({"a": f32(16, 0)}, BODY),
    "hole": seal({"a": f32(0, 4), "b": f32(8, 16)}, BODY),
    "bytes left over": seal({"a": f32(0, 8)}, BODY),
    "shape against offsets": seal({"a": f32(0, 16, [5])}, BODY),
    "shape overflows": seal({"a": f32(0, 16, [2**62, 2**62, 4])}, BODY),
    "empty but enormous": seal({"a": f32(0, 0, [0, 2**63])}),
    "negative shape": seal({"a": f32(0, 16, [-2, -2])}, BODY),
    "unknown dtype": seal({"a": {**f32(0, 16), "dtype": "F33"}}, BODY),
    "dtype numpy lacks": seal({"a": {**f32(0, 16, [8]), "dtype": "F8_E4M3"}}, BODY),
    "tensor is no object": seal({"a": 1}),
    "name of two lines": seal({"a": f32(0, 8), "b\nc": f32(4, 12)}, BODY[:12]),
    "endless name": seal({"a": f32(0, 8), "b" * 10**5: f32(4, 12)}, BODY[:12]),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_file_is_refused_in_little_memory(tmp_path, name):
    (tmp_path / "crafted").write_bytes(CRAFTED[name])
    tracemalloc.start()
    try:
        refusal(tmp_path / "crafted")
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_crafted_files_differ_from_a_good_one_only_in_their_fault(tmp_path):
    (tmp_path / "pair").write_bytes(seal(PAIR, BODY))
    tensors, _ = load_tensors(tmp_path / "pair", "field")
    np.testing.assert_array_equal(tensors["b"], [2, 3])


@pytest.mark.parametrize("place", ["tensors", "metadata", "ours"])
def test_duplicate_keys_are_refused(tmp_path, place):
    ours = '{"sha256":"%s","format_version":1,"kind":"field","header":{"h":1}}' % (
        "0" * 64
    )
    tensor = '"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'

    def build(ours, metadata, tensors):
        text = json.dumps(ours)
        outer = f'{{"__metadata__":{{"jax_inr":{text}{metadata}}},{tensors}}}'
        return seal(outer.encode(), BODY)

    (tmp_path / "single").write_bytes(build(ours, "", tensor))
    load_tensors(tmp_path / "single", "field")
    double = {
        "tensors": build(ours, "", f"{tensor},{tensor}"),
        "metadata": build(ours, ',"jax_inr":"{}"', tensor),
        "ours": build(ours.replace('{"h":1}', '{"h":1,"h":2}'), "", tensor),
    }
    assert "twice" in refusal(tmp_path / "double", double[place])


def test_header_of_200_megabytes_is_not_read(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.write(struct.pack("<Q", 200_000_000) + b"{")
        file.truncate(200_000_008)
    tracemalloc.start()
    try:
        refusal(tmp_path / "huge")
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_enormous_sparse_file_is_not_read(tmp_path):
    data = seal({"a": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}})
    with open(tmp_path / "sparse", "wb") as file:
        file.write(data)
        file.truncate(len(data) + 2**40)
    assert "not a jax_inr file" in refusal(tmp_path / "sparse")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random"
    refusal(path, data)
    refusal(path, struct.pack("<Q", len(data)) + data)


EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(edits=EDITS, keep_hash=st.booleans())
def test_mutated_files_raise_nothing_but_checkpoint_errors(
    tmp_path_factory, edits, keep_hash
):
    """Also with a hash that fits the mutation, which a forger can compute."""
    body = bytes(16)
    data = bytearray(seal(PAIR, body, {"header": {"h": [1]}}, hashed=False))
    original = bytes(data)
    for where, cut, inserted in edits:
        at = 8 + int(where * (len(data) - 24))
        data[at : at + cut] = inserted
    data[:8] = struct.pack("<Q", len(data) - 24)
    if not keep_hash:
        digest = hashlib.sha256(data).hexdigest().encode()
        data = data.replace(b"0" * 64, digest, 1)
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(data)
    try:
        load_tensors(path, "field", allow_nonfinite=True)
    except CheckpointError as error:
        assert str(error).isprintable()
    else:
        assert not keep_hash or bytes(data) == original


# Files of others.


class Bomb:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def foreign_files(canary):
    bomb = Bomb(canary)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle {protocol}", pickle.dumps(bomb, protocol)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
    yield "pt", buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array([bomb], object), allow_pickle=True)
    yield "npy", buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    yield "npz", buffer.getvalue()
    yield "png", b"\x89PNG\r\n\x1a\n" + bytes(100)
    yield "text", b"just some text in a file\n"
    yield "safetensors", safetensors.numpy.save({"x": np.zeros(3, np.float32)})


def test_files_of_others_are_refused_and_run_nothing(tmp_path):
    canary = tmp_path / "canary"
    for name, data in foreign_files(canary):
        message = refusal(tmp_path / "renamed.safetensors", data)
        assert "is not a jax_inr file" in message, name
        assert not canary.exists(), name
    pickle.loads(pickle.dumps(Bomb(canary)))
    assert canary.exists(), "the bomb is a dud"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        for path, reason in [
            (tmp_path / "fifo", "not a regular file"),
            (Path("/dev/zero"), "not a regular file"),
            (tmp_path, "directory"),
            (tmp_path / "socket", ""),
            (tmp_path / "missing", "No such file"),
            (tmp_path / "dangling", "No such file"),
            (tmp_path / "loop", "symbolic links"),
            (tmp_path / ("n" * 300), "too long"),
            (tmp_path / "nul\0byte", "null"),
            (tmp_path / "two\nlines", "No such file"),
        ]:
            assert reason in refusal(path)


def test_file_of_a_newer_version_is_named_as_such(tmp_path):
    newer = seal({}, about={"format_version": 2, "news": 1}, hashed=False)
    message = refusal(tmp_path / "newer", newer)
    assert "made by a newer version of jax_inr (format 2; this one reads up to 1)" in (
        message
    )


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, [1]])
def test_version_that_is_none_is_refused(tmp_path, version):
    refusal(tmp_path / "a", seal({}, about={"format_version": version}))


def test_other_kind_is_named(tmp_path):
    save_tensors(tmp_path / "a", "checkpoint", TENSORS, HEADER)
    assert "is a checkpoint, not a field" in refusal(tmp_path / "a")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_name(tmp_path, value):
    bad = {**TENSORS, "params/dense_7/bias": np.array([0, value], np.float32)}
    save_tensors(tmp_path / "a", "field", bad, HEADER)
    message = refusal(tmp_path / "a")
    assert "'params/dense_7/bias'" in message and "not finite" in message
    tensors, _ = load_tensors(tmp_path / "a", "field", allow_nonfinite=True)
    np.testing.assert_array_equal(tensors["params/dense_7/bias"], [0, value])


@pytest.mark.parametrize("dtype", [object, "U3", np.complex128, "M8[s]"])
def test_dtypes_outside_the_format_are_not_written(tmp_path, dtype):
    with pytest.raises(ValueError, match="'x'"):
        save_tensors(tmp_path / "a", "field", {"x": np.zeros(2, dtype)}, {})
    with pytest.raises(ValueError, match="__metadata__"):
        save_tensors(tmp_path / "a", "field", {"__metadata__": np.zeros(2)}, {})
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    with pytest.raises(OutputError):
        save_tensors(tmp_path / "a", "field", TENSORS, {"long": "x" * 2**20})
    monkeypatch.setattr(tensorfile, "MAX_FILE_BYTES", 100)
    with pytest.raises(OutputError):
        save_tensors(tmp_path / "a", "field", TENSORS, {})
    assert not list(tmp_path.iterdir())


def test_files_and_runs_need_neither_framework():
    code = (
        "import sys, jax_inr.io.tensorfile, jax_inr.io.runs;"
        "sys.exit(bool({'jax', 'jaxlib', 'flax', 'torch'} & set(sys.modules)))"
    )
    process = child(code)
    assert process.communicate() and process.returncode == 0


# Reads are bounded by what the file is.


@pytest.fixture
def traced():
    """The most memory that Python and numpy took since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_sparse_file_whose_header_claims_little_is_not_read(tmp_path, traced):
    path = tmp_path / "sparse"
    path.write_bytes(seal(PAIR, BODY))
    os.truncate(path, 4_190_000_000)
    assert "4190000000 bytes" in refusal(path)
    assert traced() < 2e6


@pytest.mark.parametrize("sealed", [False, True])
def test_data_that_no_use_is_known_for_are_not_read(tmp_path, traced, sealed):
    """Also where the file is all that its own header says."""
    count = 2**28
    tensor = {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}
    start = seal({"x": tensor}, hashed=False)
    digest = hashlib.sha256(start)
    for _ in range(256):
        digest.update(bytes(2**20))
    if sealed:
        start = start.replace(b"0" * 64, digest.hexdigest().encode(), 1)
    path = tmp_path / "sparse"
    path.write_bytes(start)
    os.truncate(path, len(start) + count)

    def check(layout, header):
        assert {name: (a.dtype, a.shape) for name, a in layout.items()} == {
            "x": (np.uint8, (count,))
        }
        raise CheckpointError(f"{path}: no such tensor")

    with pytest.raises(CheckpointError, match="no such" if sealed else "sha256"):
        load_tensors(path, "field", check=check)
    assert traced() < 4e6


def test_file_larger_than_the_memory_left_is_refused(tmp_path, monkeypatch, good):
    (tmp_path / "a").write_bytes(good)
    monkeypatch.setattr(tensorfile, "available_bytes", lambda: 2 * len(good) - 1)
    with pytest.raises(DeviceError, match="the machine has"):
        load_tensors(tmp_path / "a", "field")
    monkeypatch.setattr(tensorfile, "available_bytes", lambda: 2 * len(good))
    load_tensors(tmp_path / "a", "field")


@pytest.mark.parametrize("name", ["a\x1b[31m\n", "x" * 10**5])
def test_names_of_tensors_are_shown_as_text(tmp_path, name):
    """`refusal` looks at the message."""
    body = np.array([np.nan], np.float32).tobytes()
    message = refusal(tmp_path / "a", seal({name: f32(0, 4)}, body))
    assert "not finite" in message
    refusal(tmp_path / "a", seal({name: {**f32(0, 4), "dtype": name}}, body))
    refusal(tmp_path / "a", seal({}, about={"kind": name}))


@pytest.mark.parametrize("name", sorted(tensorfile._DTYPES.values()))
def test_every_dtype_of_the_format_comes_back(tmp_path, name):
    kept = np.array([[0, 1, 1]]).astype(name)
    save_tensors(tmp_path / "a", "field", {"x": kept, "one": kept[0, 1]}, {})
    tensors, _ = load_tensors(tmp_path / "a", "field")
    assert tensors["x"].dtype == kept.dtype and tensors["one"].shape == ()
    np.testing.assert_array_equal(tensors["x"], kept)
