"""Fuzz what reads the files of strangers: only the project's own exceptions escape.

    python tests/fuzz.py [image field checkpoint picture log config] [--seconds 600]

Coverage-guided, by atheris (`pip install -e ".[fuzz]"`): one process for each target,
begun from files that our own writers and Pillow make here. What hides the code behind
it is put right after each change: the checksums of a PNG, the sha256 and the nested
JSON of our own format. The first input of a target whose error is not ours, is no
printable line, or takes too long or too much memory ends it with a traceback; the
input is kept and the exit code is 1. Not collected by pytest.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["JAX_PLATFORMS"] = "cpu"

# By name, for type checkers: it is installed for fuzzing alone.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["jax_inr", "PIL", "tifffile"]):
    import tifffile
    from PIL import Image, ImageCms

    from jax_inr import fit, preset, recording
    from jax_inr.cli import options
    from jax_inr.errors import CheckpointError, ConfigError, ImageError, JaxInrError
    from jax_inr.field import ImageField
    from jax_inr.io import images
    from jax_inr.io.images import load_image
    from jax_inr.io.runs import RunFolder
    from jax_inr.run import make_run
    from jax_inr.trainer import JaxTrainer

# An input that takes more seconds, or more memory, is a finding too.
LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-max_len=16384")
CONFIG = preset("default").replace(
    hidden_features=(4,), num_frequencies=2, batch_size=None, steps=1
)
TRIALS = Path(__file__).parent / "data" / "trials"
PIXELS = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3)
VALUES = (
    *(0, 1, -1, 2, 7, 255, 256, 2**16, 2**31, 2**32, 2**63, -(2**40)),
    *(0.5, -0.0, 1e308, 1e-320, float("inf"), float("nan"), None, True, False),
    *("", "x", "inf", "nan", "\ud800", "a\nb", "9" * 5000),
    *([], {}, [[]], [0], [1] * 100, {"a": 1}),
)


@dataclasses.dataclass
class Target:
    """Good inputs, the file that an input becomes, who reads it, what it may raise."""

    seeds: list[bytes]
    as_file: Callable[[bytes], bytes]
    path: Path
    read: Callable[[Path], object]
    allowed: tuple[type[JaxInrError], ...]

    def test(self, data: bytes) -> bool:
        """Whether the input is accepted; what must not escape escapes."""
        self.path.write_bytes(self.as_file(data))
        try:
            self.read(self.path)
        except self.allowed as error:
            told = f"{error}; {error.hint}"
            assert told.isprintable() and len(told) < 5000, f"no line: {told!r}"
            return False
        return True


def encoded(picture: Image.Image, kind: str, **how: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def image_seeds() -> list[bytes]:
    """Every format that we read, in the forms that take a path of their own."""
    colour = Image.fromarray((PIXELS * 255).astype(np.uint8))
    grey = colour.convert("L")
    deep = Image.fromarray((PIXELS[..., 0] * 65535).astype(np.uint16))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    icc, exif = ImageCms.ImageCmsProfile(srgb).tobytes(), Image.Exif()
    exif[0x0112] = 6
    in_lab: Any = ImageCms.profileToProfile(colour, srgb, lab, outputMode="LAB")
    frames = {"save_all": True, "append_images": [colour.transpose(Image.Transpose(1))]}
    kinds = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
    return [
        *(encoded(colour, kind) for kind in kinds),
        *(encoded(colour, kind, exif=exif) for kind in kinds[:4]),
        *(encoded(colour, kind, icc_profile=icc) for kind in kinds[:4]),
        *(encoded(colour, kind, **frames) for kind in ("PNG", "GIF", "WEBP", "TIFF")),
        *(encoded(grey.convert(mode), "PNG") for mode in ("L", "1", "P", "LA")),
        *(encoded(grey.convert(mode), "TIFF") for mode in ("L", "1", "P", "LA")),
        encoded(Image.fromarray(PIXELS[..., 0]), "TIFF"),
        *(encoded(deep, kind) for kind in ("PNG", "TIFF", "PPM")),
        *(encoded(colour.convert("RGBA"), kind) for kind in ("PNG", "TIFF", "WEBP")),
        *(encoded(colour.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")),
        *(encoded(colour, "TIFF", compression=c) for c in ("tiff_lzw", "jpeg")),
        encoded(in_lab, "TIFF"),
        b"P3 2 1 300 1 2 3 4 5 300\n",
        *(tiff(compression=c) for c in (None, "zlib", "lzw", "packbits", "zstd")),
        *(tiff(byteorder=">", bigtiff=big) for big in (False, True)),
        tiff(compression="jpeg", tile=(16, 16)),
        tiff(planarconfig="separate", compression="zlib", predictor=True),
        *(path.read_bytes() for path in sorted(TRIALS.iterdir()) if is_read(path)),
    ]


def is_read(path: Path) -> bool:
    """Whether a file is read, not refused by name."""
    try:
        load_image(path)
    except ImageError:
        return False
    return True


def tiff(**how: Any) -> bytes:
    """The bytes of a TIFF of three channels."""
    levels = (PIXELS * 255).astype(np.uint8)
    planes = np.moveaxis(levels, -1, 0) if "planarconfig" in how else levels
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, planes, photometric="rgb", **how)
    return buffer.getvalue()


def with_checksums(data: bytes) -> bytes:
    """A PNG with the right checksum in each chunk; any other file as it is."""
    changed, at = bytearray(data), 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 <= len(changed):
            checksum = zlib.crc32(changed[at + 4 : end])
            changed[end : end + 4] = checksum.to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def unsealed(data: bytes) -> bytes:
    """A tensor file as lines: our own JSON, that of safetensors, and the bytes."""
    size = int.from_bytes(data[:8], "little")
    outer = json.loads(data[8 : 8 + size])
    about = {**json.loads(outer["__metadata__"].pop("jax_inr")), "sha256": "0" * 64}
    lines = (json.dumps(about).encode(), json.dumps(outer).encode())
    return b"\n".join((*lines, data[8 + size :]))


def sealed(data: bytes) -> bytes:
    """The file of such lines, with its right sha256; or what follows on "raw"."""
    if data.startswith(b"raw\n"):
        return data[4:]
    about, outer, body = (data + b"\n\n").split(b"\n", 2)
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        tree = json.loads(outer)
        tree["__metadata__"]["jax_inr"] = about.decode(errors="replace")
        outer = json.dumps(tree).encode()
    whole = len(outer).to_bytes(8, "little") + outer + body[:-2]
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def change_json(rng: random.Random, value: Any) -> Any:
    """One value somewhere in a tree of objects and lists changed."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return rng.choice(VALUES)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], change_json(rng, value[at]), *value[at + 1 :]]
    changed, key = dict(value), rng.choice(list(value))
    match rng.randrange(8):
        case 0:
            del changed[key]
        case 1:
            changed[rng.choice(("x", "", "step", "a\nb", key + "s"))] = changed[key]
        case _:
            changed[key] = change_json(rng, changed[key])
    return changed


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """One of the first lines changed as JSON where it is some, or any bytes."""
    rng, lines = random.Random(seed), data.split(b"\n")
    at = rng.randrange(min(2, len(lines)))
    if rng.random() < 0.3:
        return atheris.Mutate(data, max_size)
    try:
        lines[at] = json.dumps(change_json(rng, json.loads(lines[at]))).encode()
    except (ValueError, RecursionError):
        return atheris.Mutate(data, max_size)
    return b"\n".join(lines)[:max_size]


def make_target(name: str, folder: Path) -> Target:
    """A target; its files lie in the folder."""
    picture = images.Image(PIXELS, "cat.png", "0" * 64, ("turned",))
    run = folder / "run"
    fit(picture, CONFIG, out=run, on_notice=lambda text: None)
    job = make_run(picture, CONFIG).job
    assert job is not None
    trainer = JaxTrainer([job], "cpu")
    config = folder / "config.json"
    config.write_text(json.dumps(CONFIG.to_dict()))

    def image(path: Path) -> None:
        load_image(path, max_pixels=10**6)

    def resume(path: Path) -> None:
        with RunFolder.reopen(run) as reopened:
            found = recording.find(reopened)
            trainer.load_state(0, found.tensors or {})

    def log(path: Path) -> None:
        with RunFolder.reopen(run) as reopened:
            reopened.truncate_metrics(1)
            reopened.read_metrics()

    def tensors(path: Path, read: Callable[[Path], object], *more: Any) -> Target:
        good = path.read_bytes()
        seeds = [b"raw\n" + good, unsealed(good)]
        return Target(seeds, sealed, path, read, (CheckpointError, *more))

    def plain(path: Path, read: Callable[[Path], object], allowed: Any) -> Target:
        return Target([path.read_bytes()], bytes, path, read, (allowed,))

    kept, metrics = run / "checkpoints", run / "metrics.jsonl"
    match name:
        case "image":
            path, seeds = folder / "image", image_seeds()
            return Target(seeds, with_checksums, path, image, (ImageError,))
        case "field":
            return tensors(run / "field.safetensors", ImageField.load)
        case "checkpoint":
            # A checkpoint of another schedule is not that of config.json.
            return tensors(next(kept.glob("step_*")), resume, ConfigError)
        case "picture":
            return tensors(kept / "picture.safetensors", resume)
        case "log":
            return plain(metrics, log, CheckpointError)
    return plain(config, options.read_config, ConfigError)


NAMES = ("image", "field", "checkpoint", "picture", "log", "config")


def fuzz(name: str, folder: Path, flags: list[str]) -> None:
    """Fuzz one target until libFuzzer ends this process."""
    target = make_target(name, folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        # Changes to what is refused anyway would show little.
        assert target.test(seed), f"seed {number} of {name} is refused"
        (corpus / str(number)).write_bytes(seed)

    def test(data: bytes) -> None:
        target.test(data)

    custom = {} if name == "image" else {"custom_mutator": mutate}
    atheris.Setup([sys.argv[0], *LIMITS, *flags, str(corpus)], test, **custom)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=600, help="over all targets")
    parser.add_argument("--keep", default="fuzz-", help="where findings go: a prefix")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen, flags = parser.parse_known_args()
    if unknown := set(chosen.targets) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if chosen.inside:
        fuzz(chosen.targets[0], chosen.inside, flags)
    failed, targets = [], chosen.targets or NAMES
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    for name in targets:
        print(f"== {name}", flush=True)
        seconds = chosen.seconds // len(targets)
        limits = (
            f"-max_total_time={seconds}",
            f"-artifact_prefix={chosen.keep}{name}-",
        )
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            words = (sys.executable, __file__, name, "--inside", folder, *limits)
            result = subprocess.run(
                [*words, "-print_final_stats=1", *flags], check=False
            )
        failed += [name] if result.returncode else []
    print(f"findings in: {', '.join(failed) or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
