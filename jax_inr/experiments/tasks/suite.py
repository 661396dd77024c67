"""The suite: methods tuned on one half of the images and judged on the other.

Images in the order of their names take turns: the first tunes, the second is judged,
and so on. Beside them the extras are judged: a page of text, the phantom, the cat. A
parameter is the one of the best mean PSNR on the images to tune by, once for all that
are judged. No method sees a truth.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jax_inr import metrics
from jax_inr.errors import ConfigError
from jax_inr.experiments.report import MAX_REPORT_BYTES
from jax_inr.experiments.tasks import ours, problems
from jax_inr.experiments.tasks.classical import Answer, Method, methods
from jax_inr.experiments.tasks.problems import Problem
from jax_inr.io.atomic import write_atomic
from jax_inr.io.images import encode_png, sample_image
from jax_inr.io.reading import read_json
from jax_inr.io.text import to_json

Json = dict[str, Any]
Say = Callable[[str], None]


class Named(NamedTuple):
    """An image (h, w, c) in [0, 1] and what it is called."""

    name: str
    image: np.ndarray


def halves(images: Sequence[Named]) -> tuple[list[Named], list[Named]]:
    """The images to tune by and those to judge by, in turns.

    Raises:
        ConfigError: there are less than two.
    """
    if len(images) < 2:
        raise ConfigError(
            f"{len(images)} image cannot both tune and judge", "give two at least"
        )
    return list(images[::2]), list(images[1::2])


def prepared(kind: str, images: Sequence[Named], crop: int) -> list[Named]:
    """The central part of each image that the kind of problem can take.

    The largest within `crop` whose sides a multiple of 4 divides; for tomography a
    square.
    """
    made = []
    for name, image in images:
        height, width = (min(side, crop) // 4 * 4 for side in image.shape[:2])
        if kind.startswith("tomography"):
            height = width = min(height, width)
        if not height or not width:
            raise ConfigError(f"{name}: {image.shape[:2]} pixels are too few")
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        part = image[top : top + height, left : left + width]
        made.append(Named(name, np.ascontiguousarray(part)))
    return made


def check_rows(kind: str, names: Sequence[str]) -> tuple[Method, ...]:
    """The methods asked for, all where none are.

    Raises:
        ConfigError: a name that no method of this kind has.
    """
    known = {m.name: m for m in (*methods(kind), *ours.methods(kind))}
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(
            f"unknown row {', '.join(unknown)} of {kind}", f"rows: {', '.join(known)}"
        )
    return tuple(m for name, m in known.items() if name in names or not names)


def score(problem: Problem, restored: np.ndarray) -> Json:
    """PSNR and SSIM of a restored image, over what is judged of it."""
    settled = problem.settled(restored)
    truth = problem.truth.astype(np.float64)
    judged = problem.judged
    psnr_db = metrics.psnr(settled[judged], truth[judged])
    return {
        "psnr_db": float(psnr_db),
        "ssim": float(metrics.ssim(settled, truth)),
    }


class Kept:
    """The records of a kind of problem in OUT/tasks-KIND.json, kept one by one."""

    def __init__(self, out: Path, kind: str, about: Json, overwrite: bool) -> None:
        self.path = out / f"tasks-{kind}.json"
        self.images = out / "images"
        self.kind, self.about = kind, about
        self.records: dict[str, Json] = {}
        self.images.mkdir(parents=True, exist_ok=True)
        if not overwrite and self.path.exists():
            found = read_json(self.path, most=MAX_REPORT_BYTES)
            self.records = {record["key"]: record for record in found["records"]}

    def find(self, key: str) -> Json | None:
        """The record of a restoration made before, or None."""
        record = self.records.get(key)
        # JSON has infinity as text.
        return record and {**record, "psnr_db": float(record["psnr_db"])}

    def keep(self, key: str, record: Json) -> Json:
        """Keep a record at once."""
        self.records[key] = record = {"key": key, **record}
        self.write({})
        return record

    def write(self, more: Json) -> None:
        """Write the file, with what else is to be said of it."""
        whole = {"about": self.about, **more, "records": [*self.records.values()]}
        write_atomic(self.path, (to_json(whole, indent=1) + "\n").encode())

    def draw(self, name: str, image: np.ndarray) -> None:
        """Keep an image for the report."""
        path = self.images / f"tasks-{self.kind}-{name}.png"
        write_atomic(path, encode_png(np.asarray(image, np.float32)))


def run(
    kind: str,
    images: Sequence[Named],
    kept: Kept,
    *,
    seed: int = 0,
    rows: Sequence[Method],
    say: Say = lambda text: None,
) -> Json:
    """Tune and judge every method on a kind of problem; what the report is made of.

    Args:
        rows: the methods, as `check_rows` gives them.
    """
    tuning, judging = halves(images)
    summary: Json = {"kind": kind, "tuned_on": [i.name for i in tuning], "rows": {}}
    summary["judged_on"] = [i.name for i in judging]
    beside = extras(kind, min(judging[0].image.shape[:2]))
    summary["beside"] = [i.name for i in beside]
    for method in rows:
        parameter = method.parameters[0]
        tried = {}
        if len(method.parameters) > 1:
            for candidate in method.parameters:
                found = [
                    attempt(kind, image, method, candidate, seed, kept)
                    for image in tuning
                ]
                tried[repr(candidate)] = float(np.mean([r["psnr_db"] for r in found]))
                say(f"{kind} {method.name} {candidate}: {tried[repr(candidate)]:.2f}")
            best = int(np.argmax(list(tried.values())))
            parameter = method.parameters[best]
        records = [
            attempt(kind, image, method, parameter, seed, kept, draw=number == 0)
            for number, image in enumerate([*judging, *beside])
        ]
        mean = np.mean([r["psnr_db"] for r in records[: len(judging)]])
        say(f"{kind} {method.name}: {mean:.2f} dB")
        summary["rows"][method.name] = {
            "parameter": repr(parameter),
            "tried_db": tried,
            "records": records,
        }
    kept.write({"summary": summary})
    return summary


def attempt(
    kind: str,
    image: Named,
    method: Method,
    parameter: Any,
    seed: int,
    kept: Kept,
    draw: bool = False,
) -> Json:
    """The record of one method on one image, made now or found."""
    pixels = np.ascontiguousarray(image.image, np.float32)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    key = f"{method.name} {parameter!r} {image.name} {seed} {digest[:16]}"
    key = f"{key} {method.settings()}".strip()
    found = kept.find(key)
    if found is not None and not draw:
        return found
    drawn = kept.images / f"tasks-{kind}-{method.name}.png"
    if found is not None and drawn.exists():
        return found
    problem = problems.make(kind, image.image, seed)
    start = time.perf_counter()
    answer = method.restore(problem.measured, parameter)
    if not isinstance(answer, Answer):
        answer = Answer(answer, time.perf_counter() - start)
    if draw:
        kept.draw("truth", problem.truth)
        kept.draw(method.name, problem.settled(answer.image))
        if shown := seen(problem.measured):
            kept.draw("measured", shown["image"])
    record = {"image": image.name, **score(problem, answer.image)}
    record["seconds"] = answer.seconds
    if len(answer.stages):
        stages = [score(problem, stage)["psnr_db"] for stage in answer.stages]
        record["oracle_psnr_db"] = max(stages)
    return kept.keep(key, record)


def seen(measured: Json) -> Json:
    """The measurements that are an image, if they are one."""
    return measured if "image" in measured else {}


def extras(kind: str, side: int) -> list[Named]:
    """What is judged beside the photographs, of about `side` pixels."""
    name = kind.split("-")[0]
    if name == "tomography":
        return [phantom(side)]
    if name in ("gradients", "laplacian"):
        return prepared(kind, [Named("cat", sample_image().image)], side)
    from skimage.data import text

    page = (text()[..., None] / 255).astype(np.float32)
    return prepared(kind, [Named("text", page)], side)


def phantom(side: int) -> Named:
    """The Shepp–Logan phantom, (side, side, 1)."""
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    image: Any = resize(shepp_logan_phantom(), (side, side), anti_aliasing=True)
    return Named("phantom", np.clip(image, 0, 1)[..., None].astype(np.float32))
