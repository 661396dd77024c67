"""Benchmarks: steps side by side in turns, whole fits one after the other.

Every section is measured on its own and kept in a JSON file; tables and pictures are
made from that file alone. A contender that cannot run here is said to be missing.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_inr.draw import plots
from jax_inr.draw.settings import default_settings
from jax_inr.errors import ConfigError
from jax_inr.experiments.benchmark.contenders import CONTENDERS, PRODUCT_SIDE
from jax_inr.io import summaries
from jax_inr.io.atomic import write_atomic
from jax_inr.io.text import to_json
from jax_inr.presets import preset

Json = dict[str, Any]
KODAK = Path("../shared/images/kodak")
BUDGETS_SECONDS = (1, 2, 5, 10, 20, 40, 60)
COUNTS = (1, 2, 4, 8, 16)  # pictures at once
MISSING = "missing here"
# The quick forms, each under a minute: seconds of each fit, contenders of `steps`.
QUICK_SECONDS = 2.0
QUICK_STEPS = ["product", "optimized, jax", "optimized, torch", "cnn, jax"]


def contender(kind: str, name: str, options: Json) -> Json | None:
    """A fit in a process of its own: what it measured, None where it cannot run."""
    words = [
        sys.executable,
        "-m",
        "jax_inr.experiments.benchmark.contenders",
        kind,
        name,
        json.dumps(options),
    ]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"{kind} {name} is {MISSING}: {last}", file=sys.stderr)
        return None
    measured = json.loads(result.stdout.splitlines()[-1])
    print(f"{kind} {name}: {json.dumps(measured)[-90:]}", flush=True)
    return measured


def alternate(names: Sequence[str], turns: int) -> dict[str, list[float]]:
    """Seconds of every turn of each contender, A B C A B C …; absent ones are left out.

    Contenders that wait are blocked on their input, so none disturbs another.
    """
    workers: dict[str, subprocess.Popen[str]] = {}
    times: dict[str, list[float]] = {}
    try:
        for name in names:
            command = [
                sys.executable,
                "-m",
                "jax_inr.experiments.benchmark.contenders",
                "steps",
                name,
            ]
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
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
    taps = 9 if config.network == "cnn" else 1
    widths = (config.num_features, *config.hidden_features, 3)
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


# Section steps: seconds a step, like for like.


def measure_steps(turns: int, quick: bool) -> Json:
    asked = QUICK_STEPS if quick else list(CONTENDERS)
    return {"asked": asked, "seconds": alternate(asked, 2 if quick else turns)}


def write_steps(measured: Json) -> str:
    times = measured["seconds"]
    medians = {name: statistics.median(values) for name, values in times.items()}
    lines = [
        "| step | median s | min–max s | GFLOP/s | share of the matrix product |",
        "|---|---|---|---|---|",
    ]
    peak = 1 / medians["product"]
    lines.append(
        f"| {PRODUCT_SIDE}³ float32 matrix product (XLA) | | | {peak:.0f} | 100 % |"
    )
    for name in measured.get("asked", list(CONTENDERS))[1:]:
        if name not in times:
            lines.append(f"| {name} | {MISSING} | | | |")
            continue
        values, flops = times[name], step_flops(name.split(",")[0])
        # Pair by pair, so that a slow spell of the machine meets both alike.
        shares = [
            flops * gflop / step
            for step, gflop in zip(values, times["product"], strict=True)
        ]
        lines.append(
            f"| {name} | {medians[name]:.4f} | {min(values):.4f}–{max(values):.4f} | "
            f"{flops / medians[name]:.0f} | {statistics.median(shares):.0%} |"
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
    return "\n".join(lines)


# Section race: seconds to the notebook's PSNR.

RACE = {
    # name: kind, name of the contender, options
    "torch_ref `optimized`": ("fit", "optimized", {"backend": "torch"}),
    "`optimized`": ("fit", "optimized", {}),
    "`default`": ("fit", "default", {}),
    "`fast`": ("fit", "fast", {}),
    "`quality`": ("fit", "quality", {}),
    "siren-pytorch": ("peer", "siren-pytorch", {"steps": 2000, "seconds": 90}),
    "random-fourier-features-pytorch": (
        "peer",
        "random-fourier-features-pytorch",
        {"steps": 2000, "seconds": 90},
    ),
}
BASELINE = "torch_ref `optimized`"


def measure_race(turns: int, quick: bool) -> Json:
    """Every contender's whole fit; the short ones several times, in turns."""
    runs: dict[str, list[Json]] = {}
    for turn in range(1 if quick else min(turns, 5)):
        for name, (kind, contender_name, options) in RACE.items():
            is_short = contender_name == "fast"
            if turn and not is_short:
                continue
            if quick and kind == "peer":
                options = {**options, "seconds": QUICK_SECONDS}
            elif quick and not is_short:
                options = {**options, "changes": {"max_seconds": QUICK_SECONDS}}
            measured = contender(kind, contender_name, options)
            if measured is not None:
                runs.setdefault(name, []).append(measured)
    return {"runs": runs, "commands": measure_commands(quick)}


def measure_commands(quick: bool) -> Json:
    """Seconds of the whole `fast` command, from a cold start to written files."""
    command = "import sys, jax_inr.cli.main as c; sys.exit(c.main(sys.argv[1:]))"
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(1 if quick else 3):
            out = f"{folder}/{turn}"
            words = ["fit", "--preset", "fast", "--out", out, "--quiet"]
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", command, *words], check=True)
            seconds.append(time.perf_counter() - start)
    return {"fast": seconds}


def to_goal(run: Json, goal_db: float) -> float | None:
    """Seconds of fitting to the first evaluation with a PSNR; None if never."""
    passed = [seconds for seconds, psnr_db in run["rows"] if psnr_db >= goal_db]
    return passed[0] if passed else None


def write_race(measured: Json) -> str:
    runs = measured["runs"]
    base = runs.get(BASELINE) or runs.get("`optimized`")
    if not base:
        return "Neither torch_ref nor `optimized` could run, so there is no goal."
    goal, base_seconds = base[0]["rows"][-1][1], base[0]["fit_seconds"]
    lines = [
        f"The goal is {goal:.2f} dB, with which the first line ended.",
        "",
        f"| contender | steps | parameters | PSNR dB | ready s | fit s | s to "
        f"{goal:.2f} dB | times as fast |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in RACE:
        if name not in runs:
            lines.append(f"| {name} | {MISSING} | | | | | | |")
            continue
        several = runs[name]
        reached = [seconds for run in several if (seconds := to_goal(run, goal))]
        seconds = statistics.median(reached) if reached else None
        fit = statistics.median(run["fit_seconds"] for run in several)
        ready = statistics.median(run["ready_seconds"] for run in several)
        one = several[0]
        lines.append(
            f"| {name} | {one['steps']} | {one['num_params']:,} | "
            f"{one['psnr_db']:.2f} | {ready:.2f} | {fit:.2f} | "
            + (
                f"{seconds:.3g} | {base_seconds / seconds:,.0f} |"
                if seconds
                else "not reached | |"
            )
        )
    command = statistics.median(measured["commands"]["fast"])
    whole = base[0]["fit_seconds"] + base[0]["ready_seconds"]
    lines.append(
        f"\nThe whole command `fit.py --preset fast`, from a cold start to written "
        f"files: {command:.1f} s (median of {len(measured['commands']['fast'])}), "
        f"{whole / command:.0f} times as fast as the fit of the first line."
    )
    return "\n".join(lines)


@default_settings()
def draw_race(measured: Json) -> bytes:
    """PSNR against seconds of fitting, for every contender, as a PNG."""
    figure = plots.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, several in measured["runs"].items():
        seconds, psnr_db = zip(*several[-1]["rows"], strict=True)
        label = name.replace("`", "")
        is_ours = "torch" not in name
        axes.plot(
            seconds,
            psnr_db,
            label=label,
            lw=2.2 if is_ours else 1.2,
            ls="-" if is_ours else "--",
            marker="o" if len(seconds) < 6 else None,
        )
    axes.set_xscale("log")
    axes.set_xlabel("seconds of fitting")
    axes.set_ylabel("PSNR in dB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    axes.set_title("The sample picture, 224 x 224")
    return plots.png(figure)


# Section parameters: PSNR with the notebook's number of parameters.

LIMIT = 66_691  # trained parameters of the notebook's network
SMALL = ("default", "fast", "quality")


def measure_parameters(turns: int, quick: bool) -> Json:
    """Each preset with as many steps as fit into 40 seconds."""
    budget = 2 * QUICK_SECONDS if quick else 40
    return {
        "budget_seconds": budget,
        "runs": {
            name: contender("fit", name, {"budget_seconds": budget}) for name in SMALL
        },
    }


def write_parameters(measured: Json) -> str:
    budgets = [b for b in BUDGETS_SECONDS if b <= measured["budget_seconds"]]
    heads = " | ".join(f"{b} s" for b in budgets)
    lines = [
        f"At most {LIMIT:,} trained parameters, those of the notebook's network; "
        f"schedules end after {measured['budget_seconds']} s of fitting. PSNR in dB:",
        "",
        f"| preset | parameters | steps | {heads} | end |",
        "|---|---|---|" + "---|" * (len(budgets) + 1),
    ]
    for name, run in measured["runs"].items():
        if run is None:
            lines.append(f"| `{name}` | {MISSING} | | " + " | " * len(budgets) + "|")
            continue
        cells = []
        for budget in budgets:
            before = [psnr for seconds, psnr in run["rows"] if seconds <= budget]
            cells.append(f"{before[-1]:.2f}" if before else "–")
        lines.append(
            f"| `{name}` | {run['num_params']:,} | {run['steps']} | "
            f"{' | '.join(cells)} | {run['psnr_db']:.2f} |"
        )
    return "\n".join(lines)


# Section kodak: pictures at full size.

# `fast` for 768x512 pixels: the finest level has two cells to three pixels a side.
KODAK_CHANGES: Json = {
    "finest": 512,
    "coarsest": 16,
    "num_levels": 6,
    "batch_size": 16_384,
}


def measure_kodak(turns: int, quick: bool) -> Json:
    """Every picture for 10 and 60 seconds, the first for 600 too."""
    pictures = sorted(KODAK.glob("*.png"))
    plan = [(10, pictures), (60, pictures), (600, pictures[:1])]
    if quick:
        plan = [(5, pictures[:1])]
    runs: list[Json] = []
    for budget, chosen in plan:
        for picture in chosen:
            options = {
                "image": str(picture),
                "budget_seconds": budget,
                "evaluations": 1,
                "changes": KODAK_CHANGES,
            }
            if run := contender("fit", "fast", options):
                runs.append({"picture": picture.stem, "budget": budget} | run)
    return {"runs": runs}


def write_kodak(measured: Json) -> str:
    runs = measured["runs"]
    if not runs:
        return f"No pictures in `{KODAK}`, so this section is {MISSING}."
    names = list(dict.fromkeys(run["picture"] for run in runs))
    lines = [
        f"| seconds of fitting | steps | mean PSNR dB | {' | '.join(names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for budget, group in itertools.groupby(runs, key=lambda run: run["budget"]):
        found = {run["picture"]: run for run in group}
        steps = statistics.median(run["steps"] for run in found.values())
        mean = statistics.mean(run["psnr_db"] for run in found.values())
        cells = (
            f"{found[name]['psnr_db']:.2f}" if name in found else "–" for name in names
        )
        lines.append(f"| {budget} | {steps:.0f} | {mean:.2f} | {' | '.join(cells)} |")
    changes = ", ".join(f"{key} {value}" for key, value in KODAK_CHANGES.items())
    lines.append(
        f"\n`fast` scaled up for 768x512 pixels ({changes}): "
        f"{runs[0]['num_params']:,} parameters, where a picture has 1,179,648 numbers. "
        "Steps are as many as a first short run says will fit (the median is shown)."
    )
    return "\n".join(lines)


# Section many: several fits at once.


def measure_many(turns: int, quick: bool) -> Json:
    """Batches of pictures under `fast`, and of seeds under `default`."""
    short = {"changes": {"steps": 100}} if quick else {}
    plan = [("fast", "pictures", count) for count in ((8,) if quick else COUNTS)]
    plan.append(("default", "seeds", 16))
    runs = []
    for name, of, count in plan:
        options = {"of": of, "count": count, **(short if of == "seeds" else {})}
        rounds = 1 if quick or of == "seeds" else min(turns, 3)
        found = [contender("batch", name, options) for _ in range(rounds)]
        runs.append({"name": name, "of": of, "count": count, "found": found})
    return {"runs": runs}


def write_many(measured: Json) -> str:
    lines = [
        "| at once | fits a second | one after the other | ratio | "
        "with compiling: ratio | largest difference of a colour |",
        "|---|---|---|---|---|---|",
    ]
    for one in measured["runs"]:
        title = f"{one['count']} {one['of']}, `{one['name']}`"
        found = [run for run in one["found"] if run is not None]
        if not found:
            lines.append(f"| {title} | {MISSING} | | | | |")
            continue
        rates = [
            statistics.median(one["count"] / run[way]["fit"] for run in found)
            for way in ("together", "single")
        ]
        ratios = [
            statistics.median(
                run["single"][key] / run["together"][key] for run in found
            )
            for key in ("fit", "total")
        ]
        apart = max(run["apart"] for run in found)
        lines.append(
            f"| {title} | {rates[0]:.2f} | {rates[1]:.2f} | {ratios[0]:.2f} | "
            f"{ratios[1]:.2f} | {apart:.1g} |"
        )
    return "\n".join(lines)


SECTIONS: dict[str, tuple[str, Any, Any]] = {
    # name: title, measure(turns, quick), write(measured)
    "steps": ("Seconds a step, like for like", measure_steps, write_steps),
    "race": ("Seconds to the notebook's PSNR", measure_race, write_race),
    "parameters": (
        "With the notebook's number of parameters",
        measure_parameters,
        write_parameters,
    ),
    "kodak": ("Kodak pictures at full size", measure_kodak, write_kodak),
    "many": ("Many fits at once", measure_many, write_many),
}


def report(names: Sequence[str], turns: int, out: Path, quick: bool = False) -> None:
    """Run sections and write them into OUT.md; OUT.json keeps every measurement.

    A section that is not run this time keeps what an earlier run wrote.
    """
    data = out.with_suffix(".json")
    for name in names:
        measured = SECTIONS[name][1](turns, quick)
        # Read anew, and written at once: a section takes long.
        kept = json.loads(data.read_text()) if data.exists() else {}
        kept[name] = {
            "machine": machine(),
            "versions": {**summaries.versions("torch"), **summaries.versions("jax")},
            "command": f"python scripts/bench.py {name} --turns {turns}"
            + (" --quick" if quick else ""),
            "measured": measured,
        }
        data.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(data, (to_json(kept, indent=1) + "\n").encode())
        write_report(kept, out)


def write_report(kept: Json, out: Path) -> None:
    """OUT.md, and the picture of the race, from what OUT.json keeps."""
    parts = ["# Performance", "Made by `scripts/bench.py`; every number is measured."]
    for name, (title, _, write) in SECTIONS.items():
        if name not in kept:
            continue
        section = kept[name]
        versions = ", ".join(
            f"{package} {version}"
            for package, version in section["versions"].items()
            if package != "python"  # the machine's line has it
        )
        parts += [f"## {title}", f"`{section['command']}`", write(section["measured"])]
        if name == "race":
            picture = out.parent / "images" / f"{out.stem}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(picture, draw_race(section["measured"]))
            parts += [f"![PSNR against seconds](images/{picture.name})"]
        parts += [f"{section['machine']}; {versions}."]
    write_atomic(out.with_suffix(".md"), ("\n\n".join(parts) + "\n").encode())


def check_sections(names: Sequence[str]) -> None:
    """Refuse a section that is not there; raises ConfigError that lists them."""
    if unknown := set(names) - set(SECTIONS):
        raise ConfigError(
            f"unknown section {', '.join(sorted(unknown))}",
            f"sections: {', '.join(SECTIONS)}",
        )
