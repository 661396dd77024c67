"""Benchmarks: steps side by side in turns, whole commands one after the other.

A contender is a function that prepares everything and returns `run(repeats)`, which
gives the seconds of one repeat. Parent and contenders talk in lines of JSON.
"""

import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import reports
from jax_inr.files import to_json, write_atomic
from jax_inr.presets import preset

Run = Callable[[int], float]
PRODUCT_SIDE = 2048  # of the square matrix product that measures the machine


def product() -> Run:
    """The machine's own float32 matrix product, by XLA: seconds per GFLOP."""
    import jax

    matrix = jax.random.normal(jax.random.key(0), (PRODUCT_SIDE, PRODUCT_SIDE))
    multiply = jax.jit(lambda a: a @ a)
    jax.block_until_ready(multiply(matrix))

    def run(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            jax.block_until_ready(multiply(matrix))
        seconds = (time.perf_counter() - start) / repeats
        return seconds / (2 * PRODUCT_SIDE**3 / 1e9)

    return run


def trainer_steps(backend: str, name: str) -> Run:
    """Training steps of a preset on the sample picture, in one of the back ends."""
    from jax_inr.fitting import make_trainer
    from jax_inr.images import sample_image

    config = preset(name)
    target = sample_image(size=224).image * np.float32(255 / config.rgb_max)
    trainer = make_trainer(backend, config, target, "auto")
    trainer.compile()

    def run(repeats: int) -> float:
        start = time.perf_counter()
        trainer.advance(repeats)
        return (time.perf_counter() - start) / repeats

    return run


CONTENDERS: dict[str, tuple[Callable[..., Run], tuple[str, ...], int]] = {
    # name: maker, its arguments, repeats in a turn
    "product": (product, (), 40),
    "optimized, jax": (trainer_steps, ("jax", "optimized"), 8),
    "optimized, torch": (trainer_steps, ("torch", "optimized"), 4),
    "cnn, jax": (trainer_steps, ("jax", "cnn"), 1),
    "cnn, torch": (trainer_steps, ("torch", "cnn"), 1),
}


def serve(name: str) -> None:
    """Be a contender: prepare, warm up, then time a turn for each line of stdin."""
    maker, arguments, repeats = CONTENDERS[name]
    run = maker(*arguments)
    run(1)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(run(repeats)), flush=True)


def alternate(names: list[str], turns: int) -> dict[str, list[float]]:
    """Seconds of every turn of each contender, A B C A B C …; absent ones are left out.

    Contenders that wait are blocked on their input, so none disturbs another.
    """
    workers: dict[str, subprocess.Popen[str]] = {}
    times: dict[str, list[float]] = {}
    try:
        for name in names:
            command = [sys.executable, "-m", "jax_inr.benchmark", name]
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            workers[name] = worker
            assert worker.stdout is not None
            if worker.stdout.readline().strip() == "ready":
                times[name] = []
        for _ in range(turns):
            for name in times:
                worker = workers[name]
                assert worker.stdin is not None and worker.stdout is not None
                print("go", file=worker.stdin, flush=True)
                times[name].append(float(worker.stdout.readline()))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
    return times


def step_flops(name: str, height: int = 224, width: int = 224) -> float:
    """Arithmetic of a training step of a preset, counted from its products, in GFLOP.

    Forward and weight gradient for every layer, input gradient for all but the first.
    """
    config = preset(name)
    first = 2 if config.network == "cnn" else 2 * config.num_frequencies
    taps = 9 if config.network == "cnn" else 1
    widths = (first, *config.hidden_features, 3)
    layers = [a * b * taps for a, b in itertools.pairwise(widths)]
    products = 3 * sum(layers) - layers[0]
    return 2 * height * width * products / 1e9


def machine() -> str:
    """Processor and cores, for the heading of a table."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def steps_report(turns: int) -> tuple[str, dict[str, Any]]:
    """Section `steps`: seconds a step, torch over JAX, share of the matrix product."""
    times = alternate(list(CONTENDERS), turns)
    medians = {name: statistics.median(values) for name, values in times.items()}
    lines = [
        "| step | median s | min–max s | GFLOP/s | share of the matrix product |",
        "|---|---|---|---|---|",
    ]
    peak = 1 / medians["product"]
    lines.append(
        f"| {PRODUCT_SIDE}³ float32 matrix product (XLA) | | | {peak:.0f} | 100 % |"
    )
    for name, values in times.items():
        if name == "product":
            continue
        rate = step_flops(name.split(",")[0]) / medians[name]
        # Pair by pair, so that a slow spell of the machine meets both alike.
        shares = [
            step_flops(name.split(",")[0]) * gflop / step
            for step, gflop in zip(values, times["product"], strict=True)
        ]
        lines.append(
            f"| {name} | {medians[name]:.4f} | {min(values):.4f}–{max(values):.4f} | "
            f"{rate:.0f} | {statistics.median(shares):.0%} |"
        )
    for name in ("optimized", "cnn"):
        pair = times.get(f"{name}, torch"), times.get(f"{name}, jax")
        if pair[0] and pair[1]:
            ratios = [a / b for a, b in zip(*pair, strict=True)]  # pyright: ignore
            lines.append(
                f"\n`{name}`: a step of JAX is {statistics.median(ratios):.2f} times "
                "as fast as one of torch_ref (median over turns)."
            )
        else:
            lines.append(f"\n`{name}`: torch is not installed, so JAX stands alone.")
    return "\n".join(lines), times


def presets_report(names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Section `presets`: the whole command for each preset, one after the other.

    A preset passes the first of them, `optimized`, at its first evaluation with at
    least the PSNR with which that one ended.
    """
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            out = Path(folder) / name
            command = "import sys, jax_inr.cli as c; sys.exit(c.main(sys.argv[1:]))"
            options = ["fit", "--preset", name, "--out", str(out), "--quiet"]
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", command, *options], check=True)
            wall_seconds = time.perf_counter() - start
            summary = json.loads((out / "summary.json").read_text())
            rows = (out / "metrics.jsonl").read_text().splitlines()
            runs[name] = {
                "wall_seconds": wall_seconds,
                "summary": summary,
                "rows": [json.loads(row) for row in rows],
            }
    goal = runs[names[0]]["summary"]["psnr_db"]
    base = runs[names[0]]["summary"]["seconds"]["fit"]
    lines = [
        f"| preset | steps | PSNR dB | compile s | fit s | s to {goal:.2f} dB | "
        f"of `{names[0]}`'s | whole command s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in runs.items():
        summary = result["summary"]
        passed = [r["seconds"] for r in result["rows"] if r["psnr_db"] >= goal]
        to_goal = f"{passed[0]:.2f}" if passed else "not reached"
        share = f"1/{base / passed[0]:.1f}" if passed else "–"
        lines.append(
            f"| `{name}` | {summary['steps']} | {summary['psnr_db']:.2f} | "
            f"{summary['seconds']['compile']:.2f} | {summary['seconds']['fit']:.2f} | "
            f"{to_goal} | {share} | {result['wall_seconds']:.1f} |"
        )
    return "\n".join(lines), runs


SECTIONS: dict[str, tuple[str, Callable[[int], tuple[str, dict[str, Any]]]]] = {
    "steps": (
        "Seconds a step, like for like",
        steps_report,
    ),
    "presets": (
        "Seconds to the notebook's PSNR",
        lambda turns: presets_report(("optimized", "default")),
    ),
}


def report(names: Sequence[str], turns: int, out: Path) -> None:
    """Run sections and write them into OUT.md; OUT.json keeps every measurement.

    A section that is not run this time keeps what an earlier run wrote.
    """
    data = out.with_suffix(".json")
    kept = json.loads(data.read_text()) if data.exists() else {}
    for name in names:
        table, measured = SECTIONS[name][1](turns)
        kept[name] = {
            "machine": machine(),
            "versions": {**reports.versions("torch"), **reports.versions("jax")},
            "command": f"python scripts/bench.py {name} --turns {turns}",
            "table": table,
            "measured": measured,
        }
    parts = ["# Performance", "Made by `scripts/bench.py`; every number is measured."]
    for name, (title, _) in SECTIONS.items():
        if name in kept:
            section = kept[name]
            versions = ", ".join(f"{k} {v}" for k, v in section["versions"].items())
            parts += [f"## {title}", f"`{section['command']}`", section["table"]]
            parts += [f"{section['machine']}; {versions}."]
    write_atomic(data, (to_json(kept, indent=1) + "\n").encode())
    write_atomic(out.with_suffix(".md"), ("\n\n".join(parts) + "\n").encode())


if __name__ == "__main__":
    serve(sys.argv[1])
