"""Fuzz what reads the files of strangers: only the project's own exceptions escape.

    python tests/fuzz.py [image field checkpoint picture log config] [--seconds 600]

Seeds are small files of our own writers and of Pillow. Mutations change bytes, and in
our own format also the JSON header, under a new checksum, so that what lies behind the
checksum is reached. What escapes is printed with its traceback and its input kept;
the exit code is 1 then. Not collected by pytest.
"""

import argparse
import collections
import dataclasses
import hashlib
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["JAX_PLATFORMS"] = "cpu"

from PIL import Image, ImageCms

from jax_inr import fitting, options, preset, reports
from jax_inr.errors import CheckpointError, ConfigError, ImageError
from jax_inr.field import ImageField
from jax_inr.images import Picture, load_image
from jax_inr.loop import Position
from jax_inr.runs import RunFolder
from jax_inr.training import JaxTrainer

SLOW_SECONDS = 20.0  # an input that takes longer is a finding too
CONFIG = preset("default").replace(hidden_features=(4,), num_frequencies=2)
PIXELS = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3)
NUMBERS = (0, 1, -1, 2, 7, 8, 127, 255, 256, 2**15, 2**16, 2**31, 2**32, 2**63)
VALUES = (
    *(*NUMBERS, -(2**40), 0.5, -0.0, 1e308, 1e-320, None, True, False),
    *("", "x", "inf", "nan", "\ud800", "a\nb", "9" * 5000),
    *([], {}, [[]], [0], [1] * 100, {"a": 1}),
)

Mutate = Callable[[random.Random, bytes], bytes]


@dataclasses.dataclass
class Target:
    """What is fuzzed: good inputs, how they are changed, and who reads them."""

    seeds: list[bytes]
    mutate: Mutate
    read: Callable[[Path], object]
    allowed: type[Exception]
    path: Path


def encoded(picture: Image.Image, kind: str, **how: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def picture_seeds() -> list[bytes]:
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
        *(encoded(grey.convert(mode), "TIFF") for mode in ("L", "1", "P", "F", "LA")),
        *(encoded(deep, kind) for kind in ("PNG", "TIFF", "PPM")),
        *(encoded(colour.convert("RGBA"), kind) for kind in ("PNG", "TIFF", "WEBP")),
        *(encoded(colour.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")),
        *(encoded(colour, "TIFF", compression=c) for c in ("tiff_lzw", "jpeg")),
        encoded(in_lab, "TIFF"),
        b"P3 2 1 300 1 2 3 4 5 300\n",
    ]


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, removed, doubled or put in."""
    changed = bytearray(data)
    for _ in range(1 + int(rng.expovariate(0.5))):
        at, size = rng.randrange(len(changed) + 1), 1 + int(rng.expovariate(0.2))
        width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
        number = (rng.choice(NUMBERS) % 2 ** (8 * width)).to_bytes(width, order)
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 2:
                changed[at : at + width] = number
            case 3:
                del changed[at : at + size]
            case 4:
                changed[at:at] = changed[at : at + size] * rng.choice((1, 1, 3, 100))
            case 5:
                changed[at:at] = rng.randbytes(size)
            case 6 if rng.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def change_picture(rng: random.Random, data: bytes) -> bytes:
    """Changed bytes; in a PNG, mostly under right checksums."""
    changed = bytearray(change_bytes(rng, data))
    if changed.startswith(b"\x89PNG") and rng.random() < 0.8:
        at = 8
        while at + 12 <= len(changed):
            end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
            checksum = zlib.crc32(changed[at + 4 : end]).to_bytes(4, "big")
            if end + 4 <= len(changed):
                changed[end : end + 4] = checksum
            at = end + 4
    return bytes(changed)


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


def change_config(rng: random.Random, data: bytes) -> bytes:
    """A config's JSON with a value or some bytes changed."""
    if rng.random() < 0.3:
        return change_bytes(rng, data)
    return json.dumps(change_json(rng, json.loads(data))).encode()


def change_tensors(rng: random.Random, data: bytes) -> bytes:
    """A tensor file with its header or its bytes changed, mostly sealed anew."""
    zeros, size = "0" * 64, int.from_bytes(data[:8], "little")
    outer, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    about = {**json.loads(outer["__metadata__"]["jax_inr"]), "sha256": zeros}
    match rng.randrange(8):
        case 0:
            return change_bytes(rng, data)
        case 1:
            body = change_bytes(rng, body)
        case 2:
            outer = change_json(rng, outer)
        case 3:
            about = change_json(rng, about)
        case _:
            about["header"] = change_json(rng, about["header"])
    if isinstance(outer, dict) and isinstance(outer.get("__metadata__"), dict):
        outer["__metadata__"]["jax_inr"] = json.dumps(about)
    header = json.dumps(outer).encode()
    sealed = len(header).to_bytes(8, "little") + header + body
    digest = hashlib.sha256(sealed).hexdigest().encode()
    return sealed.replace(zeros.encode(), digest, 1)


def make_targets(folder: Path) -> dict[str, Target]:
    """All targets; their files lie in the folder."""
    picture = Picture(PIXELS, "cat.png", "0" * 64, ("turned",))
    trainer = JaxTrainer(CONFIG, PIXELS, "cpu")
    about = {"config": CONFIG.to_dict(), "backend": "jax"}
    field = {**about, "height": 4, "width": 5, "channels": 3, "step": 0}
    checkpoint = {
        **about,
        "position": dataclasses.asdict(Position()),
        "picture": fitting.identity(picture),
        "versions": reports.versions("jax"),
    }
    run = folder / "run"
    with RunFolder.create(run) as made:
        made.save_picture(picture)
        made.save_field(trainer.parameters(), field)
        made.save_checkpoint(0, trainer.state(), checkpoint)
        for step in (1, 101):
            made.append_metrics({"step": step, "loss": 0.5, "psnr_db": float("inf")})
        made.write_json("config.json", CONFIG.to_dict())

    def resume(path: Path) -> None:
        with RunFolder.reopen(run) as reopened:
            trainer.load_state(fitting.read_checkpoint(reopened)[0].tensors)

    def log(path: Path) -> None:
        with RunFolder.reopen(run) as reopened:
            reopened.truncate_metrics(1)
            reopened.read_metrics()

    def target(path: Path, mutate: Mutate, read: Any, allowed: Any) -> Target:
        return Target([path.read_bytes()], mutate, read, allowed, path)

    def image(path: Path) -> None:
        load_image(path, max_pixels=10**6)

    step = run / "checkpoints" / "step_000000000.safetensors"
    kept = run / "checkpoints" / "picture.safetensors"
    saved, config = run / "field.safetensors", run / "config.json"
    return {
        "image": Target(
            picture_seeds(), change_picture, image, ImageError, folder / "image"
        ),
        "field": target(saved, change_tensors, ImageField.load, CheckpointError),
        "checkpoint": target(step, change_tensors, resume, CheckpointError),
        "picture": target(kept, change_tensors, resume, CheckpointError),
        "log": target(run / "metrics.jsonl", change_bytes, log, CheckpointError),
        "config": target(config, change_config, options.read_config, ConfigError),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ("image", "field", "checkpoint", "picture", "log", "config")
    parser.add_argument("targets", nargs="*", help=f"some of {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that escape")
    chosen = parser.parse_args()
    rng, counts = random.Random(chosen.seed), collections.Counter()
    found: set[str] = set()
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=base) as folder:
        targets = make_targets(Path(folder))
        if unknown := set(chosen.targets) - set(targets):
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
        end = time.monotonic() + chosen.seconds
        while time.monotonic() < end:
            name = rng.choice(chosen.targets or list(targets))
            target = targets[name]
            good = rng.choice(target.seeds)
            data = target.mutate(rng, good)
            target.path.write_bytes(data)
            start, finding, text = time.monotonic(), "", ""
            try:
                target.read(target.path)
                counts[name, "accepted"] += 1
            except target.allowed as error:
                counts[name, "refused"] += 1
                if "\n" in str(error):
                    finding = f"{name}: two lines: {str(error)!r:.300}"
            except Exception as error:
                text = traceback.format_exc()
                place = traceback.extract_tb(error.__traceback__)[-1]
                ours = [
                    f"{Path(frame.filename).name}:{frame.lineno}"
                    for frame in traceback.extract_tb(error.__traceback__)
                    if "jax_inr" in Path(frame.filename).parts
                ]
                finding = f"{name}: {type(error).__name__} {ours[-1:]} {place.name}"
            if time.monotonic() - start > SLOW_SECONDS:
                finding = f"{name}: slow, {time.monotonic() - start:.0f} s"
            target.path.write_bytes(good)
            if finding and finding not in found:
                found.add(finding)
                print(f"{finding}\n{text}{data[:600]!r}", flush=True)
                if chosen.keep:
                    chosen.keep.mkdir(parents=True, exist_ok=True)
                    digest = hashlib.sha256(data).hexdigest()[:16]
                    (chosen.keep / f"{name}-{digest}").write_bytes(data)
    for (name, end_of), count in sorted(counts.items()):
        print(f"{name:10} {end_of:9} {count}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{counts.total()} executions, {len(found)} findings, peak {peak} MiB")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
