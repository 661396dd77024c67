"""What goes wrong outside: the real command among bad files, signals and full disks.

Each case asks the command in a process of its own for the exit code, the one line and
what is on the disk. What the library promises alone is in the other tests.
"""

import io
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, said
from PIL import Image

from jax_inr.io import tensorfile
from jax_inr.io.images import encode_png, load_image
from jax_inr.io.runs import RunFolder

SCRIPT = str(ROOT / "scripts" / "fit.py")
SMALL = ("--device", "cpu", "--hidden-features", 8, "--num-frequencies", 4)
QUICK = (*SMALL, "--size", 8, "--steps", 3, "--batch-size", 16)
# Endless, and with moments to be stopped at: an evaluation and a save at each chunk.
CONSTANT = ("--schedule", "constant", "--warmup-steps", 0, "--learning-rate", 1)
ENDLESS = (*SMALL, *CONSTANT, "--size", 8, "--batch-size", 16, "--steps", 10**9)
ENDLESS = (*ENDLESS, "--eval-every", 50, "--checkpoint-seconds", 0.05)
RESULTS = ("field.safetensors", "reconstruction.png", "comparison.png", "encoding.png")
COLOURS = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
NO_JAX = "raise AssertionError('an early error must not wait for this import')"


def kept_checkpoint(folder):
    """The newest good checkpoint of a folder, which has one."""
    found = folder.load_checkpoint()
    assert found is not None
    return found


def start(*arguments, cwd, python=(), **kwargs) -> subprocess.Popen[str]:
    """The command in a process of its own, to be waited for or killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    words = [sys.executable, *python, SCRIPT, *map(str, arguments)]
    STARTED.append(subprocess.Popen(words, cwd=cwd, text=True, **pipes))
    return STARTED[-1]


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """A test that fails kills what it started: some of it would never end."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def after(prelude: str) -> tuple[str, str]:
    """Options of python that run a line of code in the process before the command.

    Not by preexec_fn, which forks in Python: JAX, in this process, warns of that.
    """
    code = f"import resource, runpy, signal, sys; {prelude}; sys.argv = sys.argv[1:]; "
    return "-c", code + "runpy.run_path(sys.argv[0], run_name='__main__')"


def end(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(condition, process: subprocess.Popen[str]):
    """What the condition gives as soon as it is true, or fails with the process."""
    until = time.monotonic() + 240
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    return value


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step_*.safetensors"))


def rows(run: Path) -> list[dict]:
    """The log but for the seconds, which no two runs share."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "seconds": 0} for line in lines]


def results(run: Path) -> dict:
    """All that two equal runs have in common to the last bit."""
    return {"log": rows(run), **{name: (run / name).read_bytes() for name in RESULTS}}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def damage(path: Path, at: float = 0.5) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(data)


def encoded(picture: Image.Image, kind: str, **how) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


PHOTO = Image.fromarray(COLOURS)
PNG = encoded(PHOTO, "PNG")


def reheaded(width: int, height: int) -> bytes:
    """The PNG with another size in its header, under a right checksum."""
    header = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:12] + header + zlib.crc32(header).to_bytes(4, "big") + PNG[33:]


def spoilt(picture: Image.Image, compression: str) -> bytes:
    """A compressed TIFF with a byte amid its pixels inverted."""
    data = bytearray(
        encoded(picture.resize((110, 90)), "TIFF", compression=compression)
    )
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


# Errors that come before any work: no frameworks imported, nothing left on the disk.


@pytest.fixture(scope="module")
def no_jax(tmp_path_factory) -> dict[str, str]:
    """An environment in which importing a framework is an error with a traceback."""
    folder = tmp_path_factory.mktemp("blocked")
    for name in ("jax", "flax", "torch", "matplotlib"):
        (folder / f"{name}.py").write_text(NO_JAX)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


CUT = {
    f"{kind} cut at {share}": encoded(PHOTO, kind)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF")
    for share in ("1 %", "50 %", "-1")
}
CUT = {
    name: data[
        : {"%": int(float(name.split()[-2]) * len(data) / 100)}.get(name[-1], -1)
    ]
    if name.endswith("%")
    else data[:-1]
    for name, data in CUT.items()
}
PICTURES = {
    "empty": (b"", "empty"),
    "text": (b"no picture at all", "not in an image format"),
    "PDF": (b"%PDF-1.7\n1 0 obj", "a PDF file, which is not read"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file"),
    "wrong checksum": (PNG[:45] + bytes([PNG[45] ^ 1]) + PNG[46:], "damaged"),
    "no pixels": (reheaded(0, 0), "damaged"),
    "400 megapixels": (reheaded(20_000, 20_000), "pixels"),
    "100 megapixels": (reheaded(10_000, 10_000), "50000000 pixels"),
    "GIF cut": (CUT["GIF cut at 50 %"], "truncated"),
    "JPEG cut": (CUT["JPEG cut at 50 %"], "truncated"),
    "PNG cut": (CUT["PNG cut at 50 %"], "damaged"),
    "TIFF cut": (CUT["TIFF cut at 50 %"], "damaged"),
    "WEBP cut": (CUT["WEBP cut at 50 %"], "damaged"),
    # libtiff would print lines of its own, and Pillow take the first for a picture.
    "fax damaged": (spoilt(PHOTO.convert("1"), "group4"), "ode word"),
    "deflate damaged": (spoilt(PHOTO, "tiff_adobe_deflate"), "damaged"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_bad_picture(name, fit_py, tmp_path, no_jax):
    data, reason = PICTURES[name]
    (tmp_path / "a.png").write_bytes(data)
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    environment = {**no_jax, "PATH": f"{ghostscript.parent}:{os.environ['PATH']}"}
    line = said(fit_py("a.png", cwd=tmp_path, env=environment), 3)
    assert "a.png" in line and reason in line
    assert names(tmp_path) == {"a.png", "bin"}


MANY = """
import contextlib, io, json, sys
from jax_inr.cli.main import main
for words in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(["fit", *words])
    print(json.dumps([code, err.getvalue()]), flush=True)
"""


def many(commands: list[list[str]], cwd: Path, env: dict[str, str], *before) -> list:
    """Exit code and standard error of command lines, all in one further process.

    `before`: words before those that start Python.
    """
    result = subprocess.run(
        [*before, sys.executable, "-c", MANY],
        input=json.dumps([[str(word) for word in words] for words in commands]),
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_pictures_cut_anywhere(tmp_path, no_jax):
    for name, data in CUT.items():
        (tmp_path / name).write_bytes(data)
    answers = many([[name] for name in CUT], tmp_path, no_jax)
    for name, (code, err) in zip(CUT, answers, strict=True):
        # A TIFF's last byte is padding: it is whole without.
        assert code == 3 and err.count("\n") == 1 and name in err, (name, err)
    assert names(tmp_path) == {*CUT}


def test_bombs_take_no_memory(tmp_path, no_jax):
    (tmp_path / "a.png").write_bytes(reheaded(20_000, 20_000))
    (tmp_path / "b.png").write_bytes(reheaded(10_000, 4_000))
    # Its own peak: that of getrusage begins with the memory of whoever forked it.
    status = "print(open('/proc/self/status').read())"
    peak = f"import atexit; atexit.register(lambda: {status})"
    for name in ("a.png", "b.png"):
        environment = {**os.environ, **no_jax}
        result = end(start(name, cwd=tmp_path, python=after(peak), env=environment))
        said(result, 3)
        kilobytes = int(result.stdout.split("VmHWM:")[1].split()[0])
        assert kilobytes < 500 * 1024


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nope.png", "no such file"),
        ("", "is a directory"),
        ("folder", "is a directory"),
        ("fifo", "a device or a pipe"),
        ("/dev/zero", "a device or a pipe"),
        ("/dev/stdin", "a device or a pipe"),
        ("loop", "symbolic link"),
        ("dangling", "points to nothing"),
        ("n" * 300, "too long"),
        ("two\nlines.png", "two\\nlines"),
    ],
)
def test_what_is_no_file(path, reason, tmp_path, no_jax):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    before = names(tmp_path)
    environment = {**os.environ, **no_jax}
    stdin = {"stdin": subprocess.PIPE}
    result = end(start(path, cwd=tmp_path, env=environment, **stdin))
    line = said(result, 3)
    assert reason in line
    assert names(tmp_path) == before


def test_a_picture_that_may_not_be_read(tmp_path, no_jax):
    (tmp_path / "locked").mkdir(mode=0o000)
    code = (
        "import os, sys, jax_inr.cli.main as c, jax_inr.io.images\n"
        "c.main(['fit', 'nope'])\n"  # imports all that another user may not read
        "if not os.getuid(): os.setuid(65534)\n"
        "sys.exit(c.main(['fit', sys.argv[1]]))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "locked" / "a.png")]
    environment = {**os.environ, **no_jax}
    result = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 3
    first, line = result.stderr.splitlines()
    assert line.startswith("error: ") and "permission denied" in line
    assert "nope" in first and names(tmp_path) == {"locked"}


@pytest.mark.parametrize(
    "out", ["/sys/run", "/proc/run", "file", "file/run", "n" * 300]
)
def test_a_folder_that_cannot_be(out, fit_py, tmp_path, no_jax):
    (tmp_path / "file").write_bytes(b"mine")
    line = said(fit_py("--out", out, cwd=tmp_path, env=no_jax), 6)
    assert out in line
    assert names(tmp_path) == {"file"}
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_several_pictures_have_no_place(tmp_path, no_jax):
    """Said once and before any work; a single run's folder keeps its summary."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "run").mkdir()
    for name in ("config.json", "summary.json"):
        (tmp_path / "run" / name).write_text("{}")
    reasons = {
        "file": "File exists",
        "/proc/run": "cannot write /proc/run",
        "run": "holds a single run",
    }
    words = ["a.png", "b.png", "--overwrite", "--out"]
    answers = many([[*words, out] for out in reasons], tmp_path, no_jax)
    for reason, (code, err) in zip(reasons.values(), answers, strict=True):
        assert code == 6 and err.startswith("error: ") and reason in err, err
        assert err.count("\n") == 1, err
    assert names(tmp_path / "run") == {"config.json", "summary.json"}
    assert names(tmp_path) == {"a.png", "b.png", "file", "run"}


def test_a_folder_of_something_else(fit_py, tmp_path, no_jax):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    assert "not empty" in said(fit_py("--out", "out", cwd=tmp_path, env=no_jax), 6)
    line = said(fit_py("--resume", "out", cwd=tmp_path, env=no_jax), 4)
    assert "config.json" in line
    assert names(tmp_path / "out") == {"thesis.tex"}


CONFIGS = {
    "not JSON": (b"{", "is damaged"),
    "empty": (b"", "is damaged"),
    "not UTF-8": (b"\xff\xfe{}", "is damaged"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "twice": (b'{"steps": 1, "steps": 2}', "twice"),
    "NaN": (b'{"sigma": NaN}', "NaN"),
    "a list": (b"[1]", "object"),
    "unknown key": (b'{"lerning_rate": 1}', "did you mean learning_rate"),
    "text for a number": (b'{"steps": "many"}', "steps"),
    "truth for a number": (b'{"steps": true}', "steps"),
    "fraction for a whole": (b'{"steps": 1.5}', "steps"),
    "infinite": (b'{"learning_rate": 1e999}', "number is too large"),
    "enormous": (b'{"learning_rate": 1%s}' % (b"0" * 400), "number"),
    "too many digits": (b'{"steps": %s}' % (b"9" * 5000), "digits"),
    "lists in a list": (b'{"hidden_features": [[1]]}', "hidden_features"),
    "empty list": (b'{"hidden_features": []}', "hidden_features"),
    "no such choice": (b'{"network": "transformer"}', "network"),
}


def test_bad_config_files(tmp_path, no_jax):
    for name, (data, _) in CONFIGS.items():
        (tmp_path / name).write_bytes(data)
    commands = [["--config", name] for name in CONFIGS]
    answers = many(commands, tmp_path, no_jax)
    for (name, (_, reason)), (code, err) in zip(CONFIGS.items(), answers, strict=True):
        assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
        assert name in err and reason in err, err
    assert names(tmp_path) == {*CONFIGS}


@pytest.mark.parametrize("path", ["/dev/zero", "fifo", ".", "nope.json"])
def test_a_config_that_is_no_file(path, fit_py, tmp_path, no_jax):
    os.mkfifo(tmp_path / "fifo")
    line = said(fit_py("--config", path, cwd=tmp_path, env=no_jax), 2)
    assert "cannot read" in line and path in line


def test_numbers_outside_their_range(tmp_path, no_jax):
    """By an option and by a config: the field and its range are named."""
    numbers = {
        "steps": (0, -1, 10**18),
        "learning_rate": (-1, 0, 1e999),
        "sigma": (-1, 1e999),
        "batch_size": (0, -1),
        "hidden_features": ([0], [10**9]),
        "eval_every": (0,),
    }
    commands, fields = [], []
    for name, values in numbers.items():
        for value in values:
            only = value[0] if isinstance(value, list) else value
            file = f"{len(fields)}.json"
            (tmp_path / file).write_text(json.dumps({name: value}))
            commands += [[f"--{name.replace('_', '-')}={only}"], ["--config", file]]
            fields += [name, name]
    before = names(tmp_path)
    answers = many(commands, tmp_path, no_jax)
    for name, words, (code, err) in zip(fields, commands, answers, strict=True):
        assert code == 2 and err.count("\n") == 1, (words, err)
        # JSON has no infinity, which is said before its range.
        assert (name in err and "must lie in" in err) or "Infinity" in err, (words, err)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("--steps", 0), 2, "steps"),
        (("--steps", 10**18), 2, "steps"),
        (("--hidden-features", 10**9), 2, "hidden_features"),
        (("--sigma", "nan"), 2, "sigma"),
        (("--resume", "nope"), 4, "nope"),
        (("--resume", "run", "cat.png"), 2, "image"),
        (("--preset", "cnn", "--config", "c.json"), 2, "--preset"),
        # What cannot fit is refused by its estimate, with a way out.
        (("--hidden-features", 60_000, 60_000), 7, "hidden_features"),
        (("--size", 400, "--batch-size", 10**5, "--max-memory", 0.1), 7, "0.10 GiB"),
    ],
)
def test_options_that_cannot_be(words, code, named, fit_py, tmp_path, no_jax):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "c.json").write_text("{}")
    flat = encode_png(np.zeros((1000, 1000, 1), np.float32))
    (tmp_path / "cat.png").write_bytes(flat)
    before = names(tmp_path)
    # Memory is counted from the shapes that JAX gives.
    environment = {} if code == 7 else no_jax
    assert named in said(fit_py(*words, cwd=tmp_path, env=environment), code)
    assert names(tmp_path) == before


def test_a_picture_over_the_memory(fit_py, tmp_path):
    flat = np.zeros((4000, 6000, 1), np.float32)
    (tmp_path / "a.png").write_bytes(encode_png(flat))
    words = ("a.png", "--max-memory", 0.25, "--out", "run")
    line = said(fit_py(*words, cwd=tmp_path), 7)
    assert "GiB" in line and "smaller image" in line
    assert names(tmp_path) == {"a.png"}


def test_running_out_of_memory_while_decoding_is_said(tmp_path, no_jax):
    limit = after("resource.setrlimit(resource.RLIMIT_AS, (3 * 2**28,) * 2)")
    words = ("--size", 7000, "--batch-size", "None")
    environment = {**os.environ, **no_jax, "OPENBLAS_NUM_THREADS": "1"}
    process = start(*words, cwd=tmp_path, python=limit, env=environment)
    assert "out of memory; " in said(end(process), 7)
    assert not names(tmp_path) - {"runs"}


def test_a_platform_that_is_absent(fit_py, tmp_path):
    words = (*QUICK[2:], "--out", "run")
    environment = {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    said(fit_py(*words, cwd=tmp_path, env=environment), 7)
    assert not names(tmp_path)


@pytest.mark.parametrize("module", ["jax", "flax", "matplotlib"])
def test_a_library_that_is_missing(module, fit_py, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    code = f"raise ModuleNotFoundError('none', name={module!r})"
    (blocked / f"{module}.py").write_text(code)
    environment = {"PYTHONPATH": f"{blocked}:{ROOT}"}
    line = said(fit_py(*QUICK, "--out", "run", cwd=tmp_path, env=environment), 2)
    assert module in line and "pip install" in line
    if module == "matplotlib":  # only figures need it: nothing that was fitted is lost
        left = names(tmp_path / "run")
        assert {"field.safetensors", "reconstruction.png", "checkpoints"} <= left
        assert "summary.json" not in left
        shutil.rmtree(tmp_path / "run")
    assert names(tmp_path) == {"blocked"}


@pytest.mark.slow
def test_a_refusal_leaves_the_run_that_it_was_to_replace(run, fit_py, tmp_path):
    """Whatever stands in the way, a device or memory, comes before the removal."""
    shutil.copytree(run, tmp_path / "run")
    before = results(tmp_path / "run")
    for words, platform in (
        (("--max-memory", 0.001, "--size", 200), "cpu"),
        (("--device", "gpu"), "cpu"),
        (("--seed", 1), "rocm"),
    ):
        words = (*words, "--overwrite", "--out", "run")
        environment = {"JAX_PLATFORMS": platform}
        said(fit_py(*words, cwd=tmp_path, env=environment), 7)
        assert results(tmp_path / "run") == before


# A finished run to compare with, and to damage copies of.


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of six steps, saved after each: its last two checkpoints."""
    folder = tmp_path_factory.mktemp("finished")
    words = (*QUICK, *CONSTANT, "--steps", 6, "--eval-every", 1, "--out", "run")
    result = end(start(*words, "--checkpoint-seconds", 0, cwd=folder))
    assert (result.returncode, result.stderr) == (0, "")
    assert [path.stem for path in checkpoints(folder / "run")] == [
        "step_000000005",
        "step_000000006",
    ]
    return folder / "run"


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """A copy of the run, unfinished: its summary was not yet written."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


class Canary:
    """A pickle that would touch a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_checkpoints_that_are_all_bad(run, copy, tmp_path):
    import pickle

    good = checkpoints(copy)[-1].read_bytes()
    tensors, header = tensorfile.load_tensors(checkpoints(copy)[-1], "checkpoint")
    about = {**header, "format_version": 1}

    def made(tensors, header, kind="checkpoint") -> bytes:
        tensorfile.save_tensors(tmp_path / "made", kind, tensors, header)
        return (tmp_path / "made").read_bytes()

    name = next(name for name in tensors if "kernel" in name)
    nan = {**tensors, name: np.full_like(tensors[name], np.nan)}
    npy = io.BytesIO()
    np.save(npy, np.array([Canary(tmp_path / "canary")], object), allow_pickle=True)
    newer = good.replace(b'format_version\\":1', b'format_version\\":2').replace(
        b'format_version\\": 1', b'format_version\\": 2'
    )
    assert newer != good
    cases = {
        **{f"cut {n}": (good[: n * len(good) // 16], "") for n in range(16)},
        **{f"only {n}": (good[:n], "") for n in (1, 8)},
        "bit of the header": (flipped(good, 100), ""),
        "bit of the data": (flipped(good, len(good) - 9), "sha256"),
        "header of 2^63": (struct.pack("<Q", 2**63) + good[8:], "not a jax_inr file"),
        "pickle": (pickle.dumps(Canary(tmp_path / "canary")), "not a jax_inr file"),
        "npy": (npy.getvalue(), "not a jax_inr file"),
        "newer": (newer, "newer version"),
        "NaN": (made(nan, header), "not finite"),
        "a field": (made(tensors, header, "field"), "is a field"),
        "no position": (made(tensors, {**header, "position": {}}), "position"),
        "negative": (
            made(tensors, {**header, "position": {**header["position"], "step": -1}}),
            "position",
        ),
        "back end": (made(tensors, {**header, "backend": ["jax"]}), "back end ['jax']"),
        "tinygrad": (made(tensors, {**header, "backend": "tinygrad"}), "known are jax"),
        "config": (made(tensors, {**header, "config": {"x": 1}}), "unknown config"),
        "pixels": (made(tensors, {**header, "pixels_sha256": ""}), "the image is not"),
        "versions": (made(tensors, {**about, "versions": None}), "versions"),
    }
    commands = []
    for case, (data, _) in cases.items():
        shutil.copytree(copy, tmp_path / case)
        for path in checkpoints(tmp_path / case):
            path.write_bytes(data)
        commands.append(["--resume", case])
    answers = many(commands, tmp_path, {})
    for (case, (_, reason)), (code, err) in zip(cases.items(), answers, strict=True):
        assert code == 4 and err.startswith("error: ") and err.count("\n") == 1, err
        assert reason in err and case in err, err
        assert (tmp_path / case / "field.safetensors").exists()
        assert len(checkpoints(tmp_path / case)) == 2
    assert not (tmp_path / "canary").exists()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def test_no_good_checkpoint_is_one_line_of_the_command(copy, fit_py, tmp_path, no_jax):
    for path in checkpoints(copy):
        damage(path)
    line = said(fit_py("--resume", "run", cwd=tmp_path, env=no_jax), 4)
    assert all(path.name in line for path in checkpoints(copy))
    assert "--overwrite" in line


def test_the_older_checkpoint_takes_over(run, copy, fit_py, tmp_path):
    """And what it continues to is what it would have been."""
    damage(checkpoints(copy)[-1])
    (copy / "checkpoints" / ".jax_inr-1-a.tmp").write_bytes(b"half")
    with open(copy / "metrics.jsonl", "ab") as log:
        log.write(b'{"step": 7, "lo')  # torn by a power cut
    result = fit_py("--resume", "run", "--backend", "jax", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    notice = result.stderr.splitlines()
    assert len(notice) == 1 and notice[0].startswith("notice: ")
    assert "step_000000006" in notice[0] and "step_000000005" in notice[0]
    assert results(copy) == results(run)
    assert not list(copy.rglob("*.tmp"))


@pytest.mark.parametrize("length", [0, 8, -1])
def test_a_checkpoint_cut_short_gives_way_to_the_older(length, copy):
    newest = checkpoints(copy)[-1]
    newest.write_bytes(newest.read_bytes()[:length])
    with RunFolder.reopen(copy) as folder:
        _, header, (notice,) = kept_checkpoint(folder)
    assert header["step"] == 5
    assert newest.name in notice and "using step_000000005" in notice


def test_a_finished_run_is_left_alone_whatever_its_name(run, fit_py, tmp_path):
    """The name would be an error of markup; a new run there is refused."""
    place = tmp_path / "a[" / "x]"
    shutil.copytree(run, place)
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    result = fit_py("--resume", "a[/x]", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("a[/x] is finished")
    assert "another run" in said(fit_py("--out", "a[/x]", cwd=tmp_path), 6)
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before


def test_a_checkpoint_of_another_run(copy, fit_py, tmp_path, no_jax):
    """Of another picture, or of another network: what differs is named."""
    picture = copy / "checkpoints" / "picture.safetensors"
    tensors, header = tensorfile.load_tensors(picture, "picture")
    tensorfile.save_tensors(picture, "picture", {"image": 1 - tensors["image"]}, header)
    line = said(fit_py("--resume", "run", cwd=tmp_path, env=no_jax), 4)
    assert "the image is not the one" in line
    tensorfile.save_tensors(picture, "picture", tensors, header)

    config = json.loads((copy / "config.json").read_text())
    config["hidden_features"] = [9]
    (copy / "config.json").write_text(json.dumps(config))
    line = said(fit_py("--resume", "run", cwd=tmp_path, env=no_jax), 2)
    assert "hidden_features" in line and "(8,)" in line and "(9,)" in line


def test_another_back_end_is_refused_by_name(copy, fit_py, tmp_path, no_jax):
    words = ("--resume", "run", "--backend", "torch")
    line = said(fit_py(*words, cwd=tmp_path, env=no_jax), 4)
    assert "is of the jax back end" in line and "torch" in line


@pytest.mark.slow
@pytest.mark.torch
def test_a_state_of_another_back_end_is_refused_by_name(copy, fit_py, tmp_path):
    """The header says torch, and the tensors are those of JAX."""
    pytest.importorskip("torch")
    for path in checkpoints(copy):
        tensors, header = tensorfile.load_tensors(path, "checkpoint")
        tensorfile.save_tensors(
            path, "checkpoint", tensors, {**header, "backend": "torch"}
        )
    result = fit_py("--resume", "run", "--quiet", cwd=tmp_path)
    assert result.returncode == 4
    line = result.stderr.splitlines()[-1]  # after a notice of other versions
    assert "no state of this fit in the torch back end: params/" in line


@pytest.mark.slow
def test_a_state_without_its_momentum_is_refused_by_name(copy, fit_py, tmp_path):
    for path in checkpoints(copy):
        tensors, header = tensorfile.load_tensors(path, "checkpoint")
        left = {name: leaf for name, leaf in tensors.items() if "trace" not in name}
        assert len(left) < len(tensors)
        tensorfile.save_tensors(path, "checkpoint", left, header)
    line = said(fit_py("--resume", "run", cwd=tmp_path), 4)
    assert "trace" in line and "missing" in line
    assert rows(copy)[-1]["step"] == 6


# Streams and places.


@pytest.mark.slow
def test_a_reader_that_goes_and_a_full_stdout_lose_nothing(run, tmp_path):
    """`fit.py … | head -1`, `fit.py … > /dev/full`, and all streams closed."""
    words = (*QUICK, *CONSTANT, "--steps", 6, "--eval-every", 1)
    shell = " ".join([sys.executable, SCRIPT, *map(str, words)])
    lines = {
        "head": f"set -o pipefail; {shell} --out head | head -1",
        "full": f"{shell} --out full > /dev/full",
        "both": f"{shell} --out both > /dev/full 2> /dev/full",
        "closed": f"{shell} --out closed >&- 2>&- <&-",
    }
    said = {}
    for name, line in lines.items():
        result = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert result.returncode == 0, (name, result.stderr)
        assert results(tmp_path / name) == results(run), name
        assert (tmp_path / name / "summary.json").exists()
        said[name] = result
    assert said["head"].stdout.startswith("step 1/6")
    assert said["head"].stdout.count("\n") == 1
    assert said["head"].stderr == ""
    notice = said["full"].stderr.splitlines()
    assert len(notice) == 1 and "No space left" in notice[0]


@pytest.mark.parametrize("words", [("--help",), ("nope.png",)])
def test_no_traceback_where_nothing_can_be_printed(words, tmp_path):
    for close in ("| true", "> /dev/full", ">&-", "2> /dev/full"):
        line = f"{sys.executable} {SCRIPT} {' '.join(words)} {close}"
        result = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in result.stderr and "Exception" not in result.stderr
        if words == ("nope.png",) and "|" not in close:
            assert result.returncode == 3


@pytest.mark.slow
def test_a_strange_environment_changes_nothing(run, tmp_path):
    """No home, C locale, optimised, another hash seed, an odd terminal, any name."""
    (tmp_path / "home").mkdir()
    for number, (python, environment) in enumerate(
        [
            (
                ("-O",),
                {
                    "PYTHONPATH": str(ROOT),
                    "LC_ALL": "C",
                    "PYTHONUTF8": "0",
                    "PYTHONCOERCECLOCALE": "0",
                    "PYTHONHASHSEED": "1",
                    "TERM": "dumb",
                    "COLUMNS": "20",
                    "HOME": str(tmp_path / "home"),
                    "TMPDIR": "/proc/nowhere",
                },
            ),
            (
                ("-X", "dev", "-W", "error::ResourceWarning"),
                {
                    "PYTHONPATH": str(ROOT),
                    "LANG": "tr_TR.UTF-8",
                    "PYTHONHASHSEED": "2",
                    "NO_COLOR": "1",
                    "FORCE_COLOR": "",
                    "HOME": "/proc/nowhere",
                    "PATH": os.environ["PATH"],
                },
            ),
        ]
    ):
        out = f"käse\n{number}"
        words = (*QUICK, *CONSTANT, "--steps", 6, "--eval-every", 1, "--out", out)
        process = start(*words, cwd=tmp_path, python=python, env=environment)
        result = end(process)
        assert result.returncode == 0, result.stderr
        errors = [
            line for line in result.stderr.splitlines() if "atplotlib" not in line
        ]
        assert errors == []
        assert "\x1b" not in result.stdout and "\r" not in result.stdout
        assert results(tmp_path / out) == results(run)
        json.loads((tmp_path / out / "summary.json").read_bytes().decode("utf-8"))
    # Nothing is kept outside the run's folder, but for matplotlib's list of fonts.
    left = {path.parent.name for path in (tmp_path / "home").rglob("*.*")}
    assert left <= {"home", "matplotlib"}


@pytest.mark.slow
def test_any_name_of_a_picture(tmp_path, fit_py):
    """255 bytes that are no UTF-8, quotes and a line break; a dash first, and cats."""
    odd = b'it\'s "\xff"\n'
    odd = os.fsdecode(odd + b"x" * (251 - len(odd)) + b".png")
    cats = "-" + "\N{CAT}" * 62 + ".png"
    for name in (odd, cats):
        (tmp_path / name).write_bytes(PNG)
    # The name of a preset becomes part of the folder's, and a path must not.
    (tmp_path / "c.json").write_text('{"preset": "../../x"}')
    for words in ((odd,), (f"./{cats}", "--config", "c.json")):
        result = fit_py(*QUICK, "--steps", 1, *words, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert names(tmp_path) == {odd, cats, "c.json", "runs"}
    folders = sorted((tmp_path / "runs").iterdir())
    assert {folder.name.split("-")[-1] for folder in folders} == {"default", "custom"}
    for folder in folders:
        assert folder.name.isprintable()
        for name in ("summary.json", "config.json"):
            json.loads((folder / name).read_bytes().decode("utf-8"))


# Pictures that are fitted right: what the run keeps is what was fitted.


def pictures_of_every_kind() -> dict[str, bytes]:
    """Files that take a path of their own through the loader."""
    ramp = np.linspace(0, 65535, 99).astype(np.uint16).reshape(9, 11)
    hidden = np.dstack([COLOURS, np.full((9, 11), 255, np.uint8)])
    hidden[0, 0] = 0, 0, 0, 0
    turned, exif = PHOTO.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    return {
        "deep.png": encoded(Image.fromarray(ramp), "PNG"),
        "hidden.png": encoded(Image.fromarray(hidden), "PNG"),
        "turned.png": encoded(turned, "PNG", exif=exif),
        "bits.png": encoded(PHOTO.convert("1"), "PNG"),
        "frames.gif": encoded(PHOTO, "GIF", save_all=True, append_images=[turned]),
        "inks.jpg": encoded(PHOTO.convert("CMYK"), "JPEG"),
        "one.png": encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"),
        "row.png": encoded(PHOTO.crop((0, 0, 11, 1)), "PNG"),
        "column.png": encoded(PHOTO.crop((0, 0, 1, 7)), "PNG"),
        "flat.png": encoded(Image.new("L", (2, 3), 7), "PNG"),
    }


@pytest.mark.slow
def test_images_of_every_kind(tmp_path):
    pictures = pictures_of_every_kind()
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
    quick = [*SMALL, "--batch-size", "None", "--steps", 2, "--quiet"]
    commands = [[name, *quick, "--out", f"of {name}"] for name in pictures]
    answers = many(commands, tmp_path, {"PYTHONPATH": str(ROOT)})
    notices = dict(zip(pictures, answers, strict=True))
    assert all(code == 0 for code, _ in answers), answers
    fitted = {}
    for name in pictures:
        with RunFolder.reopen(tmp_path / f"of {name}") as folder:
            image, _ = folder.load_original()
            assert image is not None
            fitted[name] = image.image
            summary = folder.read_json("summary.json")
        with Image.open(tmp_path / f"of {name}" / "reconstruction.png") as written:
            size = written.size
        assert size == fitted[name].shape[1::-1]
        assert (summary["ssim"] is None) == (min(size) < 11)
        assert isinstance(summary["psnr_db"], float | str)

    def words(name: str) -> str:
        return notices[name][1]

    ramp = np.linspace(0, 1, 99).reshape(9, 11, 1)
    np.testing.assert_allclose(fitted["deep.png"], ramp, atol=1e-4)
    expected = COLOURS / np.float32(255)
    expected[0, 0] = 1
    np.testing.assert_allclose(fitted["hidden.png"], expected, atol=1e-6)
    assert "composited on white" in words("hidden.png")
    np.testing.assert_allclose(fitted["turned.png"], COLOURS / 255, atol=1e-6)
    assert "turned upright" in words("turned.png")
    assert fitted["bits.png"].shape == (9, 11, 1)
    assert set(np.unique(fitted["bits.png"])) == {0, 1}
    assert fitted["frames.gif"].shape == (9, 11, 3)
    assert "only the first" in words("frames.gif")
    assert fitted["inks.jpg"].shape == (9, 11, 3) and "CMYK" in words("inks.jpg")
    assert fitted["one.png"].shape == (1, 1, 3)
    assert fitted["row.png"].shape == (1, 11, 3)
    assert fitted["column.png"].shape == (7, 1, 3)
    np.testing.assert_array_equal(fitted["flat.png"], np.float32(7 / 255))


# The fit itself goes wrong.

POISON = """
import sys
import numpy as np
from jax_inr import trainer
from jax_inr.cli import main as cli
advance = trainer.JaxTrainer.advance
def poisoned(self, num_steps, active):
    first = self.steps[0]
    losses, good = advance(self, num_steps, active)
    losses = np.where(np.arange(first, first + num_steps) == 7, np.nan, losses)
    if not np.isfinite(losses).all():
        self.rollback(0)
        good = good & False
    return losses, good
trainer.JaxTrainer.advance = poisoned
sys.exit(cli.main(["fit", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_a_loss_that_is_not_finite(tmp_path):
    """Poisoned at step 7: the sigmoid saturates at a huge rate and stays finite."""
    words = (*QUICK, *CONSTANT, "--steps", 50, "--eval-every", 2, "--out", "run")
    result = subprocess.run(
        [sys.executable, "-c", POISON, *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    line = said(result, 5)
    assert "step 7" in line and "learning rate 1" in line
    assert "--learning-rate 0.1" in line
    left = names(tmp_path / "run")
    assert "summary.json" not in left
    assert {"config.json", "metrics.jsonl", "checkpoints"} <= left
    with RunFolder.reopen(tmp_path / "run") as folder:
        tensors, header, notices = kept_checkpoint(folder)
    assert not notices and 5 <= header["step"] <= 7
    assert all(np.isfinite(leaf).all() for leaf in tensors.values())


@pytest.mark.slow
def test_a_fit_worse_than_its_start_says_so(fit_py, tmp_path):
    words = (*QUICK, *CONSTANT, "--learning-rate", 1e6, "--steps", 20, "--out", "run")
    result = fit_py(*words, cwd=tmp_path)
    assert result.returncode == 0
    line = result.stderr.splitlines()
    assert len(line) == 1 and "worse than at the start" in line[0]
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_disk_that_fills_up_while_saving(run, fit_py, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    before = checkpoints(tmp_path / "run")[-1].read_bytes()
    size = len(before) - 100
    limit = after(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))")
    words = ("--resume", "run", "--steps", 9, "--checkpoint-seconds", 0)
    line = said(end(start(*words, cwd=tmp_path, python=limit)), 6)
    assert "File too large" in line and "step_00000000" in line
    assert "free some space" in line
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert checkpoints(tmp_path / "run")[-1].read_bytes() == before
    # Not finished any more, and so it goes on.
    assert not (tmp_path / "run" / "summary.json").exists()
    result = fit_py("--resume", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 9


@pytest.mark.slow
def test_a_folder_that_is_removed_while_training(tmp_path):
    process = start(*ENDLESS, "--out", "run", cwd=tmp_path)
    wait_for(lambda: checkpoints(tmp_path / "run"), process)
    while (tmp_path / "run").exists():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    line = said(end(process), 6)
    assert str(tmp_path / "run") in line
    assert not names(tmp_path)


# Signals, locks and kills.


def started(process: subprocess.Popen[str]) -> str:
    """The first line that a run prints: it has compiled and takes steps."""
    assert process.stdout
    return process.stdout.readline()


def compiling(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a run has made its folder and begun to compile."""
    wait_for((run / "metrics.jsonl").exists, process)


@pytest.mark.slow
def test_sigterm_ends_a_chunk_and_ignored_sighup_nothing(tmp_path, no_jax):
    """While it runs, its folder is locked: whoever wants it is told who has it."""
    ignore = after("signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process = start(*ENDLESS, "--out", "run", cwd=tmp_path, python=ignore)
    assert "step" in started(process)
    run = tmp_path / "run"
    process.send_signal(signal.SIGHUP)
    length = len(rows(run))
    wait_for(lambda: len(rows(run)) > length + 3, process)
    commands = [["--out", "run"], ["--out", "run", "--overwrite"], ["--resume", "run"]]
    for code, err in many(commands, tmp_path, no_jax):
        assert code == 6 and f"locked by pid {process.pid}" in err
    process.send_signal(signal.SIGTERM)
    line = said(end(process), 143)
    assert "SIGTERM" in line and line.endswith("to be resumed from run")
    left = {"config.json", "metrics.jsonl", "checkpoints", "field.safetensors"}
    assert names(run) == {*left, "reconstruction.png"}
    assert load_image(run / "reconstruction.png").image.shape == (8, 8, 3)

    last = int(checkpoints(run)[-1].stem[5:])
    result = end(start("--resume", "run", "--steps", last + 5, cwd=tmp_path))
    assert result.returncode == 0, result.stderr
    assert rows(run)[-1]["step"] == last + 5
    steps = [row["step"] for row in rows(run)]
    assert steps[:-1] == list(range(1, last + 5, 50))
    assert (run / "summary.json").exists()


@pytest.mark.slow_cases("2")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_compiling_leaves_a_run_to_resume(number, tmp_path):
    process = start(*ENDLESS, "--out", "run", cwd=tmp_path)
    compiling(tmp_path / "run", process)
    process.send_signal(number)
    if number == signal.SIGHUP:
        for _ in range(3):  # a closing terminal sends two
            time.sleep(0.05)
            process.send_signal(number)
    assert number.name in said(end(process), 128 + number)
    assert [path.stem for path in checkpoints(tmp_path / "run")] == ["step_000000000"]
    with RunFolder.reopen(tmp_path / "run") as folder:
        assert kept_checkpoint(folder)[1]["step"] == 0
        assert not folder.finished()
    assert (tmp_path / "run" / "reconstruction.png").exists()


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path):
    process = start(*ENDLESS, "--out", "run", cwd=tmp_path)
    compiling(tmp_path / "run", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)  # else the kernel makes one of the two
    process.send_signal(signal.SIGINT)
    result = end(process)
    # Dead of the signal, or with its code: a shell sees 130 in both cases.
    assert result.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "Traceback" not in result.stderr and "stopped by" not in result.stderr
    assert not (tmp_path / "run" / "reconstruction.png").exists()
    with RunFolder.reopen(tmp_path / "run") as folder:  # its lock went with it
        assert not folder.finished()


DEAF = """
import hashlib
from jax_inr.cli.process import SignalGuard
with SignalGuard():
    print("in", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 3 * 10**7)
    print("out", flush=True)
"""


def test_a_second_signal_ends_compiled_code_that_hears_none():
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "in" in started(process)
    time.sleep(0.2)
    # A second SIGHUP is not heard, and another signal after it is.
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
        assert process.poll() is None
        process.send_signal(number)
        time.sleep(0.05)
    assert process.communicate()[0] == ""
    assert process.returncode == 128 + signal.SIGTERM


# Hold a run still inside its save of a checkpoint: before the temporary file gets its
# name, or before the oldest checkpoint goes. It says so and waits for its input's end.
HOLD = """
import sys
left = {times}
def hold(event, args):
    global left
    if event == {event!r} and any("step_" in str(name) for name in args[:2]):
        left -= 1
        if not left:
            print("held", flush=True)
            sys.stdin.read()
sys.addaudithook(hold)
"""


def held(event: str, times: int, *words, cwd: Path) -> subprocess.Popen[str]:
    """A run that stands still inside a save; `end` lets it go on."""
    code = HOLD.format(event=event, times=times)
    python = after(f"exec({code!r})")
    stdin = {"stdin": subprocess.PIPE}
    process = start(*words, "--quiet", cwd=cwd, python=python, **stdin)
    assert started(process) == "held\n", process.communicate()
    return process


@pytest.mark.slow_cases("2-os.remove")
@pytest.mark.parametrize(
    ("number", "event"), [(signal.SIGTERM, "os.rename"), (signal.SIGINT, "os.remove")]
)
def test_a_signal_inside_a_save_lets_it_end(number, event, tmp_path):
    process = held(event, 4, *ENDLESS, "--out", "run", cwd=tmp_path)
    process.send_signal(number)
    assert number.name in said(end(process), 128 + number)
    with RunFolder.reopen(tmp_path / "run") as folder:
        _, header, notices = kept_checkpoint(folder)
    assert header["step"] > 0 and not notices
    assert len(checkpoints(tmp_path / "run")) == 2
    assert load_image(tmp_path / "run" / "reconstruction.png").image.shape == (8, 8, 3)


@pytest.mark.slow
def test_a_second_signal_inside_a_save_leaves_the_checkpoints_before(tmp_path):
    process = held("os.rename", 4, *ENDLESS, "--out", "run", cwd=tmp_path)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path / "run")}
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.wait(60) in (-signal.SIGINT, 128 + signal.SIGINT)
    with RunFolder.reopen(tmp_path / "run") as folder:
        _, header, notices = kept_checkpoint(folder)
    assert header["step"] > 0 and not notices
    assert {path: path.read_bytes() for path in before} == before


LONG = (*SMALL, *CONSTANT, "--size", 12, "--batch-size", 16, "--eval-every", 20)


def killed_and_resumed(folder: Path, kills: int, *words) -> int:
    """Kill a run again and again, and let it end in "run"; the steps that it took.

    Nothing here hangs on the speed of the machine. The run has no end until the last
    kill is past, one kill in four waits for a moment inside a save, and two for the
    first steps: with a save after every twenty, those too fall into saves as often as
    not. The folder "control" is the run as the last kill left it.
    """
    generator, run = random.Random(4), folder / "run"
    new = (*LONG, *words, "--steps", 10**9, "--out", "run", "--overwrite")
    for number in range(kills):
        words = ("--resume", "run") if checkpoints(run) else new
        words = (*words, "--checkpoint-seconds", 0)
        if number % 4 == 0:
            event = ("os.rename", "os.remove")[number // 4 % 2]
            process = held(event, generator.randint(3, 40), *words, cwd=folder)
        else:
            process = start(*words, cwd=folder)
            if number % 2:
                assert "step" in started(process), process.communicate()
            time.sleep(generator.uniform(0, 0.2 if number % 2 else 4))
        process.kill()
        assert end(process).returncode == -signal.SIGKILL
        if number % 4 == 0:
            assert bool(list(run.rglob("*.tmp"))) == (event == "os.rename")
    shutil.copytree(run, folder / "control")
    steps = int(checkpoints(run)[-1].stem[5:]) + 200
    result = end(start("--resume", "run", "--steps", steps, cwd=folder))
    assert result.returncode == 0, result.stderr
    assert not list(run.rglob("*.tmp"))
    return steps


TWENTY = pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])


@pytest.mark.slow_cases("1")
@pytest.mark.parametrize("kills", [1, TWENTY])
def test_killed_runs_end_as_if_they_had_not_been(kills, tmp_path):
    steps = killed_and_resumed(tmp_path, kills)
    whole = end(start(*LONG, "--steps", steps, "--out", "whole", cwd=tmp_path))
    assert whole.returncode == 0, whole.stderr
    expected = results(tmp_path / "whole")
    assert results(tmp_path / "run") == expected

    # The control: a state without its momentum must not pass.
    control = tmp_path / "control"
    for path in checkpoints(control):
        tensors, header = tensorfile.load_tensors(path, "checkpoint")
        lost = {k: v * 0 if "trace" in k else v for k, v in tensors.items()}
        assert any((lost[name] != tensors[name]).any() for name in tensors)
        tensorfile.save_tensors(path, "checkpoint", lost, header)
    result = end(start("--resume", "control", "--steps", steps, cwd=tmp_path))
    assert result.returncode == 0, result.stderr
    # The log alone may tell: the same batches lead two such runs together again.
    assert results(control) != expected


@pytest.mark.slow
@pytest.mark.torch
def test_killed_runs_of_the_reference(tmp_path):
    pytest.importorskip("torch")
    steps = killed_and_resumed(tmp_path, 1, "--backend", "torch")
    words = (*LONG, "--backend", "torch", "--steps", steps, "--out", "whole")
    whole = end(start(*words, cwd=tmp_path))
    assert whole.returncode == 0, whole.stderr
    assert results(tmp_path / "run") == results(tmp_path / "whole")


# Threads, workers, long runs.


@pytest.mark.slow
def test_a_fit_repeats_with_one_thread_and_with_two(tmp_path):
    """To the bit for as many threads; within rounding for others."""
    cpus = sorted(os.sched_getaffinity(0))
    words = ["--device", "cpu", "--size", 64, "--batch-size", "None", "--steps", 4]
    fitted = {}
    for threads in (1, 2):
        mask = ",".join(map(str, cpus[:threads]))
        commands = [[*words, "--quiet", "--out", f"{threads}{x}"] for x in "ab"]
        environment = {"PYTHONPATH": str(ROOT)}
        answers = many(commands, tmp_path, environment, "taskset", "-c", mask)
        assert answers == [[0, ""]] * 2
        once, again = (tmp_path / f"{threads}{x}" for x in "ab")
        assert results(once) == results(again)
        fitted[threads] = tensorfile.load_tensors(once / "field.safetensors", "field")[
            0
        ]
    for name, leaf in fitted[1].items():
        np.testing.assert_allclose(leaf, fitted[2][name], atol=1e-5, err_msg=name)


WORKERS = """
import multiprocessing
import warnings
import numpy as np
import jax_inr

def shade(field):
    return np.asarray(field.render())

def load(path):
    return jax_inr.load_image(path).image

if __name__ == "__main__":
    image = load("a.png")
    config = jax_inr.preset("default").replace(hidden_features=(8,), steps=2)
    field = jax_inr.fit(image, config).field
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(shade, (field,)), shade(field))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX's own: a fork of its threads is none
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for loaded in pool.map(load, ["a.png"] * 4):
                np.testing.assert_array_equal(loaded, image)
"""


@pytest.mark.slow
def test_workers_render_when_spawned_and_load_when_forked(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "workers.py").write_text(WORKERS)
    result = subprocess.run(
        [sys.executable, "workers.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_run_takes_no_more_and_no_more(tmp_path):
    """10^5 steps and a save at each evaluation: memory, descriptors, the log."""
    words = (*SMALL, *CONSTANT, "--size", 8, "--batch-size", 16, "--steps", 10**5)
    often = ("--eval-every", 100, "--checkpoint-seconds", 0)
    process = start(*words, *often, "--quiet", "--out", "run", cwd=tmp_path)
    log, samples = tmp_path / "run" / "metrics.jsonl", []
    wait_for(log.exists, process)
    while (length := log.read_bytes().count(b"\n")) < 950:
        assert process.poll() is None, process.communicate()
        about = Path(f"/proc/{process.pid}")
        kilobytes = int((about / "status").read_text().split("VmRSS:")[1].split()[0])
        samples.append((length, kilobytes, len(list((about / "fd").iterdir()))))
        time.sleep(0.1)
    assert end(process).returncode == 0
    first = np.array([sample for sample in samples if 100 <= sample[0] < 500])
    second = np.array([sample for sample in samples if sample[0] >= 500])
    more = second.max(0) - first.max(0)
    assert more[1] < 2048 and more[2] <= 1, samples
    lines = log.read_bytes().splitlines()
    assert len(lines) == 1001
    assert sum(map(len, lines[500:])) < 1.1 * sum(map(len, lines[:500]))
