"""Section gpu: what one GPU does within a few minutes.

Every part is a process of its own, so that one that fails, or takes too long, ends
nothing else; each line that a part prints is kept at once.
"""

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from jax_inr.experiments.benchmark.contenders import MISSING
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, table

PROGRAM = [sys.executable, "-m", "jax_inr.experiments.benchmark.gpu_parts"]
# Tests whose results depend on the device: those marked gpu, and the arithmetic.
SUITE = (
    *("tests/test_numerics.py", "tests/test_trainer.py", "tests/test_rendering.py"),
    *("tests/test_grids.py", "tests/test_convolution.py"),
)
SUITE_COMMAND = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *SUITE]
PARTS = ("steps", "grids", "many", "suite", "waves", "hash")
# Of what is left when a part begins, the most that it may take.
SHARE = {"steps": 0.25, "grids": 0.4, "many": 0.4, "suite": 0.3, "waves": 0.7}
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GOALS = (40, 44, 46)


class Stopped(BaseException):
    """A signal asked for the end; its name is the argument."""


def measure(options: Options, say: Say) -> Json:
    """Every part within the seconds that there are; kept after each line."""
    measured: Json = {"budget_seconds": options.budget_seconds, "parts": {}}
    ends = time.monotonic() + options.budget_seconds

    def stop(number: int, frame: Any) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in STOPS}
    try:
        for name in PARTS:
            found: Json = {"lines": []}
            measured["parts"][name] = found
            left = ends - time.monotonic()
            seconds = left * SHARE.get(name, 1.0)
            if seconds < 1:
                found["ended"] = "no time was left"
            elif name == "suite":
                follow(SUITE_COMMAND, seconds, found, lambda: None)
            else:
                asked = {"images": str(options.images), "quick": options.quick}
                words = [*PROGRAM, name, json.dumps(asked)]
                follow(words, seconds, found, lambda: options.save("gpu", measured))
            options.save("gpu", measured)
            say(f"{name}: {found['ended']} after {found.get('seconds', 0):.0f} s")
    except Stopped as error:
        measured["stopped"] = str(error)
        say(f"stopped by {error}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return measured


def follow(
    words: list[str], seconds: float, found: Json, on_line: Callable[[], None]
) -> None:
    """Run a command for so long at most; its lines of JSON go into `found["lines"]`.

    `found` also gets `seconds`, `ended` ("done", "cut", or "failed") and `said`, the
    last lines that are no JSON.
    """
    start, said = time.monotonic(), []
    found["ended"] = "cut"
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        timer = threading.Timer(seconds, child.kill)
        timer.start()
        try:
            for line in child.stdout or ():
                try:
                    found["lines"].append(json.loads(line))
                except ValueError:
                    said = [*said, line.rstrip()][-20:]
                else:
                    on_line()
            code = child.wait()
            if time.monotonic() - start < seconds:
                found["ended"] = "failed" if code else "done"
        finally:
            timer.cancel()
            child.kill()
            found["seconds"] = time.monotonic() - start
            found["said"] = said if found["ended"] != "done" else said[-1:]


# What is written of it


def write(measured: Json) -> str:
    """The steps, the Kodak images, fits at once and the suite."""
    parts: Json = measured["parts"]
    ended = [
        f"`{name}` {found['ended']} after {found.get('seconds', 0):.0f} s"
        for name, found in parts.items()
        if "ended" in found
    ]
    lines = {name: found["lines"] for name, found in parts.items()}
    texts = [
        _steps(lines.get("steps", [])),
        *_kodak(
            [
                line
                for name in ("grids", "waves", "hash")
                for line in lines.get(name, [])
            ]
        ),
        _many(lines.get("many", [])),
    ]
    if said := parts.get("suite", {}).get("said"):
        texts.append(f"The tests that depend on the device: {said[-1].strip()}")
    texts.append(f"Of {measured['budget_seconds']:.0f} s: {'; '.join(ended)}.")
    return "\n\n".join(text for text in texts if text)


def _steps(lines: list[Json]) -> str:
    if not lines:
        return f"The device's steps are {MISSING}."
    head = ("`optimized` in", "steps a second", "share of the product", "of the least")
    rows: list[tuple[Any, ...]] = [head]
    ceilings = []
    for line in lines:
        if "step" in line:
            rows.append(
                (
                    line["step"],
                    f"{line['steps_a_second']:,.0f}",
                    f"{line['share_of_product']:.0%}",
                    f"{line['share_of_least']:.0%}",
                )
            )
        elif line.get("ceiling") == "copy":
            ceilings.append(f"a copy {line['terabytes']:.2f} TB/s, read and written")
        elif "ceiling" in line:
            ceilings.append(
                f"a product {line['tflops']:.3g} TFLOP/s in {line['ceiling']}"
            )
    device = lines[0].get("device", "")
    return (
        f"{device}: {'; '.join(ceilings)}.\n\n{table(*rows, numbers=True)}\n\n"
        "The least is the time of the operations at the product's rate or of the "
        "bytes at the copy's, whichever is longer; each product's operands and result "
        "are counted once."
    )


def _kodak(lines: list[Json]) -> list[str]:
    """Means over the images of each recipe, size and number of steps; seconds to."""
    fits: dict[tuple[str, int, int], list[Json]] = {}
    for line in lines:
        if "psnr_db" in line:
            key = line["recipe"], line["size"], line["steps"]
            fits.setdefault(key, []).append(line)
    if not fits:
        return [f"The Kodak images are {MISSING}."]
    head = ("recipe", "numbers", "steps", "images", "mean PSNR dB", "mean seconds")
    rows: list[tuple[Any, ...]] = [head]
    means = []
    for (recipe, size, steps), several in sorted(fits.items()):
        psnr_db, seconds = (
            statistics.mean(line[key] for line in several)
            for key in ("psnr_db", "fit_seconds")
        )
        means.append((size, seconds, psnr_db, recipe, len(several)))
        numbers = f"{several[0]['num_params']:,}"
        cells = (numbers, steps, len(several), f"{psnr_db:.2f}", f"{seconds:.2f}")
        rows.append((recipe, *cells))
    most = max(count for *_, count in means)
    goals: list[tuple[str, ...]] = [("numbers", *(f"s to {goal} dB" for goal in GOALS))]
    for size in sorted({size for size, *_ in means}):
        cells = []
        for goal in GOALS:
            reached = [
                (seconds, recipe)
                for at, seconds, psnr_db, recipe, count in means
                if at == size and psnr_db >= goal and count == most
            ]
            cells.append(_said(min(reached)) if reached else "–")
        goals.append((f"{size:,}", *cells))
    return [
        table(*rows),
        "Seconds of the fits whose mean over the images is that high, compiling "
        "apart:\n\n" + table(*goals),
    ]


def _said(reached: tuple[float, str]) -> str:
    seconds, recipe = reached
    return f"{seconds:.2f} ({recipe})"


def _many(lines: list[Json]) -> str:
    if not lines:
        return f"Fits at once are {MISSING}."
    rows: list[tuple[Any, ...]] = [
        ("SIRENs of 3x64 on 32x32 at once", "steps", "fits a second", "PSNR dB")
    ]
    for line in lines:
        rate = line["count"] / line["fit_seconds"]
        rows.append(
            (line["count"], line["steps"], f"{rate:.3g}", f"{line['psnr_db']:.2f}")
        )
    return table(*rows, numbers=True)


SECTION = Section("One GPU", write)
