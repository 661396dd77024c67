"""fit_stream beside the eager loop of torch, run as one process a core: fields/s."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import machine
from jax_inr.config import Config
from jax_inr.datasets.build import USUAL
from jax_inr.datasets.stream import fit_stream


def eager(
    path: Path, count: int, steps: int, target_psnr: float | None
) -> dict[str, Any]:
    """The eager loop on the first `count` images of an .npy, shared by the cores."""
    cores = machine.allowed_cores()
    ends = np.linspace(0, count, cores + 1).astype(int)
    module = "jax_inr.experiments.weights.eager"
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", module, str(path), str(core)),
                *(str(ends[core]), str(ends[core + 1])),
                *(str(steps), str(target_psnr or 0)),
            ],
            stdout=subprocess.PIPE,
        )
        for core in range(cores)
    ]
    rows = [json.loads(process.communicate()[0]) for process in processes]
    return {
        "what": f"torch, eager, {cores} processes",
        "fields": count,
        "seconds": max(row["seconds"] for row in rows),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows),
        "mean_steps": sum(row["steps"] for row in rows) / count,
    }


def stream(
    path: Path,
    count: int,
    config: Config,
    what: str = "fit_stream, 1 process",
    **options: Any,
) -> dict[str, Any]:
    """fit_stream on the same images, once its program is compiled."""
    images = np.load(path, mmap_mode="r")[:count]
    lanes = 4 * machine.allowed_cores()
    list(fit_stream(images[:1], config, lanes=lanes, **options))
    begun, cpu = time.perf_counter(), time.process_time()
    fits = list(fit_stream(images, config, lanes=lanes, **options))
    return {
        "what": what,
        "fields": count,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "mean_steps": float(np.mean([fit.steps for fit in fits])),
        "mean_psnr_db": float(np.mean([fit.psnr_db for fit in fits])),
    }


def race(
    path: Path, count: int, rounds: int, start: Any = None
) -> Iterator[dict[str, Any]]:
    """Rows of both, to all steps and to the target; the best of some rounds each."""
    whole = USUAL.replace(target_psnr=None)
    entries = [
        ("500 steps", lambda: eager(path, count, USUAL.steps, None)),
        ("500 steps", lambda: stream(path, count, whole)),
        ("30 dB", lambda: eager(path, 8 * count, USUAL.steps, USUAL.target_psnr)),
        ("30 dB", lambda: stream(path, 8 * count, USUAL)),
    ]
    if start is not None:
        what = "fit_stream, learned start"
        entries.append(
            ("30 dB", lambda: stream(path, 8 * count, USUAL, what, start=start))
        )
    for goal, run in entries:
        found = min((run() for _ in range(rounds)), key=lambda row: row["seconds"])
        yield {"goal": goal, **found}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| to | what | fields | steps | seconds | fields/s | fields/CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['goal']} | {row['what']} | {row['fields']} "
            f"| {row['mean_steps']:.0f} | {row['seconds']:.1f} "
            f"| {row['fields'] / row['seconds']:.2f} "
            f"| {row['fields'] / row['cpu_seconds']:.2f} |"
        )
    return "\n".join(lines)
