"""Section race: seconds of whole fits to the notebook's PSNR."""

import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from jax_inr.experiments.benchmark.contenders import MISSING, measured_by
from jax_inr.experiments.benchmark.options import QUICK_SECONDS, Options
from jax_inr.experiments.report import Drawing, Json, Say, Section, table

PEER: Json = {"steps": 2000, "seconds": 90}
RACE: dict[str, tuple[str, str, Json]] = {
    # name: kind, name of the contender, options
    "torch_ref `optimized`": ("fit", "optimized", {"backend": "torch"}),
    "`optimized`": ("fit", "optimized", {}),
    "`default`": ("fit", "default", {}),
    "`fast`": ("fit", "fast", {}),
    "`quality`": ("fit", "quality", {}),
    "siren-pytorch": ("peer", "siren-pytorch", PEER),
    "random-fourier-features-pytorch": (
        "peer",
        "random-fourier-features-pytorch",
        PEER,
    ),
}
BASELINE = "torch_ref `optimized`"
MOST_TURNS, COMMAND_TURNS = 5, 3  # of short fits, and of the whole command


def measure(options: Options, say: Say) -> Json:
    """Every contender's whole fit; the short ones several times, in turns."""
    runs: dict[str, list[Json]] = {}
    for turn in range(1 if options.quick else min(options.turns, MOST_TURNS)):
        for name, (kind, contender, asked) in RACE.items():
            is_short = contender == "fast"
            if turn and not is_short:
                continue
            if options.quick and kind == "peer":
                asked = {**asked, "seconds": QUICK_SECONDS}
            elif options.quick and not is_short:
                asked = {**asked, "changes": {"max_seconds": QUICK_SECONDS}}
            found = measured_by(kind, contender, asked, say)
            if found is not None:
                runs.setdefault(name, []).append(found)
    turns = 1 if options.quick else COMMAND_TURNS
    return {"runs": runs, "commands": {"fast": command_seconds("fast", turns)}}


def command_seconds(name: str, turns: int) -> list[float]:
    """Seconds of a preset's whole command, from a cold start to written files."""
    program = "import sys, jax_inr.cli.main as c; sys.exit(c.main(sys.argv[1:]))"
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns):
            out = f"{folder}/{turn}"
            words = ["fit", "--preset", name, "--out", out, "--quiet"]
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program, *words], check=True)
            seconds.append(time.perf_counter() - start)
    return seconds


def seconds_to(run: Json, goal_db: float) -> float | None:
    """Seconds of fitting to the first evaluation with a PSNR; None if never."""
    passed = [seconds for seconds, psnr_db in run["rows"] if psnr_db >= goal_db]
    return passed[0] if passed else None


def write(measured: Json) -> str:
    """Each contender's seconds to the goal, the last PSNR of the first that ran."""
    runs = measured["runs"]
    base = (runs.get(BASELINE) or runs.get("`optimized`") or [None])[0]
    if base is None:
        return "Neither torch_ref nor `optimized` could run, so there is no goal."
    goal = base["rows"][-1][1]
    head = ("contender", "steps", "parameters", "PSNR dB", "ready s", "fit s")
    rows: list[Any] = [(*head, f"s to {goal:.2f} dB", "times as fast")]
    for name in RACE:
        if name not in runs:
            rows.append((name, MISSING, *[""] * 6))
            continue
        several = runs[name]
        fit = statistics.median(run["fit_seconds"] for run in several)
        ready = statistics.median(run["ready_seconds"] for run in several)
        reached = [s for run in several if (s := seconds_to(run, goal)) is not None]
        last = ["not reached", ""]
        if reached:
            seconds = statistics.median(reached)
            last = [f"{seconds:.3g}", f"{base['fit_seconds'] / seconds:,.0f}"]
        numbers = (several[0]["steps"], f"{several[0]['num_params']:,}")
        psnr_db = f"{several[0]['psnr_db']:.2f}"
        rows.append((name, *numbers, psnr_db, f"{ready:.2f}", f"{fit:.2f}", *last))
    commands = measured["commands"]["fast"]
    command = statistics.median(commands)
    whole = base["fit_seconds"] + base["ready_seconds"]
    return "\n\n".join(
        [
            f"The goal is {goal:.2f} dB, with which the first line ended.",
            table(*rows, numbers=True),
            "The whole command `fit.py --preset fast`, from a cold start to written "
            f"files: {command:.1f} s (median of {len(commands)}), "
            f"{whole / command:.0f} times as fast as the fit of the first line.",
        ]
    )


def draw(measured: Json) -> Any:
    """PSNR against seconds of fitting, for every contender."""
    from jax_inr.draw import plots

    figure = plots.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, several in measured["runs"].items():
        seconds, psnr_db = zip(*several[-1]["rows"], strict=True)
        is_ours = "torch" not in name
        axes.plot(
            seconds,
            psnr_db,
            label=name.replace("`", ""),
            lw=2.2 if is_ours else 1.2,
            ls="-" if is_ours else "--",
            marker="o" if len(seconds) < 6 else None,
        )
    axes.set_xscale("log")
    axes.set_xlabel("seconds of fitting")
    axes.set_ylabel("PSNR in dB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    axes.set_title("The sample image, 224 x 224")
    return figure


SECTION = Section(
    "Seconds to the notebook's PSNR",
    write,
    (Drawing("", "PSNR against seconds", draw),),
)
